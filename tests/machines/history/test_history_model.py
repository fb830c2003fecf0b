"""The history against a plain list of everything that ever happened, and what it refuses."""

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.errors import InvalidRequest
from zraft.machines.history import commands
from zraft.machines.history.commands import Election, Elections, Leaders, Leadership
from zraft.machines.history.store import History
from zraft.machines.machine import Applied, Observer
from zraft.machines.mounts import DESCRIBERS, mounted
from zraft.machines.sessions import Machines
from zraft.raft.types import Ballot, Cause, Entry, EntryKind, Membership, NodeId

TERMS_MAX = 7
NODES = ("n1", "n2", "n3")


def elected(history: History, term: int, time_ms: int, ballot: Ballot) -> None:
    history.leader_elected(ballot, Applied(term, term, time_ms, 0, ballot.leader, None))


def ballot(leader: NodeId = "n1", cause: str = Cause.TIMEOUT, wall_ms: int = 0) -> Ballot:
    return Ballot(leader, (leader,), (), NODES, cause, 3, wall_ms)


def elections(history: History, after: int = 0, term: int | None = None) -> list[Election]:
    page = commands.decode_elections(history.query(commands.encode(Elections(after, term))))
    return page.elections + (elections(history, page.elections[-1].term) if page.more else [])


def leaders(history: History, after: int = 0, term: int | None = None) -> list[Leadership]:
    page = commands.decode_leaders(history.query(commands.encode(Leaders(after, term))))
    return page.leaders + (leaders(history, page.leaders[-1].term) if page.more else [])


class AgainstAList(RuleBasedStateMachine):
    """A list of (term, time, ballot) that forgets nothing; each answer is spelled out from it."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History(terms_max=TERMS_MAX)
        self.all: list[tuple[int, int, Ballot]] = []

    @rule(
        leader=st.sampled_from(NODES),
        cause=st.sampled_from(list(Cause)),
        terms=st.integers(1, 3),
        ms=st.integers(0, 500),
        wall_ms=st.integers(0, 1 << 41),
    )
    def elect(self, leader: NodeId, cause: str, terms: int, ms: int, wall_ms: int) -> None:
        term, time_ms = (self.all[-1][0] + terms, self.all[-1][1] + ms) if self.all else (terms, ms)
        won = ballot(leader, cause, wall_ms)
        self.all.append((term, time_ms, won))
        elected(self.history, term, time_ms, won)

    @rule()
    def go_on_from_a_snapshot(self) -> None:
        chunks = list(self.history.snapshot())
        restored = History(terms_max=TERMS_MAX)
        elected(restored, 99, 0, ballot())
        restored.restore(iter(chunks))
        assert list(restored.snapshot()) == chunks
        self.history = restored

    @rule(term=st.integers(0, 40))
    def one_term(self, term: int) -> None:
        kept = [election for election in self.kept if election.term == term]
        assert elections(self.history, term=term) == kept
        assert [leader.term for leader in leaders(self.history, term=term)] == [election.term for election in kept]

    @property
    def kept(self) -> list[Election]:
        return [Election(*each) for each in self.all][-TERMS_MAX:]

    @invariant()
    def every_answer_is_the_models(self) -> None:
        assert elections(self.history) == self.kept
        expected = []
        for number, (term, time_ms, won) in enumerate(self.all):
            later = self.all[number + 1 :][:1]
            end = (later[0][2].wall_ms, later[0][1], later[0][2].cause) if later else (None, None, None)
            expected.append(Leadership(won.leader, term, won.wall_ms, time_ms, *end))
        assert leaders(self.history) == expected[-TERMS_MAX:]


TestAgainstAList = AgainstAList.TestCase


def test_more_than_a_page_comes_in_pages() -> None:
    history = History()
    for term in range(1, 2_502):
        elected(history, term, term, ballot())
    first = commands.decode_elections(history.query(commands.encode(Elections())))
    assert (len(first.elections), first.more) == (commands.PAGE_MAX, True)
    assert [election.term for election in elections(history)] == list(range(1, 2_502))
    assert [leader.to_time_ms for leader in leaders(history)] == [*range(2, 2_502), None]
    assert len(list(history.snapshot())) == 3


def test_the_newest_ten_thousand_terms_are_kept() -> None:
    history = History()
    for term in range(1, 10_011):
        elected(history, term, term, ballot())
    assert [election.term for election in elections(history)] == list(range(11, 10_011))


def test_a_second_leader_of_a_term_is_our_own_mistake() -> None:
    history = History()
    elected(history, 3, 0, ballot())
    with pytest.raises(AssertionError, match="a second leader in term 3"):
        elected(history, 3, 0, ballot("n2"))


def test_it_takes_no_commands_and_no_strange_queries() -> None:
    history = History()
    with pytest.raises(InvalidRequest, match="writes itself"):
        history.apply(b"", Applied(1, 1, 0, 1, None, None))
    for query in (b"", b"\xc1", msgspec.msgpack.encode([7]), msgspec.msgpack.encode([0, -1])):
        with pytest.raises(InvalidRequest, match="not a query of history"):
            history.query(query)
    assert commands.describe(b"abc") == "not a command of history (3 B)"


def test_every_node_mounts_it_and_it_hears_of_committed_leaders() -> None:
    machines = Machines(mounted(key_bytes_max=10, value_bytes_max=10))
    assert commands.MACHINE in DESCRIBERS
    members = Membership(NODES)
    machines.apply(Entry(1, 1, EntryKind.MEMBERSHIP, 4, msgspec.msgpack.encode(members)))
    machines.apply(Entry(1, 2, EntryKind.NOOP, 5, msgspec.msgpack.encode(ballot())))
    restored = Machines(mounted(key_bytes_max=10, value_bytes_max=10))
    restored.restore(machines.snapshot())
    for each in (machines, restored):
        answer = each.query(commands.MACHINE, commands.encode(Elections()))
        assert commands.decode_elections(answer[1:]).elections == [Election(1, 5, ballot())]
    assert isinstance(History(), Observer)
