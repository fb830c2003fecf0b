"""How a client that knows endpoints alone learns the rest: whom it talks to, who else there is, and what the limits are."""

import secrets

import msgspec

from zraft import requests
from zraft.codec import REPLY_KINDS, Codec, cluster_of
from zraft.config import Config, Limits
from zraft.errors import ConfigError, ProtocolError
from zraft.raft.types import NodeId


class Topology(msgspec.Struct, frozen=True):
    """What a client must know of a cluster before it can ask anything of it."""

    cluster_id: int
    endpoints: dict[NodeId, str]
    """Where clients reach each node."""
    limits: Limits
    alone: bool = False
    """No other nodes are to be asked, though there are some."""
    name: str = ""
    """The cluster's, and where that is configured, for people; empty when only endpoints are known."""

    @classmethod
    def of(cls, config: Config) -> "Topology":
        """Return what the configuration says."""
        endpoints = {node.id: node.client for node in config.nodes}
        return cls(config.cluster_id, endpoints, config.limits, name=f"{config.cluster.name} ({config.path})")

    @classmethod
    def of_one(cls, config: Config, node: NodeId) -> "Topology":
        """Return it for a client that is to ask `node` alone; `ConfigError` when there is none of that name."""
        everybody = cls.of(config)
        if node not in everybody.endpoints:
            raise ConfigError(f"{node}: no such node; there are {', '.join(everybody.endpoints)}")
        return msgspec.structs.replace(everybody, endpoints={node: everybody.endpoints[node]}, alone=True)


class _Hello(msgspec.Struct, frozen=True):
    """The result of `requests.Hello`; unknown keys are passed over."""

    node: NodeId
    nodes: dict[NodeId, str]
    limits: dict[str, int] = {}


class Greeter:
    """Says hello to every endpoint until one answers.

    Parameters
    ----------
    source, boot_id
        The names under which the client speaks.
    patience_s
        After how long an endpoint that stays silent is greeted again.
    """

    def __init__(self, source: str, boot_id: int, patience_s: float) -> None:
        self._source = source
        self._boot_id = boot_id
        self._patience_s = patience_s
        self._id = secrets.randbits(32)
        self._greeted_at: dict[str, float] = {}

    def frames(self) -> list[bytes]:
        """Return the hello, which bears no cluster's id."""
        return Codec(0, self._source, self._boot_id).encode(requests.Hello(self._id))

    def due(self, endpoint: str, now: float) -> bool:
        """Whether to greet this endpoint now."""
        greeted = self._greeted_at.get(endpoint)
        return greeted is None or greeted + self._patience_s <= now

    def greeted(self, endpoint: str, now: float) -> None:
        """Note that it was greeted."""
        self._greeted_at[endpoint] = now

    def wakes_at(self) -> float | None:
        """When the next greeting is due; None while the first ones wait for a connection."""
        return min(self._greeted_at.values()) + self._patience_s if self._greeted_at else None

    def heard(self, endpoint: str, frames: list[bytes]) -> Topology:
        """Return what an answer from `endpoint` says, or raise `ProtocolError`.

        The endpoint by which a node was reached is kept for it: seen from here it works, which the node cannot know.
        """
        codec = Codec(cluster_of(frames) or 0, self._source, self._boot_id)
        reply = codec.decode(frames, REPLY_KINDS).message
        if reply.id != self._id or reply.outcome != requests.Outcome.DONE:
            raise ProtocolError(f"not an answer to our hello: outcome {reply.outcome}")
        try:
            hello = msgspec.convert(reply.result, _Hello)
            limits = msgspec.convert(hello.limits, Limits)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"not an answer to our hello: {error}") from error
        return Topology(codec.cluster_id, hello.nodes | {hello.node: endpoint}, limits)


def learned(reply: requests.Reply) -> dict[NodeId, str]:
    """Return where clients reach each node, by an answer to a hello; nothing when it cannot be read."""
    try:
        return msgspec.convert(reply.result, _Hello).nodes
    except msgspec.ValidationError:
        return {}
