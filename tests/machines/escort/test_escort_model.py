"""The escort against absolute positions in a dict; and a snapshot at any point is as good as the whole log."""

from fractions import Fraction
from itertools import count
from math import hypot

from escort_rig import Troop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zraft.machines.escort import commands
from zraft.machines.escort.commands import March, Move, Row, Step
from zraft.machines.escort.plane import LIMIT, STEP, Vector
from zraft.machines.machine import Errand

NODES = ("n1", "n2", "n3")
ROWS_MAX = 6
DELTAS = st.tuples(st.integers(-3_000, 3_000), st.integers(-3_000, 3_000))


class AgainstPositions(RuleBasedStateMachine):
    """Nobody has an offset here: everybody has a position, and a move adds to each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.troop = Troop(history_rows_max=ROWS_MAX)
        self.members: list[str] = []
        self.learners: list[str] = []
        self.leader: str | None = None
        self.at = (0, 0)
        self.positions: dict[str, Vector] = {}
        """Of all who have one, the leader aside."""
        self.rows: list[Row] = []
        self.goal: Vector | None = None
        """Of the march, while it goes on."""
        self.steps = self.marches = self.due = 0
        self.stale: list[Errand] = []
        """Errands that were asked for, so that they may come late, or twice."""

    # -- what happens --------------------------------------------------------------------------------------------------

    @initialize(everybody_placed=st.booleans())
    def begin(self, everybody_placed: bool) -> None:
        self.change_membership(set(NODES), set())
        self.leads("n1")
        if everybody_placed:
            self.ask_for_an_errand(True)

    @rule(ms=st.integers(1, 300))
    def time_passes(self, ms: int) -> None:
        self.troop.now += ms

    @rule(voters=st.sets(st.sampled_from(NODES), min_size=1), learners=st.sets(st.sampled_from(NODES)))
    def change_membership(self, voters: set[str], learners: set[str]) -> None:
        self.learners = sorted(learners - voters)
        self.members = sorted(voters) + self.learners
        self.troop.join(*sorted(voters), learners=self.learners)
        self.positions = {node: place for node, place in self.positions.items() if node in self.members}

    @rule(number=st.integers(0, len(NODES)))
    def elect(self, number: int) -> None:
        self.leads(self.members[number % len(self.members)])

    def leads(self, node: str) -> None:
        self.troop.elect(node)
        if node == self.leader:
            return
        place = self.positions.pop(node, None)
        if self.leader in self.members and place is not None:
            self.positions[self.leader] = place
        self.leader = node

    @rule(by=DELTAS | st.just((LIMIT, 0)))
    def move(self, by: Vector) -> None:
        if self.leader is None or abs(self.at[0] + by[0]) > LIMIT or abs(self.at[1] + by[1]) > LIMIT:
            self.troop.refusal(Move(by))
        else:
            row = commands.decode_row(self.troop.give(Move(by)))
            assert row == self.moved(by)

    @rule(by=DELTAS, every_ms=st.integers(0, 200))
    def march(self, by: Vector, every_ms: int) -> None:
        goal = (self.at[0] + by[0], self.at[1] + by[1])
        if self.leader is None or every_ms == 0 or max(map(abs, goal)) > LIMIT:
            self.troop.refusal(March(goal, every_ms))
            return
        self.troop.give(March(goal, every_ms))
        self.marches += 1
        self.every, self.steps, self.due = every_ms, 0, self.troop.now
        self.goal = None if goal == self.at else goal

    @rule(carry_out=st.booleans())
    def ask_for_an_errand(self, carry_out: bool) -> None:
        errand = self.troop.wish()
        missing = [node for node in self.members if node != self.leader and node not in self.positions]
        if self.leader is None or not (missing or self.goal):
            assert errand is None
            return
        assert errand is not None
        if missing:
            command = commands.decode_command(errand.command)
            assert isinstance(command, commands.Place)
            assert sorted(command.offsets) == sorted(missing)
            assert errand.due_ms == 0
        else:
            assert errand == Errand(self.due, commands.encode(Step(self.marches, self.steps + 1)))
        self.stale.append(errand)
        if carry_out:
            self.errand_comes(errand)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def an_old_errand_comes(self, data: st.DataObject) -> None:
        self.errand_comes(data.draw(st.sampled_from(self.stale)))

    # -- what it does in the model -------------------------------------------------------------------------------------

    def errand_comes(self, errand: Errand) -> None:
        command = commands.decode_command(errand.command)
        if isinstance(command, commands.Place):
            for node, (x, y) in command.offsets.items():
                place = (self.at[0] + x, self.at[1] + y)
                free = place not in (self.at, *self.positions.values())
                if node in self.members and node != self.leader and node not in self.positions and free:
                    self.positions[node] = place
            self.troop.give(errand.command, session=0)
        elif (
            isinstance(command, Step)
            and self.goal
            and (command.march, command.number) == (self.marches, self.steps + 1)
        ):
            self.steps, self.due = self.steps + 1, self.troop.now + self.every
            row = commands.decode_row(self.troop.give(errand.command, session=0))
            assert row == self.moved(self.step())
        else:
            assert "is not the next" in self.troop.refusal(errand.command, session=0)

    def step(self) -> Vector:
        """Find the step by trying: the longest part of the way, in parts of its length in thousandths, that is one."""
        assert self.goal is not None
        x, y = self.goal[0] - self.at[0], self.goal[1] - self.at[1]
        near = int(hypot(x, y)) - 1
        whole = next(length for length in count(max(0, near)) if length * length >= x * x + y * y)
        return (x, y) if whole <= STEP else (int(Fraction(x * STEP, whole)), int(Fraction(y * STEP, whole)))

    def moved(self, by: Vector) -> Row:
        self.at = (self.at[0] + by[0], self.at[1] + by[1])
        self.positions = {node: (x + by[0], y + by[1]) for node, (x, y) in self.positions.items()}
        assert self.leader is not None
        row = Row(len(self.rows) + 1, self.troop.term, self.leader, by, self.at)
        self.rows.append(row)
        if self.at == self.goal:
            self.goal = None
        return row

    # -- what must hold ------------------------------------------------------------------------------------------------

    @rule()
    def go_on_from_a_snapshot(self) -> None:
        chunks = self.troop.chunks()
        restored = Troop("n8", "n9", history_rows_max=ROWS_MAX)
        restored.elect("n9")
        restored.move(1, 1)
        restored.march(5, 5)
        restored.attend()
        restored.escort.restore(iter(chunks))
        assert list(restored.escort.snapshot()) == chunks
        assert list(self.troop.replayed().snapshot()) == chunks
        self.troop.escort = restored.escort

    @invariant()
    def everybody_is_where_the_model_says(self) -> None:
        places: dict[str, Vector | None] = {node: self.positions.get(node) for node in self.members}
        roles = {node: "learner" if node in self.learners else "follower" for node in self.members}
        if self.leader in self.members:
            places[self.leader], roles[self.leader] = self.at, "leader"
        assert self.troop.positions == places
        assert self.troop.roles == roles

    @invariant()
    def the_history_is_the_newest_of_all_moves(self) -> None:
        assert self.troop.history == self.rows[-ROWS_MAX:]
        assert self.troop.formation.step == len(self.rows)

    def teardown(self) -> None:
        assert list(self.troop.replayed().snapshot()) == self.troop.chunks()


AgainstPositions.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
TestAgainstPositions = AgainstPositions.TestCase


def test_a_snapshot_is_of_the_moment_it_was_asked_for() -> None:
    troop = Troop(*NODES)
    troop.elect("n1")
    troop.move(1, 1)
    before = troop.chunks()
    taken = troop.escort.snapshot()
    troop.attend()
    troop.move(1, 1)
    troop.elect("n2")
    troop.join("n2")
    assert list(taken) == before


def test_restoring_from_nothing_empties_the_escort() -> None:
    troop = Troop(*NODES)
    troop.elect("n1")
    troop.move(1, 1)
    troop.escort.restore(())
    assert troop.chunks() == Troop().chunks()


def test_a_whole_history_comes_in_chunks_and_back() -> None:
    troop = Troop("n1")
    troop.elect("n1")
    for _ in range(10_100):
        troop.move(0, 0.001)
    chunks = troop.chunks()
    assert len(chunks) == 6
    assert max(map(len, chunks)) < 256 << 10
    restored = troop.blank()
    restored.restore(chunks)
    assert list(restored.snapshot()) == chunks
    assert len(troop.history) == 10_000
