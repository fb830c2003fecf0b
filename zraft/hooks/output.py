"""What a script prints, cut into lines of bounded length and bounded number; pure, standard library alone.

A script must never wait for whoever reads its output, and whoever reads must never drown in it: lines are cut at
`LINE_BYTES_MAX`, and beyond `LINES_PER_S_MAX` (after a first burst) they are dropped and counted.
"""

from typing import NamedTuple

LINE_BYTES_MAX = 8_192
LINES_PER_S_MAX = 1_000
BURST_LINES_MAX = 2_000


class Line(NamedTuple):
    """One line, without its end."""

    text: str
    cut: int
    """How many bytes were cut off its end."""


class Lines:
    """The bytes of one stream, in pieces of any size, as lines."""

    def __init__(self) -> None:
        self._kept = bytearray()
        """The beginning of the line under way, at most `LINE_BYTES_MAX`."""
        self._cut = 0
        """How many bytes of that line were cut off."""

    def feed(self, data: bytes, room: int) -> tuple[list[Line], int]:
        """Take `data`; return the first `room` of the lines that it ends, and how many more were dropped."""
        *pieces, rest = data.split(b"\n", room)
        lines = [self._complete(piece) for piece in pieces]
        # With no room left the remainder may hold more lines; they are counted without being taken apart.
        dropped = rest.count(b"\n")
        if dropped:
            self._forget()
            rest = rest[rest.rindex(b"\n") + 1 :]
        self._keep(rest)
        return lines, dropped

    def last(self) -> list[Line]:
        """Return the line that the stream ended without ending, if there is one."""
        return [self._complete(b"")] if self._kept else []

    def _complete(self, piece: bytes) -> Line:
        self._keep(piece)
        line = Line(self._kept.decode("utf-8", "replace"), self._cut)
        self._forget()
        return line

    def _keep(self, piece: bytes) -> None:
        room = LINE_BYTES_MAX - len(self._kept)
        self._kept += piece[:room]
        self._cut += max(0, len(piece) - room)

    def _forget(self) -> None:
        self._kept.clear()
        self._cut = 0


class Budget:
    """How many lines may pass: `BURST_LINES_MAX` at once, then `LINES_PER_S_MAX`; shared by a script's streams."""

    def __init__(self, now_ms: float) -> None:
        self._left = float(BURST_LINES_MAX)
        """Lines that may pass now; refilled with time."""
        self._at_ms = now_ms
        """When `_left` was last refilled."""

    def left(self, now_ms: float) -> int:
        """Return how many lines may pass now."""
        earned = (now_ms - self._at_ms) * LINES_PER_S_MAX / 1000
        self._left = min(float(BURST_LINES_MAX), self._left + earned)
        self._at_ms = now_ms
        return int(self._left)

    def spend(self, lines: int) -> None:
        """Count `lines` that passed."""
        self._left -= lines
