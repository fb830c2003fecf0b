"""What ``zraft cluster partition``, ``isolate`` and ``heal`` do."""

from collections.abc import Sequence

from zraft.client import faults
from zraft.config import Config

_MEND = "whole again by: zraft cluster heal"


def partition(settings: Config, groups: Sequence[str], *, one_way: bool) -> str:
    """Cut the links between groups of nodes, each given as ``n1,n2``; return the line that says so."""
    nodes = [node.id for node in settings.nodes]
    sides = [[name.strip() for name in group.split(",") if name.strip()] for group in groups]
    faults.cut(settings, faults.between(nodes, sides, one_way=one_way))
    if len(sides) == 1:
        sides.append([node for node in nodes if node not in sides[0]])
    if one_way:
        rest = ", ".join(node for side in sides[1:] for node in side)
        return f"what {', '.join(sides[0])} sends to {rest} is lost; {_MEND}"
    return f"cut: {' | '.join(', '.join(side) for side in sides)}; {_MEND}"


def isolate(settings: Config, node: str) -> str:
    """Cut all links of a node; return the line that says so."""
    faults.cut(settings, faults.between([member.id for member in settings.nodes], [[node]]))
    return f"cut off: {node}; {_MEND}"


def heal(settings: Config) -> str:
    """Make all links whole; return the line that says so."""
    faults.cut(settings, {node.id: (frozenset(), frozenset()) for node in settings.nodes})
    return "all links are whole"
