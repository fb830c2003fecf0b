"""The plane that the escort moves over: integer arithmetic, and nothing else."""

import re
from decimal import Decimal, InvalidOperation
from math import isqrt

from zraft.errors import InvalidRequest

SCALE = 1_000
"""What a unit has of the whole numbers that positions are made of."""
LIMIT = 1_000_000 * SCALE
"""How far the head may get from [0, 0], left, right, up or down."""
STEP = 1 * SCALE
"""The longest step of a march."""
PLACE_UNITS_MAX = 50
"""How far from the head the others are, in units, left or right of it, and before or behind."""

Vector = tuple[int, int]
"""A position or a difference of two, in thousandths of a unit."""
Number = int | float | str | Decimal
"""A coordinate as people give it, in units."""

_FINEST = Decimal(1) / SCALE
_PLAIN = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
"""A number as text: digits of ASCII, and nothing that Python alone takes for one."""


def add(one: Vector, other: Vector) -> Vector:
    """Return the sum."""
    return one[0] + other[0], one[1] + other[1]


def subtract(one: Vector, other: Vector) -> Vector:
    """Return what leads from `other` to `one`."""
    return one[0] - other[0], one[1] - other[1]


def length(vector: Vector) -> int:
    """Return how long it is, rounded up."""
    square = vector[0] ** 2 + vector[1] ** 2
    return 0 if square == 0 else isqrt(square - 1) + 1


def step_along(way: Vector) -> Vector:
    """Return the next step along `way`: all of it, or as much as is not longer than `STEP`.

    Each step is reckoned from where the formation is, so what rounding leaves out is made up for by the next ones, and
    the last one ends at the goal to the thousandth.
    """
    whole = length(way)
    return way if whole <= STEP else (_part(way[0], whole), _part(way[1], whole))


def _part(coordinate: int, whole: int) -> int:
    size = abs(coordinate) * STEP // whole  # Rounded towards 0, whatever the sign, so that no step is too long.
    return size if coordinate > 0 else -size


def is_within(position: Vector) -> bool:
    """Whether the head may be there."""
    return abs(position[0]) <= LIMIT and abs(position[1]) <= LIMIT


def vector(x: Number, y: Number) -> Vector:
    """Return the vector that people mean by two numbers; raises InvalidRequest for what is no place on the plane."""
    return _thousandths(x), _thousandths(y)


def units(vector: Vector) -> tuple[float, float]:
    """Return a vector in units, for people; whole numbers as int, so that they read like ``[100, 0]``."""
    x, y = (coordinate // SCALE if coordinate % SCALE == 0 else coordinate / SCALE for coordinate in vector)
    return x, y


def shown(vector: Vector) -> str:
    """Return a vector as text: ``[100, -0.5]``."""
    x, y = units(vector)
    return f"[{x}, {y}]"


def _thousandths(number: Number) -> int:
    if isinstance(number, str) and not _PLAIN.fullmatch(number):
        raise _no_number(number)
    try:
        value = Decimal(str(number))
    except InvalidOperation as error:
        raise _no_number(number) from error
    if not value.is_finite() or value.copy_abs() > LIMIT // SCALE:
        raise InvalidRequest(f"{number} is off the plane; coordinates reach to {LIMIT // SCALE:,} either way")
    rounded = value.quantize(_FINEST)
    if rounded != value and not isinstance(
        number, float
    ):  # What was reckoned is seldom exact; what was written is meant.
        raise InvalidRequest(f"{number} has more than three decimals; {rounded} is as fine as it gets")
    return int(rounded * SCALE)


def _no_number(number: Number) -> InvalidRequest:
    return InvalidRequest(f"{number!r} is not a number; coordinates are numbers like 100 or -0.5")
