"""What a node tells at level DEBUG, and that it is nobody else's business."""

import random
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from awaiting import eventually
from loguru import logger
from node_rig import NodeRig

from zraft import particulars
from zraft.machines.kv.store import KeyValueStore
from zraft.particulars import TalkativeMachines
from zraft.raft import describe
from zraft.raft.messages import Heartbeat, InstallSnapshot, Message, PreVote
from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, EntryKind, Membership, NodeId, Snapshot
from zraft.replica import World
from zraft.requests import Outcome, Reply, SessionChange
from zraft.seams import DiskNews, Draft, Guard, Network, Saved, State, WriteQueue

Make = Callable[..., NodeRig]
SNAPSHOT = Snapshot(EntryId(1, 7), 0, Membership(("n1",)), 2, bytes(32))


class FakeWorld:
    """All seams in one: what went through them, and what they are to answer."""

    def __init__(self) -> None:
        self.now, self.connected = 0.0, True
        self.through: list[Any] = []
        self.durable: list[int] = []

    def now_ms(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 0

    def send(self, target: NodeId, message: Message) -> bool:
        self.through.append((target, message))
        return self.connected

    def reply(self, client: bytes, reply: Reply) -> None:
        self.through.append((client, reply))

    def submit(self, write: Write) -> None:
        self.through.append(write)

    def completed(self) -> list[int]:
        durable, self.durable = self.durable, []
        return durable

    def save(self, draft: Draft, state: State) -> None:
        self.now += 12.34
        self.through.append((draft, [*state()]))

    def receive(self, piece: InstallSnapshot) -> None:
        self.through.append(piece)

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        self.through.append((target, wanted))

    def news(self) -> list[DiskNews]:
        return [Saved(SNAPSHOT)]

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        yield repr(snapshot).encode()

    def tell(self, order: dict[str, object]) -> None:
        self.through.append(order)


@pytest.fixture
def fake() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def world(fake: FakeWorld) -> World:
    return particulars.talkative(World(fake, random.Random(0), fake, fake, fake))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Collect what is logged meanwhile."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="DEBUG")
    yield found
    logger.remove(sink)


def test_a_link_is_told_of_when_it_comes_and_goes_and_not_in_between(
    world: World, fake: FakeWorld, lines: list[str]
) -> None:
    beat = Heartbeat(1, 0, 1)
    for connected in (False, False, True, True, True, False):
        fake.connected = connected
        assert world.network.send("n2", beat) is connected
    assert lines == [
        "link to n2: none; what is for it is dropped",
        "link to n2: stands",
        "link to n2: none; what is for it is dropped",
    ]
    assert fake.through == [("n2", beat)] * 6


def test_elections_are_told_of_word_by_word(world: World, fake: FakeWorld, lines: list[str]) -> None:
    world.network.send("n2", PreVote(4, EntryId(3, 7), "disk"))
    assert lines == ["link to n2: stands", "to n2: PreVote term=4 last=7@3"]
    assert len(fake.through) == 1


def test_answers_that_say_what_went_wrong_are_told_of(world: World, fake: FakeWorld, lines: list[str]) -> None:
    for outcome in Outcome:
        world.network.reply(b"\x01\x02", Reply(1, outcome, None, None, "why"))
    assert lines == [f"client 0102 is answered {name}: why" for name in ("UNKNOWN", "SESSION_EXPIRED", "INVALID")]
    assert len(fake.through) == len(Outcome)


def test_a_slow_write_is_told_of(world: World, fake: FakeWorld, lines: list[str]) -> None:
    entries = [Entry(1, index, EntryKind.COMMAND, 0, bytes(600)) for index in (1, 2)]
    for id in (1, 2, 3):
        world.disk.submit(Write(id, 1, entries=entries))
    fake.now, fake.durable = particulars.SLOW_WRITE_MS, [1]
    assert world.disk.completed() == [1]
    assert lines == []
    fake.now, fake.durable = 70.4, [2, 3]
    assert world.disk.completed() == [2, 3]
    assert lines == ["a write of 2 entries, 1,200 bytes, took 70 ms"] * 2


def test_what_concerns_snapshots_is_passed_on(world: World, fake: FakeWorld, lines: list[str]) -> None:
    draft = Draft(SNAPSHOT.last, SNAPSHOT.time_ms, SNAPSHOT.membership)
    piece = InstallSnapshot(1, SNAPSHOT, 0, b"ab")
    world.disk.save(draft, lambda: [b"a", b"b"])
    world.disk.receive(piece)
    world.disk.fetch("n2", piece)
    assert fake.through == [(draft, [b"a", b"b"]), piece, ("n2", piece)]
    assert world.disk.news() == [Saved(SNAPSHOT)]
    assert [*world.disk.pieces(SNAPSHOT)] == [repr(SNAPSHOT).encode()]
    assert lines == [f"a snapshot of all up to {describe.entry_id(SNAPSHOT.last)} is begun: that took 12.3 ms"]


@pytest.mark.parametrize(("seam", "name"), [(Network, "network"), (WriteQueue, "disk"), (Guard, "guard")])
def test_whatever_a_seam_can_do_is_there_at_level_debug_too(world: World, seam: type, name: str) -> None:
    does = {each for each in vars(seam) if not each.startswith("_")}
    assert does <= set(dir(getattr(world, name)))
    assert does


def test_orders_to_the_guard_are_told_of_without_what_scripts_are_told_in_confidence(
    world: World, fake: FakeWorld, lines: list[str]
) -> None:
    run = {
        "kind": "run",
        "seq": 3,
        "event": "leader",
        "argv": ["/x", "leader"],
        "env": {"SECRET": "s"},
        "timeout_ms": None,
    }
    orders: list[dict[str, object]] = [run, {"kind": "deadline", "seq": 3, "deadline_ms": 5}, {"kind": "end"}]
    for order in orders:
        world.guard.tell(order)
    assert lines == [
        "the guard is ordered to run event=leader seq=3 argv=['/x', 'leader'] timeout_ms=None",
        "the guard is ordered to end",
    ]
    assert fake.through == orders


def test_sessions_are_told_of(lines: list[str]) -> None:
    machines = TalkativeMachines({"kv": KeyValueStore()}, ttl_ms=1_000)

    def apply(index: int, kind: EntryKind, time_ms: int, change: SessionChange | None = None) -> None:
        machines.apply(Entry(1, index, kind, time_ms, msgspec.msgpack.encode(change) if change else b""))

    apply(1, EntryKind.SESSION, 0, machines.session_change())
    apply(2, EntryKind.SESSION, 500, machines.session_change())
    apply(3, EntryKind.SESSION, 600, machines.session_change(2))
    apply(4, EntryKind.TICK, 1_000)
    apply(5, EntryKind.TICK, 1_001)
    assert lines == [
        "session 1 begins; 1 are open",
        "session 2 begins; 2 are open",
        "1 sessions have ended or expired; 1 are open",
        "1 sessions have ended or expired; 0 are open",
    ]


@pytest.mark.processes
@pytest.mark.parametrize("verbose", [True, False])
def test_a_node_tells_its_particulars_when_it_is_asked_to(rig: Make, verbose: bool) -> None:
    three = rig()
    for id in three.ids:
        three.start(id, *(["-v"] if verbose else []))
    leader = three.settled()
    three.open_session(leader)
    node = three.nodes[leader]
    eventually("its session is there", lambda: three.status(leader)["last_applied"] >= 3)
    node.signal(signal.SIGTERM)
    assert node.ended() == 0
    told = re.findall(r" DEBUG +n\d +\S+ +t\d+ (.*)", node.out.read_text())
    assert bool(told) is verbose
    for text in (
        r"zraft [\d.]+ on Python 3\.",
        r"configuration /.*; log\.level by --log-level",
        r"data directory /.*/n\d, disk_id [0-9a-f]{32}: term 0, voted for None, 0 entries",
        r"link to n\d: stands",
        r"to n\d: RequestVote term=\d+ last=0@0",
        r"session \d+ begins; 1 are open",
    ):
        assert any(re.match(text, line) for line in told) is verbose, text
