"""Asks the nodes for their status from inside the supervisor's loop: one DEALER per process, never a wait."""

import os
from collections.abc import Iterable, Iterator

import msgspec
import zmq

from zraft.client.sockets import Context, Socket, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.config import Config
from zraft.errors import ProtocolError
from zraft.events import new_boot_id
from zraft.raft.types import NodeId
from zraft.requests import Outcome, Status, StatusRequest

_RECONNECT_MS = (20, 200)
"""Briefer than a client's: a node that has just begun to listen is to be noticed at once."""
_RESEND_MS = 1_000
"""After so long a question counts as lost; few pile up in front of a node that is frozen, and none when it is restarted."""


class Link:
    """The socket to one process, and the question that is under way on it."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.question = 0
        """The newest question's number."""
        self.asked_ms: float | None = None
        """When it was sent; None once it is answered."""
        self.answered_ms = float("-inf")
        """When the newest answered question was sent: what the answer says is not older than that."""
        self.due_ms = 0.0
        """When to ask next, unless an answer is still awaited."""

    @property
    def next_ms(self) -> float:
        """When to ask next."""
        return self.due_ms if self.asked_ms is None else max(self.due_ms, self.asked_ms + _RESEND_MS)


class Polls:
    """Links to all living processes.

    Parameters
    ----------
    context, poller
        Of the supervisor's loop.
    config
        Where the nodes are.
    """

    def __init__(self, context: Context, poller: zmq.Poller, config: Config) -> None:
        self._context = context
        self._poller = poller
        self.config = config
        """Where the nodes are; replaced when nodes come and go."""
        self._codec = Codec(config.cluster_id, f"supervisor-{os.getpid()}", new_boot_id())
        self._links: dict[NodeId, Link] = {}

    def deadline_ms(self, node_ids: Iterable[NodeId]) -> float:
        """When the next question to one of these is due."""
        return min((self._links[name].next_ms for name in node_ids if name in self._links), default=float("inf"))

    def open(self, node_id: NodeId, now_ms: float) -> None:
        """Connect to a process that has just been started."""
        self.close(node_id)
        endpoint = self.config.node(node_id).client
        socket = dealer(self._context, endpoint, wait_for_connection=True, linger_ms=0, reconnect_ms=_RECONNECT_MS)
        self._poller.register(socket, zmq.POLLIN)
        link = self._links[node_id] = Link(socket)
        link.due_ms = now_ms

    def close(self, node_id: NodeId) -> None:
        """Disconnect from a process that has ended, with whatever was on its way."""
        link = self._links.pop(node_id, None)
        if link is not None:
            self._poller.unregister(link.socket)
            link.socket.close(linger=0)

    def hurry(self, now_ms: float) -> None:
        """Ask everybody as soon as possible."""
        for link in self._links.values():
            link.due_ms = now_ms

    def ask(self, node_id: NodeId, now_ms: float, interval_ms: float) -> None:
        """Ask this node if it is time to, and once more after `interval_ms`."""
        link = self._links.get(node_id)
        if link is None or now_ms < link.next_ms:
            return
        link.due_ms = now_ms + interval_ms
        link.asked_ms = None
        link.question += 1
        try:
            link.socket.send_multipart(self._codec.encode(StatusRequest(link.question)), zmq.NOBLOCK)
        except zmq.Again:
            return  # Not connected: the node does not listen yet, or is down, and will be asked again.
        link.asked_ms = now_ms

    def fresh(self, node_id: NodeId, since_ms: float) -> bool:
        """Whether the node has answered a question that was sent at `since_ms` or later."""
        link = self._links.get(node_id)
        return link is not None and link.answered_ms >= since_ms

    def answers(self) -> Iterator[tuple[NodeId, Status]]:
        """Yield what has come in, without waiting."""
        for node_id, link in list(self._links.items()):
            while (status := self._receive(link)) is not None:
                yield node_id, status

    def _receive(self, link: Link) -> Status | None:
        """Return the next answer; None when there is none."""
        while True:
            try:
                frames = link.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                reply = self._codec.decode(frames, REPLY_KINDS).message
                status = msgspec.convert(reply.result, Status)
            except (ProtocolError, msgspec.ValidationError):
                continue  # Not a node of this cluster, or of another version: as good as no answer.
            if reply.outcome == Outcome.DONE:
                if reply.id == link.question and link.asked_ms is not None:
                    link.answered_ms, link.asked_ms = link.asked_ms, None
                return status
