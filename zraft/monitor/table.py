"""Rows of text, aligned, and coloured where that is wanted; the table of the monitor and of ``zraft status``."""

from collections.abc import Sequence
from typing import NamedTuple

from zraft.monitor.view import Row
from zraft.printable import fit, one_line

HEADERS = ("NODE", "ROLE", "TERM", "LEADER", "VOTED", "COMMIT", "APPLIED", "LAST", "HEALTHY", "AGE")
_NUMBERS = frozenset(("TERM", "COMMIT", "APPLIED", "LAST", "AGE", "UPTIME", "PID"))
_CELL_MAX, _CELL_NARROW_MAX = 64, 24
"""Longest text of a cell, in columns; the second where the width is limited."""
_BOLD, _GREEN, _RED, _DIM, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


class Line(NamedTuple):
    """One row: its cells, and how it stands out."""

    cells: tuple[str, ...]
    style: str = ""
    """``leader``, ``down``, or nothing."""


def lines(rows: Sequence[Row], *, colour: bool = False, width: int | None = None) -> list[str]:
    """Return the monitor's table, and under it what nodes warn of."""
    warnings = [f"{row.node}: {one_line(warning)}" for row in rows for warning in row.warnings]
    under = [paint(text if width is None else fit(text, width), "down" if colour else "") for text in warnings]
    return [*grid(HEADERS, [_line(row) for row in rows], colour=colour, width=width), *under]


def grid(headers: Sequence[str], rows: Sequence[Line], *, colour: bool = False, width: int | None = None) -> list[str]:
    """Align cells under their headers, numbers to the right; within `width` columns, if it is given."""
    longest = _CELL_MAX if width is None else _CELL_NARROW_MAX
    cells = [tuple(headers), *(tuple(fit(one_line(cell), longest) for cell in row.cells) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    gap = "  " if width is None or sum(widths) + 2 * (len(widths) - 1) <= width else " "
    styles = ["header", *(row.style for row in rows)]
    return [
        paint(_joined(headers, row, widths, gap, width), style if colour else "")
        for row, style in zip(cells, styles, strict=True)
    ]


def paint(text: str, style: str) -> str:
    """Return `text` in the colours of `style`; as it is for an unknown or empty one."""
    codes = {"header": _BOLD, "leader": _GREEN, "down": _RED, "past": _DIM}.get(style)
    return f"{codes}{text}{_PLAIN}" if codes else text


def duration(seconds: float) -> str:
    """Return a short text for a length of time: ``0.4s``, ``12s``, ``5m03s``, ``2h05m``, ``3d04h``."""
    if seconds < 10:  # noqa: PLR2004 - below that, tenths matter
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // 60:02}m"
    return f"{whole // _DAY_S}d{whole % _DAY_S // _HOUR_S:02}h"


def _joined(headers: Sequence[str], row: Sequence[str], widths: Sequence[int], gap: str, width: int | None) -> str:
    padded = (
        f"{cell:>{size}}" if header in _NUMBERS else f"{cell:<{size}}"
        for header, cell, size in zip(headers, row, widths, strict=True)
    )
    text = gap.join(padded).rstrip()
    return text if width is None else fit(text, width)


def _line(row: Row) -> Line:
    role = row.role or ("-" if row.state == "up" else row.state)
    numbers = (row.commit_index, row.last_applied, row.last_index)
    cells = (
        row.node,
        role,
        text_or_dash(row.term),
        text_or_dash(row.leader),
        text_or_dash(row.voted_for),
        *map(text_or_dash, numbers),
        "yes" if row.healthy else "no",
        "-" if row.age_ms is None else duration(row.age_ms / 1_000),
    )
    return Line(cells, "leader" if row.role == "leader" else "" if row.healthy else "down")


def text_or_dash(value: object) -> str:
    """Return the value as text, ``-`` for None."""
    return "-" if value is None else str(value)
