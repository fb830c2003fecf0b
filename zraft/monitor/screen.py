"""The terminal: the table above, the newest lines below, redrawn in place; and the terminal as it was, at the end."""

import os
import shutil
import sys
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from zraft.monitor import table
from zraft.monitor.view import Row
from zraft.printable import fit

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The alternate screen; no cursor; no wrapping of lines."""
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_HISTORY_MAX = 500


class Screen:
    """Draws on a terminal; a context manager, so that the terminal is restored whatever happens.

    Parameters
    ----------
    title
        What is being watched.
    colour
        Whether to use colours.
    """

    def __init__(self, title: str, *, colour: bool) -> None:
        self._title = title
        self._colour = colour
        self._lines: deque[str] = deque(maxlen=_HISTORY_MAX)

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        self._write(_LEAVE)

    def add(self, line: str) -> None:
        """Append a line to the stream; shown with the next `draw`."""
        self._lines.append(line)

    def draw(self, rows: Sequence[Row]) -> None:
        """Draw all of it in the size that the terminal has now."""
        size = shutil.get_terminal_size()
        self.show(self.frame(rows, size.columns, size.lines))

    def show(self, picture: Sequence[str]) -> None:
        """Draw a picture that somebody else has made: at least one line, and none too many or too wide."""
        above = "".join(f"{line}{_END_OF_LINE}\r\n" for line in picture[:-1])
        self._write(_HOME + above + picture[-1] + _END_OF_LINE + _BELOW)

    def frame(self, rows: Sequence[Row], columns: int, height: int) -> list[str]:
        """Return the lines of one picture; never more than `height`, none wider than `columns`."""
        colour = self._colour
        title = table.paint(fit(self._title, columns), "header" if colour else "")
        top = [title, *table.lines(rows, colour=colour, width=columns), ""]
        room = max(0, height - len(top))
        newest = list(self._lines)[-room:] if room else []
        return [*top, *(fit(line, columns) for line in newest)][: max(1, height)]

    def _write(self, text: str) -> None:
        # Straight to the descriptor: a frame is one write, and nothing of it is left in a buffer when we stop.
        data = memoryview(text.encode("utf-8", "replace"))
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]
