"""The sockets of the monitor: for each node a SUB for what happens, and a DEALER to ask for what has happened.

Both connect for ever. When a subscription has come about, again or for the first time, the node is asked for its newest
events, so that what it did before is not missed; `feed` joins the two.
"""

import os
import secrets
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from zraft import events, requests
from zraft.client.sockets import Context, Socket, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.config import Config, Node
from zraft.errors import ProtocolError
from zraft.events import Event
from zraft.monitor.feed import Feed, Passage
from zraft.raft.types import NodeId
from zraft.socketoptions import BOUNDED, CONNECTING, ON_TCP, SocketOptions, is_tcp, put

RECONNECT_MS = (50, 200)
"""First and longest pause between attempts: a node that is back shall be seen at once, and monitors are few."""
_QUEUE_MAX = 20_000
"""Events that wait in a SUB socket: some seconds of a busy cluster."""
_MESSAGES_PER_TURN = 500


class News(NamedTuple):
    """Something to show."""

    node: NodeId
    passage: Passage


class Source:
    """One node's sockets.

    Parameters
    ----------
    context, codec
        Of the whole monitor.
    node
        Where it is.
    feed
        Puts its events in order.
    """

    def __init__(self, context: Context, codec: Codec, node: Node, feed: Feed) -> None:
        self.node = node.id
        self.feed = feed
        self.strange = 0
        """Messages that were no events of this node, and were dropped."""
        self._codec = codec
        self._request_id = 0
        self.subscription = subscription(context, node.events, [b""])  # All: the table needs what people do not see.
        self.connections = self.subscription.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.questions = dealer(context, node.client, wait_for_connection=False, linger_ms=0, reconnect_ms=RECONNECT_MS)
        self.subscription.connect(node.events)

    def take(self, socket: Any, now_ms: float) -> list[Passage]:
        """Read what `socket`, one of ours, has; a bounded amount."""
        if socket is self.subscription:
            return self._live(now_ms)
        if socket is self.questions:
            return self._answers()
        while self.connections.poll(0):
            recv_monitor_message(self.connections, zmq.NOBLOCK)
            self.feed.connected(now_ms)
        return []

    def ask(self) -> None:
        """Ask for the newest events, if the feed wants them; the question waits until the node is there."""
        if not self.feed.wants_recent:
            return
        self.feed.wants_recent = False
        self._request_id += 1
        question = requests.RecentEvents(self._request_id, events.RECENT_MAX)
        try:
            self.questions.send_multipart(self._codec.encode(question), zmq.NOBLOCK)
        except zmq.Again:
            self.strange += 1  # Thousands of questions wait already: one more would change nothing.

    def _live(self, now_ms: float) -> list[Passage]:
        passages: list[Passage] = []
        for _ in range(_MESSAGES_PER_TURN):
            try:
                frames = self.subscription.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                event = events.decode(frames)
            except ProtocolError:
                self.strange += 1
                continue
            if event.node == self.node:
                passages += self.feed.live(event, now_ms)
            else:
                self.strange += 1
        return passages

    def _answers(self) -> list[Passage]:
        passages: list[Passage] = []
        while self.questions.poll(0):
            try:
                reply = self._codec.decode(self.questions.recv_multipart(zmq.NOBLOCK), REPLY_KINDS).message
                recent = msgspec.convert(reply.result or [], list[Event])
            except (ProtocolError, msgspec.ValidationError):
                self.strange += 1
                continue
            passages += self.feed.recent(event for event in recent if event.node == self.node)
        return passages


class Sources:
    """The sockets of all nodes that are watched.

    Parameters
    ----------
    config
        Where they are.
    nodes
        Which of them.
    feed
        Makes the feed of one node.
    """

    def __init__(self, config: Config, nodes: Iterable[NodeId], feed: Callable[[], Feed]) -> None:
        self._context: Context = zmq.Context()
        self._codec = Codec(config.cluster_id, f"monitor-{os.getpid()}", secrets.randbits(64))
        self._feed = feed
        self._sources: list[Source] = []
        self._owners: dict[Any, Source] = {}
        self.poller = zmq.Poller()
        for name in nodes:
            self.meet(config.node(name))

    def close(self) -> None:
        """Let go of all sockets."""
        self._context.destroy(linger=0)

    @property
    def nodes(self) -> list[NodeId]:
        """The nodes that are watched."""
        return [source.node for source in self._sources]

    def meet(self, node: Node) -> None:
        """Watch one more node."""
        source = Source(self._context, self._codec, node, self._feed())
        self._sources.append(source)
        for socket in (source.subscription, source.connections, source.questions):
            self._owners[socket] = source
            self.poller.register(socket, zmq.POLLIN)

    def wait(self, timeout_ms: int) -> list[Any]:
        """Sleep until a socket has something, `timeout_ms` at most; return what is ready, for `take`."""
        return [socket for socket, _ in self.poller.poll(max(0, timeout_ms))]

    def take(self, ready: list[Any], now_ms: float) -> list[News]:
        """Read the sockets that are ready, ask what is to be asked, and return what is due to be shown."""
        news = [
            News(self._owners[socket].node, passage)
            for socket in ready
            if socket in self._owners
            for passage in self._owners[socket].take(socket, now_ms)
        ]
        for source in self._sources:
            news.extend(News(source.node, passage) for passage in source.feed.expire(now_ms))
            source.ask()
        return news

    @property
    def deadline(self) -> float | None:
        """When a feed stops waiting for an answer."""
        return min((source.feed.deadline for source in self._sources if source.feed.deadline is not None), default=None)

    @property
    def strange(self) -> int:
        """Messages dropped so far, since they were no events of the nodes."""
        return sum(source.strange for source in self._sources)


def subscription(context: Context, endpoint: str, topics: Iterable[bytes]) -> Socket:
    """Open a SUB socket for `endpoint`, every setting chosen; to connect it is left to the caller."""
    socket: Socket = context.socket(zmq.SUB)
    chosen: SocketOptions = {
        zmq.LINGER: 0,
        zmq.RCVHWM: _QUEUE_MAX,
        zmq.RECONNECT_IVL: RECONNECT_MS[0],
        zmq.RECONNECT_IVL_MAX: RECONNECT_MS[1],
    }
    put(socket, BOUNDED | CONNECTING | (ON_TCP if is_tcp(endpoint) else {}) | chosen)
    for topic in topics:
        socket.setsockopt(zmq.SUBSCRIBE, topic)
    return socket
