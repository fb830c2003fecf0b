"""How a formation is shown: as a table, and drawn from above."""

from collections.abc import Sequence

from zraft.client.escort import Formation, March, Point, Position
from zraft.machines.escort.plane import PLACE_UNITS_MAX
from zraft.monitor.table import Line, grid
from zraft.printable import fit

_SIDE = 2 * PLACE_UNITS_MAX
"""The window, in units: the leader in its middle, and every place there can be within it."""
_COLUMNS_MAX, _ROWS_MAX, _ROWS_MIN = _SIDE + 1, _SIDE // 2 + 1, 5
"""At most a column for each unit, and a row for two, since characters are twice as high as wide."""
_GROUND_EVERY = 10
"""Units between two dots of the ground, by which one sees that the formation moves."""
_LEADER = "leader"
_MARKS = {_LEADER: "@", "follower": "o", "learner": "+"}
_GOAL, _GROUND = "x", "."


def head_of(positions: Sequence[Position]) -> Point | None:
    """Return where the leader is; None when no member leads."""
    return next((each.position for each in positions if each.role == _LEADER), None)


def shown(point: Point | None) -> str:
    """Return a position as text, ``[100, -0.5]``; ``-`` for none."""
    return "-" if point is None else f"[{point[0]}, {point[1]}]"


def table(formation: Formation, *, colour: bool) -> list[str]:
    """Return a line for each member, and under them how the newest march stands."""
    rows = [
        Line((each.node, each.role, shown(each.position)), _LEADER if each.role == _LEADER else "")
        for each in formation.positions
    ]
    lines = grid(("NODE", "ROLE", "POSITION"), rows, colour=colour)
    return lines if formation.march is None else [*lines, march_line(formation.march)]


def march_line(march: March) -> str:
    """Return how a march stands, on one line."""
    where = f"march {march.number} to {shown(march.goal)}"
    if march.arrived:
        return f"{where}: arrived after {march.steps} steps"
    return f"{where}: {march.steps} steps taken, one every {march.every_ms} ms"


def picture(title: str, formation: Formation, columns: int, height: int, *, colour: bool) -> list[str]:
    """Return the whole screen: title, plane and table; never more than `height` lines, none wider than `columns`."""
    below = table(formation, colour=colour)
    rows = min(_ROWS_MAX, height - len(below) - 1)
    plane = draw(formation, min(columns, _COLUMNS_MAX), rows) if rows >= _ROWS_MIN else []
    return [fit(title, columns), *plane, *(line if colour else fit(line, columns) for line in below)][: max(1, height)]


def draw(formation: Formation, columns: int, rows: int) -> list[str]:
    """Draw the plane around the leader: ``@`` is the leader, ``o`` a follower, ``+`` a learner, ``x`` the goal."""
    canvas = _Canvas(head_of(formation.positions) or (0, 0), columns, rows)
    canvas.ground()
    if formation.march is not None and not formation.march.arrived:
        canvas.put(formation.march.goal, _GOAL)
    for each in sorted(formation.positions, key=lambda each: each.role == _LEADER):  # The leader last, on top.
        if each.position is not None:
            canvas.put(each.position, _MARKS.get(each.role, "?"), each.node)
    return canvas.lines()


class _Canvas:
    """Characters over a window of the plane, whose middle is `centre`."""

    def __init__(self, centre: Point, columns: int, rows: int) -> None:
        self._left, self._top = centre[0] - PLACE_UNITS_MAX, centre[1] + PLACE_UNITS_MAX
        self._cells = [[" "] * columns for _ in range(rows)]

    def ground(self) -> None:
        first_x, first_y = -(-self._left // _GROUND_EVERY), self._top // _GROUND_EVERY
        for x in range(int(first_x), int(first_x) + _SIDE // _GROUND_EVERY + 1):
            for y in range(int(first_y), int(first_y) - _SIDE // _GROUND_EVERY - 1, -1):
                self.put((x * _GROUND_EVERY, y * _GROUND_EVERY), _GROUND)

    def put(self, where: Point, mark: str, name: str = "") -> None:
        """Put a mark, and a name beside it; nothing where that is outside the window."""
        across, down = (where[0] - self._left) / _SIDE, (self._top - where[1]) / _SIDE
        if not (0 <= across <= 1 and 0 <= down <= 1):
            return
        line = self._cells[round(down * (len(self._cells) - 1))]
        column = round(across * (len(line) - 1))
        begin = column + 2 if column + 2 + len(name) <= len(line) else column - 1 - len(name)
        for at, character in enumerate(name, begin):
            if 0 <= at < len(line):
                line[at] = character
        line[column] = mark

    def lines(self) -> list[str]:
        return ["".join(line).rstrip() for line in self._cells]
