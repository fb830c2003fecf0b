"""What ``zraft cluster partition``, ``isolate`` and ``heal`` do."""

from collections.abc import Mapping, Sequence
from typing import Any

from zraft.client import faults
from zraft.config import Config
from zraft.errors import NotFound
from zraft.raft.types import NodeId

Rows = Mapping[NodeId, Mapping[str, Any]]
"""What `zraft cluster status --json` says of each node."""
_MEND = "whole again by: zraft cluster heal"


def partition(settings: Config, rows: Rows, groups: Sequence[str], *, one_way: bool) -> str:
    """Cut the links between groups of nodes, each given as ``n1,n2``; return the line that says so."""
    nodes = [node.id for node in settings.nodes]
    sides = [[name.strip() for name in group.split(",") if name.strip()] for group in groups]
    note = _cut(settings, rows, faults.between(nodes, sides, one_way=one_way))
    if len(sides) == 1:
        sides.append([node for node in nodes if node not in sides[0]])
    if one_way:
        rest = ", ".join(node for side in sides[1:] for node in side)
        return f"what {', '.join(sides[0])} sends to {rest} is lost; {_MEND}{note}"
    return f"cut: {' | '.join(', '.join(side) for side in sides)}; {_MEND}{note}"


def isolate(settings: Config, rows: Rows, node: str) -> str:
    """Cut all links of a node, which may be named by its role; return the line that says so."""
    if node in ("leader", "follower"):
        found = next((name for name, row in rows.items() if row["role"] == node), None)
        if found is None:
            raise NotFound(f"no node is {node} now")
        node = found
    note = _cut(settings, rows, faults.between([member.id for member in settings.nodes], [[node]]))
    return f"cut off: {node}; {_MEND}{note}"


def heal(settings: Config, rows: Rows) -> str:
    """Make all links whole; return the line that says so."""
    return "all links are whole" + _cut(
        settings, rows, {node.id: (frozenset(), frozenset()) for node in settings.nodes}
    )


def _cut(settings: Config, rows: Rows, links: faults.Links) -> str:
    """Cut links; return what is to be said besides."""
    ended = [node for node in links if node not in rows or rows[node]["state"] not in ("running", "paused")]
    silent = faults.cut(settings, links, ended)
    return f" ({', '.join(silent)} not running)" if silent else ""
