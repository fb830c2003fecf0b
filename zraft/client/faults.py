"""Cuts links between nodes, and mends them, for drills: `zraft cluster partition`, `isolate` and `heal`."""

from collections.abc import Container, Mapping, Sequence
from functools import partial

from zraft.client.survey import survey
from zraft.config import Config
from zraft.errors import InvalidRequest, Unavailable
from zraft.raft.types import NodeId
from zraft.requests import CutLinks, Outcome

Links = Mapping[NodeId, tuple[frozenset[NodeId], frozenset[NodeId]]]
"""Of each node: to whom everything is lost, and of whom nothing is heard."""
ANSWER_S = 2.0


def between(nodes: Sequence[NodeId], groups: Sequence[Sequence[NodeId]], *, one_way: bool = False) -> Links:
    """Return the links to cut so that the groups hear nothing of each other.

    Parameters
    ----------
    nodes
        All there are. Those in no group keep all their links; if there is one group alone, they are the other one.
    groups
        Two or more, or one.
    one_way
        Only what the first group sends to the others is lost; what they send to it arrives.

    Raises
    ------
    InvalidRequest
        A node is unknown, or in two groups, or a group is empty.
    """
    named = [node for group in groups for node in group]
    unknown = [node for node in named if node not in nodes]
    if unknown:
        raise InvalidRequest(f"{unknown[0]}: no such node; there are {', '.join(nodes)}")
    twice = [node for node in nodes if named.count(node) > 1]
    if twice:
        raise InvalidRequest(f"{twice[0]}: in two groups; each node belongs to one at most")
    sides = [frozenset(group) for group in groups]
    if len(sides) == 1:
        sides.append(frozenset(nodes) - sides[0])
    if not all(sides):
        raise InvalidRequest("a group without a node; a partition needs two groups, as in: n1,n2 n3,n4,n5")
    lost: dict[NodeId, frozenset[NodeId]] = dict.fromkeys(nodes, frozenset())
    for number, side in enumerate(sides):
        others = frozenset[NodeId]().union(*(other for other in sides if other is not side))
        for node in side:
            lost[node] = others if number == 0 or not one_way else frozenset()
    return {node: (lost[node], frozenset(other for other in nodes if node in lost[other])) for node in nodes}


def cut(config: Config, links: Links, ended: Container[NodeId] = ()) -> list[NodeId]:
    """Tell all nodes to keep to `links`, and to no cuts besides; return those of `ended` that did not answer.

    Parameters
    ----------
    ended
        Nodes that need not answer: they have no process, and begin with no cuts.

    Raises
    ------
    InvalidRequest
        Faults are not enabled.
    Unavailable
        A node did not answer that runs; the others keep to it.
    """
    silent = []
    for node, (lost_to, deaf_to) in links.items():
        question = partial(CutLinks, lost_to=tuple(sorted(lost_to)), deaf_to=tuple(sorted(deaf_to)))
        reply = survey(config, question, nodes=[node], timeout_s=ANSWER_S)[node]
        if reply is not None and reply.outcome == Outcome.INVALID:
            raise InvalidRequest(f"{node}: {reply.message}")
        if reply is None:
            silent.append(node)
    hung = [node for node in silent if node not in ended]
    if hung:
        raise Unavailable(
            f"{', '.join(hung)} did not answer, and may not keep to it; the others do; see zraft cluster status, and once"
            " all of them answer, try again"
        )
    return silent
