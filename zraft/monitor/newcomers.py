"""Nodes that a configuration does not name, by what those say that it does: they joined later."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from zraft.config import Config, Node
from zraft.raft.types import Endpoints, NodeId
from zraft.requests import Status


def grown(config: Config, statuses: Iterable[Status | None]) -> Config:
    """Return the configuration with the newcomers of these statuses behind its own nodes."""
    nodes = list(config.nodes)
    for members in newest(statuses):
        nodes += newcomers(members, [node.id for node in nodes])
    return config if len(nodes) == len(config.nodes) else msgspec.structs.replace(config, nodes=tuple(nodes))


def newest(statuses: Iterable[Status | None]) -> list[Mapping[NodeId, Endpoints]]:
    """Return what the node says of the members that knows most, if anybody says anything: others may be far behind."""
    telling = [status for status in statuses if status is not None and status.members]
    best = max(telling, key=lambda status: (status.term, status.last_applied), default=None)
    return [] if best is None else [best.members]


def newcomers(members: Mapping[NodeId, Endpoints], known: Collection[NodeId]) -> list[Node]:
    """Return the members that are not known, as a configuration would name them."""
    return [Node(name, at.peer, at.client, at.events, join=True) for name, at in members.items() if name not in known]


def told(data: object) -> Mapping[NodeId, Endpoints]:
    """Return the members that the data of a `status` event names; nobody when it cannot be read."""
    try:
        return msgspec.convert(data, _Told).members
    except msgspec.ValidationError:
        return {}


class _Told(msgspec.Struct):
    """What concerns us of a `status` event."""

    members: dict[NodeId, Endpoints] = {}
