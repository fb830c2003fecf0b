"""The real disk: the FileSystem seam on the operating system."""

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from zraft.seams import File

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
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

    Parameters
    ----------
    root
        The directory.
    writable
        Whether files are opened for writing too; without, whoever may read the directory can, and nothing changes in it.
    """

    def __init__(self, root: Path, *, writable: bool = True) -> None:
        self._root = root
        self._access = os.O_RDWR if writable else os.O_RDONLY
        self._locks: dict[str, int] = {}
        """Descriptors that hold a lock, by path; closing one would give it up."""

    def __str__(self) -> str:
        return str(self._root)

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing; with `create` it must not exist yet."""
        full = self._path(path)
        return OsFile(os.open(full, self._access | _FLAGS | (os.O_CREAT | os.O_EXCL if create else 0), 0o600), full)

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
