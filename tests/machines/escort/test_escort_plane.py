"""The plane: numbers as people write them, and steps that are never too long and always arrive."""

from decimal import Decimal
from math import hypot

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.errors import InvalidRequest
from zraft.machines.escort import plane
from zraft.machines.escort.plane import LIMIT, STEP, Number

COORDINATES = st.integers(-LIMIT, LIMIT)


@pytest.mark.parametrize(
    ("number", "thousandths"),
    [
        (100, 100_000),
        (-0.5, -500),
        ("0.1", 100),
        ("+.5", 500),
        ("2.", 2_000),
        (Decimal("1.001"), 1_001),
        (1e6, LIMIT),
        ("-0", 0),
    ]
    # A float that was reckoned is rounded: 0.1 + 0.2 is meant to be 0.3.
    + [(0.1 + 0.2, 300), (0.0004, 0), (-0.0006, -1), (1e-300, 0), (1 / 3, 333)],
)
def test_a_number_is_what_was_written(number: Number, thousandths: int) -> None:
    assert plane.vector(number, 0) == (thousandths, 0)
    assert plane.vector(0, number) == (0, thousandths)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("north", "not a number"),
        (True, "not a number"),
        *(
            (text, "not a number")
            for text in ("nan", "inf", "sNaN", "1e1", "1e999999", "1e-999999", "1_000", " 1", "1\n")
        ),
        *((text, "not a number") for text in ("١", "１", "²", "", ".", "-", "+-1", "0x1")),
        (float("nan"), "off the plane"),
        (float("inf"), "off the plane"),
        (Decimal("sNaN"), "off the plane"),
        (1_000_000.001, "off the plane"),
        ("0.0005", "more than three decimals"),
        (Decimal("0.0005"), "more than three decimals"),
        ("1.00000000000000000000000000000000001", "more than three decimals"),
    ],
)
def test_what_is_no_place_on_the_plane_is_refused(number: Number, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        plane.vector(0, number)


def test_whole_numbers_read_like_whole_numbers() -> None:
    assert repr(plane.units((100_000, -500))) == "(100, -0.5)"
    assert plane.shown((100_000, -500)) == "[100, -0.5]"


@given(COORDINATES, COORDINATES)
def test_what_is_shown_can_be_said_again(x: int, y: int) -> None:
    assert plane.vector(*plane.units((x, y))) == (x, y)


@given(COORDINATES, COORDINATES)
def test_a_step_is_never_too_long_and_leads_along_the_way(x: int, y: int) -> None:
    step = plane.step_along((x, y))
    assert step[0] ** 2 + step[1] ** 2 <= STEP**2
    if x**2 + y**2 <= STEP**2:
        assert step == (x, y)
        return
    far = hypot(x, y)
    for taken, wanted in zip(step, (x * STEP / far, y * STEP / far), strict=True):
        assert abs(taken) <= abs(wanted) + 1e-6, "longer than the straight line"
        assert abs(wanted) - abs(taken) < 2, "further from the straight line than rounding leads"


@given(st.integers(-30_000, 30_000), st.integers(-30_000, 30_000))
def test_steps_arrive_and_their_number_is_the_distance(x: int, y: int) -> None:
    way, steps = (x, y), 0
    while way != (0, 0):
        way = plane.subtract(way, plane.step_along(way))
        steps += 1
    units = -(-plane.length((x, y)) // STEP)
    assert units <= steps <= units + 1


@given(COORDINATES, COORDINATES)
def test_a_length_is_rounded_up(x: int, y: int) -> None:
    length = plane.length((x, y))
    square = x**2 + y**2
    assert length**2 >= square
    assert length == 0 or (length - 1) ** 2 < square
