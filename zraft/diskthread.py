"""The thread that writes, so that no loop need wait for a disk.

A node that waited for its own sync would miss heartbeats whenever the disk is slow. So writes are handed to a thread;
what gathers while one sync runs shares the next; and an eventfd wakes the loop's poller when ids are durable. Snapshots come
and go there too, between two writes; but one of the node's own is written by a process of its own (`snapshotchild`), which the
thread takes it over from.
"""

import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Protocol

from zraft import hugepages
from zraft.errors import StorageError
from zraft.raft.messages import InstallSnapshot
from zraft.raft.ready import Write
from zraft.raft.types import NodeId, Snapshot
from zraft.seams import DiskNews, Draft, State, Unsaved
from zraft.snapshotchild import SnapshotChild
from zraft.storage.slots import SETTLE_MS
from zraft.storage.snapshots import SnapshotFiles

AWAIT_MS = 1.0
"""How long the loop waits for a small write, if the last one took less."""
SMALL_BYTES_MAX = 4_096
"""What a write may bring to be awaited; behind more, other work is better done meanwhile."""

Job = Callable[[], None]


class Store(Protocol):
    """What the thread drives: `zraft.storage.Storage`."""

    snapshots: SnapshotFiles
    """For the child to write by; whatever else concerns snapshots goes through the methods here."""

    def write(self, writes: Sequence[Write], /) -> None:
        """Make all that it is given durable, or raise."""

    def prepare(self) -> bool:
        """Do a bit of work between writes, and return whether more is left."""

    @property
    def is_settled(self) -> bool:
        """Whether the slots tell of all that is durable."""

    def settle(self) -> None:
        """Have the slots tell of the last write, since no other has come for a while."""

    def keep(self, draft: Draft, failure: Unsaved | Exception | None) -> None:
        """Take over, or remove, the snapshot that the child has written; raises what must stop the node."""

    def receive(self, piece: InstallSnapshot) -> None:
        """Take a piece of the leader's snapshot."""

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        """Read a piece of a snapshot."""

    def take_news(self) -> list[DiskNews]:
        """Return what has come to an end since the last call."""

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the bytes of a snapshot that is there; safe in another thread."""


class DiskThread:
    """The WriteQueue seam: a thread that makes writes durable in their order, and a descriptor that tells of it.

    Parameters
    ----------
    store
        What it drives. `prepare` is called after each write, and for as long as nothing else waits.
    now_ms
        The clock of `oldest_pending_ms`.
    """

    def __init__(
        self,
        store: Store,
        now_ms: Callable[[], float] | None = None,
    ) -> None:
        self._store = store
        self._now_ms = now_ms or _boot_ms
        self._queue: SimpleQueue[Write | Job | None] = SimpleQueue()
        """Writes and other jobs on their way to the thread; None tells it to end."""
        self._pending: deque[tuple[int, float]] = deque()
        """Id and time of each write that is not durable yet; filled by the loop, emptied by the thread."""
        self._durable: deque[int] = deque()
        """Ids that the loop has not heard of; filled by the thread, emptied by the loop."""
        self._news: deque[DiskNews] = deque()
        """Of snapshots, that the loop has not heard; filled by the thread, emptied by the loop."""
        self._brisk = False
        """The last write took less than AWAIT_MS."""
        self._awaited = False
        """The loop sleeps in `submit`; set by it, cleared by whoever is first."""
        self._landed = Lock()
        """Released by the thread when what is awaited is durable."""
        self._landed.acquire()
        self._failure: StorageError | None = None
        """The first failure, set by the thread; nothing becomes durable after it."""
        self._told = False
        """The descriptor was written; set by the thread just after that, cleared by the loop just before it is read."""
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._child: tuple[Draft, SnapshotChild] | None = None
        """Who writes a snapshot; the loop's alone."""
        self._ready = select.epoll()
        """Readable when the eventfd is, or when the child has ended: so the loop has one descriptor to look at."""
        self._ready.register(self._fd, select.EPOLLIN)
        self._thread = Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable while `completed` or `news` has something to tell."""
        return self._ready.fileno()

    def submit(self, write: Write) -> None:
        """Queue `write`; one that is not for the disk and has nothing to wait for is durable at once.

        A small write to a disk that is idle and brisk is awaited, for a millisecond at most: to sleep until it is done
        costs less than to turn the loop once more for it, and the thread need not contend for the interpreter.
        """
        if not self._pending and not write.touches_disk:
            self._durable.append(write.id)
            self._ring()
            return
        awaited = self._brisk and not self._pending and _is_small(write)
        if awaited:
            self._landed.acquire(blocking=False)  # Takes back what came too late for the last one who waited.
            self._awaited = True
        self._pending.append((write.id, self._now_ms()))
        self._queue.put(write)
        if awaited:
            self._landed.acquire(timeout=AWAIT_MS / 1_000)
            self._awaited = False

    def completed(self) -> list[int]:
        """Return the ids durable since the last call, in order.

        Raises
        ------
        StorageError
            The disk has failed; from then on at every call.
        """
        self._raise_failure()  # Before the descriptor is read, so that it stays readable: nobody sleeps on a failure.
        if self._told:
            self._told = False
            with suppress(BlockingIOError):  # It may have been read between a writing and the note of it.
                os.eventfd_read(self._fd)
        self._raise_failure()  # It may have been what the descriptor told of.
        return [self._durable.popleft() for _ in range(len(self._durable))]

    def save(self, draft: Draft, state: State) -> None:
        """Fork a process that writes a snapshot of the state as it is now; only the main thread may."""
        assert self._child is None, "two snapshots at a time"
        try:
            child = SnapshotChild(lambda: self._store.snapshots.write(draft, state()))
        except OSError as error:
            self._news.append(Unsaved(f"no process can be made for it: {error.strerror}"))
            self._ring()
            return
        self._child = draft, child
        self._ready.register(child.fileno(), select.EPOLLIN)

    def receive(self, piece: InstallSnapshot) -> None:
        """Take a piece of the leader's snapshot, behind the writes submitted before."""
        self._queue.put(lambda: self._store.receive(piece))

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        """Read a piece of a snapshot for a follower."""
        self._queue.put(lambda: self._store.fetch(target, wanted))

    def news(self) -> list[DiskNews]:
        """Return what has come to an end since the last call; to be asked whenever `completed` is."""
        if self._child is not None and self._child[1].has_ended():
            self._take_over(*self._child)
        return [self._news.popleft() for _ in range(len(self._news))]

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the bytes of a snapshot that is here, read by whoever asks."""
        return self._store.pieces(snapshot)

    def oldest_pending_ms(self, now_ms: float) -> float:
        """Return how long the oldest write that is not durable has been waiting; 0 when there is none."""
        try:
            return max(0.0, now_ms - self._pending[0][1])
        except IndexError:  # Asking for the length first would race with the thread.
            return 0.0

    def close(self) -> None:
        """Finish what was submitted, unless the disk has failed, and end the thread; a snapshot's child is killed."""
        if self._child is not None:
            self._child[1].close()
            self._child = None
        self._queue.put(None)
        self._thread.join()
        self._ready.close()
        os.close(self._fd)

    def _take_over(self, draft: Draft, child: SnapshotChild) -> None:
        """Let the thread see to what the child has left: behind all writes that were submitted before it ended."""
        self._child = None
        self._ready.unregister(child.fileno())
        failure = child.outcome()
        child.close()
        hugepages.begin()  # For the next one.
        self._queue.put(lambda: self._store.keep(draft, failure))

    def _run(self) -> None:
        try:
            while (work := self._next_work()) is not None:
                batch, job = work
                if batch:
                    began = self._now_ms()
                    self._store.write(batch)
                    self._brisk = self._now_ms() - began < AWAIT_MS
                    self._tell(batch)
                if job is not None:
                    job()
                self._tell_news()
            self._store.settle()
        except Exception as error:  # noqa: BLE001 - the loop must hear of anything that ends this thread, and it raises it.
            failed = error if isinstance(error, StorageError) else StorageError(f"the disk thread failed: {error!r}")
            failed.__cause__ = error if failed is not error else error.__cause__
            self._failure = failed
            self._ring()

    def _next_work(self) -> tuple[list[Write], Job | None] | None:
        """Wait for a write and take all that wait with it, up to some other job; None when it is time to end."""
        queue = self._queue
        batch: list[Write] = []
        while self._store.prepare() and queue.empty():
            self._tell_news()  # A step after each write at least, so that under constant load the work gets done too.
        self._tell_news()
        while (item := self._wait()) is not None:
            if not isinstance(item, Write):
                return batch, item
            batch.append(item)
            if queue.empty():
                return batch, None
        if batch:
            queue.put(None)  # For the next time.
        return (batch, None) if batch else None

    def _wait(self) -> Write | Job | None:
        """Return the next thing to do; while there is none for long enough, have the last write told of."""
        if not self._store.is_settled:
            with suppress(Empty):
                return self._queue.get(timeout=SETTLE_MS / 1_000)
            self._store.settle()
        return self._queue.get()

    def _tell_news(self) -> None:
        """Tell the loop what has become of snapshots."""
        news = self._store.take_news()
        if news:
            self._news.extend(news)
            self._ring()

    def _tell(self, batch: list[Write]) -> None:
        """Tell the loop that `batch` is durable."""
        for write in batch:
            self._durable.append(write.id)
            self._pending.popleft()  # Only now: to `submit`, an empty `_pending` means that all ids are told.
        if self._awaited:
            self._awaited = False
            self._landed.release()  # Whoever waited looks at what has landed, and needs no bell.
        else:
            self._ring()

    def _ring(self) -> None:
        os.eventfd_write(self._fd, 1)
        self._told = True

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise StorageError(str(self._failure)) from self._failure


def _is_small(write: Write) -> bool:
    return sum(len(entry.data) for entry in write.entries) <= SMALL_BYTES_MAX


def _boot_ms() -> float:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6
