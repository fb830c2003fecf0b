"""Who leads, judged from what the nodes themselves say; pure."""

from collections.abc import Mapping
from typing import NamedTuple

from zraft.raft.types import NodeId, Role
from zraft.requests import Status


class Elected(NamedTuple):
    """A leader that can commit, and those who follow it."""

    leader: NodeId
    term: int
    agreeing: tuple[NodeId, ...]
    """Nodes that name this leader in this term, itself among them."""


def leading(statuses: Mapping[NodeId, Status]) -> Status | None:
    """Return the status of whoever leads the newest term, by its own word."""
    leaders = (status for status in statuses.values() if status.role == Role.LEADER)
    return max(leaders, key=lambda status: status.term, default=None)


def elected(statuses: Mapping[NodeId, Status], total: int) -> Elected | None:
    """Return the leader of the newest term, once it has committed its no-op and a majority of `total` follows it.

    Of the nodes that it says take part, if it does, rather than of `total`.
    """
    leader = leading(statuses)
    if leader is None:
        return None
    total = len(leader.members) or total
    agreeing = tuple(
        name
        for name, status in statuses.items()
        if status.term == leader.term and leader.node in (status.leader, status.node)
    )
    if leader.commit_index == 0 or 2 * len(agreeing) <= total:
        return None
    return Elected(leader.node, leader.term, agreeing)


def ready_line(found: Elected, total: int, seconds: float) -> str:
    """Return ``cluster ready: n3 leads term 1 (5 nodes, 1.2 s)``, in the words of `zraft cluster up`."""
    count = f"{total} nodes" if len(found.agreeing) == total else f"{len(found.agreeing)} of {total} nodes"
    if total == 1:
        count = "1 node"
    return f"cluster ready: {found.leader} leads term {found.term} ({count}, {seconds:.1f} s)"
