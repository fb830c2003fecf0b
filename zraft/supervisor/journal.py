"""Reading the log files of several nodes as one, and following them as they grow, are renamed and begin anew."""

import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from zraft.raft.types import NodeId

FOLLOW_S = 0.1
"""How often growing files are looked at: there is no event for it in the standard library."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?")
_HEAD = 200
"""Where in a line its time stands, at the latest."""


class Line(NamedTuple):
    """One line of one log."""

    time: str
    """As text that sorts; that of the line before for a line that has none, like those of a traceback."""
    node: NodeId
    text: str


class LogFile:
    """The log of one node, read from the beginning and onwards; may not exist yet.

    Parameters
    ----------
    node_id
        Whose it is.
    path
        The file.
    """

    def __init__(self, node_id: NodeId, path: Path) -> None:
        self._node_id = node_id
        self._path = path
        self._file: BinaryIO | None = None
        """The file that is being read; still this one when another has taken its name, until its end is read."""
        self._rest = b""
        """The line that has not ended yet."""
        self._time = ""
        """Of the newest line that had one."""

    def before(self) -> list[Line]:
        """Return what was set aside when the file grew too large; to be called first, if at all."""
        try:
            data = self._path.with_name(self._path.name + ".1").read_bytes()
        except FileNotFoundError:
            return []
        return self._lines(data)

    def read(self) -> list[Line]:
        """Return the lines that are new since the last call."""
        if self._file is None and not self._open():
            return []
        assert self._file is not None, "opened above"
        data = self._file.read()
        if not self._replaced():
            return self._lines(data)
        data += self._file.read()
        self._file.close()
        found = self._lines(data)
        return found + self._lines(self._file.read()) if self._open() else found

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None
            return False
        return True

    def _replaced(self) -> bool:
        """Whether another file has taken the name, or this one was cut short."""
        assert self._file is not None, "nothing is being read"
        here = os.fstat(self._file.fileno())
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(here, there) or here.st_size < self._file.tell()

    def _lines(self, data: bytes) -> list[Line]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [self._line(line.decode("utf-8", "replace")) for line in whole]

    def _line(self, text: str) -> Line:
        found = _TIME.search(text[:_HEAD])
        if found:
            self._time = found[0].replace(" ", "T").replace(",", ".")
        return Line(self._time, self._node_id, text)


def merged(lines: Iterable[Line]) -> list[Line]:
    """Return the lines in the order of their times; those of one node stay in the order in which they are."""
    return sorted(lines, key=lambda line: line.time)


def recorded(files: Iterable[LogFile], tail: int | None) -> list[Line]:
    """Return what is in the logs: all of it, or the last `tail` lines of each."""
    found: list[Line] = []
    for file in files:
        lines = file.before() + file.read()
        found += lines if tail is None else lines[max(0, len(lines) - tail) :]
    return merged(found)


def followed(files: Iterable[LogFile]) -> Iterator[Line]:
    """Yield new lines for ever, in the order of their times as far as they come together."""
    files = list(files)
    while True:
        yield from merged(line for file in files for line in file.read())
        time.sleep(FOLLOW_S)
