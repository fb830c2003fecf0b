"""The files of a log: their names, and the next one, made ahead of its use."""

import re
from typing import Final, NamedTuple

from zraft.errors import ConfigError
from zraft.raft.types import Index
from zraft.seams import File, FileSystem
from zraft.storage.header import BLOCK_BYTES, SECTOR_BYTES

LOCK_NAME: Final = "lock"
STEP_BYTES: Final = 256 << 10
"""How much of the next segment is filled and synced at a time: about a millisecond that a write may have to wait."""


_NAME = re.compile(r"([0-9]{16,20})\.wal")
_ZEROS = bytes(STEP_BYTES)


def segment_name(serial: int) -> str:
    """Return the file name of segment `serial`."""
    return f"{serial:016d}.wal"


def serial_of(name: str) -> int | None:
    """Return the serial number that a file name stands for; None when it is no segment's."""
    match = _NAME.fullmatch(name)
    serial = int(match[1]) if match else 0
    return serial if serial and segment_name(serial) == name else None


def cut(fs: FileSystem, serial: int, end: int) -> None:
    """Give back what a segment that is no longer in use has made ahead."""
    file = fs.open(segment_name(serial))
    try:
        if file.size() > end:
            file.truncate(end)
            file.datasync()
    finally:
        file.close()


def standard_size(segment_bytes: int) -> int:
    """Return how big a segment is that no single turn has made bigger: it has room for one turn at least."""
    return max(segment_bytes, BLOCK_BYTES + SECTOR_BYTES)


def size_of(fs: FileSystem, name: str) -> int:
    """Return the size of a file."""
    file = fs.open(name)
    try:
        return file.size()
    finally:
        file.close()


class SegmentStart(NamedTuple):
    """Where in the log a segment begins.

    The entry of index i that counts lies in the newest segment whose `first_index` is at most i: a truncation lowers
    the `first_index` of the segment that records it.
    """

    serial: int
    first_index: Index


class UnusedFile(NamedTuple):
    """A segment file that holds nothing that counts."""

    serial: int
    size: int
    zeros: bool
    """It holds nothing but zeros."""


class NextSegment:
    """The segment that comes after the one in use, made in steps so that no write waits long for it.

    Parameters
    ----------
    fs
        The data directory.
    serial
        Its serial number, above that of every file there.
    segment_bytes
        Its size, of which the first block and one turn are the least.
    """

    def __init__(self, fs: FileSystem, serial: int, segment_bytes: int) -> None:
        self.serial = serial
        self.name = segment_name(serial)
        self.size = standard_size(segment_bytes)
        """How big it will be; more when it is an old file."""
        self.recycled = False
        """It is an old file that holds more than zeros."""
        self._fs = fs
        self._file: File | None = None
        """Open from the first step on."""
        self._filled = 0
        """How much of it is made already."""
        self._named = False
        """Its name is durable; only then may anything that counts be written to it."""

    def adopt(self, file: UnusedFile) -> None:
        """Take a file that is there already and not in use, instead of making one; what it lacks is added."""
        assert self._file is None, "a file has been made already"
        if file.serial != self.serial:
            self._fs.rename(segment_name(file.serial), self.name)
        self._file = self._fs.open(self.name)
        self._filled = file.size
        self.size = max(self.size, file.size)
        self.recycled = not file.zeros

    def step(self) -> bool:
        """Do the next bit of work; True while there is more to do."""
        if self._named:
            return False
        if self._file is None:
            self._file = self._fs.open(self.name, create=True)
        if self._filled < self.size:
            count = min(STEP_BYTES, self.size - self._filled)
            self._file.pwritev([memoryview(_ZEROS)[:count]], self._filled)
            self._file.datasync()
            self._filled += count
            return True
        self._fs.sync_directory()
        self._named = True
        return False

    def finish(self) -> File:
        """Do whatever is left, and hand the file over, empty and ready."""
        while not self._named:
            self.step()
        assert self._file is not None, "a segment with a name and without a file"
        file, self._file = self._file, None
        return file

    def close(self) -> None:
        """Let go of the file, however far it is; the next opening of the log takes or removes it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def take(fs: FileSystem) -> None:
    """Lock the data directory for this process, or say who has it."""
    if fs.lock(LOCK_NAME):
        return
    file = fs.open(LOCK_NAME)
    try:
        holder = file.pread(20, 0).decode("ascii", "replace").strip()
    finally:
        file.close()
    raise ConfigError(
        f"data directory {fs} is in use by another process{f' (pid {holder})' if holder else ''}; stop that one, or"
        " give this node a directory of its own (storage.directory)"
    )
