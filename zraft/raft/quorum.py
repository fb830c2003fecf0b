"""What a majority has reached: of votes, of indices, of heartbeat rounds.

In joint consensus (paper §6) a decision needs a majority of the incoming voters *and* a majority of the outgoing ones; every
function here takes the whole `Membership`, so that no caller can forget the second half.
"""

from collections.abc import Mapping
from enum import Enum

from zraft.raft.types import Membership, NodeId


class Tally(Enum):
    """How an election stands."""

    WON = "won"
    LOST = "lost"
    OPEN = "open"


def majority(count: int) -> int:
    """Return the least number of `count` voters such that any two groups of that size share one (paper §5.1)."""
    return count // 2 + 1


def reached(values: Mapping[NodeId, int], membership: Membership) -> int:
    """Return the greatest value that a quorum has reached; a voter without a value stands at 0.

    With match indices it is the index that may commit (paper §5.3), with acknowledged rounds the round that is confirmed.
    """
    incoming = _reached(values, membership.voters)
    return min(incoming, _reached(values, membership.outgoing)) if membership.outgoing else incoming


def _reached(values: Mapping[NodeId, int], voters: tuple[NodeId, ...]) -> int:
    if not voters:
        return 0  # Nobody decides anything; and who waits to be let in, least of all.
    ranked = sorted((values.get(voter, 0) for voter in voters), reverse=True)
    return ranked[majority(len(voters)) - 1]


def tally(votes: Mapping[NodeId, bool], membership: Membership) -> Tally:
    """Say how an election with these answers stands; whoever is no voter does not count."""
    halves = [_tally(votes, voters) for voters in (membership.voters, membership.outgoing) if voters]
    if Tally.LOST in halves or not halves:
        return Tally.LOST
    return Tally.OPEN if Tally.OPEN in halves else Tally.WON


def _tally(votes: Mapping[NodeId, bool], voters: tuple[NodeId, ...]) -> Tally:
    needed = majority(len(voters))
    granted = sum(votes.get(voter) is True for voter in voters)
    refused = sum(votes.get(voter) is False for voter in voters)
    if granted >= needed:
        return Tally.WON
    return Tally.LOST if len(voters) - refused < needed else Tally.OPEN
