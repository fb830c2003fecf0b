"""What was acknowledged stays, and nothing happens twice: leaders die while clients write, and then all nodes at once."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

import pytest
from promises_rig import LIMIT_S, NODES, Cluster, Led, Worker, figures, size, wait_for

from zraft import Client
from zraft.errors import OutcomeUnknown, Unavailable
from zraft.machines.kv.commands import KeyValue

pytestmark = [pytest.mark.processes, pytest.mark.timeout(LIMIT_S)]

KEYS, KILLS = size((1_500, 2), (10_000, 3))
"""At least so many keys are written; and as many more as it takes until the last kill is over."""
WRITERS, UNDER_WAY, PUTS_PER_S = 6, 2, 250
"""Clients that have so many puts unanswered most of the time: whenever a leader dies, it leaves commands half done."""
HASTE_S = 0.3
"""How long the hasty writer waits for each put: less than an election takes, so that some end without an answer."""
COUNTER = "counter"


class Record:
    """What clients were told of each key that they wrote once; any thread adds to it."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        """Key to the revision that was returned."""
        self.unknown: set[str] = set()
        self.refused: set[str] = set()
        """Keys of which it was said that nothing happened."""

    def has(self, count: int) -> bool:
        """Whether so many keys are acknowledged."""
        return len(self.acknowledged) >= count

    def settle(self, key: str, future: "Future[int]") -> None:
        """Note how the put of `key` ended."""
        error = future.exception()
        if error is None:
            self.acknowledged[key] = future.result()
        elif isinstance(error, OutcomeUnknown):
            self.unknown.add(key)
        else:
            assert isinstance(error, Unavailable), error
            self.refused.add(key)


def value_of(key: str) -> bytes:
    return f"what was written under {key}".encode()


class Async:
    """A client's worth of puts, with up to `UNDER_WAY` of them unanswered."""

    def __init__(self, client: Client, name: str, record: Record) -> None:
        self._client, self._name, self._record = client, name, record
        self._room = threading.BoundedSemaphore(UNDER_WAY)
        self._next_at = 0.0
        self.count = 0

    def step(self) -> None:
        """Put one more key, once there is room, and not too soon after the last."""
        time.sleep(max(0.0, self._next_at - time.monotonic()))  # The pace of the load.
        self._next_at = time.monotonic() + 1 / PUTS_PER_S
        assert self._room.acquire(timeout=60), "no answer for a minute"
        self.count += 1
        key = f"{self._name}/{self.count:06}"
        self._client.kv.submit_put(key, value_of(key)).add_done_callback(partial(self._settle, key))

    def _settle(self, key: str, future: "Future[int]") -> None:
        self._record.settle(key, future)
        self._room.release()

    def finish(self) -> None:
        """Wait until all are answered."""
        for _ in range(UNDER_WAY):
            assert self._room.acquire(timeout=60), "no answer for a minute"


class Sync:
    """A thread's worth of puts, one after the other: a fresh key, then the counter, and so on."""

    def __init__(self, client: Client, name: str, record: Record) -> None:
        self._client, self._name, self._record = client, name, record
        self._count = 0
        self.bumped = 0
        """Acknowledged puts of the counter."""
        self.maybe = 0
        """Puts of the counter whose outcome is unknown."""

    def step(self) -> None:
        """Put both once."""
        self._count += 1
        key = f"{self._name}/{self._count:06}"
        future = self._client.kv.submit_put(key, value_of(key))
        future.exception()
        self._record.settle(key, future)
        try:
            self._client.kv.put(f"{self._name}/{COUNTER}", b"")
            self.bumped += 1
        except OutcomeUnknown:
            self.maybe += 1
        except Unavailable:
            return  # Nothing happened.


def kill_leaders(cluster: Cluster, record: Record) -> Iterator[float]:
    """Kill whoever leads, each time a part of the keys is acknowledged; give the seconds until there was another."""
    led = cluster.whole()
    for number in range(KILLS):
        goal = KEYS * (number + 1) // (KILLS + 1)
        wait_for(f"{goal} keys are acknowledged", partial(record.has, goal), 60)
        rows = cluster.processes()
        led = max(Led(node, row["term"]) for node, row in rows.items() if row["role"] == "leader")
        cluster.kill(led.node)
        began = time.monotonic()
        cluster.led(after=led)
        yield time.monotonic() - began
    cluster.whole()


def test_acknowledged_writes_survive_dead_leaders_and_a_dead_cluster(cluster: Cluster):
    cluster.up()
    record = Record()
    with ExitStack() as clients:
        opened = [clients.enter_context(cluster.client()) for _ in range(WRITERS + 1)]
        hasty = clients.enter_context(cluster.client(HASTE_S))
        writers = [Async(client, f"async{number}", record) for number, client in enumerate(opened[1:])]
        syncs = [Sync(opened[0], "sync", record), Sync(hasty, "hasty", record)]
        with ExitStack() as workers:
            for step in [writer.step for writer in writers] + [sync.step for sync in syncs]:
                workers.enter_context(Worker(step))
            elections = list(kill_leaders(cluster, record))
            wait_for(f"{KEYS} keys are acknowledged", partial(record.has, KEYS), 60)
        for writer in writers:
            writer.finish()
        entries = check(opened[0], record, syncs)
    patient = {key for key in record.refused | record.unknown if not key.startswith("hasty/")}
    assert not patient, "a client gave up long before its time"
    back = [*all_killed(cluster, entries)]
    figures(
        "3 writes",
        f"{len(record.acknowledged):,} keys acknowledged ({len(record.unknown)} unknown, {len(record.refused)} refused) over"
        f" {KILLS} SIGKILLs of the leader (another led after {', '.join(f'{s:.2f}' for s in elections)} s): each there with its"
        f" value, none twice; the same after all nodes were killed (served again after {', '.join(f'{s:.2f}' for s in back)} s)",
    )


def check(client: Client, record: Record, syncs: list[Sync]) -> list[KeyValue]:
    """Check that the store holds what was acknowledged, and nothing twice; return its entries."""
    last = client.kv.put("last", b"")
    entries = client.kv.list()
    held = {entry.key.decode(): entry for entry in entries}
    for key, revision in record.acknowledged.items():
        assert held[key] == KeyValue(key.encode(), value_of(key), revision, revision, 1), key
    assert not record.refused & held.keys(), "what was refused has happened"
    counters = [f"{name}/{COUNTER}" for name in ("sync", "hasty")]
    for name, sync in zip(counters, syncs, strict=True):
        assert sync.bumped <= held[name].version <= sync.bumped + sync.maybe, name
    fresh = held.keys() - set(counters) - {"last"}
    assert fresh <= record.acknowledged.keys() | record.unknown
    assert {held[key].version for key in fresh} == {1}
    assert sum(entry.version for entry in entries) == last, "the store counted more commands, or less, than took effect"
    return entries


def all_killed(cluster: Cluster, entries: list[KeyValue]) -> Iterator[float]:
    """Kill all nodes, and at full size all that there is, and check that nothing is lost; give the seconds it took."""
    began = time.monotonic()
    cluster.kill()
    yield same(cluster, entries, began)
    assert cluster.whole().node in NODES
    if size(False, True):
        cluster.place.clear()
        cluster.place.gone(5)
        began = time.monotonic()
        cluster.up()
        yield same(cluster, entries, began)


def same(cluster: Cluster, entries: list[KeyValue], began: float) -> float:
    with cluster.client() as client:
        assert client.kv.list() == entries
    return time.monotonic() - began
