"""All that every node mounts, and the sessions: a snapshot at any point of any log, restored, goes on as the log does.

Whoever leads, and whoever replays, has options of its own: none of them decides what an entry does.
"""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft.machines.catalog import commands as catalog
from zraft.machines.escort import commands as escort
from zraft.machines.kv import commands as kv
from zraft.machines.mounts import mounted
from zraft.machines.sessions import Machines, Result
from zraft.raft.types import Ballot, Cause, Entry, EntryKind, Membership
from zraft.requests import Batch

encode = msgspec.msgpack.encode
TTL_MS, COUNT_MAX, BYTES_MAX = 200, 3, 30


class Options(NamedTuple):
    """What a node's configuration says about its machines."""

    ttl_ms: int = TTL_MS
    count_max: int = COUNT_MAX
    key_bytes_max: int = 10
    value_bytes_max: int = 10


USUAL = Options()
OPTIONS = st.builds(
    Options, st.sampled_from([5, TTL_MS, 10_000]), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)
)
NODES = ("n1", "n2", "n3")
FEW = st.integers(1, 3)
KEYS = st.sampled_from([b"a", b"b", b"cc"])
KV = st.one_of(
    st.builds(kv.Put, KEYS, st.binary(max_size=2)),
    st.builds(kv.Delete, KEYS),
    st.builds(kv.CompareAndSet, KEYS, st.none() | st.binary(max_size=1) | st.integers(1, 9), st.binary(max_size=1)),
).map(kv.encode)
CATALOG = st.one_of(
    st.builds(catalog.RegisterBroker, FEW, st.just("host"), FEW),
    st.builds(catalog.RegisterTopic, st.sampled_from(["s", "t"])),
    st.builds(catalog.Delete, st.builds(catalog.BrokerKey, FEW)),
).map(catalog.encode)
ESCORT = st.one_of(
    st.builds(escort.Move, st.tuples(FEW, FEW)),
    st.builds(escort.March, st.tuples(FEW, FEW), FEW),
).map(escort.encode)
COMMANDS = st.one_of(
    *(st.tuples(st.just(machine), st.lists(commands, min_size=1, max_size=3))
      for machine, commands in (("kv", KV), ("catalog", CATALOG), ("escort", ESCORT))),
    st.tuples(st.sampled_from(["kv", "catalog", "escort", "history"]), st.just([b"\xc1"])),
)  # fmt: skip


class Log:
    """Entries one behind the other, as a leader makes them; the state shows what is due, as it does to a leader."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.machines = blank(USUAL)
        self.results: list[Result] = []
        self.snapshots: list[bytes] = [b"".join(self.machines.snapshot())]
        self.term = 1
        self.now = 0
        self.sequences: dict[int, int] = {}
        self.random = Random(1)

    def append(self, kind: EntryKind, data: bytes) -> Result:
        entry = Entry(self.term, len(self.entries) + 1, kind, self.now, data)
        self.entries.append(entry)
        self.results.append(self.machines.apply(entry))
        self.snapshots.append(b"".join(self.machines.snapshot()))
        return self.results[-1]

    def elect(self, leader: str, ms: int) -> None:
        self.term += 1
        self.now += ms
        ballot = Ballot(leader, NODES[:2], NODES[2:], NODES, Cause.TIMEOUT, ms, self.term)
        self.append(EntryKind.NOOP, encode(ballot))

    def elect_another(self, options: Options) -> None:
        """Let a node lead that has the same state, and other options."""
        chunks = self.machines.snapshot()
        self.machines = blank(options)
        self.machines.restore(chunks)
        self.elect("n3", 1)

    def join(self, count: int) -> None:
        self.append(EntryKind.MEMBERSHIP, encode(Membership(NODES[:count], disk_ids={"n1": "d"})))

    def open(self, ms: int) -> None:
        self.now += ms
        number = self.append(EntryKind.SESSION, encode(self.machines.session_change())).value
        assert isinstance(number, int)
        self.sequences[number] = 0

    def end(self, pick: int) -> None:
        self.append(EntryKind.SESSION, encode(self.machines.session_change(self.session(pick))))

    def ask(self, pick: int, step: int, asked: tuple[str, list[bytes]]) -> None:
        session = self.session(pick)
        sequence = self.sequences.get(session, 0) + step
        self.sequences[session] = max(sequence, self.sequences.get(session, 0))
        self.append(EntryKind.COMMAND, encode(Batch(session, max(0, sequence), *asked)))

    def errands(self) -> None:
        for name in self.machines.proactive:
            errand = self.machines.errand(name, self.random)
            if errand is not None:
                self.now = max(self.now, errand.due_ms)
                self.append(EntryKind.COMMAND, encode(Batch(0, 0, name, [errand.command])))

    def tick(self, ms: int) -> None:
        self.now += ms
        self.append(EntryKind.TICK, b"")

    def session(self, pick: int) -> int:
        known = sorted(self.sequences)
        return known[-pick] if pick <= len(known) else 10_000


def blank(options: Options) -> Machines:
    machines = mounted(key_bytes_max=options.key_bytes_max, value_bytes_max=options.value_bytes_max)
    return Machines(machines, ttl_ms=options.ttl_ms, count_max=options.count_max, answers_bytes_max=BYTES_MAX)


MS = st.sampled_from([0, 1, 20, 20, TTL_MS])
PICKS, STEPS = st.sampled_from([1, 1, 2, 3]), st.sampled_from([1, 1, 1, 1, 0, 2, -1])
DEEDS: st.SearchStrategy[Callable[[Log], Any]] = st.one_of(
    st.builds(lambda leader, ms: lambda log: log.elect(leader, ms), st.sampled_from(NODES), MS),
    st.builds(lambda options: lambda log: log.elect_another(options), OPTIONS),
    st.builds(lambda count: lambda log: log.join(count), st.integers(1, 3)),
    st.builds(lambda ms: lambda log: log.open(ms), MS),
    st.builds(lambda pick: lambda log: log.end(pick), PICKS),
    st.builds(lambda ms: lambda log: log.tick(ms), MS),
    st.just(Log.errands),
    *[st.builds(lambda pick, step, asked: lambda log: log.ask(pick, step, asked), PICKS, STEPS, COMMANDS)] * 8,
)


@settings(max_examples=300, deadline=None)
@given(
    deeds=st.lists(DEEDS, min_size=20, max_size=60),
    cut=st.integers(0, 40),
    piece=st.integers(1, 300),
    options=st.just(USUAL) | OPTIONS,
)
def test_a_snapshot_at_any_point_and_the_rest_of_the_log_are_the_whole_log(
    deeds: list[Callable[[Log], Any]], cut: int, piece: int, options: Options
) -> None:
    log = begun()
    for deed in deeds:
        deed(log)
    cut = min(cut, len(log.entries))
    restored = other(options).machines
    stream = log.snapshots[cut]
    restored.restore(stream[at : at + piece] for at in range(0, len(stream), piece))
    assert b"".join(restored.snapshot()) == stream
    for entry in log.entries[cut:]:
        assert restored.apply(entry) == log.results[entry.index - 1]
        assert b"".join(restored.snapshot()) == log.snapshots[entry.index]
    for name in {*restored.proactive} - {"kv"}:  # Of all machines, it alone wants what its own options say.
        assert restored.errand(name, Random(2)) == log.machines.errand(name, Random(2))


def begun(options: Options = USUAL) -> Log:
    log = Log()
    log.machines = blank(options)
    log.elect("n1", 0)
    log.join(3)
    log.open(0)
    return log


def other(options: Options = USUAL) -> Log:
    """Return a log in which there is something of everything, which a snapshot of another is to take the place of."""
    log = begun(options)
    log.ask(1, 1, ("kv", [kv.encode(kv.Put(b"a", b"1"))]))
    log.ask(1, 1, ("catalog", [catalog.encode(catalog.RegisterTopic("s")), catalog.encode(catalog.RegisterTopic("t"))]))
    log.ask(1, 1, ("escort", [escort.encode(escort.March((1, 1), 1))]))
    log.errands()
    return log


def test_a_replay_of_the_whole_log_is_the_same_in_every_byte() -> None:
    log = other()
    replayed = blank(USUAL)
    assert [replayed.apply(entry) for entry in log.entries] == log.results
    assert b"".join(replayed.snapshot()) == log.snapshots[-1]
    assert {name for name in ("kv", "catalog", "escort", "history") if name.encode() in log.snapshots[-1]} == {
        *mounted(key_bytes_max=1, value_bytes_max=1)
    }, "every machine is in the snapshot"


def eventful(options: Options) -> Log:
    """Return a log of a leader with these options, in which each of them decides something under those of `OTHERS`."""
    log = begun(options)
    log.errands()
    log.ask(1, 1, ("kv", [kv.encode(kv.Put(b"long", b"1")), kv.encode(kv.Put(b"a", b"long"))]))
    log.open(50)
    log.tick(100)
    log.ask(2, 1, ("kv", [kv.encode(kv.Put(b"b", b"1"))]))
    log.ask(1, 1, ("kv", [kv.encode(kv.CompareAndSet(b"long", b"1", b"longer"))]))
    log.ask(1, 1, ("kv", [kv.encode(kv.Put(b"c", b"1"))]))
    return log


OTHERS = {
    "sessions.ttl_ms": Options(ttl_ms=20),
    "sessions.count_max": Options(count_max=1),
    "limits.key_bytes_max": Options(key_bytes_max=3),
    "limits.value_bytes_max": Options(value_bytes_max=3),
}


@pytest.mark.parametrize("option", OTHERS)
def test_no_option_changes_what_an_entry_that_is_in_the_log_does(option: str) -> None:
    others = OTHERS[option]
    for proposed, replayed in ((USUAL, others), (others, USUAL)):
        log = eventful(proposed)
        later = blank(replayed)
        for entry in log.entries:
            assert later.apply(entry) == log.results[entry.index - 1]
            assert b"".join(later.snapshot()) == log.snapshots[entry.index]
    assert eventful(USUAL).snapshots[-1] != eventful(others).snapshots[-1], f"{option} decides nothing in this log"


@pytest.mark.parametrize("option", OTHERS)
def test_an_option_takes_effect_once_a_leader_that_has_it_puts_it_into_the_log(option: str) -> None:
    log = eventful(USUAL)
    log.elect_another(OTHERS[option])
    log.errands()
    log.open(0)
    sessions, store = log.machines.sessions, log.machines._machines["kv"]
    assert (sessions.ttl_ms, sessions.count_max, *limits(store)) == OTHERS[option]


def limits(store: Any) -> tuple[int, int]:
    return store.limits.key_bytes_max, store.limits.value_bytes_max
