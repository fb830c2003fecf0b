"""What must hold of one node's state, and of two successive ones: each predicate under its English sentence.

Tests and simulations check them after every step; a node in production checks the cheap ones after every turn, and stops
with a report when one is broken, since going on could lose what others rely on. What must hold *between* nodes (at most
one leader per term, log matching, …) needs all of them in view and is checked by whoever has that.
"""

from itertools import pairwise
from typing import NamedTuple, NoReturn

from zraft.raft import quorum
from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.progress import Progress
from zraft.raft.types import EntryId, Index, NodeId, Role, Term


class Broken(AssertionError):
    """An invariant does not hold: a fault of ours, or of the memory."""


class Glimpse(NamedTuple):
    """As much of a state as the next one is compared with."""

    term: Term
    voted_for: NodeId | None
    role: Role
    last: EntryId
    commit_index: Index
    last_applied: Index
    match: dict[tuple[NodeId, str, Progress], Index]
    """Of each follower, under the data directory that it is known by, since it last said that it had lost entries."""


def glimpse(raft: Raft) -> Glimpse:
    """Take down what `check_step` compares."""
    log = raft.log
    followers = raft.role.progress if isinstance(raft.role, Leader) else {}
    known = raft.memberships.current.disk_ids
    match = {(peer, known[peer], each): each.match_index for peer, each in followers.items() if peer in known}
    return Glimpse(raft.term, raft.voted_for, raft.role.name, log.last, log.commit_index, log.last_applied, match)


def check(raft: Raft) -> None:
    """Raise `Broken` unless every cheap predicate on this state holds."""
    log, role = raft.log, raft.role
    if not log.last_applied <= log.commit_index <= log.last_index:
        _broken("applied <= committed <= last", raft)
    if log.base.index > log.last_applied:
        _broken("what a snapshot stands for is applied", raft)
    if not log.stable_index <= log.handed_index <= log.last_index:
        _broken("durable <= handed to the disk <= last", raft)
    if not log.last.term <= raft.term >= raft.durable.term:
        _broken("neither log nor disk knows a term that this node has not reached", raft)
    if log.uncommitted_bytes < 0:
        _broken("there is no negative amount of uncommitted data", raft)
    if raft.memberships.changed_at > log.last_index:
        _broken("the membership in force is in the log", raft)
    if isinstance(role, Leader):
        _check_leader(raft, role)
    elif role.leader == raft.id:
        _broken("only a leader follows itself", raft)


def _check_leader(raft: Raft, leader: Leader) -> None:
    if raft.voted_for != raft.id or raft.durable.term != raft.term:
        _broken("a leader has its own vote, and its term is durable", raft)
    last = raft.log.last_index
    if last < leader.first_own_index:
        _broken("a leader's log holds an entry of its own term", raft)
    for progress in leader.progress.values():
        if not progress.match_index < progress.next_index <= last + 1:
            _broken("what a follower has < what is sent to it next <= what there is, plus one", raft)
        if len(progress.inflight) > raft.settings.inflight_max:
            _broken("the window of a follower is kept", raft)


def check_deep(raft: Raft) -> None:
    """Raise `Broken` unless the dear predicates hold too: those that walk the whole log."""
    check(raft)
    log = raft.log
    entries = log.slice(log.first_index, log.last_index, 1 << 62)
    before = log.base
    for entry in entries:
        _demand(entry.index == before.index + 1, "a log has no gap", raft)
        _demand(entry.term >= before.term, "terms never fall along a log", raft)
        before = entry.id
    _demand(
        all(a.time_ms <= b.time_ms for a, b in pairwise(entries)),
        "time never falls in a log",
        raft,
    )
    uncommitted = sum(len(entry.data) for entry in entries if entry.index > log.commit_index)
    _demand(log.uncommitted_bytes == uncommitted, "uncommitted data is counted right", raft)


def check_step(before: Glimpse, raft: Raft) -> None:
    """Raise `Broken` unless the step from `before` to now was a legal one."""
    log, after = raft.log, glimpse(raft)
    _demand(after.term >= before.term, "the term never falls", raft)
    _demand(after.commit_index >= before.commit_index, "the commit index never falls", raft)
    _demand(after.last_applied >= before.last_applied, "what is applied stays applied", raft)
    if after.term == before.term:
        _demand(before.voted_for in (None, after.voted_for), "a vote is given once per term and never taken back", raft)
        if before.role is Role.LEADER and after.role is Role.LEADER:
            _demand(log.term_at(before.last.index) == before.last.term, "a leader only ever appends", raft)
            _demand(
                all(after.match.get(p, i) >= i for p, i in before.match.items()), "what a follower has only grows", raft
            )
            _demand(
                after.commit_index == before.commit_index or log.term_at(after.commit_index) == after.term,
                "a leader commits by an entry of its own term (paper §5.4.2)",
                raft,
            )
    if after.role is Role.LEADER and after.commit_index > before.commit_index and isinstance(raft.role, Leader):
        held = {peer: index for (peer, _, _), index in after.match.items()} | {raft.id: log.stable_index}
        _demand(
            quorum.reached(held, raft.memberships.current) >= after.commit_index,
            "what a leader commits is durable on a quorum",
            raft,
        )


def _demand(holds: bool, sentence: str, raft: Raft) -> None:
    if not holds:
        _broken(sentence, raft)


def _broken(sentence: str, raft: Raft) -> NoReturn:
    log = raft.log
    raise Broken(
        f"{raft.id} in term {raft.term} as {raft.role.name}: it does not hold that {sentence} "
        f"(last={log.last_index} handed={log.handed_index} stable={log.stable_index} "
        f"commit={log.commit_index} applied={log.last_applied})"
    )
