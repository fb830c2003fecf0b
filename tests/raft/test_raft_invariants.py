"""Each invariant of one node can object: a healthy node is made ill in one respect, and the sentence of that is told."""

from collections.abc import Callable

import pytest
from raft_rig import Rig

from zraft.raft import invariants
from zraft.raft.core import Raft
from zraft.raft.follower import Follower
from zraft.raft.invariants import Broken
from zraft.raft.leader import Leader
from zraft.raft.types import EntryId, HardState

Illness = Callable[[Raft], object]


@pytest.fixture
def rig() -> Rig:
    rig = Rig(3)
    for id in rig.ids:
        rig.start(id)
    rig.campaign("n1")
    rig.stabilize()
    for _ in range(3):
        rig.propose("n1", b"x")
    rig.stabilize()
    return rig


def role(raft: Raft) -> Leader:
    assert isinstance(raft.role, Leader)
    return raft.role


def shift(raft: Raft, name: str, by: int) -> None:
    setattr(raft.log, name, getattr(raft.log, name) + by)


def replace_entry(raft: Raft, place: int, **changes: int) -> None:
    entries = raft.log._entries
    old = entries[place]
    given = {"term": old.term, "index": old.index, "kind": old.kind, "time_ms": old.time_ms, "data": old.data} | changes
    entries[place] = type(old)(**given)


STATES: list[tuple[str, Illness]] = [
    ("applied <= committed <= last", lambda raft: shift(raft, "last_applied", 1)),
    ("applied <= committed <= last", lambda raft: shift(raft, "commit_index", 1)),
    ("what a snapshot stands for is applied", lambda raft: setattr(raft.log, "base", EntryId(1, 9))),
    ("durable <= handed to the disk <= last", lambda raft: shift(raft, "stable_index", 1)),
    ("durable <= handed to the disk <= last", lambda raft: shift(raft, "handed_index", 1)),
    ("a term that this node has not reached", lambda raft: setattr(raft, "term", 0)),
    ("a term that this node has not reached", lambda raft: setattr(raft, "durable", HardState(2))),
    ("no negative amount of uncommitted data", lambda raft: shift(raft, "uncommitted_bytes", -1)),
    ("the membership in force is in the log", lambda raft: setattr(raft.memberships, "changed_at", 9)),
    ("only a leader follows itself", lambda raft: setattr(raft, "role", ill_follower(raft))),
    ("a leader has its own vote", lambda raft: setattr(raft, "voted_for", "n2")),
    ("a leader has its own vote", lambda raft: setattr(raft, "durable", HardState(0))),
    ("a leader's log holds an entry of its own term", lambda raft: setattr(role(raft), "first_own_index", 9)),
    ("what is sent to it next", lambda raft: setattr(role(raft).progress["n2"], "next_index", 4)),
    ("what is sent to it next", lambda raft: setattr(role(raft).progress["n2"], "next_index", 6)),
    ("the window of a follower is kept", lambda raft: role(raft).progress["n2"].inflight.extend(range(65))),
]
WHOLE_LOGS: list[tuple[str, Illness]] = [
    ("a log has no gap", lambda raft: replace_entry(raft, 1, index=7)),
    ("terms never fall along a log", lambda raft: replace_entry(raft, 0, term=2)),
    ("time never falls in a log", lambda raft: replace_entry(raft, 0, time_ms=1 << 40)),
    ("uncommitted data is counted right", lambda raft: shift(raft, "uncommitted_bytes", 1)),
]
STEPS: list[tuple[str, Illness]] = [
    ("the term never falls", lambda raft: setattr(raft, "term", 0)),
    ("the commit index never falls", lambda raft: shift(raft, "commit_index", -1)),
    ("what is applied stays applied", lambda raft: shift(raft, "last_applied", -1)),
    ("a vote is given once per term", lambda raft: setattr(raft, "voted_for", "n2")),
    ("a vote is given once per term", lambda raft: setattr(raft, "voted_for", None)),
    ("a leader only ever appends", lambda raft: replace_entry(raft, -1, term=0)),
    ("what a follower has only grows", lambda raft: setattr(role(raft).progress["n2"], "match_index", 1)),
]


def ill_follower(raft: Raft) -> Follower:
    return Follower(raft, raft.id)


@pytest.mark.parametrize(("sentence", "fall_ill"), STATES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_state_that_cannot_be_is_told(rig: Rig, sentence: str, fall_ill: Illness) -> None:
    raft = rig.rafts["n1"]
    invariants.check(raft)
    fall_ill(raft)
    with pytest.raises(Broken) as told:
        invariants.check(raft)
    assert sentence in str(told.value)
    assert str(told.value).startswith(f"n1 in term {raft.term} as {raft.role.name}: it does not hold that ")


@pytest.mark.parametrize(
    ("sentence", "fall_ill"), WHOLE_LOGS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_log_that_cannot_be_is_told(rig: Rig, sentence: str, fall_ill: Illness) -> None:
    raft = rig.rafts["n1"]
    invariants.check_deep(raft)
    fall_ill(raft)
    with pytest.raises(Broken) as told:
        invariants.check_deep(raft)
    assert sentence in str(told.value)


@pytest.mark.parametrize(("sentence", "fall_ill"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_step_that_cannot_be_is_told(rig: Rig, sentence: str, fall_ill: Illness) -> None:
    raft = rig.rafts["n1"]
    before = invariants.glimpse(raft)
    invariants.check_step(before, raft)
    fall_ill(raft)
    with pytest.raises(Broken) as told:
        invariants.check_step(before, raft)
    assert sentence in str(told.value)


def test_a_leader_that_commits_an_older_term_is_told(rig: Rig) -> None:
    raft = rig.rafts["n1"]
    before = invariants.glimpse(raft)._replace(commit_index=2)
    replace_entry(raft, -1, term=0)
    before = before._replace(last=EntryId(1, 3))
    with pytest.raises(Broken, match="an entry of its own term"):
        invariants.check_step(before, raft)


def test_a_leader_that_commits_what_no_quorum_has_is_told(rig: Rig) -> None:
    raft = rig.rafts["n1"]
    before = invariants.glimpse(raft)._replace(commit_index=2, match={})
    for progress in role(raft).progress.values():
        progress.match_index = 3
    with pytest.raises(Broken, match="durable on a quorum"):
        invariants.check_step(before, raft)
