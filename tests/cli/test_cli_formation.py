"""How a formation is drawn: everybody where he belongs, nothing outside the screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.cli import formation
from zraft.client.escort import Formation, March, Position

OFFSETS = st.tuples(st.integers(-50, 50), st.integers(-50, 50))


def escort(*places: tuple[float, float] | None, march: March | None = None) -> Formation:
    """Return a formation whose first node leads."""
    positions = [
        Position(f"n{number}", "follower" if number > 1 else "leader", place) for number, place in enumerate(places, 1)
    ]
    return Formation(positions, 0, march)


def cell(lines: list[str], mark: str) -> tuple[int, int]:
    """Return the one column and row where a mark is."""
    (found,) = [(line.index(mark), row) for row, line in enumerate(lines) if mark in line]
    return found


def test_the_leader_is_in_the_middle_wherever_it_is() -> None:
    for at in ((0, 0), (100, 0), (-0.5, 12.25)):
        assert cell(formation.draw(escort(at), 101, 51), "@") == (50, 25)


def test_right_is_right_and_ahead_is_up() -> None:
    lines = formation.draw(escort((5, 5), (35, 25)), 101, 51)
    assert cell(lines, "o") == (80, 15)
    assert lines[15][80:].startswith("o n2")


def test_a_name_that_would_not_fit_stands_on_the_left() -> None:
    lines = formation.draw(escort((0, 0), (50, 50)), 101, 51)
    assert lines[0].endswith("n2 o")
    assert len(lines[0]) == 101


def test_the_ground_moves_as_the_formation_does() -> None:
    still, moved = (formation.draw(escort((x, 0)), 101, 51) for x in (0, 3))
    assert still[0][::10] == "." * 11
    assert moved[0][7::10] == "." * 10
    assert moved[0].count(".") == 10


def test_the_goal_shows_while_the_march_goes_on_and_is_near() -> None:
    def goal(x: float, *, arrived: bool = False) -> bool:
        march = March(1, (x, 10), 100, 0, arrived)
        return any("x" in line for line in formation.draw(escort((0, 0), march=march), 101, 51))

    assert goal(50)
    assert not goal(51)
    assert not goal(50, arrived=True)


def test_who_has_no_place_is_in_the_table_alone() -> None:
    found = escort((0, 0), None)
    assert not any("n2" in line for line in formation.draw(found, 101, 51))
    assert formation.table(found, colour=False)[2].split() == ["n2", "follower", "-"]


def test_without_a_leader_the_middle_is_the_origin() -> None:
    found = Formation([Position("n2", "learner", (0, 0))], 0, None)
    assert cell(formation.draw(found, 101, 51), "+") == (50, 25)


@given(st.lists(OFFSETS, min_size=1, max_size=9), st.integers(1, 200), st.integers(1, 80))
def test_a_picture_fits_the_screen(places: list[tuple[int, int]], columns: int, height: int) -> None:
    lines = formation.picture("a title", escort((0, 0), *places), columns, height, colour=False)
    assert 1 <= len(lines) <= height
    assert max(map(len, lines)) <= columns
    if columns > 60 and height > 60:
        assert sum("@" in line for line in lines) == 1


@pytest.mark.parametrize("height", [5, 8])
def test_on_a_low_screen_there_is_the_table_alone(height: int) -> None:
    lines = formation.picture("a title", escort((0, 0), (1, 1)), 80, height, colour=False)
    assert [line.split()[0] for line in lines] == ["a", "NODE", "n1", "n2"]
