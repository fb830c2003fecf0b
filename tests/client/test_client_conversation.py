"""The client's decisions with time and answers given by hand: no socket, no thread, no clock."""

import msgspec
import pytest

from zraft import requests
from zraft.client.calls import Call
from zraft.client.conversation import Conversation
from zraft.client.errands import BACKOFF_UPPER_S, Errand
from zraft.client.route import Route
from zraft.codec import REQUEST_KINDS, Codec
from zraft.errors import OutcomeUnknown, SessionExpired, Unavailable
from zraft.requests import Answer, From, Outcome, Reply

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


class TestReadsThatAnyNodeMayAnswer:
    def ask(self, talk: Talk, source: From, query: bytes = b"q") -> Call:
        call = Call("m", query, 100.0, bytes, source)
        talk.conversation.anywhere.append(call)
        return call

    def test_they_go_to_a_node_that_does_not_lead_and_say_how_they_may_be_read(self, talk: Talk) -> None:
        talk.conversation.route.served("n1")
        self.ask(talk, From.STALE)
        (errand,) = talk.conversation.due(0.0)
        assert talk.conversation.order(errand, 0.0) == ["n2", "n1"]
        assert CODEC.decode(errand.frames(CODEC, 9), REQUEST_KINDS).message.source == From.STALE

    def test_whoever_answers_is_not_taken_for_the_leader(self, talk: Talk) -> None:
        talk.conversation.route.served("n1")
        call = self.ask(talk, From.ANY)
        id, _ = talk.send("n2")
        talk.hear(id, Outcome.DONE, done(b"x"), node="n2", leader="n1")
        assert call.result(0) == b"x"
        assert talk.conversation.route.leader == "n1"
        assert not talk.conversation.busy

    def test_a_refusal_is_asked_of_another_after_a_while(self, talk: Talk) -> None:
        talk.conversation.route.served("n1")
        call = self.ask(talk, From.ANY)
        id, errand = talk.send("n2")
        talk.hear(id, Outcome.REFUSED, node="n2")
        assert not talk.due()
        talk.now += BACKOFF_UPPER_S
        assert talk.conversation.order(errand, talk.now) == ["n1", "n2"], "the one that could not comes last"
        assert talk.conversation.route.leader == "n1"
        id, _ = talk.send("n1")
        talk.hear(id, Outcome.DONE, done(b"x"))
        assert call.result(0) == b"x"

    def test_the_two_sorts_do_not_share_a_batch(self, talk: Talk) -> None:
        self.ask(talk, From.ANY)
        self.ask(talk, From.STALE)
        (errand,) = talk.conversation.due(0.0)
        assert len(errand.calls) == 1

    def test_they_are_given_up_and_closed_like_others(self, talk: Talk) -> None:
        late, closed = self.ask(talk, From.ANY), self.ask(talk, From.STALE)
        talk.send("n2")
        talk.at(100.0)
        assert isinstance(late.exception(0), Unavailable)
        assert isinstance(closed.exception(0), Unavailable)
        last = self.ask(talk, From.ANY)
        talk.send("n2")
        talk.conversation.close()
        assert isinstance(last.exception(0), Unavailable)
