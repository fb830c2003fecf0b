"""The network seam on ZeroMQ: every socket of a node, with the options that avoid ZeroMQ's traps.

Each node has one ROUTER that only receives from peers, and one DEALER per peer on which everything to that peer leaves,
answers too; a ROUTER for clients, so that a flood of clients can't starve heartbeats; and an XPUB for events. All sends are
non-blocking: what a socket refuses is counted and reported, and Raft forgives a lost message. What arrives is checked
before it is believed; what fails a check is counted, reported at a bounded rate, and dropped.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import msgspec
import zmq
from loguru import logger

from zraft import codec, events, frames
from zraft.codec import Codec, Received
from zraft.config import Node
from zraft.endpoints import Lock, bind, bind_held
from zraft.errors import ProtocolError
from zraft.peerlinks import PeerLinks, routing_id
from zraft.raft.messages import Message, flaw
from zraft.raft.types import NodeId
from zraft.requests import Reply
from zraft.socketoptions import BOUNDED, CONNECTING, ON_TCP, SocketOptions, is_tcp, put

PEER_QUEUE_MAX = 1_000
"""Messages that wait for one peer; at the mark the DEALER refuses, and the core probes again."""
CLIENT_QUEUE_MAX = 20_000
"""Replies that wait for one client."""
EVENT_QUEUE_MAX = 10_000
"""Events that wait for one subscriber; a slower one sees a gap in `seq`."""
SUBSCRIPTIONS_MAX = 1_000
"""Topics that subscribers may hold before the event socket is made anew."""
REJECTED_EVERY_MS = 1_000
"""How often a socket may have a line about what was dropped on it."""
_SUBSCRIPTION_BYTES_MAX = len("\x09SUBSCRIBE") + 64 + len("/") + max(map(len, events.KINDS))
"""What the event socket takes as one frame: a subscription to the longest topic there is, node and kind, and no more.

ZeroMQ remembers every byte of every topic, so this and `SUBSCRIPTIONS_MAX` bound what strangers can make it remember. A
subscriber's handshake needs 25 bytes, so it is never cut.
"""
_UNBIND_MS_MAX = 1_000
"""How long the I/O thread may take to let go of an endpoint; it takes a few milliseconds."""

ON_IPC: SocketOptions = {zmq.RECONNECT_IVL_MAX: 250}
"""Besides, on ipc endpoints: to try again costs nothing there, and a node that returns is fed at once."""
PEERS_IN: SocketOptions = (
    BOUNDED
    | {
        zmq.ROUTER_MANDATORY: 1,
        zmq.ROUTER_HANDOVER: 1,  # A peer that connects anew must not wait until its old pipe is found dead. We answer nobody here.
        zmq.LINGER: 0,
        zmq.RCVHWM: PEER_QUEUE_MAX,
        zmq.SNDHWM: 1,
    }
)
PEER_OUT: SocketOptions = (
    BOUNDED
    | CONNECTING
    | {
        zmq.IMMEDIATE: 1,
        zmq.LINGER: 0,
        zmq.SNDHWM: PEER_QUEUE_MAX,
        zmq.RCVHWM: 1,
        zmq.RECONNECT_IVL: 50,
        zmq.RECONNECT_IVL_MAX: 1_000,
    }
)
CLIENTS: SocketOptions = BOUNDED | {
    zmq.ROUTER_MANDATORY: 1,
    zmq.LINGER: 500,
    zmq.RCVHWM: 1_000,
    zmq.SNDHWM: CLIENT_QUEUE_MAX,
}
EVENTS: SocketOptions = BOUNDED | {
    zmq.XPUB_VERBOSE: 1,
    zmq.MAXMSGSIZE: _SUBSCRIPTION_BYTES_MAX,
    zmq.LINGER: 500,
    zmq.SNDHWM: EVENT_QUEUE_MAX,
    zmq.RCVHWM: 1_000,
}


class Rejections:
    """Counts what was dropped unread, and tells of it at most once a second and socket."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self.counts: Counter[str] = Counter()
        """Messages dropped so far, by socket."""
        self._told_at: dict[str, float] = {}
        """When each socket last had its line."""
        self._untold: dict[str, str] = {}
        """Why the last message was dropped, for sockets on which some were since their line."""
        self.publisher: events.Publisher | None = None
        """Tells subscribers too, once there is one."""

    def __call__(self, socket: str, reason: str) -> None:
        """Count one; `reason` stands for all since the last line."""
        self.counts[socket] += 1
        self._untold[socket] = reason
        self._tell(socket)

    def tell_rest(self) -> None:
        """Tell of what was dropped within a second of the last line, once that second is over."""
        for socket in list(self._untold):
            self._tell(socket)

    def _tell(self, socket: str) -> None:
        now = self._now_ms()
        if now - self._told_at.get(socket, -inf) < REJECTED_EVERY_MS:
            return
        self._told_at[socket] = now
        count, reason = self.counts[socket], self._untold.pop(socket)
        logger.warning("dropped {} messages on the {} socket so far; the last: {}", count, socket, reason)
        if self.publisher is not None:
            self.publisher.publish("rejected", socket=socket, count=count, reason=reason)


class Transport:
    """All sockets of one node.

    Parameters
    ----------
    me
        This node's endpoints.
    peers
        The other nodes, as far as they are known at the start.
    cluster_id, boot_id
        What every message bears.
    rejected
        Called with the socket's name and the reason for each message dropped unread.
    advertised
        Where peers reach this node, if not where it listens.
    """

    def __init__(
        self,
        me: Node,
        peers: list[Node],
        cluster_id: int,
        boot_id: int,
        rejected: Callable[[str, str], None],
        *,
        advertised: str | None = None,
    ) -> None:
        self._me = me
        self._codec = Codec(cluster_id, me.id, boot_id)
        self._rejected = rejected
        self.dropped: Counter[str] = Counter()
        """Messages that a socket refused to take, by target."""
        self.lost_to: frozenset[NodeId] = frozenset()
        """To these peers, everything is lost: a drill."""
        self.deaf_to: frozenset[NodeId] = frozenset()
        """Of these peers, nothing is heard: a drill."""
        self._context = zmq.Context(io_threads=1)
        self._locks: list[Lock] = []
        self._encoded: tuple[Message, list[bytes]] | None = None
        self._topics: set[bytes] = set()
        """What anybody subscribes to: the XPUB tells of the first to come and the last to go, for each topic."""
        try:
            self.peers_in = self._bound(zmq.ROUTER, PEERS_IN, me.peer, "peer socket")
            self.clients = self._bound(zmq.ROUTER, CLIENTS, me.client, "client socket")
            self.events = self._bound(zmq.XPUB, EVENTS, me.events, "event socket")
        except BaseException:
            self.close()
            raise
        self._identity = routing_id(me.id, boot_id, advertised or me.peer)
        self.links = PeerLinks(self._connected)
        """The sockets on which everything to peers leaves."""
        self.links.meet({peer.id: peer.peer for peer in peers})

    def close(self) -> None:
        """Close all sockets, giving replies and events their linger time."""
        self._context.destroy()
        for lock in self._locks:
            lock.release()

    # -- peers ---------------------------------------------------------------------------------------------------------

    def send(self, target: NodeId, message: Message) -> bool:
        """Hand `message` to the peer's socket; False when it was refused and is lost for certain."""
        if target in self.lost_to:
            return True  # On its way, as far as anybody can tell who sends into a broken link.
        socket = self.links.socket(target)
        if socket is None:
            return False
        if self._encoded is None or self._encoded[0] is not message:
            self._encoded = (message, self._codec.encode(message))  # Followers in step get the same message.
        try:
            frames.send(socket, self._encoded[1])
        except zmq.Again:
            self.dropped[target] += 1
            return False
        return True

    def receive_peers(self, count_max: int) -> Iterator[tuple[NodeId, Message]]:
        """Yield what peers have sent, at most `count_max` messages."""
        for connection, received in self._receive(self.peers_in, "peer", codec.PEER_KINDS, count_max):
            source = received.source
            if source in self.deaf_to:
                continue
            name = routing_id(source, received.boot_id)
            proper = connection.startswith(name) and connection[len(name) : len(name) + 1] in (b"", b":")
            if source not in self.links and not (proper and self._hear(source, connection[len(name) + 1 :])):
                self._rejected("peer", f"{source} is no peer of ours")
            elif not proper:
                self._rejected("peer", f"a connection under another name than the message's, {source}")
            elif (wrong := flaw(received.message)) is not None:
                self._rejected("peer", f"{source}: {wrong}")
            else:
                yield source, received.message

    def _hear(self, source: NodeId, endpoint: bytes) -> bool:
        """Take up whoever speaks and is not known yet, if it says where it can be answered."""
        try:
            return source != self._me.id and self.links.hear(source, endpoint.decode())
        except UnicodeDecodeError:
            return False

    # -- clients -------------------------------------------------------------------------------------------------------

    def receive_clients(self, count_max: int) -> Iterator[tuple[bytes, Any, bytes | None]]:
        """Yield requests as (client, request, batch), at most `count_max`."""
        for client, received in self._receive(self.clients, "client", codec.REQUEST_KINDS, count_max):
            yield client, received.message, received.batch

    def reply(self, client: bytes, reply: Reply) -> None:
        """Answer a client; when it has gone, or takes nothing, that is counted, and it may ask again."""
        try:
            frames.send(self.clients, [client, *self._codec.encode(reply)])
        except zmq.ZMQError as error:  # EAGAIN: its queue is full. EHOSTUNREACH: it has gone.
            self.dropped["clients"] += 1
            self._rejected("client", f"a reply could not be sent: {error.strerror}")

    # -- events --------------------------------------------------------------------------------------------------------

    def publish(self, event: events.Event) -> None:
        """Publish to whoever subscribes."""
        try:
            frames.send(self.events, events.encode(event))
        except zmq.Again:
            self.dropped["events"] += 1

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody subscribes to anything."""
        return bool(self._topics)

    def drain_subscriptions(self) -> bool:
        """Note topics as they come and go, a bounded number; True when the socket was made anew because of too many.

        A publisher keeps every topic in memory, so somebody who subscribes without end is cut off, with all others, who
        come back by themselves.
        """
        for _ in range(SUBSCRIPTIONS_MAX):
            try:
                frame = self.events.recv(zmq.NOBLOCK)
            except zmq.Again:
                return False
            if frame[:1] == b"\x01":
                if not self._topics:
                    logger.debug("events have somebody who subscribes to them")
                self._topics.add(frame[1:])
            elif frame[:1] == b"\x00":
                self._topics.discard(frame[1:])
                if not self._topics:
                    logger.debug("events have nobody any more who subscribes to them")
            else:
                self._rejected("event", f"a message of {len(frame)} bytes where only subscriptions belong")
            if len(self._topics) > SUBSCRIPTIONS_MAX:
                self._rejected("event", f"more than {SUBSCRIPTIONS_MAX} subscriptions; all were cut off")
                self._renew_events()
                return True
        return False

    def _renew_events(self) -> None:
        """Replace the event socket, and with it all that its subscribers have made it remember."""
        # The I/O thread closes the old endpoint in its own time. To bind before that would fail on tcp; on ipc it would
        # succeed, and the old one would then remove the path of the new.
        closing = self.events.get_monitor_socket(zmq.EVENT_CLOSED)
        self.events.unbind(self.events.get_string(zmq.LAST_ENDPOINT))
        closing.poll(_UNBIND_MS_MAX)
        self.events.disable_monitor()
        self.events.close(0)
        self._topics.clear()
        self.events = self._socket(zmq.XPUB, EVENTS, self._me.events)
        bind_held(self.events, self._me.events, f"event socket of {self._me.id}")

    # -- sockets -------------------------------------------------------------------------------------------------------

    def _receive(
        self, socket: zmq.Socket[bytes], name: str, kinds: dict[int, type[msgspec.Struct]], count_max: int
    ) -> Iterator[tuple[bytes, Received]]:
        for taken in range(count_max):
            if taken and not frames.waits(socket):
                return
            try:
                connection, *found = frames.receive(socket)
            except zmq.Again:
                return
            try:
                received = self._codec.decode(found, kinds)
            except ProtocolError as error:
                self._rejected(name, str(error))
            else:
                yield connection, received

    def _socket(self, kind: int, options: SocketOptions, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        put(socket, options | (ON_TCP if is_tcp(endpoint) else ON_IPC))
        return socket

    def _bound(self, kind: int, options: SocketOptions, endpoint: str, purpose: str) -> zmq.Socket[bytes]:
        socket = self._socket(kind, options, endpoint)
        lock = bind(socket, endpoint, f"{purpose} of {self._me.id}")
        if lock is not None:
            self._locks.append(lock)
        return socket

    def _connected(self, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._socket(zmq.DEALER, PEER_OUT | {zmq.ROUTING_ID: self._identity}, endpoint)
        socket.connect(endpoint)
        return socket
