"""Changes of membership: who joins, is promoted, replaced or leaves; several at once, by joint consensus (paper §6).

A change of voters passes through a *joint* membership, in which every decision needs a majority of the old voters and a
majority of the new: so at no moment can two disjoint majorities decide, whichever of the memberships a node believes in. Joint
consensus rather than one node at a time (thesis §4.3): to replace a node is one operation then. A change of learners alone
moves no majority, and needs no joint membership.

Nodes join as learners (thesis §4.2.1): they get the log, and count for nothing until they have it. One that replaces a
voter takes its place in the very change that makes it a voter.
"""

import msgspec

from zraft.raft.types import Endpoints, Membership, NodeId


class Refused(Exception):
    """The change makes no sense, or would do harm; the text says why, with the numbers."""


class NotYet(Refused):
    """Nothing is wrong with the change itself: in a moment it may be taken up."""


class Change(msgspec.Struct, frozen=True):
    """What is to change, all of it at once."""

    add: dict[NodeId, Endpoints] = {}
    """Nodes that join, as learners, and where they are."""
    manual: bool = False
    """Those who join stay learners until somebody promotes them."""
    replacing: dict[NodeId, NodeId] = {}
    """Of those who join: the voter whose place each takes once it has caught up."""
    promote: tuple[NodeId, ...] = ()
    """Learners that become voters."""
    demote: tuple[NodeId, ...] = ()
    """Voters that become learners, until somebody promotes them."""
    renew: tuple[NodeId, ...] = ()
    """Members that have lost their data: they begin anew as learners, under whatever data directory they come with."""
    remove: tuple[NodeId, ...] = ()
    """Members that leave."""


def target(current: Membership, change: Change) -> Membership:
    """Return the membership that `change` leads to.

    Raises
    ------
    Refused
        It names nodes that are not there, or are already; or nobody would have a vote.
    """
    members = {*current.voters, *current.learners}
    _check(change, current, members)
    promoted = {*change.promote}
    gone = {*change.remove} | {current.replacing[node] for node in promoted if node in current.replacing}
    demoted = ({*change.demote} | {*change.renew}) - gone
    voters = tuple(node for node in current.voters if node not in gone | demoted)
    voters += tuple(node for node in current.learners if node in promoted)
    learners = tuple(node for node in current.learners if node not in promoted | gone)
    learners += tuple(node for node in current.voters if node in demoted) + tuple(change.add)
    if not voters:
        raise Refused("nobody would have a vote")
    manual = {*current.manual, *change.demote} | ({*change.add} if change.manual else set())
    kept = {*voters, *learners}
    replacing = {new: old for new, old in {**current.replacing, **change.replacing}.items() if old in voters}
    return Membership(
        voters=voters,
        learners=learners,
        disk_ids={node: id for node, id in current.disk_ids.items() if node in kept and node not in change.renew},
        manual=tuple(node for node in learners if node in manual),
        replacing={new: old for new, old in replacing.items() if new in learners},
        endpoints={node: at for node, at in {**current.endpoints, **change.add}.items() if node in kept},
    )


def entering(current: Membership, goal: Membership) -> Membership:
    """Return what is in force first on the way to `goal`: a joint membership when the voters change, else the goal."""
    if set(current.voters) == set(goal.voters):
        return goal
    # A membership that registers nobody is that of a fresh cluster, whose blank nodes may vote: so never leave it without any.
    kept = {**current.disk_ids} if not goal.disk_ids else {**_left_behind(current, goal), **goal.disk_ids}
    return msgspec.structs.replace(goal, outgoing=current.voters, disk_ids=kept)


def leaving(joint: Membership) -> Membership:
    """Return what a joint membership ends in: its incoming half alone (paper §6, C-new)."""
    members = {*joint.voters, *joint.learners}
    disk_ids = {node: id for node, id in joint.disk_ids.items() if node in members}
    return msgspec.structs.replace(joint, outgoing=(), disk_ids=disk_ids)


def _left_behind(current: Membership, goal: Membership) -> dict[NodeId, str]:
    """Return the data directories of voters who leave: they still count while the membership is joint."""
    members = {*goal.voters, *goal.learners}
    return {node: id for node, id in current.disk_ids.items() if node in current.voters and node not in members}


def _check(change: Change, current: Membership, members: set[NodeId]) -> None:
    for node in change.add:
        if node in members:
            raise Refused(f"{node} is a member already")
    for new, old in change.replacing.items():
        if new not in change.add or old not in current.voters:
            raise Refused(f"{new} cannot replace {old}: a node that joins replaces one that votes")
    for node in change.promote:
        if node not in current.learners:
            raise Refused(f"{node} is no learner; {_listed('learners', current.learners)}")
    for node in change.demote:
        if node not in current.voters:
            raise Refused(f"{node} is no voter; {_listed('voters', current.voters)}")
    for node in (*change.renew, *change.remove):
        if node not in members:
            raise Refused(f"{node} is no member; {_listed('members', (*current.voters, *current.learners))}")


def _listed(what: str, nodes: tuple[NodeId, ...]) -> str:
    return f"the {what} are {', '.join(nodes)}" if nodes else f"there are no {what}"
