"""One question at a time for whoever leads, put to all nodes until the leader answers.

For questions that are rare and may be put twice: those about the membership, and for the state as a whole. It goes to everybody at once, since every node
but the leader refuses it, and follows a leader that nobody had heard of yet.
"""

import math
import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
import zmq

from zraft import requests
from zraft.client.greeting import Topology, learned
from zraft.client.sockets import Context, Socket, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.errors import OutcomeUnknown, ProtocolError, Unavailable
from zraft.raft.types import NodeId
from zraft.requests import Outcome, Reply

Result = TypeVar("Result")
PAUSE_S = 0.05
"""Between a refusal, or a missing connection, and the next attempt with the same node."""


class _Line:
    """The connection to one node, and what was asked over it."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.under_way: set[int] = set()
        """Questions handed to ZeroMQ whose outcome is not known."""
        self.due_at = 0.0
        """When to ask next."""
        self.reason = "not connected"
        """Why it has not answered."""


class Inquiry:
    """The lines to all nodes, for one question after the other.

    Parameters
    ----------
    topology
        Where the nodes are.
    patience_s
        After how long a node that is silent is asked again.
    """

    def __init__(self, topology: Topology, patience_s: float) -> None:
        self._patience_s = patience_s
        self._codec = Codec(topology.cluster_id, f"inquiry-{os.getpid()}", secrets.randbits(64))
        self._context: Context = zmq.Context()
        self._poller = zmq.Poller()
        self._lines: dict[NodeId, _Line] = {}
        self._hellos: set[int] = set()
        """Ids of questions for the nodes that there are."""
        self._next_id = 1
        self._connect(topology.endpoints)

    def close(self) -> None:
        """Let go of all lines, with whatever is under way on them."""
        self._context.destroy(linger=0)

    def keep_to(self, node: NodeId) -> None:
        """Let go of all lines but that to `node`; KeyError when there is none."""
        kept = self._lines[node]
        for line in self._lines.values():
            if line is not kept:
                self._poller.unregister(line.socket)
                line.socket.close(0)
        self._lines = {node: kept}

    def ask(self, question: Callable[[int], requests.Request], until: float, *, changes: bool) -> Reply:
        """Ask until somebody who leads has answered; return a reply that is DONE or INVALID.

        Parameters
        ----------
        question
            Makes the request from its id.
        until
            When to give up, on the monotonic clock.
        changes
            Whether it changes something: then an answer that is lost matters.

        Raises
        ------
        Unavailable
            Nobody answered in time, and nothing happened.
        OutcomeUnknown
            It was handed over and not answered in time.
        """
        for line in self._lines.values():
            line.due_at = 0.0
            line.under_way.clear()  # An answer to an earlier question is no answer to this one.
        while (now := time.monotonic()) < until:
            for line in self._lines.values():
                if line.due_at <= now:
                    self._send(line, question, now)
            wakes_at = min([until, *(line.due_at for line in self._lines.values())])
            ready = dict(self._poller.poll(max(1, math.ceil((wakes_at - now) * 1_000))))
            for line in [line for line in self._lines.values() if line.socket in ready]:
                reply = self._receive(line)
                if reply is not None:
                    return reply
        raise self._given_up(changes)

    def _connect(self, endpoints: Mapping[NodeId, str]) -> None:
        for node, endpoint in endpoints.items():
            if node not in self._lines:
                socket = dealer(self._context, endpoint, wait_for_connection=True, linger_ms=0)
                self._lines[node] = _Line(socket)
                self._poller.register(socket, zmq.POLLIN)

    def _send(self, line: _Line, question: Callable[[int], requests.Request], now: float) -> None:
        id = self._new_id()
        try:
            line.socket.send_multipart(self._codec.encode(question(id)), zmq.NOBLOCK)
        except zmq.Again:
            line.due_at = now + PAUSE_S
            return
        line.under_way.add(id)
        line.reason = "silent"
        line.due_at = now + self._patience_s

    def _receive(self, line: _Line) -> Reply | None:
        """Take one message; return it when it settles the question."""
        try:
            reply: Reply = self._codec.decode(line.socket.recv_multipart(zmq.NOBLOCK), REPLY_KINDS).message
        except ProtocolError as error:
            line.reason = f"answers strangely ({error})"
            return None
        if reply.id in self._hellos:
            self._hellos.remove(reply.id)
            self._connect(learned(reply))
            return None
        if reply.id not in line.under_way:
            return None
        if reply.outcome not in (Outcome.REFUSED, Outcome.UNKNOWN):
            return reply
        if reply.outcome == Outcome.REFUSED:
            line.under_way.remove(reply.id)
        line.reason = reply.message or "refused"
        line.due_at = time.monotonic() + PAUSE_S
        if reply.leader is not None and reply.leader not in self._lines:
            self._ask_for_nodes(line)
        return None

    def _ask_for_nodes(self, line: _Line) -> None:
        id = self._new_id()
        self._hellos.add(id)
        line.socket.send_multipart(self._codec.encode(requests.Hello(id)), zmq.NOBLOCK)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _given_up(self, changes: bool) -> Unavailable | OutcomeUnknown:
        told = ", ".join(f"{node} {line.reason}" for node, line in sorted(self._lines.items()))
        if changes and any(line.under_way for line in self._lines.values()):
            return OutcomeUnknown(
                f"handed over and not answered in time ({told}): it may happen yet; see zraft member list, or ask again,"
                " which does no harm"
            )
        return Unavailable(f"no node served it in time ({told}); nothing happened; is a majority up? zraft status")


def read(reply: Reply, kind: type[Result]) -> Result:
    """Return the result of a reply that is DONE; `Unavailable` when it is of another version."""
    try:
        return msgspec.convert(reply.result, kind)
    except msgspec.ValidationError as error:
        raise Unavailable(f"a node's answer cannot be read: {error}; is it of another version?") from error
