"""The thread that writes: the `WriteQueue` seam in virtual time, over the real log on a disk in memory.

What gathers while one sync runs shares the next. The log is written when its sync ends: if everything ends before that,
it is written then, up to some operation in its midst (`interrupt`). So nothing is durable before its time, and no
operation between two is left out.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

from zraft.errors import StorageError
from zraft.raft.messages import InstallSnapshot
from zraft.raft.ready import Write
from zraft.raft.types import NodeId, Snapshot
from zraft.seams import DiskNews, Draft, State
from zraft.simulation.disk import Disk, Ended
from zraft.simulation.durable import Durable
from zraft.simulation.plan import Plan
from zraft.simulation.timeline import STALE, Timeline
from zraft.storage.slots import SETTLE_MS
from zraft.storage.wal import Storage

Job = Callable[[], None]
PREPARE_STEPS: int = 4
"""Bits of work for times to come, after each write."""
BEFORE = 0.3
"""How often what is being done ends before its first operation."""


class DiskThread:
    """One process's writes.

    Parameters
    ----------
    storage, disk, durable
        The log, what it lies on, and what is known to be there.
    timeline, plan, random
        When syncs end.
    ring
        Called when `completed` has something to tell.

    Attributes
    ----------
    failure : StorageError or None
        What every call of `completed` raises from the first failure on.
    """

    def __init__(
        self,
        storage: Storage,
        disk: Disk,
        durable: Durable,
        *,
        timeline: Timeline,
        plan: Plan,
        random: Random,
        ring: Callable[[], None],
    ) -> None:
        self.failure: StorageError | None = None
        self.slowness_ms = 0.0
        """What each sync takes besides, on average."""
        self._storage, self._disk, self._durable = storage, disk, durable
        self._timeline = timeline
        self._plan = plan
        self._random = random
        self._ring = ring
        self._queue: list[Write | Job] = []
        self._batch: list[Write] = []
        """What is being written."""
        self._under_way = False
        """Whether something is being done; it ends in `_finish`."""
        self._news: list[DiskNews] = []
        self._stalled = False
        self._held = False
        """The sync of `_batch` would have ended, and the disk stalls."""
        self._done: list[int] = []
        self._written_at = 0.0
        """When the last write ended."""
        self._settling = False
        """A look is planned at whether the last write has been told of."""
        self._ended = False

    # -- the seam ------------------------------------------------------------------------------------------------------

    def submit(self, write: Write) -> None:
        """Queue `write`; one that is not for the disk and has nothing to wait for is durable at once."""
        idle = not self._under_way and not self._queue
        if idle and not write.touches_disk:
            self._done.append(write.id)
            return
        self._queue.append(write)
        if not idle or self.failure is not None:
            return
        brisk = not self._stalled and not self.slowness_ms and self._random.random() < self._plan.brisk
        self._begin()
        if brisk:
            if self._write():
                self._begin_later()
            self._settle_later()
        else:
            self._timeline.after(self._delay_ms, self._finish)

    def completed(self) -> list[int]:
        """Return the ids durable since the last call; raises `StorageError` from the first failure on."""
        if self.failure is not None:
            raise self.failure
        done, self._done = self._done, []
        return done

    def save(self, draft: Draft, state: State) -> None:
        """Write a snapshot of the node's own, between writes: a piece at a time, where the real thread has a child for it."""
        pieces = state()
        self._ask(lambda: self._storage.save(draft, pieces))

    def receive(self, piece: InstallSnapshot) -> None:
        """Take a piece of the leader's snapshot."""
        self._ask(lambda: self._storage.receive(piece))

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        """Read a piece of a snapshot for a follower."""
        self._ask(lambda: self._storage.fetch(target, wanted))

    def news(self) -> list[DiskNews]:
        """Return what has become of snapshots since the last call."""
        news, self._news = self._news, []
        return news

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the bytes of a snapshot that is here."""
        return self._storage.pieces(snapshot)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being done, and slots tell of all that is durable."""
        return not self._under_way and not self._queue and self._storage.is_settled

    def _ask(self, job: Job) -> None:
        idle = not self._under_way and not self._queue
        self._queue.append(job)
        if idle and self.failure is None:
            self._begin_later()

    # -- trouble -------------------------------------------------------------------------------------------------------

    def stall(self) -> Callable[[], None]:
        """Let no sync return from now on, and return what ends that."""
        self._stalled = True

        def go_on() -> None:
            self._stalled = False
            if self._held:
                self._held = False
                self._finish()

        return go_on

    def interrupt(self) -> list[Write]:
        """End in the midst of what is being done, and return what is being written: whole on the disk then, or not at all."""
        self._ended = True
        batch, self._batch = self._batch, []
        if not self._under_way or self.failure is not None or self._random.random() < BEFORE:
            return batch
        self._disk.end_at = self._random.choice((0, 1, 1, 2, 2, 3, 5, 8))
        with suppress(Ended, StorageError):
            self._storage.write(batch)
            self._do_jobs()
            self._prepare()
        self._disk.end_at = -1
        return batch

    # -- writing -------------------------------------------------------------------------------------------------------

    @property
    def _delay_ms(self) -> float:
        return self._random.expovariate(1 / (self._plan.sync_ms + self.slowness_ms))

    def _begin(self) -> None:
        """Take the writes that wait, up to some other job."""
        count = next((at for at, job in enumerate(self._queue) if not isinstance(job, Write)), len(self._queue))
        self._batch = [job for job in self._queue[:count] if isinstance(job, Write)]
        del self._queue[:count]
        self._under_way = True

    def _begin_later(self) -> None:
        self._begin()
        self._timeline.after(self._delay_ms, self._finish)

    def _finish(self) -> object:
        if self._ended or self.failure is not None:
            return STALE
        if self._stalled:
            self._held = True
            return STALE
        more = self._write()
        self._ring()
        self._settle_later()
        if (self._queue or more) and self.failure is None:
            self._begin_later()
        return None

    def _settle_later(self) -> None:
        """Have the last write told of, once no other has come for a while."""
        if not self._settling and not self._storage.is_settled:
            self._settling = True
            self._timeline.at(self._written_at + SETTLE_MS, self._settle)

    def _settle(self) -> object:
        self._settling = False
        if self._ended or self.failure is not None or self._storage.is_settled:
            return STALE
        if self._timeline.now < self._written_at + SETTLE_MS:
            self._settle_later()
            return STALE
        self._ask(self._storage.settle)
        return None

    def _write(self) -> bool:
        """Do what is to be done now; True when more work for times to come is left."""
        self._under_way = more = False
        try:
            if self._batch:
                self._storage.write(self._batch)
                self._durable.written(self._batch)
                self._written_at = self._timeline.now
                self._done += [write.id for write in self._batch]
                self._batch = []
            self._do_jobs()
            more = self._prepare()
            self._news += self._storage.take_news()
        except StorageError as error:
            self.failure = error
            self._ring()
        return more

    def _do_jobs(self) -> None:
        """Do what waits beside writes, up to the next write."""
        while self._queue and not isinstance(job := self._queue[0], Write):
            del self._queue[0]
            job()

    def _prepare(self) -> bool:
        """Do some work for times to come; True when more is left."""
        return all(self._storage.prepare() for _ in range(PREPARE_STEPS))
