"""The real disk: the FileSystem seam on the operating system, and the thread that writes so that no loop need wait.

A node that waited for its own sync would miss heartbeats whenever the disk is slow. So writes are handed to a thread;
what gathers while one sync runs shares the next; and an eventfd wakes the loop's poller when ids are durable.
"""

import errno
import fcntl
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread

from zraft.errors import StorageError
from zraft.raft.ready import Write
from zraft.seams import File

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
AWAIT_MS = 1.0
"""How long the loop waits for a small write, if the last one took less."""
SMALL_BYTES_MAX = 4_096
"""What a write may bring to be awaited; behind more, other work is better done meanwhile."""
_BUFFERS_MAX = 1_024
"""IOV_MAX of Linux: what one pwritev takes."""


class OsFile:
    """The File seam on a descriptor. What the system refuses is raised as OSError with the file's path."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def pread(self, size: int, offset: int) -> bytes:
        """Read up to `size` bytes; fewer only at the end of the file."""
        try:
            data = os.pread(self._fd, size, offset)
            if len(data) == size or not data:
                return data
            parts = [data]  # The kernel reads at most 2 GiB at a time, and may read less.
            while data and (missing := size - sum(map(len, parts))):
                data = os.pread(self._fd, missing, offset + size - missing)
                parts.append(data)
            return b"".join(parts)
        except OSError as error:
            raise self._named(error) from None

    def pwritev(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        """Write all of `buffers`; what the system leaves over is written by further calls."""
        try:
            rest = [memoryview(buffer) for buffer in buffers]
            while rest:
                written = os.pwritev(self._fd, rest[:_BUFFERS_MAX], offset)
                if written == 0 and any(rest[:_BUFFERS_MAX]):
                    raise OSError(errno.EIO, "the system wrote nothing")
                offset += written
                rest = _behind(rest, written)
        except OSError as error:
            raise self._named(error) from None

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros to `size`."""
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise self._named(error) from None

    def datasync(self) -> None:
        """Return once the data, and the size, are durable."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._named(error) from None

    def size(self) -> int:
        """Return the current size."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Release the descriptor; does nothing the second time."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _named(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror, self._path)


class OsFileSystem:
    """The FileSystem seam on the directory `root`; ``str()`` gives the path for messages.

    Files are made with mode 0600, directories with 0700; symbolic links below the root are not followed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[str, int] = {}
        """Descriptors that hold a lock, by path; closing one would give it up."""

    def __str__(self) -> str:
        return str(self._root)

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing; with `create` it must not exist yet."""
        full = self._path(path)
        return OsFile(os.open(full, os.O_RDWR | _FLAGS | (os.O_CREAT | os.O_EXCL if create else 0), 0o600), full)

    def list(self, path: str = "") -> list[str]:
        """Names in a directory, sorted."""
        return sorted(os.listdir(self._path(path)))

    def exists(self, path: str) -> bool:
        """Whether the name exists."""
        return os.path.lexists(self._path(path))

    def mkdir(self, path: str) -> None:
        """Make a directory unless it exists; the root itself with all above it, durably."""
        full = Path(self._path(path))
        if path:
            _make_directory(full)
            return
        for directory in [*reversed(full.absolute().parents), full.absolute()]:
            if not directory.exists():
                _make_directory(directory)
                _sync_directory(str(directory.parent))
        if not full.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(full))

    def rename(self, source: str, target: str) -> None:
        """Atomically replace `target`; durable once the directory is synced."""
        os.replace(self._path(source), self._path(target))

    def unlink(self, path: str) -> None:
        """Remove a file; durable once the directory is synced."""
        os.unlink(self._path(path))

    def sync_directory(self, path: str = "") -> None:
        """Return once creations, renames and removals in the directory are durable."""
        _sync_directory(self._path(path))

    def lock(self, path: str) -> bool:
        """Take this file's lock, creating it and leaving our process id in it; False when somebody else holds it."""
        if path in self._locks:
            return True
        full = self._path(path)
        fd = os.open(full, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, os.pwrite(fd, str(os.getpid()).encode(), 0))
        except OSError as error:
            os.close(fd)
            if isinstance(error, BlockingIOError):
                return False
            raise OSError(error.errno, error.strerror, full) from None
        self._locks[path] = fd
        return True

    def close(self) -> None:
        """Give up the locks; for a process that goes on. Any other gives them up by ending."""
        while self._locks:
            os.close(self._locks.popitem()[1])

    def _path(self, path: str) -> str:
        parts = path.split("/") if path else []
        assert all(part not in ("", ".", "..") for part in parts), f"not a path within a data directory: {path!r}"
        return os.path.join(self._root, *parts)


class DiskThread:
    """The WriteQueue seam: a thread that makes writes durable in their order, and an eventfd that tells of it.

    Parameters
    ----------
    write
        `Storage.write`: makes all that it is given durable, or raises.
    prepare
        `Storage.prepare`: does a bit of work for the writes to come, and returns whether more is left. Called after
        each write, and for as long as nothing else waits.
    now_ms
        The clock of `oldest_pending_ms`.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Write]], None],
        prepare: Callable[[], bool] | None = None,
        now_ms: Callable[[], float] | None = None,
    ) -> None:
        self._write = write
        self._prepare = prepare
        self._now_ms = now_ms or _boot_ms
        self._queue: SimpleQueue[Write | None] = SimpleQueue()
        """Writes on their way to the thread; None tells it to end."""
        self._pending: deque[tuple[int, float]] = deque()
        """Id and time of each write that is not durable yet; filled by the loop, emptied by the thread."""
        self._durable: deque[int] = deque()
        """Ids that the loop has not heard of; filled by the thread, emptied by the loop."""
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
        self._thread = Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable while `completed` has something to tell."""
        return self._fd

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

    def oldest_pending_ms(self, now_ms: float) -> float:
        """Return how long the oldest write that is not durable has been waiting; 0 when there is none."""
        try:
            return max(0.0, now_ms - self._pending[0][1])
        except IndexError:  # Asking for the length first would race with the thread.
            return 0.0

    def close(self) -> None:
        """Finish what was submitted, unless the disk has failed, and end the thread."""
        self._queue.put(None)
        self._thread.join()
        os.close(self._fd)

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                began = self._now_ms()
                self._write(batch)
                self._brisk = self._now_ms() - began < AWAIT_MS
                self._tell(batch)
        except Exception as error:  # noqa: BLE001 - the loop must hear of anything that ends this thread, and it raises it.
            failed = error if isinstance(error, StorageError) else StorageError(f"the disk thread failed: {error!r}")
            failed.__cause__ = error if failed is not error else error.__cause__
            self._failure = failed
            self._ring()

    def _next_batch(self) -> list[Write] | None:
        """Wait for a write and take all that wait with it; None when it is time to end."""
        queue, batch = self._queue, []
        while self._prepare is not None and self._prepare() and queue.empty():
            pass  # A step after each write at least, so that under constant load the work gets done too.
        while (write := queue.get()) is not None:
            batch.append(write)
            if queue.empty():
                return batch
        if batch:
            queue.put(None)  # For the next time.
        return batch or None

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


def _behind(buffers: Sequence[memoryview], count: int) -> list[memoryview]:
    """Return what is left of `buffers` behind the first `count` bytes."""
    rest: list[memoryview] = []
    for buffer in buffers:
        if count < len(buffer):
            rest.append(buffer[count:])
        count = max(0, count - len(buffer))
    return rest


def _make_directory(path: Path) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def _boot_ms() -> float:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6
