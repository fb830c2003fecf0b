"""When the command that follows the leader runs, in no time at all."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zraft.monitor.leadership import Leader
from zraft.monitor.reaction import RETRY_LOWER_MS, RETRY_UPPER_MS, Reaction

ONE, TWO, THREE = (Leader(f"n{number}", number, "") for number in (1, 2, 3))


def test_it_runs_once_for_each_leader():
    reaction = Reaction()
    assert (reaction.next(0), reaction.due_ms) == (None, None)
    reaction.changed(ONE, 5)
    assert reaction.due_ms == 5
    assert (reaction.next(5), reaction.next(6), reaction.running) == (ONE, None, ONE)
    assert reaction.ended(7, well=True) is None
    assert (reaction.next(8), reaction.due_ms) == (None, None)
    reaction.changed(TWO, 9)
    assert reaction.next(9) == TWO


def test_of_several_changes_during_a_run_only_the_newest_gets_one():
    for well in (True, False):
        reaction = Reaction()
        reaction.changed(ONE, 0)
        reaction.next(0)
        reaction.changed(TWO, 1)
        reaction.changed(THREE, 2)
        assert reaction.next(3) is None, "one at a time"
        assert reaction.ended(4, well=well) is None
        assert reaction.next(4) == THREE
        assert reaction.ended(5, well=True) is None
        assert reaction.next(10**9) is None


def test_a_failure_is_followed_by_another_try_later_and_later():
    reaction = Reaction()
    reaction.changed(ONE, 0)
    now, pauses = 0.0, []
    for _ in range(8):
        assert reaction.next(now) == ONE
        pause = reaction.ended(now, well=False)
        assert pause is not None and reaction.due_ms == now + pause
        assert reaction.next(now + pause - 1) is None
        pauses.append(pause)
        now += pause
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert (pauses[0], pauses[-1]) == (RETRY_LOWER_MS, RETRY_UPPER_MS)
    reaction.changed(TWO, now - 1)
    assert reaction.next(now - 1) == TWO, "a newer leader waits for nothing"
    assert reaction.ended(now, well=False) == RETRY_LOWER_MS, "and begins anew"


class Turns(RuleBasedStateMachine):
    """Leaders come, runs end well or not, time passes; whatever happens, the last leader has its run in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.reaction = Reaction()
        self.now = 0.0
        self.term = 0
        self.runs: list[int] = []
        self.succeeded = 0

    @rule()
    def leader(self) -> None:
        self.term += 1
        self.reaction.changed(Leader("n", self.term, ""), self.now)

    @precondition(lambda self: self.reaction.running is None)
    @rule()
    def run_it(self) -> None:
        due = self.reaction.due_ms
        found = self.reaction.next(self.now)
        assert (found is not None) == (due is not None and due <= self.now)
        if found is not None:
            assert found.term == self.term, "never for an older leader after a newer one"
            self.runs.append(found.term)

    @precondition(lambda self: self.reaction.running is not None)
    @rule(well=st.booleans())
    def end_it(self, well: bool) -> None:
        assert self.reaction.next(self.now) is None, "one at a time"
        if well:
            self.succeeded = self.runs[-1]
        self.reaction.ended(self.now, well=well)

    @rule(span=st.sampled_from([1, 1_000, 30_000]))
    def wait(self, span: int) -> None:
        self.now += span

    @invariant()
    def runs_follow_the_leaders(self) -> None:
        assert self.runs == sorted(self.runs)

    @invariant()
    def something_is_due_until_it_has_succeeded_for_the_newest(self) -> None:
        is_open = self.reaction.running is not None or self.reaction.due_ms is not None
        assert is_open or self.succeeded == self.term


TestTurns = Turns.TestCase
