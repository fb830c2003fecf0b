"""Lines in files of bounded size, of which the newest are kept.

A place in it is a `Cursor`, which stays good while lines are added: who reads on from it misses nothing, unless what was
there has made room in the meantime; then reading goes on with the oldest that there is.
"""

from itertools import pairwise
from typing import NamedTuple

from zraft.seams import File, FileSystem

FILE_BYTES = 1 << 20
FILES_MAX = 16
_SUFFIX = ".jsonl"


class Cursor(NamedTuple):
    """A place between two lines."""

    serial: int = 0
    """Number of the file; 0 stands before everything."""
    offset: int = 0


class Lines(NamedTuple):
    """What one reading gave."""

    lines: list[bytes]
    """Without their newlines, oldest first."""
    cursor: Cursor
    """Behind them."""
    more: bool
    """Whether more was there."""


class Ring:
    """The files of one sort; raises OSError from every method, and goes on afresh after it.

    Parameters
    ----------
    fs
        Their directory, which is theirs alone; made when it is needed.
    name
        What their names begin with.
    file_bytes, files_max
        When a file is full, and how many are kept.
    """

    def __init__(self, fs: FileSystem, name: str, *, file_bytes: int = FILE_BYTES, files_max: int = FILES_MAX) -> None:
        self._fs = fs
        self._name = name
        self._file_bytes = file_bytes
        self._files_max = files_max
        self._serials: list[int] = []
        """Numbers of the files that are there, rising; the last one is being written."""
        self._file: File | None = None
        """The last one; None before the first use, and after a failure."""
        self._size = 0
        """Its size, and where the next line goes."""
        self._has_new_name = False
        """Whether names may have come or gone since the last sync."""

    def append(self, lines: list[bytes]) -> int:
        """Write as many of `lines` as the current file takes, one at least, and return how many that were."""
        try:
            file = self._opened()
            if self._size and self._size + len(lines[0]) + 1 > self._file_bytes:
                file = self._begin()
            count = self._fitting(lines)
            data = b"\n".join([*lines[:count], b""])
            file.pwritev([data], self._size)
        except OSError:
            self.close()
            raise
        self._size += len(data)
        return count

    def sync(self) -> None:
        """Return once all that was written is durable."""
        if self._file is None:
            return
        try:
            self._file.datasync()
            if self._has_new_name:
                self._fs.sync_directory()
                self._has_new_name = False
        except OSError:
            self.close()
            raise

    def read(self, cursor: Cursor, bytes_max: int) -> Lines:
        """Return the lines behind `cursor`, some `bytes_max` of them at most; not more than one file's."""
        if self._file is None and not self._numbers():
            return Lines([], cursor, False)
        self._opened()
        serial, offset = cursor
        if serial not in self._serials or (serial == self._serials[-1] and offset > self._size):
            serial, offset = next((each for each in self._serials if each > serial), self._serials[0]), 0
        data = self._read(serial, offset, bytes_max)
        end = data.rfind(b"\n") + 1
        following = [later for earlier, later in pairwise(self._serials) if earlier == serial]
        if following and len(data) < bytes_max:  # That file's end; what stands behind its last newline is torn.
            return Lines(data[:end].splitlines(), Cursor(following[0]), True)
        offset += end
        return Lines(data[:end].splitlines(), Cursor(serial, offset), bool(following) or offset < self._size)

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _read(self, serial: int, offset: int, bytes_max: int) -> bytes:
        if serial == self._serials[-1]:
            assert self._file is not None, "read from a ring that is not open"
            return self._file.pread(min(bytes_max, self._size - offset), offset)
        file = self._fs.open(self._path(serial))
        try:
            return file.pread(bytes_max, offset)
        finally:
            file.close()

    def _fitting(self, lines: list[bytes]) -> int:
        size, count = self._size, 0
        while count < len(lines) and (count == 0 or size + len(lines[count]) + 1 <= self._file_bytes):
            size += len(lines[count]) + 1
            count += 1
        return count

    def _opened(self) -> File:
        if self._file is not None:
            return self._file
        self._fs.mkdir("")
        self._serials = self._numbers()
        if not self._serials:
            return self._begin()
        file = self._fs.open(self._path(self._serials[-1]))
        try:
            self._size = file.pread(file.size(), 0).rfind(b"\n") + 1
            if file.size() > self._size:
                file.truncate(self._size)
        except OSError:
            file.close()
            raise
        self._file, self._has_new_name = file, True  # Whoever made the file may not have lived to sync its name.
        return file

    def _begin(self) -> File:
        """Begin the next file, and drop the oldest when there are too many."""
        if self._file is not None:
            self._file.datasync()  # Nobody syncs it later.
            self.close()
        serial = self._serials[-1] + 1 if self._serials else 1
        self._file = self._fs.open(self._path(serial), create=True)
        self._serials.append(serial)
        self._size, self._has_new_name = 0, True
        while len(self._serials) > self._files_max:
            self._fs.unlink(self._path(self._serials[0]))
            del self._serials[0]
        return self._file

    def _numbers(self) -> list[int]:
        try:
            names = self._fs.list()
        except FileNotFoundError:
            return []
        found = [name.removeprefix(f"{self._name}-").removesuffix(_SUFFIX) for name in names]
        return sorted(int(each) for each in found if each.isdecimal())

    def _path(self, serial: int) -> str:
        return f"{self._name}-{serial:010}{_SUFFIX}"
