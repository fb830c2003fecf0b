"""Each rule of the escort by itself; the package's docstring has them as text."""

import msgspec
import pytest
from escort_rig import Troop, at
from hypothesis import given
from hypothesis import strategies as st

from zraft.errors import InvalidRequest
from zraft.machines.escort import commands
from zraft.machines.escort.commands import AskHistory, March, Marching, Move, Place, Row, Step
from zraft.machines.escort.plane import LIMIT, PLACE_UNITS_MAX, SCALE, Vector
from zraft.machines.escort.store import Escort
from zraft.machines.machine import Errand, Observer, Proactive

FIVE = ("n1", "n2", "n3", "n4", "n5")


def units(x: int, y: int) -> Vector:
    return x * SCALE, y * SCALE


@pytest.fixture
def troop() -> Troop:
    """Five members, of whom n1 leads, in their places."""
    troop = Troop(*FIVE)
    troop.elect("n1")
    troop.attend()
    return troop


def test_the_escort_is_what_the_cluster_looks_for() -> None:
    assert isinstance(Escort(), Observer)
    assert isinstance(Escort(), Proactive)


# -- places ------------------------------------------------------------------------------------------------------------


def test_the_first_leader_starts_at_the_origin_and_is_the_head() -> None:
    troop = Troop("n1", "n2")
    assert troop.wish() is None, "nobody leads, so nobody could propose"
    assert troop.roles == {"n1": "follower", "n2": "follower"}
    troop.elect("n2")
    assert troop.positions == {"n1": None, "n2": (0, 0)}
    assert troop.roles == {"n1": "follower", "n2": "leader"}


def test_every_other_node_gets_a_place_of_its_own_within_fifty_units(troop: Troop) -> None:
    positions = troop.positions
    assert list(positions) == list(FIVE)
    assert positions["n1"] == (0, 0)
    assert len(set(positions.values())) == 5
    for place in positions.values():
        assert place is not None
        for coordinate in place:
            assert abs(coordinate) <= PLACE_UNITS_MAX * SCALE
            assert coordinate % SCALE == 0


def test_all_places_are_reached_by_the_dice() -> None:
    troop = Troop("n1", "n2")
    troop.elect("n1")
    drawn = set()
    for _ in range(3_000):
        errand = troop.escort.errand(troop.random)
        assert errand is not None
        place = commands.decode_command(errand.command)
        assert isinstance(place, Place)
        drawn.update(place.offsets["n2"])
    assert drawn == {coordinate * SCALE for coordinate in range(-50, 51)}


def test_no_two_get_the_same_place_however_many_they_are() -> None:
    troop = Troop(*(f"n{number}" for number in range(1_000)))
    troop.elect("n0")
    errand = troop.wish()
    assert errand is not None
    place = commands.decode_command(errand.command)
    assert isinstance(place, Place)
    assert len({(0, 0), *place.offsets.values()}) == 1_000


def test_the_dice_are_in_the_command_and_nowhere_else(troop: Troop) -> None:
    """A second leader's draw comes too late, and the first in the log holds."""
    troop.join(*FIVE, "n6")
    first, second = troop.wish(), troop.wish()
    assert first is not None and second is not None
    assert first.due_ms == 0
    assert first.command != second.command
    troop.give(first.command, session=0)
    placed = troop.positions
    assert placed["n6"] is not None
    assert msgspec.msgpack.decode(troop.give(second.command, session=0)) == []
    assert troop.positions == placed
    assert troop.wish() is None


def test_a_place_that_is_taken_by_now_is_drawn_again(troop: Troop) -> None:
    offset = troop.positions["n2"]
    assert offset is not None
    troop.join(*FIVE, "n6", "n7")
    answer = troop.give(Place({"n6": offset, "n7": (0, 0), "n2": units(1, 1), "n9": units(2, 2)}), session=0)
    assert msgspec.msgpack.decode(answer) == []
    assert troop.positions["n2"] == offset
    troop.attend()
    assert len({troop.positions[node] for node in (*FIVE, "n6", "n7")} - {None}) == 7


def test_a_new_leader_and_the_old_one_change_places(troop: Troop) -> None:
    troop.move(10, 20)
    before = troop.positions
    troop.elect("n3")
    assert troop.positions == before | {"n3": before["n1"], "n1": before["n3"]}
    assert troop.roles == {node: "leader" if node == "n3" else "follower" for node in FIVE}
    troop.elect("n3")
    assert troop.positions["n3"] == units(10, 20), "elected again, it stays where it is"
    troop.elect("n1")
    assert troop.positions == before
    assert troop.wish() is None


def test_a_leader_without_a_place_leaves_the_old_head_to_be_placed() -> None:
    troop = Troop("n1", "n2")
    troop.elect("n1")
    troop.elect("n2")
    assert troop.positions == {"n1": None, "n2": (0, 0)}
    troop.attend()
    assert troop.positions["n1"] not in (None, (0, 0))


def test_a_new_node_is_placed_on_joining_and_keeps_its_distance(troop: Troop) -> None:
    before = troop.positions
    troop.join(*FIVE, learners=("n6",))
    assert troop.positions == before | {"n6": None}
    assert troop.roles["n6"] == "learner"
    troop.attend()
    assert {node: troop.positions[node] for node in FIVE} == before
    assert troop.positions["n6"] not in (None, *before.values())


def test_a_removed_node_loses_its_place(troop: Troop) -> None:
    place = troop.positions["n5"]
    troop.join("n1", "n2", "n3", "n4", outgoing=FIVE)
    assert troop.positions["n5"] == place, "still there in joint consensus"
    troop.join("n1", "n2", "n3", "n4")
    assert list(troop.positions) == ["n1", "n2", "n3", "n4"]
    troop.join(*FIVE)
    assert troop.positions["n5"] is None
    troop.attend()
    assert troop.positions["n5"] is not None


def test_a_removed_head_is_followed_by_a_new_one_where_it_was(troop: Troop) -> None:
    troop.move(3, 4)
    troop.join("n2", "n3")
    assert "n1" not in troop.positions
    other = troop.positions["n3"]
    troop.elect("n2")
    assert troop.positions == {"n2": units(3, 4), "n3": other}
    assert troop.wish() is None


# -- moves -------------------------------------------------------------------------------------------------------------


def test_everybody_moves_by_the_same_delta(troop: Troop) -> None:
    before = troop.positions
    row = troop.move(-1.5, 2)
    assert row == Row(1, 1, "n1", (-1_500, 2_000), (-1_500, 2_000))
    for node, place in troop.positions.items():
        was = before[node]
        assert was is not None
        assert place == (was[0] - 1_500, was[1] + 2_000)


def test_the_history_has_a_row_for_each_move_with_who_led(troop: Troop) -> None:
    troop.move(1, 0)
    troop.elect("n4")
    troop.move(0, -2)
    assert troop.history == [
        Row(1, 1, "n1", units(1, 0), units(1, 0)),
        Row(2, 2, "n4", units(0, -2), units(1, -2)),
    ]


def test_the_history_keeps_the_newest_rows() -> None:
    troop = Troop("n1", history_rows_max=10)
    troop.elect("n1")
    for _ in range(25):
        troop.move(1, 0)
    assert [row.step for row in troop.history] == list(range(16, 26))
    assert Troop().escort._rows.maxlen == 10_000


def test_the_history_comes_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "PAGE_ROWS_MAX", 4)
    troop = Troop("n1", history_rows_max=10)
    troop.elect("n1")
    for _ in range(13):
        troop.move(1, 0)

    def steps(after: int) -> tuple[list[int], bool]:
        page = commands.decode_page(troop.escort.query(commands.encode(AskHistory(after))))
        return [row.step for row in page.rows], page.more

    assert steps(0) == steps(2) == steps(3) == ([4, 5, 6, 7], True)
    assert steps(9) == ([10, 11, 12, 13], False)
    assert steps(12) == ([13], False)
    assert steps(13) == steps(99) == ([], False)
    assert [row.step for row in troop.history] == list(range(4, 14))


def test_nobody_leaves_the_plane(troop: Troop) -> None:
    troop.give(Move((LIMIT, -LIMIT)))
    assert "leave the plane" in troop.refusal(Move((1, 0)))
    assert "leave the plane" in troop.refusal(Move((0, -1)))
    assert "leave the plane" in troop.refusal(Move((-(1 << 63), 0)))
    assert "off the plane" in troop.refusal(March((LIMIT + 1, 0)))
    assert len(troop.history) == 1


def test_before_anybody_was_elected_there_is_nothing_to_move() -> None:
    troop = Troop("n1")
    for command in (Move((1, 1)), March((1, 1))):
        assert "nobody was ever elected" in troop.refusal(command)
    assert "is not the next" in troop.refusal(Step(1, 1), session=0)


# -- marches -----------------------------------------------------------------------------------------------------------


def test_a_march_of_a_hundred_steps_goes_a_unit_every_hundred_milliseconds(troop: Troop) -> None:
    troop.now = 5_000
    march = troop.march(100, 0)
    assert march == Marching(1, units(100, 0), 100, 5_000)
    assert troop.wish() == Errand(5_000, commands.encode(Step(1, 1)))
    assert troop.attend() == list(range(5_100, 15_000, 100))
    assert troop.history == [Row(step, 1, "n1", units(1, 0), units(step, 0)) for step in range(1, 101)]
    assert troop.marching == Marching(1, units(100, 0), 100, 15_000, 100, True)
    assert troop.wish() is None, "it has arrived"


def test_the_next_step_is_due_a_pace_after_the_last_one_was_taken(troop: Troop) -> None:
    troop.march(10, 0, every_ms=50)
    for when, due in ((0, 50), (70, 120), (500, 550)):
        troop.now = when
        errand = troop.wish()
        assert errand is not None
        troop.give(errand.command, session=0)
        assert troop.marching.due_ms == due


def test_only_the_next_step_is_taken(troop: Troop) -> None:
    troop.march(100, 0)
    for step in (Step(1, 0), Step(1, 2), Step(2, 1), Step(0, 1)):
        assert "is not the next" in troop.refusal(step, session=0)
    troop.give(Step(1, 1), session=0)
    assert "step 1 of march 1 is not the next" in troop.refusal(Step(1, 1), session=0)
    assert [row.step for row in troop.history] == [1]


def test_a_new_leader_goes_on_with_the_step_that_is_missing(troop: Troop) -> None:
    troop.march(3, 0)
    proposed = troop.wish()
    assert proposed is not None
    troop.elect("n2")
    assert troop.wish() == proposed, "which may be in the log already, or not"
    troop.give(proposed.command, session=0)
    assert "is not the next" in troop.refusal(proposed.command, session=0)
    troop.attend()
    assert [(row.step, row.term, row.leader_position) for row in troop.history] == [
        (1, 2, units(1, 0)),
        (2, 2, units(2, 0)),
        (3, 2, units(3, 0)),
    ]


def test_a_new_march_replaces_the_old_one(troop: Troop) -> None:
    troop.march(100, 0)
    troop.give(Step(1, 1), session=0)
    stale = troop.wish()
    assert stale is not None
    assert troop.march(1, -2).number == 2
    assert "step 2 of march 1 is not the next" in troop.refusal(stale.command, session=0)
    troop.attend()
    assert [row.leader_position for row in troop.history] == [units(1, 0), units(1, -1), units(1, -2)]


def test_a_march_in_any_direction_arrives_to_the_thousandth(troop: Troop) -> None:
    troop.march(-7.125, 3.001)
    troop.attend()
    assert troop.positions["n1"] == (-7_125, 3_001)
    assert troop.marching.arrived


def test_a_march_to_where_the_head_is_has_arrived(troop: Troop) -> None:
    troop.move(2, 2)
    march = troop.march(2, 2)
    assert (march.steps, march.arrived) == (0, True)
    assert troop.wish() is None


def test_a_move_during_a_march_is_a_detour(troop: Troop) -> None:
    troop.march(2, 0)
    troop.give(Step(1, 1), session=0)
    troop.move(0, 1)
    troop.attend()
    assert troop.positions["n1"] == units(2, 0)
    assert troop.marching.arrived
    troop.march(5, 0)
    troop.move(3, 0)
    assert troop.marching == Marching(2, units(5, 0), 100, troop.now, 0, True), "a move to the goal arrives too"
    troop.move(1, 0)
    assert troop.wish() is None, "what has arrived does not set off again"


@pytest.mark.parametrize("every_ms", [0, -1, 3_600_001])
def test_a_pace_that_is_none_is_refused(troop: Troop, every_ms: int) -> None:
    assert "a step every" in troop.refusal(March((1, 1), every_ms))


def test_clients_neither_place_nor_step(troop: Troop) -> None:
    troop.join(*FIVE, "n6")
    troop.march(1, 0)
    for command in (Place({"n6": units(1, 1)}), Step(1, 1)):
        assert "the leader's to propose" in troop.refusal(command)


# -- bytes -------------------------------------------------------------------------------------------------------------


@given(st.binary())
def test_bytes_that_are_no_command_are_refused(junk: bytes) -> None:
    for act in (lambda: Escort().apply(junk, at()), lambda: Escort().query(junk)):
        try:
            act()
        except InvalidRequest:
            continue
        assert msgspec.msgpack.decode(junk)[0] in (0, 1), f"taken for a query: {junk!r}"


@pytest.mark.parametrize(
    "command", [[0, [1, 2], 3], [1, [1, 2], 3, 4], [2, {}, 1], [3, 1, 1, 1], [4], [0, [1]], [0, [1.5, 2]]]
)
def test_what_is_not_quite_a_command_is_refused(troop: Troop, command: list[object]) -> None:
    assert troop.refusal(msgspec.msgpack.encode(command), session=0) == "not a command of escort"


def test_describe_shows_commands_to_people() -> None:
    def told(command: commands.Command) -> str:
        return commands.describe(commands.encode(command))

    assert told(Move((1_500, -2_000))) == "move 1.5 -2"
    assert told(March((100_000, 0))) == "march to 100 0, a step every 100 ms"
    assert told(Step(3, 17)) == "step 17 of march 3"
    assert told(Place({"n2": (3_000, -4_000), "n3": (0, 50_000)})) == "place n2 at [3, -4], n3 at [0, 50] from the head"
    assert told(Place({"n\x1b[2J": (0, 0)})) == r"place n\x1b[2J at [0, 0] from the head"
    many = told(Place({f"n{number}": (0, 0) for number in range(1_000)}))
    assert many.endswith("n8 at [0, 0], 991 more from the head")


@given(st.binary())
def test_describe_never_raises(junk: bytes) -> None:
    assert commands.describe(junk).isprintable()
