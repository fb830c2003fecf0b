"""Segments that the log needs no more: a few wait to be used again, since a file that is there is cheaper than a new one."""

from typing import Final

from zraft.seams import FileSystem
from zraft.storage.segments import NextSegment, UnusedFile, segment_name, size_of, standard_size

SPARES_MAX: Final = 4
"""How many wait."""


class Spares:
    """Old segments on their way out, or back in.

    Parameters
    ----------
    fs
        The data directory.
    segment_bytes
        The size of a segment; others are not used again.
    """

    def __init__(self, fs: FileSystem, segment_bytes: int) -> None:
        self._fs = fs
        self._size = standard_size(segment_bytes)
        self._superfluous: list[int] = []
        """Serial numbers, oldest first."""
        self._waiting: list[UnusedFile] = []
        """Under the names of the segments that come after the next one, in order."""

    def retire(self, serial: int) -> None:
        """Take a segment, the oldest of the log; `step` does what is to be done."""
        self._superfluous.append(serial)

    def step(self, next_serial: int) -> bool:
        """Rename one for its next use, behind segment `next_serial`, or remove it; False when there is nothing to do.

        The oldest first, so that what a crash leaves of the log is a whole chain.
        """
        if not self._superfluous:
            return False
        old = segment_name(self._superfluous.pop(0))
        size = size_of(self._fs, old)
        if len(self._waiting) < SPARES_MAX and size == self._size:
            serial = next_serial + 1 + len(self._waiting)
            self._fs.rename(old, segment_name(serial))
            self._waiting.append(UnusedFile(serial, size, zeros=False))
        else:
            self._fs.unlink(old)
        self._fs.sync_directory()
        return True

    def give(self, following: NextSegment) -> None:
        """Let the segment that comes next be an old one, if any waits."""
        if self._waiting:
            following.adopt(self._waiting.pop(0))
