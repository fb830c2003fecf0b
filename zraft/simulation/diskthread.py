"""The thread that writes: the `WriteQueue` seam in virtual time, over the real log on a disk in memory.

What gathers while one sync runs shares the next. The log is written when its sync ends: if everything ends before that,
it is written then, up to some operation in its midst (`interrupt`). So nothing is durable before its time, and no
operation between two is left out.
"""

from collections.abc import Callable
from random import Random

from zraft.errors import StorageError
from zraft.raft.ready import Write
from zraft.simulation.disk import Disk, Ended
from zraft.simulation.durable import Durable
from zraft.simulation.plan import Plan
from zraft.simulation.timeline import STALE, Timeline
from zraft.storage.wal import Storage

PREPARE_STEPS: int = 4
"""Bits of work for the segment to come, after each write."""


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
        self._queue: list[Write] = []
        self._batch: list[Write] = []
        """What is being written; empty when nothing is."""
        self._stalled = False
        self._held = False
        """The sync of `_batch` would have ended, and the disk stalls."""
        self._done: list[int] = []
        self._ended = False

    # -- the seam ------------------------------------------------------------------------------------------------------

    def submit(self, write: Write) -> None:
        """Queue `write`; one that is not for the disk and has nothing to wait for is durable at once."""
        idle = not self._batch and not self._queue
        if idle and not write.touches_disk:
            self._done.append(write.id)
            return
        self._queue.append(write)
        if not idle or self.failure is not None:
            return
        brisk = not self._stalled and not self.slowness_ms and self._random.random() < self._plan.brisk
        self._begin()
        if brisk:
            self._write()
        else:
            delay = self._random.expovariate(1 / (self._plan.sync_ms + self.slowness_ms))
            self._timeline.after(delay, self._finish)

    def completed(self) -> list[int]:
        """Return the ids durable since the last call; raises `StorageError` from the first failure on."""
        if self.failure is not None:
            raise self.failure
        done, self._done = self._done, []
        return done

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
        """End in the midst of what is being written, and return that: it may be on the disk, whole, or not at all."""
        self._ended = True
        batch, self._batch = self._batch, []
        if not batch or self.failure is not None or self._random.random() < 0.3:  # noqa: PLR2004 - before its first operation
            return batch
        self._disk.end_at = self._random.choice((0, 1, 1, 2, 2, 3, 5, 8))
        try:
            self._storage.write(batch)
        except (Ended, StorageError):
            return batch
        finally:
            self._disk.end_at = -1
        return batch

    # -- writing -------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._batch, self._queue = self._queue, []

    def _finish(self) -> object:
        if self._ended or self.failure is not None:
            return STALE
        if self._stalled:
            self._held = True
            return STALE
        self._write()
        self._ring()
        if self._queue and self.failure is None:
            self._begin()
            delay = self._random.expovariate(1 / (self._plan.sync_ms + self.slowness_ms))
            self._timeline.after(delay, self._finish)
        return None

    def _write(self) -> None:
        try:
            self._storage.write(self._batch)
            self._durable.written(self._batch)
            self._done += [write.id for write in self._batch]
            self._batch = []
            for _ in range(PREPARE_STEPS):
                if not self._storage.prepare():
                    break
        except StorageError as error:
            self.failure = error
            self._ring()
