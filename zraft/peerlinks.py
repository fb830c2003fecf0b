"""The sockets on which a node talks to its peers: one for each, opened and closed as they come and go.

A peer is known by where it is reached. Besides those that the node is told of there are guests: nodes that are not in its own
log yet, and speak to it all the same, such as a leader that joined while this node was away. A node takes part in what
they say (thesis §4.1), and can answer since each one says in its routing id where it is.
"""

from collections.abc import Callable, Collection, Mapping

import zmq
from loguru import logger

from zraft.config.location import is_whole
from zraft.raft.types import NodeId

Socket = zmq.Socket[bytes]
GUESTS_MAX = 16
"""Guests at one time; more are strangers."""
GUEST_ROUNDS = 10
"""For how many rounds of `part` a guest may be silent."""
_ROUTING_ID_BYTES_MAX = 255


def routing_id(node: NodeId, boot_id: int, endpoint: str = "") -> bytes:
    """Return the name of a connection: the node, its process, and where it is reached if there is room for that."""
    short = f"{node}:{boot_id:016x}"
    whole = f"{short}:{endpoint}".encode()
    return whole if endpoint and len(whole) <= _ROUTING_ID_BYTES_MAX else short.encode()


class PeerLinks:
    """The sockets out, by peer.

    Parameters
    ----------
    connect
        Opens a socket that leads to an endpoint.
    """

    def __init__(self, connect: Callable[[str], Socket]) -> None:
        self._connect = connect
        self._links: dict[NodeId, tuple[str, Socket]] = {}
        """Endpoint and socket."""
        self._guests: dict[NodeId, int] = {}
        """Those of them that nobody has told us of, and for how many rounds they may still be silent."""

    def __contains__(self, node: object) -> bool:
        return node in self._links and node not in self._guests

    def socket(self, node: NodeId) -> Socket | None:
        """Return the socket that leads to a peer, or None when it is not known."""
        link = self._links.get(node)
        return None if link is None else link[1]

    def meet(self, endpoints: Mapping[NodeId, str]) -> None:
        """Connect to these peers, where no connection leads there yet."""
        for node, endpoint in endpoints.items():
            self._guests.pop(node, None)
            self._open(node, endpoint)

    def part(self, kept: Collection[NodeId]) -> None:
        """Let go of all peers but these, and of guests that have been silent for long."""
        for node in list(self._guests):
            self._guests[node] -= 1
            if self._guests[node] <= 0:
                del self._guests[node]
                self._close(node)
        for node in self._links.keys() - self._guests.keys() - {*kept}:
            self._close(node)

    def hear(self, node: NodeId, endpoint: str) -> bool:
        """Take note that somebody speaks whom nobody has told us of; False when it can't be answered."""
        if node not in self._guests and (len(self._guests) >= GUESTS_MAX or not is_whole(endpoint)):
            return False
        if node not in self._links and not self._open(node, endpoint):
            return False
        self._guests[node] = GUEST_ROUNDS
        return True

    def _open(self, node: NodeId, endpoint: str) -> bool:
        known = self._links.get(node)
        if known is not None and known[0] == endpoint:
            return True
        try:
            socket = self._connect(endpoint)
        except zmq.ZMQError as error:
            logger.error("{} cannot be reached at {}: {}", node, endpoint, error.strerror)
            return False
        self._close(node)
        self._links[node] = (endpoint, socket)
        return True

    def _close(self, node: NodeId) -> None:
        known = self._links.pop(node, None)
        if known is not None:
            known[1].close(0)
