"""Exactly once: sessions against a model, snapshots at any point, and failures that are the same everywhere."""

from collections.abc import Iterable, Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from zraft.errors import ConfigError, InvalidRequest, StorageError
from zraft.machines import sessions
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import Applied
from zraft.machines.sessions import Machines, Result
from zraft.raft.types import Ballot, Entry, EntryKind, Membership
from zraft.requests import Answer, Batch, Outcome

encode = msgspec.msgpack.encode
TTL_MS = 1_000
COUNT_MAX = 3


class Tally:
    """A machine that only counts: whatever is applied twice shows."""

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}
        self.at: Applied | None = None

    def apply(self, command: bytes, at: Applied) -> bytes:
        self.at = at
        if command == b"refuse":
            raise InvalidRequest("it was refused")
        if command == b"break":
            raise KeyError(object())
        self.seen[command] = self.seen.get(command, 0) + 1
        return b"%d" % sum(self.seen.values())

    def query(self, query: bytes) -> bytes:
        if query == b"break":
            raise ZeroDivisionError
        return b"%d" % self.seen.get(query, 0)

    def snapshot(self) -> Iterator[bytes]:
        return iter([key + b"=%d" % count for key, count in self.seen.items()])

    def restore(self, chunks: Iterable[bytes]) -> None:
        pairs = [chunk.rsplit(b"=", 1) for chunk in chunks]
        self.seen = {key: int(count) for key, count in pairs}


class Node:
    """Machines with a log of their own."""

    def __init__(self, *, ttl_ms: int = TTL_MS, count_max: int = COUNT_MAX) -> None:
        self.tally = Tally()
        self.failures: list[str] = []
        self.machines = Machines(
            {"tally": self.tally, "kv": KeyValueStore()},
            ttl_ms=ttl_ms,
            count_max=count_max,
            on_failure=lambda name, error: self.failures.append(f"{name} {type(error).__name__}"),
        )

    def apply(self, kind: EntryKind, data: bytes = b"", *, after_ms: int = 0, term: int = 1) -> Result:
        machines = self.machines
        return machines.apply(Entry(term, machines.index + 1, kind, machines.time_ms + after_ms, data))

    def register(self, *, after_ms: int = 0) -> int:
        result = self.apply(EntryKind.SESSION, encode(self.machines.session_change()), after_ms=after_ms)
        assert result.outcome == Outcome.DONE
        assert isinstance(result.value, int)
        return result.value

    def batch(self, session: int, sequence: int, *commands: bytes, machine: str = "tally", after_ms: int = 0) -> Result:
        data = encode(Batch(session, sequence, machine, list(commands)))
        return self.apply(EntryKind.COMMAND, data, after_ms=after_ms)


def done(*values: bytes) -> list[bytes]:
    return [bytes([Answer.DONE]) + value for value in values]


def invalid(text: str) -> bytes:
    return bytes([Answer.INVALID]) + text.encode()


class AgainstAModel(RuleBasedStateMachine):
    """The obvious twin: lists searched from the front, and a set of all that was ever applied."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node()
        self.now = 0
        self.used: dict[int, int] = {}
        self.order: dict[int, int] = {}
        self.newest: dict[int, tuple[int, Result | None]] = {}
        self.applied: list[bytes] = []

    def _pass(self, ms: int) -> None:
        self.now += ms
        self.used = {number: used for number, used in self.used.items() if used + TTL_MS >= self.now}

    @rule(ms=st.integers(0, TTL_MS))
    def register(self, ms: int) -> None:
        self._pass(ms)
        number = self.node.register(after_ms=ms)
        if len(self.used) == COUNT_MAX:
            oldest = min(self.used, key=lambda each: self.order[each])
            del self.used[oldest]
        self._touch(number)
        self.newest[number] = (0, None)

    def _touch(self, number: int) -> None:
        self.order[number] = self.node.machines.index
        self.used[number] = self.now

    @rule(ms=st.integers(0, TTL_MS + 1), pick=st.integers(0, 5), step=st.integers(-1, 2))
    def batch(self, ms: int, pick: int, step: int) -> None:
        self._pass(ms)
        number = sorted(self.newest)[pick] if pick < len(self.newest) else 999
        sequence, answered = self.newest.get(number, (0, None))
        command = b"%d/%d" % (number, sequence + step)
        result = self.node.batch(number, sequence + step, command, after_ms=ms)
        if number not in self.used:
            assert result.outcome == Outcome.SESSION_EXPIRED
            return
        self._touch(number)
        if step > 0:
            self.applied.append(command)
            assert result == Result(Outcome.DONE, done(b"%d" % len(self.applied)))
            self.newest[number] = (sequence + step, result)
        elif step == 0 and answered is not None:
            assert result == answered
        else:
            assert result.outcome == Outcome.UNKNOWN
        assert len(self.applied) == len(set(self.applied)), "the model itself applied twice"
        assert self.node.tally.seen == dict.fromkeys(self.applied, 1)

    @rule(pick=st.integers(0, 5))
    def end(self, pick: int) -> None:
        number = sorted(self.newest)[pick] if pick < len(self.newest) else 999
        ending = encode(self.node.machines.session_change(number))
        assert self.node.apply(EntryKind.SESSION, ending).outcome == Outcome.DONE
        self.used.pop(number, None)

    @rule(cut=st.integers(1, 50))
    def go_on_from_a_snapshot(self, cut: int) -> None:
        stream = b"".join(self.node.machines.snapshot())
        restored = Node()
        restored.register()
        restored.machines.restore(stream[at : at + cut] for at in range(0, len(stream), cut))
        assert b"".join(restored.machines.snapshot()) == stream
        assert {session.number for session in restored.machines.sessions} == self.used.keys()
        self.node = restored


AgainstAModel.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestAgainstAModel = AgainstAModel.TestCase


def test_a_retry_gets_the_answers_of_the_first_application() -> None:
    node = Node()
    session = node.register()
    first = node.batch(session, 1, b"a", b"b", b"refuse")
    node.batch(node.register(), 1, b"c")
    assert first.value == [*done(b"1", b"2"), invalid("it was refused")]
    assert node.batch(session, 1, b"a", b"b", b"refuse") == first
    assert node.tally.seen == {b"a": 1, b"b": 1, b"c": 1}


def test_a_batch_older_than_the_newest_is_never_applied() -> None:
    node = Node()
    session = node.register()
    node.batch(session, 2, b"new")
    assert node.batch(session, 1, b"old").outcome == Outcome.UNKNOWN
    assert node.tally.seen == {b"new": 1}


def test_a_session_lives_exactly_its_time_to_live() -> None:
    node = Node()
    session = node.register()
    assert node.machines.sessions.next_expiry_ms == TTL_MS
    assert node.batch(session, 1, b"a", after_ms=TTL_MS).outcome == Outcome.DONE
    assert node.batch(session, 2, b"b", after_ms=TTL_MS + 1).outcome == Outcome.SESSION_EXPIRED
    assert node.tally.seen == {b"a": 1}
    assert node.machines.sessions.next_expiry_ms is None


@pytest.mark.parametrize("kind", [EntryKind.TICK, EntryKind.OFFICE])
def test_entries_of_any_kind_carry_time(kind: EntryKind) -> None:
    node = Node()
    node.register()
    node.apply(kind, b"whatever", after_ms=TTL_MS + 1)
    assert len(node.machines.sessions) == 0


def test_the_session_used_least_recently_makes_room() -> None:
    node = Node()
    first, second, third = node.register(), node.register(), node.register()
    node.batch(first, 1, b"a")
    node.register()
    outcomes = [node.batch(session, 2, b"b").outcome for session in (first, second, third)]
    assert outcomes == [Outcome.DONE, Outcome.SESSION_EXPIRED, Outcome.DONE]


def test_a_failure_is_the_same_answer_everywhere_and_stops_nothing() -> None:
    one, other = Node(), Node()
    for node in (one, other):
        session = node.register()
        result = node.batch(session, 1, b"a", b"break", b"b")
        # The exception's own text names an address of memory, which no two nodes share.
        assert result.value == [*done(b"1"), invalid("the machine tally failed: KeyError"), *done(b"2")]
        assert node.failures == ["tally KeyError"]
    assert list(one.machines.snapshot()) == list(other.machines.snapshot())


def test_what_cannot_be_decoded_or_carried_out_is_invalid_and_changes_nothing() -> None:
    node = Node()
    session = node.register()
    batch = [session, 1, "tally", [b"a"], "more"]
    for data in (b"", b"\xc1", encode([1, 0]), encode([1, 1, 0]), encode(batch), b"\x91" * 10_000):
        assert node.apply(EntryKind.COMMAND, data).outcome == Outcome.INVALID
        assert node.apply(EntryKind.SESSION, data).outcome == Outcome.INVALID
    assert node.batch(session, 1, b"a").value == done(b"1"), "the sequence was not used up"


def test_a_command_for_a_machine_that_is_missing_stops_the_node_and_not_the_others() -> None:
    """Others have it, or it would not be in the log: passed over here, it would make the states differ."""
    node = Node()
    session = node.register()
    with pytest.raises(
        ConfigError, match="entry 2 of the log is for the machine 'nobody', which this node does not have"
    ):
        node.batch(session, 1, b"a", machine="nobody")


def test_a_command_learns_where_in_history_it_is() -> None:
    node = Node()
    membership = Membership(voters=("n1", "n2"))
    node.apply(EntryKind.MEMBERSHIP, encode(membership))
    node.apply(EntryKind.NOOP, encode(Ballot("n2", ("n1", "n2"), (), ("n1", "n2"), "timeout", 1, 0)), term=2)
    session = node.register(after_ms=70)
    node.batch(session, 1, b"a", after_ms=7)
    assert node.tally.at == Applied(4, 1, 77, session, "n2", membership)
    restored = Node()
    restored.machines.restore(node.machines.snapshot())
    restored.batch(session, 2, b"b")
    assert restored.tally.at == Applied(5, 1, 77, session, "n2", membership)


def test_an_already_decoded_batch_is_taken_as_it_is() -> None:
    node = Node()
    batch = Batch(node.register(), 1, "tally", [b"a"])
    entry = Entry(1, node.machines.index + 1, EntryKind.COMMAND, 0, b"not looked at")
    assert node.machines.apply(entry, batch=batch).value == done(b"1")


def test_an_entry_out_of_order_is_our_own_mistake() -> None:
    node = Node()
    with pytest.raises(AssertionError, match="entry 2 applied right after 0"):
        node.machines.apply(Entry(1, 2, EntryKind.NOOP, 0, b""))


def test_queries_are_answered_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    node.batch(node.register(), 1, b"a")
    assert node.machines.query("tally", b"a") == done(b"1")[0]
    assert node.machines.query("nobody", b"a") == invalid("no machine 'nobody' is mounted")
    answers = [*done(b"1"), invalid("the machine tally failed: ZeroDivisionError")]
    assert node.machines.query_all("tally", [b"a", b"break"]).value == answers
    monkeypatch.setattr(sessions, "REPLY_BYTES_MAX", 3)
    assert node.machines.query_all("tally", [b"a"] * 3).value == [*done(b"1", b"1"), bytes([Answer.DEFERRED])]


@given(st.data())
def test_a_damaged_snapshot_is_refused(data: st.DataObject) -> None:
    node = Node()
    node.batch(node.register(), 1, b"a")
    stream = b"".join(node.machines.snapshot())
    cut = data.draw(st.integers(0, len(stream) - 1))
    with pytest.raises(StorageError):
        Node().machines.restore([stream[:cut]])
    with pytest.raises(StorageError, match="follow its end"):
        Node().machines.restore([stream, b"x"])


def test_a_snapshot_of_a_machine_that_is_not_mounted_is_refused() -> None:
    stream = list(Node().machines.snapshot())
    with pytest.raises(StorageError, match="'kv', which is not mounted"):
        Machines({"tally": Tally()}).restore(stream)


def test_a_machine_that_the_snapshot_does_not_have_starts_empty() -> None:
    stream = list(Machines({"kv": KeyValueStore()}).snapshot())
    node = Node()
    node.batch(node.register(), 1, b"a")
    node.machines.restore(stream)
    assert node.tally.seen == {}


def test_a_snapshot_is_of_the_moment_it_was_asked_for() -> None:
    node = Node()
    session = node.register()
    node.batch(session, 1, b"a", machine="kv")
    before = list(node.machines.snapshot())
    taken = node.machines.snapshot()
    node.batch(session, 2, b"b", machine="kv", after_ms=5)
    node.register()
    assert list(taken) == before


def test_a_large_snapshot_comes_in_bounded_pieces() -> None:
    node = Node(count_max=1_000)
    for _ in range(600):
        node.batch(node.register(), 1, bytes(2_000))
    pieces = list(node.machines.snapshot())
    assert all(len(piece) <= 256 << 10 for piece in pieces)
    restored = Node(count_max=1_000)
    restored.machines.restore(pieces)
    assert list(restored.machines.snapshot()) == pieces
