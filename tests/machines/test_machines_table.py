"""The table of sessions against a list that is searched from the front: time, count and bytes, and a snapshot at any point."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.machines.sessions import Machines
from zraft.machines.table import ANSWERS_BYTES_MAX, Session, Table

TTL_MS, COUNT_MAX, BYTES_MAX = 100, 4, 10
PICK = st.integers(0, COUNT_MAX)


class AgainstAList(RuleBasedStateMachine):
    """Sessions in the order of their last use; whoever must go is the first."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(TTL_MS, COUNT_MAX, BYTES_MAX)
        self.model: list[Session] = []
        self.now = 0
        self.number = 0

    def shrink(self) -> None:
        while sum(len(each.answers) for each in self.model) > BYTES_MAX and len(self.model) > 1:
            del self.model[0]

    @rule(ms=st.integers(0, TTL_MS))
    def let_time_pass(self, ms: int) -> None:
        self.now += ms
        self.table.expire(self.now)
        self.model = [each for each in self.model if each.used_ms + TTL_MS >= self.now]

    @rule()
    def register(self) -> None:
        self.number += 1
        self.table.register(self.number, self.now)
        self.model = [*self.model[-COUNT_MAX + 1 :], Session(self.number, self.now)]

    @rule(pick=PICK, size=st.integers(0, BYTES_MAX + 3))
    def answer(self, pick: int, size: int) -> None:
        if pick >= len(self.model):
            assert self.table.use(self.number + 1, self.now) is None
            return
        old = self.model.pop(pick)
        session = self.table.use(old.number, self.now)
        assert session is not None
        assert (session.sequence, session.answers) == (old.sequence, old.answers)
        self.table.answered(session, old.sequence + 1, bytes(size))
        self.model.append(Session(old.number, self.now, old.sequence + 1, bytes(size)))
        self.shrink()

    @rule(pick=PICK)
    def end(self, pick: int) -> None:
        if pick < len(self.model):
            assert self.table.end(self.model.pop(pick).number)
        assert not self.table.end(self.number + 1)

    @rule()
    def go_on_from_a_copy(self) -> None:
        restored = Table(TTL_MS, COUNT_MAX, BYTES_MAX)
        restored.register(999, 0)
        restored.restore(self.table.copy())
        self.table = restored

    @invariant()
    def same(self) -> None:
        assert list(self.table) == self.model
        assert len(self.table) == len(self.model)
        assert self.table.next_expiry_ms == (self.model[0].used_ms + TTL_MS if self.model else None)


AgainstAList.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestAgainstAList = AgainstAList.TestCase


def test_what_nodes_must_agree_on_is_no_option() -> None:
    """A node that kept fewer answers than others would apply what they only repeat."""
    assert Machines({}).sessions._answers_bytes_max == ANSWERS_BYTES_MAX == 256 << 20
