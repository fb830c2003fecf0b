"""The seams of a virtual node: a clock that stands still, links that obey, and a disk that finishes when it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from zraft.errors import StorageError
from zraft.raft.messages import (
    AppendEntriesResponse,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from zraft.raft.ready import Write
from zraft.raft.types import HardState, Index, NodeId, Snapshot
from zraft.requests import Reply
from zraft.seams import DiskNews, Draft, State
from zraft.storage.wal import Storage

if TYPE_CHECKING:
    from virtual_cluster import VirtualCluster, VirtualNode

CLUSTER_ID = 0xC0FFEE
MESSAGE_MS = 1.0
SYNC_MS = 2.0


class Packet(NamedTuple):
    """A message under way."""

    due: float
    source: NodeId
    target: NodeId
    frames: list[bytes]


class Clock:
    """The clock seam of one node."""

    def __init__(self, cluster: VirtualCluster) -> None:
        self._cluster = cluster

    def now_ms(self) -> float:
        return self._cluster.now

    def wall_ms(self) -> int:
        return 0


class Link:
    """The network seam of one node."""

    def __init__(self, node: VirtualNode) -> None:
        self._node = node

    def send(self, target: NodeId, message: Message) -> bool:
        node, cluster = self._node, self._node.cluster
        node.disk.check_promise(target, message)
        node.effects.append(("send", target, message))
        if (node.id, target) in cluster.refused:
            return False
        cluster.network.append(Packet(cluster.now + MESSAGE_MS, node.id, target, node.codec.encode(message)))
        return True

    def reply(self, client: bytes, reply: Reply) -> None:
        self._node.effects.append(("reply", client, reply))
        self._node.cluster.take_answer(self._node.codec.encode(reply))


class Disk:
    """The write queue of one node: the real log, written when a sync would have ended.

    Attributes
    ----------
    stalled : bool
        Nothing becomes durable until it is False again.
    failure : StorageError or None
        What every later call raises.
    """

    def __init__(self, node: VirtualNode, storage: Storage) -> None:
        self._node = node
        self.storage = storage
        self.stalled = False
        self.failure: StorageError | None = None
        self.hard_state: HardState = storage.recovered.hard_state
        self.last_index: Index = (
            storage.recovered.entries[-1].index if storage.recovered.entries else storage.recovered.base.index
        )
        self._queue: list[Write | Callable[[], None]] = []
        self._synced_at: float | None = None
        self._durable: list[int] = []
        self._news: list[DiskNews] = []

    def save(self, draft: Draft, state: State) -> None:
        self._node.effects.append(("save", draft))
        pieces = state()
        self._put(lambda: self.storage.save(draft, pieces))

    def receive(self, piece: InstallSnapshot) -> None:
        self._node.effects.append(("receive", piece))
        self._put(lambda: self.storage.receive(piece))

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        self._put(lambda: self.storage.fetch(target, wanted))

    def news(self) -> list[DiskNews]:
        news, self._news = self._news, []
        return news

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        return self.storage.pieces(snapshot)

    def submit(self, write: Write) -> None:
        self._node.effects.append(("submit", write))
        if not self._queue and not write.touches_disk:
            self._durable.append(write.id)
            return
        self._put(write)

    def _put(self, job: Write | Callable[[], None]) -> None:
        self._queue.append(job)
        if self._synced_at is None:
            self._synced_at = self._node.cluster.now + SYNC_MS

    def completed(self) -> list[int]:
        if self.failure is not None:
            raise self.failure
        durable, self._durable = self._durable, []
        return durable

    @property
    def due(self) -> float | None:
        """When it has something to tell."""
        if self._durable or self._news or self.failure:
            return self._node.cluster.now
        return None if self.stalled else self._synced_at

    def sync(self) -> None:
        """Make everything queued durable, if the time has come."""
        if self.stalled or self._synced_at is None or self._synced_at > self._node.cluster.now:
            return
        self._synced_at = None
        queue, self._queue = self._queue, []
        for job in queue:
            if isinstance(job, Write):
                self._write(job)
            else:
                job()
        while self.storage.prepare():
            pass
        self._news += self.storage.take_news()

    def _write(self, *batch: Write) -> None:
        self.storage.write(batch)
        for write in batch:
            self.hard_state = write.hard_state or self.hard_state
            if write.truncate_from is not None:
                self.last_index = write.truncate_from - 1
            if write.begins_after is not None:
                self.last_index = max(self.last_index, write.begins_after.last.index)
            if write.entries:
                self.last_index = write.entries[-1].index
            self._durable.append(write.id)

    def check_promise(self, target: NodeId, message: Message) -> None:
        """Assert that whatever `message` promises is durable here (paper figure 2)."""
        durable = self.hard_state
        match message:
            case PreVote() | PreVoteResponse(granted=True):
                return  # They speak of a term that nobody has taken.
            case RequestVote():
                assert durable == HardState(message.term, self._node.id), f"asks for votes beyond {durable}: {message}"
            case RequestVoteResponse(granted=True):
                assert durable == HardState(message.term, target), f"grants beyond {durable}: {message}"
            case AppendEntriesResponse(success=True):
                assert message.match_index <= self.last_index, f"acknowledges beyond {self.last_index}: {message}"
        assert message.term <= durable.term, f"bears a term beyond {durable}: {message}"


class ListGuard:
    """The guard seam: keeps the orders."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []

    def tell(self, order: dict[str, object]) -> None:
        self.orders.append(order)

    @property
    def told(self) -> list[str]:
        """What was ordered, by event; ``end`` where a script is only to end."""
        return [order.get("event", order["kind"]) for order in self.orders]
