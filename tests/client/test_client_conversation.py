"""The client's decisions with time and answers given by hand: no socket, no thread, no clock."""

import msgspec
import pytest

from zraft import requests
from zraft.client.calls import Call
from zraft.client.conversation import Conversation
from zraft.client.errands import BACKOFF_UPPER_S, Errand
from zraft.client.route import Route
from zraft.codec import Codec
from zraft.errors import OutcomeUnknown, SessionExpired, Unavailable
from zraft.requests import Answer, Outcome, Reply

CODEC = Codec(1, "client", 1)
PATIENCE_S = 1.0


class Talk:
    """A conversation, and the clock it is shown."""

    def __init__(self) -> None:
        self.conversation = Conversation(PATIENCE_S)
        self.conversation.know(["n1", "n2"])
        self.now = 0.0

    def write(self, command: bytes, deadline: float = 100.0) -> Call:
        call = Call("m", command, deadline, bytes)
        self.conversation.writes.append(call)
        return call

    def send(self, node: str = "n1") -> tuple[int, Errand]:
        """Send the one thing that is due."""
        (errand,) = self.conversation.due(self.now)
        id = self.conversation.new_id()
        errand.frames(CODEC, id)
        self.conversation.sent(errand, id, node, self.now)
        return id, errand

    def due(self) -> bool:
        return any(True for _ in self.conversation.due(self.now))

    def hear(
        self, id: int, outcome: Outcome, result: object = None, node: str = "n1", leader: str | None = None
    ) -> None:
        self.conversation.received(node, Reply(id, outcome, result, leader), self.now)

    def open(self, session: int = 1) -> None:
        self.hear(self.send()[0], Outcome.DONE, session)

    def at(self, now: float) -> None:
        self.now = now
        self.conversation.expire(now)


@pytest.fixture
def talk() -> Talk:
    """Return a conversation with two nodes, at time 0."""
    return Talk()


def batch_of(errand: Errand) -> requests.Batch:
    return msgspec.msgpack.decode(errand.frames(CODEC, 9)[2], type=requests.Batch)


def done(*values: bytes) -> list[bytes]:
    return [bytes([Answer.DONE]) + value for value in values]


def test_calls_of_one_batch_expire_each_at_its_own_time(talk: Talk) -> None:
    first, second, third = talk.write(b"1", 5.0), talk.write(b"2", 6.0), talk.write(b"3", 7.0)
    talk.open()
    id, _ = talk.send()
    assert talk.conversation.wakes_at() == PATIENCE_S
    talk.at(5.0)
    assert isinstance(first.exception(0), OutcomeUnknown)
    assert not second.done()
    talk.at(6.0)
    assert isinstance(second.exception(0), OutcomeUnknown)
    talk.hear(id, Outcome.DONE, done(b"a", b"b", b"c"))
    assert third.result(0) == b"c"


def test_what_is_under_way_is_told_before_what_waits(talk: Talk) -> None:
    first = talk.write(b"1", 5.0)
    talk.open()
    talk.send()
    second = talk.write(b"2", 5.0)
    told: list[Call] = []
    for call in (second, first):
        call.add_done_callback(told.append)  # type: ignore[arg-type]
    talk.at(6.0)
    assert told == [first, second]


def test_a_refusal_takes_back_what_an_attempt_put_in_doubt(talk: Talk) -> None:
    call = talk.write(b"1", 5.0)
    talk.open()
    silent, _ = talk.send("n1")
    talk.at(PATIENCE_S)
    talk.hear(talk.send("n2")[0], Outcome.REFUSED, node="n2")
    talk.hear(silent, Outcome.REFUSED)
    talk.at(5.0)
    assert isinstance(call.exception(0), Unavailable)


def test_an_expired_session_with_another_attempt_in_doubt_is_told(talk: Talk) -> None:
    call = talk.write(b"1")
    talk.open()
    talk.send("n1")
    talk.at(PATIENCE_S)
    talk.hear(talk.send("n2")[0], Outcome.SESSION_EXPIRED, node="n2")
    assert isinstance(call.exception(0), SessionExpired)


def test_an_expired_session_with_nothing_in_doubt_starts_anew(talk: Talk) -> None:
    calls = [talk.write(b"1"), talk.write(b"2")]
    talk.open(1)
    talk.hear(talk.send()[0], Outcome.SESSION_EXPIRED)
    later = talk.write(b"3")
    talk.open(9)
    id, errand = talk.send()
    assert batch_of(errand) == requests.Batch(9, 1, "m", [b"1", b"2", b"3"])
    talk.hear(id, Outcome.DONE, done(b"a", b"b", b"c"))
    assert [call.result(0) for call in [*calls, later]] == [b"a", b"b", b"c"]


def test_an_abandoned_batch_is_overtaken_by_a_higher_sequence(talk: Talk) -> None:
    talk.write(b"1", 2.0)
    talk.open()
    abandoned, _ = talk.send()
    talk.at(2.0)
    following = talk.write(b"2")
    id, errand = talk.send()
    assert batch_of(errand) == requests.Batch(1, 2, "m", [b"2"])
    talk.hear(abandoned, Outcome.DONE, done(b"late"))
    assert not following.done()
    talk.hear(id, Outcome.DONE, done(b"b"))
    assert following.result(0) == b"b"


def test_commands_for_different_machines_do_not_share_a_batch(talk: Talk) -> None:
    talk.write(b"1")
    talk.conversation.writes.append(Call("other", b"2", 100.0, bytes))
    talk.open()
    id, errand = talk.send()
    assert batch_of(errand).machine == "m"
    talk.hear(id, Outcome.DONE, done(b""))
    assert batch_of(talk.send()[1]) == requests.Batch(1, 2, "other", [b"2"])


def test_deferred_queries_go_before_newer_ones(talk: Talk) -> None:
    calls = [Call("m", b"%d" % number, 100.0, bytes) for number in range(4)]
    talk.conversation.reads.extend(calls[:3])
    id, _ = talk.send()
    talk.conversation.reads.append(calls[3])
    deferred = bytes([Answer.DEFERRED])
    talk.hear(id, Outcome.DONE, [*done(b"a"), deferred, deferred])
    id, errand = talk.send()
    assert [call.payload for call in errand.calls] == [b"1", b"2", b"3"]
    talk.hear(id, Outcome.DONE, done(b"b", b"c", b"d"))
    assert [call.result(0) for call in calls] == [b"a", b"b", b"c", b"d"]


def test_what_waits_for_a_connection_is_due_when_one_stands(talk: Talk) -> None:
    talk.write(b"1")
    (errand,) = talk.conversation.due(0.0)
    errand.block(0.0)
    assert talk.conversation.blocked
    assert not talk.due()
    talk.conversation.connected(0.0)
    assert talk.due()
    assert not talk.conversation.blocked


def test_new_is_what_can_be_sent_now(talk: Talk) -> None:
    assert not talk.conversation.has_new
    talk.write(b"1")
    assert talk.conversation.has_new
    opening, _ = talk.send()
    assert not talk.conversation.has_new, "it waits for its session"
    talk.hear(opening, Outcome.DONE, 1)
    assert talk.conversation.has_new
    talk.send()
    talk.write(b"2")
    assert not talk.conversation.has_new, "it waits for the batch under way"
    talk.conversation.reads.append(Call("m", b"3", 100.0, bytes))
    assert talk.conversation.has_new


def test_a_refusal_is_not_followed_by_another_attempt_at_once(talk: Talk) -> None:
    talk.write(b"1")
    waits = []
    for _ in range(10):
        talk.hear(talk.send()[0], Outcome.REFUSED)
        assert not talk.due()
        at = talk.conversation.wakes_at()
        assert at is not None
        waits.append(at - talk.now)
        talk.at(at)
    assert waits[0] < 0.006
    assert BACKOFF_UPPER_S / 2 <= waits[-1] <= BACKOFF_UPPER_S


def test_a_hint_is_followed_at_once_but_not_in_circles(talk: Talk) -> None:
    talk.write(b"1")
    followed = []
    for node, other in [("n1", "n2"), ("n2", "n1")] * 3:
        talk.hear(talk.send(node)[0], Outcome.REFUSED, node=node, leader=other)
        followed.append(talk.due())
        if not talk.due():
            talk.at(talk.conversation.wakes_at() or 0.0)
    assert followed == [True, True, False] * 2


def test_an_opening_that_nobody_needs_any_more_is_dropped(talk: Talk) -> None:
    call = talk.write(b"1", 2.0)
    talk.send()
    talk.at(2.0)
    assert isinstance(call.exception(0), Unavailable)
    talk.at(4.0)
    assert not talk.due()
    assert talk.conversation.wakes_at() is None


def test_a_broken_connection_ends_the_attempts_that_went_there(talk: Talk) -> None:
    talk.write(b"1")
    talk.send("n1")
    talk.conversation.lost("n2", 0.0)
    assert not talk.due()
    talk.conversation.lost("n1", 0.0)
    assert talk.due()
    assert talk.conversation.route.order(0.0, "n1")[0] == "n2"


def test_the_silent_are_asked_last_for_a_while_whoever_names_them() -> None:
    route = Route(["n1", "n2", "n3"], suspicion_s=1.0)
    route.silent("n1", 0.0)
    assert route.refused("n2", "n1", "", 0.5) is False
    assert route.order(0.5, "n2") == ["n3", "n2", "n1"]
    assert route.order(1.0, "n2") == ["n1", "n3", "n2"]


def test_nodes_take_turns_while_nobody_leads() -> None:
    route = Route(["n1", "n2", "n3"], suspicion_s=1.0)
    asked = []
    for _ in range(6):
        asked.append(route.order(0.0, asked[-1] if asked else None)[0])
        route.asked(asked[-1])
        route.refused(asked[-1], None, "", 0.0)
    assert asked == ["n1", "n2", "n3"] * 2
