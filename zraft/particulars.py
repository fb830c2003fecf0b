"""What a node tells at level DEBUG, beside its other lines: particulars of its world, for whoever looks for a fault.

The node's seams are wrapped in something that talks, and only where that level is on: so where it is off, which is
where it matters, all of this costs nothing, not even the question whether it is on.
"""

import importlib.metadata
import platform
from collections.abc import Callable, Iterator

from loguru import logger

from zraft import __version__
from zraft.config import Config
from zraft.machines.sessions import Machines, Result
from zraft.raft import describe
from zraft.raft.messages import (
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryKind, NodeId, Snapshot
from zraft.replica import World
from zraft.requests import Batch, Outcome, Reply
from zraft.seams import DiskNews, Draft, Guard, Network, State, WriteQueue
from zraft.storage.wal import Storage

SLOW_WRITE_MS = 50.0
"""A write that takes longer to be durable is told of."""
_OF_ELECTIONS = PreVote | PreVoteResponse | RequestVote | RequestVoteResponse | TimeoutNow
_REGULAR_ORDERS = frozenset(("ping", "deadline"))
"""What the guard is told all the time."""


def introduce(config: Config, node_id: NodeId, storage: Storage) -> None:
    """Tell what runs here, by which settings, and what it found on its disk."""
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("pyzmq", "msgspec", "loguru"))
    logger.debug(
        "zraft {} on Python {}, {}; {}", __version__, platform.python_version(), libraries, platform.platform()
    )
    origins = ", ".join(f"{key} by {origin}" for key, origin in sorted(config.origins.items()))
    logger.debug("configuration {}{}", config.path, f"; {origins}" if origins else "")
    found = storage.recovered
    last = describe.entry_id(found.entries[-1].id) if found.entries else "none"
    logger.debug(
        "data directory {}, disk_id {}: term {}, voted for {}, {} entries, the last {}; {} bytes of a torn write trimmed",
        *(config.data_directory(node_id), storage.disk_id, found.hard_state.term, found.hard_state.voted_for),
        *(len(found.entries), last, found.trimmed_bytes),
    )


def talkative(world: World) -> World:
    """Return the same world, which tells what goes through it."""
    network, disk = TalkativeNetwork(world.network), TalkativeDisk(world.disk, world.clock.now_ms)
    return World(world.clock, world.random, network, disk, TalkativeGuard(world.guard))


class TalkativeNetwork:
    """Tells of links to peers that come and go, of what is said in elections, and of clients that are refused."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._takes: dict[NodeId, bool] = {}
        """Whether the link to each peer took the last message."""

    def send(self, target: NodeId, message: Message) -> bool:
        """Send."""
        taken = self._network.send(target, message)
        if taken is not self._takes.get(target):
            self._takes[target] = taken
            logger.debug("link to {}: {}", target, "stands" if taken else "none; what is for it is dropped")
        if isinstance(message, _OF_ELECTIONS):
            logger.debug("to {}: {}{}", target, describe.message(message, -1), "" if taken else " (dropped)")
        return taken

    def reply(self, client: bytes, reply: Reply) -> None:
        """Reply."""
        if reply.outcome not in (Outcome.DONE, Outcome.REFUSED):
            logger.debug("client {} is answered {}: {}", client.hex(), Outcome(reply.outcome).name, reply.message)
        self._network.reply(client, reply)


class TalkativeDisk:
    """Tells of writes that take long, and of snapshots as they begin; passes on what else concerns those."""

    def __init__(self, disk: WriteQueue, now_ms: Callable[[], float]) -> None:
        self._disk = disk
        self._now_ms = now_ms
        self._under_way: dict[int, tuple[float, Write]] = {}
        """By id: when each write was handed over."""

    def submit(self, write: Write) -> None:
        """Submit."""
        self._under_way[write.id] = self._now_ms(), write
        self._disk.submit(write)

    def completed(self) -> list[int]:
        """Return what is durable."""
        durable = self._disk.completed()
        for id in durable:
            began, write = self._under_way.pop(id)
            took = self._now_ms() - began
            if took > SLOW_WRITE_MS:
                size = sum(len(entry.data) for entry in write.entries)
                logger.debug("a write of {} entries, {:,} bytes, took {:.0f} ms", len(write.entries), size, took)
        return durable

    def save(self, draft: Draft, state: State) -> None:
        """Save."""
        began = self._now_ms()
        self._disk.save(draft, state)
        took = self._now_ms() - began
        logger.debug("a snapshot of all up to {} is begun: that took {:.1f} ms", describe.entry_id(draft.last), took)

    def receive(self, piece: InstallSnapshot) -> None:
        """Receive."""
        self._disk.receive(piece)

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        """Fetch."""
        self._disk.fetch(target, wanted)

    def news(self) -> list[DiskNews]:
        """Return what has come to an end."""
        return self._disk.news()

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the bytes of a snapshot."""
        return self._disk.pieces(snapshot)


class TalkativeGuard:
    """Tells what the guard is ordered to do."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def tell(self, order: dict[str, object]) -> None:
        """Tell."""
        if order["kind"] not in _REGULAR_ORDERS:
            # Not the environment: whoever reads logs need not learn what scripts are told in confidence.
            shown = (f"{key}={order[key]}" for key in ("event", "seq", "argv", "timeout_ms") if key in order)
            logger.debug("the guard is ordered to {}", " ".join((str(order["kind"]), *shown)))
        self._guard.tell(order)


class TalkativeMachines(Machines):
    """Tells of sessions that begin and end."""

    def apply(self, entry: Entry, *, batch: Batch | None = None) -> Result:
        """Apply."""
        before = len(self.sessions)
        result = super().apply(entry, batch=batch)
        after = len(self.sessions)
        if entry.kind == EntryKind.SESSION and result.value is not None:
            logger.debug("session {} begins; {} are open", result.value, after)
        elif after < before:
            logger.debug("{} sessions have ended or expired; {} are open", before - after, after)
        return result
