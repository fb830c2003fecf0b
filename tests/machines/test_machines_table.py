"""The table of sessions against a list that is searched from the front: time, count and bytes, and a snapshot at any point.

What limits time and count changes now and then, as entries of the log may have it.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.machines.sessions import Machines
from zraft.machines.table import KEPT_BYTES_MAX, Session, Table
from zraft.requests import SESSION_TTL_MS, SESSIONS_MAX

TTL_MS, COUNT_MAX, BYTES_MAX = 100, 4, 10
PICK = st.integers(0, COUNT_MAX)


def table() -> Table:
    made = Table(BYTES_MAX)
    made.limit(TTL_MS, COUNT_MAX, 0)
    return made


class AgainstAList(RuleBasedStateMachine):
    """Sessions in the order of their last use; whoever must go is the first."""

    def __init__(self) -> None:
        super().__init__()
        self.table = table()
        self.ttl_ms, self.count_max = TTL_MS, COUNT_MAX
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
        self.forget_the_idle()

    def forget_the_idle(self) -> None:
        self.model = [each for each in self.model if each.used_ms + self.ttl_ms >= self.now]

    @rule(ttl_ms=st.integers(1, 2 * TTL_MS), count_max=st.integers(1, COUNT_MAX + 2))
    def limit(self, ttl_ms: int, count_max: int) -> None:
        self.ttl_ms, self.count_max = ttl_ms, count_max
        self.table.limit(ttl_ms, count_max, self.now)
        self.forget_the_idle()
        self.model = self.model[-count_max:]

    @rule()
    def register(self) -> None:
        self.number += 1
        self.table.register(self.number, self.now)
        self.model = [*self.model, Session(self.number, self.now)][-self.count_max :]

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
        restored = table()
        restored.register(999, 0)
        restored.restore(self.table.copy(), self.table.ttl_ms, self.table.count_max)
        self.table = restored

    @invariant()
    def same(self) -> None:
        assert list(self.table) == self.model
        assert len(self.table) == len(self.model)
        assert self.table.next_expiry_ms == (self.model[0].used_ms + self.ttl_ms if self.model else None)


AgainstAList.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestAgainstAList = AgainstAList.TestCase


def test_what_nodes_must_agree_on_is_no_option() -> None:
    """A node that kept fewer answers than others would apply what they only repeat."""
    sessions = Machines({}, ttl_ms=1, count_max=1).sessions
    assert sessions._answers_bytes_max == KEPT_BYTES_MAX == 256 << 20
    assert (sessions.ttl_ms, sessions.count_max) == (SESSION_TTL_MS, SESSIONS_MAX) == (600_000, 10_000)
