"""Random histories of three and five replicas: kills, lost power, pauses, cuts and stalled disks, under clients that retry.

Whatever happens: an acknowledged write stays, none is applied twice, all nodes end with the same state, and (checked by the
cluster at every step) one leader per term, one entry per index, and no promise ahead of the disk.
"""

from collections import Counter
from functools import cache
from random import Random
from typing import NamedTuple

import pytest
from virtual_cluster import Clock, VirtualCluster, VirtualNode

from zraft.errors import StorageError
from zraft.machines.kv.commands import Get, Put, decode_entry, decode_revision, encode
from zraft.requests import Answer, Commands, OpenSession, Outcome, Queries

HISTORY_MS = 15_000
RETRY_MS = 400
POWER = ("lose_all", "keep_all", "sectors", "torn", "zeros")


class Writer:
    """A client with a session of its own, which puts one key after another and retries each until it is acknowledged."""

    def __init__(self, cluster: VirtualCluster, name: str, random: Random) -> None:
        self.cluster, self.name, self.random = cluster, name, random
        self.session: int | None = None
        self.acknowledged: list[tuple[bytes, int]] = []
        """Keys that were acknowledged, and the revision that each got."""
        self.stale: list[str] = []
        """Reads that did not see what had been acknowledged before them."""
        self._sequence = 0
        self._under_way: tuple[int, str] | None = None
        self._expected: bytes | None = None
        self._asked_at = 0.0

    @property
    def key(self) -> bytes:
        return f"{self.name}-{self._sequence}".encode()

    def step(self) -> None:
        """Take an answer if there is one, and ask anew when it is time."""
        if self._under_way is not None:
            id, what = self._under_way
            reply = self.cluster.answer(id)
            if reply is None and self.cluster.now < self._asked_at + RETRY_MS:
                return
            self._under_way = None
            if reply is not None and reply.outcome == Outcome.DONE:
                self._take(what, reply.result)
                return
        self._ask()

    def _take(self, what: str, result: object) -> None:
        assert what == "session" or isinstance(result, list)
        match what:
            case "session":
                self.session = result  # type: ignore[assignment]
            case "put":
                assert result[0][0] == Answer.DONE  # type: ignore[index]
                self.acknowledged.append((self.key, decode_revision(result[0][1:])))  # type: ignore[index]
                self._sequence += 1
            case "get":
                found = decode_entry(result[0][1:])  # type: ignore[index]
                if found is None:
                    self.stale.append(repr(self._expected))

    def _ask(self) -> None:
        running = self.cluster.running
        if not running:
            return
        node = self.random.choice(running)
        self._asked_at = self.cluster.now
        if self.session is None:
            self._under_way = self.cluster.ask(node, OpenSession(0)), "session"
        elif self.acknowledged and self.random.random() < 0.3:
            self._expected = self.random.choice(self.acknowledged)[0]
            self._under_way = self.cluster.ask(node, Queries(0, "kv", [encode(Get(self._expected))])), "get"
        else:
            batch = self.cluster.batch(self.session, Put(self.key, b"v"), sequence=self._sequence + 1)
            self._under_way = self.cluster.ask(node, Commands(0), batch), "put"


class Trouble:
    """Draws a fault now and then, and never lets a majority be away for good."""

    def __init__(self, cluster: VirtualCluster, random: Random) -> None:
        self.cluster, self.random = cluster, random
        self.drawn: Counter[str] = Counter()

    def step(self) -> None:
        node = self.cluster[self.random.choice(self.cluster.ids)]
        fault = self.random.choice(
            [
                "kill",
                "power",
                "start",
                "start",
                "pause",
                "resume",
                "resume",
                "isolate",
                "one-way",
                "heal",
                "heal",
                "stall",
            ]
        )
        self.drawn[fault] += 1
        match fault:
            case "kill" | "power" if node.up:
                node.kill()
                if fault == "power":
                    node.fs = node.fs.after_power_loss(self.random.choice(POWER), self.random.getrandbits(32))
            case "start":
                self.start(node)
            case "pause" if node.up:
                node.paused = True
            case "resume":
                node.paused = False
            case "isolate":
                self.cluster.isolate(node.id)
            case "one-way":
                self.cluster.cut.add((node.id, self.random.choice(self.cluster.ids)))
            case "heal":
                self.cluster.heal()
            case "stall" if node.up:
                node.disk.stalled = not node.disk.stalled

    def start(self, node: VirtualNode) -> None:
        if not node.up:
            node.paused = False
            node.start()

    def end(self) -> None:
        self.cluster.heal()
        for node in self.cluster.nodes.values():
            node.paused = False
            self.start(node)
            node.disk.stalled = False


def history(count: int, seed: int) -> tuple[VirtualCluster, list[Writer], Trouble]:
    """Live through one history, and let it come to rest."""
    random = Random(f"{count} {seed}")
    cluster = VirtualCluster(count, seed).start()
    writers = [Writer(cluster, f"w{number}", random) for number in range(3)]
    trouble = Trouble(cluster, random)
    end = cluster.now + HISTORY_MS
    next_fault = cluster.now + 2_000
    while cluster.now < end:
        cluster.run(random.uniform(1, 30))
        for writer in writers:
            writer.step()
        if cluster.now > next_fault:
            next_fault = cluster.now + random.uniform(50, 1_000)
            trouble.step()
    trouble.end()
    cluster.settled()
    return cluster, writers, trouble


def check(cluster: VirtualCluster, writers: list[Writer]) -> None:
    states = [list(node.machines.store.snapshot()) for node in cluster.nodes.values()]
    assert all(state == states[0] for state in states)
    leader = cluster.led()
    revisions: list[int] = []
    for writer in writers:
        assert writer.stale == []
        for key, revision in writer.acknowledged:
            found = decode_entry(leader.machines.query("kv", encode(Get(key)))[1:])
            assert found is not None, f"{key!r} was acknowledged, and is gone"
            assert (found.version, found.mod_revision) == (1, revision), f"{key!r} was applied again"
            revisions.append(revision)
    assert len(revisions) == len(set(revisions))


class Lived(NamedTuple):
    """What a history that kept every promise was about."""

    drawn: Counter[str]
    acknowledged: int
    term: int


@cache
def lived(count: int, seed: int) -> Lived:
    """Live through one history and check it; a second time would be the same again."""
    cluster, writers, trouble = history(count, seed)
    check(cluster, writers)
    return Lived(trouble.drawn, sum(len(writer.acknowledged) for writer in writers), cluster.led().term)


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("count", [3, 5])
def test_a_random_history_keeps_every_promise(count: int, seed: int) -> None:
    assert sum(lived(count, seed).drawn.values()) > 10


def test_the_histories_are_worth_their_time() -> None:
    """Together they acknowledge many writes, change leaders often and draw every fault."""
    histories = [lived(3, seed) for seed in range(5)]
    assert len({fault for each in histories for fault in each.drawn}) == 9
    assert sum(each.acknowledged for each in histories) > 500
    assert sum(each.term for each in histories) > 10


def test_a_disk_that_fails_takes_its_node_down_and_nobody_else() -> None:
    cluster = VirtualCluster().start()
    leader = cluster.settled()
    leader.disk.failure = StorageError("fdatasync: Input/output error")
    with pytest.raises(StorageError):
        cluster.run(1_000)
    leader.kill()
    other = cluster.led(other_than=leader.id)
    session = cluster.open_session(other)
    assert cluster.answered(cluster.put(other, session, b"k")).outcome == Outcome.DONE


def test_time_passes_only_when_told() -> None:
    cluster = VirtualCluster().start()
    clock = Clock(cluster)
    assert clock.now_ms() == clock.now_ms() == 1_000.0
    cluster.run(5)
    assert clock.now_ms() == 1_005.0
