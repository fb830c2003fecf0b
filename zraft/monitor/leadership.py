"""Who leads, as it becomes known: SUB sockets tell of changes at once, questions tell how it stands.

A term has one leader, whoever tells of it (paper §5.2). So what any node says, "n2 leads term 7", is a fact, and only the newest term
counts: a node that was paused or cut off and still believes in an older leader changes nothing. Nodes may come and go:
all sockets connect for ever, a connection that stands again is used to ask at once, and so is a node from
which nothing has come for a while.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from zraft import events
from zraft.client.sockets import Context, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.config import Config, Node
from zraft.errors import ProtocolError
from zraft.monitor.newcomers import newcomers
from zraft.monitor.sources import RECONNECT_MS, subscription
from zraft.raft.types import Endpoints, NodeId
from zraft.requests import Status, StatusRequest

SETTLING_MS = 300
"""How long to wait at first for all nodes to answer, lest the one that knows least be believed first."""
SILENT_MS = 2_500
"""A node publishes its status every second; one that has not for this long is asked, and again as often."""
_MESSAGES_PER_TURN = 500


class Leader(NamedTuple):
    """Who leads."""

    node: NodeId
    term: int
    endpoint: str
    """Where clients reach it; empty for a node that the configuration does not have."""


class Leadership:
    """The sockets to all nodes, and what is known by them.

    Parameters
    ----------
    config
        Where the nodes are.
    now_ms
        The time, on any clock that goes on evenly.
    """

    def __init__(self, config: Config, now_ms: float) -> None:
        self._config = config
        self._context: Context = zmq.Context()
        self._codec = Codec(config.cluster_id, f"leader-{os.getpid()}", secrets.randbits(64))
        self._nodes: list[_Informant] = []
        self._owners: dict[Any, _Informant] = {}
        self._settled_at = now_ms + SETTLING_MS
        """When to believe what is known though not all nodes have answered."""
        self._newest: tuple[int, NodeId] = (0, "")
        self._told_term = 0
        self.poller = zmq.Poller()
        """Its sockets; others may be registered too."""
        for node in config.nodes:
            self._watch(node, now_ms)

    def close(self) -> None:
        """Let go of all sockets."""
        self._context.destroy(linger=0)

    @property
    def heard_at(self) -> float:
        """When anybody has told anything last; at first, when this began."""
        return max(node.heard_at for node in self._nodes)

    def deadline(self, now_ms: float) -> float:
        """Return when to call `take` though no socket has anything."""
        times = [node.silent_at for node in self._nodes]
        return min(times) if now_ms >= self._settled_at else min(*times, self._settled_at)

    def take(self, ready: list[Any], now_ms: float) -> Leader | None:
        """Read the sockets that are ready, ask what is to be asked; return the leader if it is a newer one than before."""
        for socket in ready:
            if socket in self._owners:
                for term, leader in self._owners[socket].take(socket, now_ms):
                    self._newest = max(self._newest, (term, leader), key=lambda known: known[0])
        for node in list(self._nodes):
            self._meet(node.members, now_ms)
        for node in self._nodes:
            node.ask(now_ms)
        term, leader = self._newest
        if term <= self._told_term or not (now_ms >= self._settled_at or all(node.has_told for node in self._nodes)):
            return None
        self._told_term = term
        return Leader(leader, term, endpoint_of(self._config, leader))

    def _meet(self, members: Mapping[NodeId, Endpoints], now_ms: float) -> None:
        """Ask those as well who joined later, by what a node says of the members."""
        new = newcomers(members, [node.id for node in self._config.nodes])
        self._config = msgspec.structs.replace(self._config, nodes=(*self._config.nodes, *new))
        for node in new:
            self._watch(node, now_ms)

    def _watch(self, node: Node, now_ms: float) -> None:
        informant = _Informant(self._context, self._codec, node, now_ms)
        self._nodes.append(informant)
        for socket in informant.sockets:
            self._owners[socket] = informant
            self.poller.register(socket, zmq.POLLIN)


def endpoint_of(config: Config, node: NodeId) -> str:
    """Return where clients reach `node`; nothing for one that the configuration does not have."""
    return next((known.client for known in config.nodes if known.id == node), "")


class _Informant:
    """One node's sockets."""

    def __init__(self, context: Context, codec: Codec, node: Node, now_ms: float) -> None:
        self.has_told = False
        """Whether it has said anything yet."""
        self.members: Mapping[NodeId, Endpoints] = {}
        """Who takes part, by its last word."""
        self.silent_at = now_ms + SILENT_MS
        """When it is asked unless something comes from it."""
        self.heard_at = now_ms
        """When something came from it last; at first, when it was looked for."""
        self._node = node.id
        self._codec = codec
        self._is_to_be_asked = False
        self._request_id = 0
        topics = [f"{node.id}/{kind}".encode() for kind in ("role", "status")]
        self._live = subscription(context, node.events, topics)
        # Nothing waits inside this one: a node that was away for long would be asked the same thousands of times.
        self._questions = dealer(context, node.client, wait_for_connection=True, linger_ms=0, reconnect_ms=RECONNECT_MS)
        connections = [each.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED) for each in (self._live, self._questions)]
        self.sockets = (self._live, self._questions, *connections)
        self._live.connect(node.events)

    def take(self, socket: Any, now_ms: float) -> list[tuple[int, NodeId]]:
        """Read what `socket`, one of ours, has; return the leaders that it names, each with its term."""
        if socket is self._live:
            found = self._published()
        elif socket is self._questions:
            found = self._answers()
        else:
            recv_monitor_message(socket, zmq.NOBLOCK)
            self._is_to_be_asked = True
            return []
        if found:
            self.has_told, self.heard_at, self.silent_at = True, now_ms, now_ms + SILENT_MS
        return [(term, leader) for term, leader in found if leader is not None]

    def ask(self, now_ms: float) -> None:
        """Ask for its status if that is due."""
        if not self._is_to_be_asked and now_ms < self.silent_at:
            return
        self._is_to_be_asked, self.silent_at = False, now_ms + SILENT_MS
        self._request_id += 1
        with suppress(zmq.Again):  # No connection: once there is one, it is asked.
            self._questions.send_multipart(self._codec.encode(StatusRequest(self._request_id)), zmq.NOBLOCK)

    def _published(self) -> list[tuple[int, NodeId | None]]:
        found: list[tuple[int, NodeId | None]] = []
        for _ in range(_MESSAGES_PER_TURN):
            try:
                event = events.decode(self._live.recv_multipart(zmq.NOBLOCK))
                told = msgspec.convert(event.data, _Told)
            except zmq.Again:
                break
            except (ProtocolError, msgspec.ValidationError):
                continue  # A stranger, or another version: what it says is nothing that anybody here knows.
            if event.node == self._node:
                self.members = told.members or self.members
                found.append((told.term, told.leader))
        return found

    def _answers(self) -> list[tuple[int, NodeId | None]]:
        found: list[tuple[int, NodeId | None]] = []
        while self._questions.poll(0):
            with suppress(ProtocolError, msgspec.ValidationError):
                reply = self._codec.decode(self._questions.recv_multipart(zmq.NOBLOCK), REPLY_KINDS).message
                status = msgspec.convert(reply.result, Status)
                self.members = status.members
                found.append((status.term, status.leader))
        return found


class _Told(msgspec.Struct):
    """What a `role` and a `status` event have in common, and the members that the latter names."""

    term: int
    leader: NodeId | None
    members: dict[NodeId, Endpoints] = {}
