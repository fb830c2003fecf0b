"""Reads the event files of all nodes at once."""

import math
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from zraft.client.history.reading import Reading, readings
from zraft.client.sockets import Context, Socket, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.errors import ProtocolError
from zraft.events import Event
from zraft.raft.types import NodeId

CONNECT_S = 0.8
"""Who has not even greeted us by then is down."""
_AGAIN_S = 0.05
"""A node that was too busy to answer is asked again after this long."""


class Past(NamedTuple):
    """What was read."""

    streams: list[list[Event]]
    """One of each reading that gave anything; each in the order of its node."""
    readings: list[Reading]
    """How far each has come; those of silent nodes have not begun."""
    silent: list[NodeId]
    """Nodes that did not answer, or not to the end."""

    def notes(self) -> list[str]:
        """Return a line about each thing that is missing."""
        silent = [f"{node} does not answer: what it alone has recorded is missing" for node in self.silent]
        return silent + [f"{reading.node}: {reading.problem}" for reading in self.readings if reading.problem]


def read_past(
    cluster_id: int,
    endpoints: Mapping[NodeId, str],
    *,
    kinds: Sequence[str] = (),
    since_ms: int = 0,
    timeout_s: float = 5.0,
) -> Past:
    """Read what the nodes have recorded, up to now.

    Parameters
    ----------
    cluster_id, endpoints
        The cluster, and where clients reach each of its nodes that is to be asked.
    kinds, since_ms
        Only events of these kinds, of all if there are none; only those not older than this.
    timeout_s
        How long to wait for each answer of a node that is up.
    """
    context: Context = zmq.Context()
    codec = Codec(cluster_id, f"events-{os.getpid()}", secrets.randbits(64))
    try:
        links = [_Link(context, codec, name, endpoint, timeout_s) for name, endpoint in endpoints.items()]
        for link in links:
            link.begin(readings(link.node, kinds, since_ms))
        _run(links)
    finally:
        context.destroy(linger=0)
    return Past(
        [stream for link in links for stream in link.streams if stream],
        [reading for link in links for reading in link.readings],
        [link.node for link in links if link.is_silent],
    )


class _Link:
    """The questions to one node, one at a time."""

    def __init__(self, context: Context, codec: Codec, node: NodeId, endpoint: str, timeout_s: float) -> None:
        self.node = node
        self._codec = codec
        self._timeout_s = timeout_s
        self.socket = dealer(context, endpoint, wait_for_connection=False, linger_ms=0)
        self.greetings: Socket = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.readings: list[Reading] = []
        self.streams: list[list[Event]] = []
        """What each reading has given."""
        self._at = 0
        """The reading that is under way; behind the last one when all is read."""
        self._id = 0
        """The question under way."""
        self.deadline = 0.0
        """When the node is given up, or asked again."""
        self._ask_again = False
        self.is_silent = False
        """It was given up."""

    @property
    def is_done(self) -> bool:
        return self.is_silent or self._at == len(self.readings)

    def begin(self, readings: list[Reading]) -> None:
        self.readings, self.streams = readings, [[] for _ in readings]
        self._ask(min(CONNECT_S, self._timeout_s))

    def greeted(self, now: float) -> None:
        """Give the node its time to answer: it lives."""
        recv_monitor_message(self.greetings, zmq.NOBLOCK)
        if not self._ask_again:  # The news of a connection may come behind the first answer.
            self.deadline = now + self._timeout_s

    def answered(self, now: float) -> None:
        """Take an answer, and ask what is next."""
        try:
            reply = self._codec.decode(self.socket.recv_multipart(zmq.NOBLOCK), REPLY_KINDS).message
        except ProtocolError:
            return  # A stranger, or a node of another cluster.
        if reply.id != self._id or self.is_done:
            return
        reading = self.readings[self._at]
        found = reading.take(reply)
        self.streams[self._at] += found
        self._ask_again = reading.more and not found and reply.result is None
        if self._ask_again:
            self.deadline = now + _AGAIN_S
            return
        self._at += not reading.more
        if not self.is_done:
            self._ask(self._timeout_s)

    def expired(self) -> None:
        """Ask again whoever was busy; give up who is silent."""
        if self._ask_again:
            self._ask(self._timeout_s)
        else:
            self.is_silent = True

    def _ask(self, within_s: float) -> None:
        self._id += 1
        self._ask_again = False
        self.deadline = time.monotonic() + within_s
        self.socket.send_multipart(self._codec.encode(self.readings[self._at].question(self._id)), zmq.NOBLOCK)


def _run(links: list[_Link]) -> None:
    poller = zmq.Poller()
    owners = {socket: link for link in links for socket in (link.socket, link.greetings)}
    for socket in owners:
        poller.register(socket, zmq.POLLIN)
    while waiting := [link for link in links if not link.is_done]:
        left = min(link.deadline for link in waiting) - time.monotonic()
        for socket, _ in poller.poll(max(0, math.ceil(left * 1_000))):
            link = owners[socket]
            (link.answered if socket is link.socket else link.greeted)(time.monotonic())
        for link in waiting:
            if not link.is_done and time.monotonic() >= link.deadline:
                link.expired()
