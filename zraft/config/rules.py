"""What must hold between the values of a configuration, and what is allowed but deserves a warning."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from zraft.config import location
from zraft.config.settings import Settings

LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
PROMOTE = ("auto", "manual")
RATIO_MIN = 5
"""Election timeouts below this many heartbeats mistake one lost heartbeat for a dead leader."""
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLUSTER_ID = re.compile(r"[0-9A-Fa-f]{16}")
_CLUSTER_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ENDPOINTS = ("peer", "client", "events")
_HEARTBEAT, _LOWER = "heartbeat.interval_ms", "election.timeout_lower_ms"
_CONTROL = "supervisor.control"


def mistakes(settings: Settings) -> Iterator[str]:
    """Yield a line for each rule that does not hold; the values are already of the right type."""
    value, at = settings.values, settings.sources
    yield from _cluster(value, at)
    yield from _timing(settings)
    if (level := value["log.level"].upper()) not in LEVELS:
        yield f"{at['log.level']}: log.level: must be one of {', '.join(LEVELS)}, not {value['log.level']!r}"
    value["log.level"] = level
    if (promote := value["membership.promote"]) not in PROMOTE:
        yield f"{at['membership.promote']}: membership.promote: must be {' or '.join(PROMOTE)}, not {promote!r}"
    if settings.nodes is not None:
        yield from _nodes(settings.nodes, at)
        yield from endpoints_used_twice(settings.nodes, value.get("supervisor.control"), at, settings.origins)


def warnings(settings: Settings) -> Iterator[str]:
    """Yield a line for each thing that works and is probably not what was meant."""
    value, at = settings.values, settings.sources
    nodes = settings.nodes or []
    heartbeat, lower = value[_HEARTBEAT], value[_LOWER]
    if lower < RATIO_MIN * heartbeat:
        to_blame = _HEARTBEAT if _HEARTBEAT in settings.origins and _LOWER not in settings.origins else _LOWER
        yield (
            f"{at[to_blame]}: {_LOWER}: {lower} ms is less than {RATIO_MIN} heartbeats"
            f" of {heartbeat} ms; one late heartbeat may start an election: use {RATIO_MIN * heartbeat} or more"
        )
    if len(nodes) % 2 == 0:
        yield (
            f"{at['nodes']}: nodes: {len(nodes)} nodes survive no more failures than {len(nodes) - 1}; an odd number is"
            " better"
        )
    exposed = [
        f"{node['id']} {node[name]}" for node in nodes for name in _ENDPOINTS if not location.is_private(node[name])
    ]
    if exposed:
        more = f" and {len(exposed) - 1} more" if len(exposed) > 1 else ""
        yield (
            f"{at['nodes']}: nodes: {exposed[0]}{more} can be reached from other machines, and the wire is neither encrypted"
            " nor authenticated: whoever reaches it can vote, read and write; keep it inside a network that you trust"
        )


def endpoints_used_twice(
    nodes: list[dict[str, Any]], control: str | None, at: Mapping[str, str], origins: Mapping[str, str]
) -> Iterator[str]:
    """Yield a line for each endpoint that already belongs to something else.

    Parameters
    ----------
    nodes, control
        Who listens, and where.
    at
        Where each option stands; ``nodes`` at least.
    origins
        Those that a variable or flag has set.
    """
    taken = {control: _CONTROL} if control is not None else {}
    for number, node in enumerate(nodes):
        for name in _ENDPOINTS:
            if name not in node:
                continue
            key, endpoint = f"nodes[{number}].{name}", node[name]
            owner = taken.setdefault(endpoint, key)
            if owner == _CONTROL and _CONTROL in origins and "nodes" not in origins:
                yield f"{origins[_CONTROL]}: {_CONTROL}: {endpoint} is {key} already; give each its own"
            elif owner != key:
                yield f"{at.get(key, at['nodes'])}: {key}: {endpoint} is {owner} already; give each its own"


def _cluster(value: dict[str, Any], at: dict[str, str]) -> Iterator[str]:
    if not _CLUSTER_NAME.fullmatch(value["cluster.name"]):
        yield (
            f"{at['cluster.name']}: cluster.name: must be 1 to 64 of A-Z a-z 0-9 . _ -, not {value['cluster.name']!r}"
        )
    if value["cluster.id"] is not None and not _CLUSTER_ID.fullmatch(value["cluster.id"]):
        yield f"{at['cluster.id']}: cluster.id: must be 16 hexadecimal digits in quotes, not {value['cluster.id']!r}"
    elif value["cluster.id"] is not None and int(value["cluster.id"], 16) == 0:
        yield f"{at['cluster.id']}: cluster.id: all zeros mean 'any cluster' on the wire; choose another number"


def _timing(settings: Settings) -> Iterator[str]:
    value, at, origins = settings.values, settings.sources, settings.origins
    for low, high in (
        ("election.timeout_lower_ms", "election.timeout_upper_ms"),
        ("supervisor.backoff_lower_ms", "supervisor.backoff_upper_ms"),
    ):
        if value[low] <= value[high]:
            continue
        if high in origins and low not in origins:
            yield f"{at[high]}: {high}: {value[high]} is below {low}, {value[low]}; raise this one or lower the other"
        else:
            yield f"{at[low]}: {low}: {value[low]} is above {high}, {value[high]}; lower this one or raise the other"
    heartbeat, lower = value[_HEARTBEAT], value[_LOWER]
    if lower > heartbeat:
        return
    if _HEARTBEAT in origins and _LOWER not in origins:
        yield (
            f"{at[_HEARTBEAT]}: {_HEARTBEAT}: {heartbeat} must be below {_LOWER}, {lower}, or every heartbeat comes too"
            f" late; use {max(1, lower // RATIO_MIN)} or less"
        )
    else:
        yield (
            f"{at[_LOWER]}: {_LOWER}: {lower} must be above {_HEARTBEAT}, {heartbeat}, or every heartbeat comes too"
            f" late; use {RATIO_MIN * heartbeat} or more"
        )


def _nodes(nodes: list[dict[str, Any]], at: dict[str, str]) -> Iterator[str]:
    if not nodes:
        yield f"{at['nodes']}: nodes: empty; list at least one node with id, {', '.join(_ENDPOINTS)}"
    first: dict[str, int] = {}
    for number, node in enumerate(nodes):
        key, name = f"nodes[{number}].id", node.get("id")
        if name is None:
            continue
        if not _NODE_ID.fullmatch(name) or name in (".", ".."):
            yield f"{at[key]}: {key}: must be 1 to 64 of A-Z a-z 0-9 . _ -, not {name!r}"
        elif first.setdefault(name, number) != number:
            yield f"{at[key]}: {key}: {name} is the name of nodes[{first[name]}] already; choose another"
