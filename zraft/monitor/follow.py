"""Follows the event files of nodes: SUB sockets tell at once that something happened, the files say what it was.

What a subscription drops, or what happens before it stands, is in the file all the same; so nothing is missed, nothing
comes twice, and the events of a node come in their order. What a node could not write is shown as it was published.
"""

import math
import os
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import zmq
from zmq.utils.monitor import recv_monitor_message

from zraft import events
from zraft.client.history.reading import Reading
from zraft.client.sockets import Context, Socket, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.config import Config, Node
from zraft.errors import ProtocolError
from zraft.events import Event
from zraft.monitor.sources import RECONNECT_MS, subscription
from zraft.raft.types import NodeId
from zraft.requests import Reply

Show = Callable[[list[Event]], None]
_ASK_AGAIN_S = 2.0
"""After how long a question that was not answered is put again."""
_BUSY_S = 0.05
"""The same for one that was refused."""
_MESSAGES_PER_TURN = 500


def follow(config: Config, readings: Iterable[Reading], show: Show) -> None:
    """Show what happens, for ever, from where `readings` stand.

    Parameters
    ----------
    config
        Where the nodes are.
    readings
        What is to be followed; they go on being used.
    show
        Called with events of one node, in their order, whenever there are some.
    """
    context: Context = zmq.Context()
    codec = Codec(config.cluster_id, f"follow-{os.getpid()}", secrets.randbits(64))
    by_node: dict[NodeId, list[Reading]] = {}
    for reading in readings:
        by_node.setdefault(reading.node, []).append(reading)
    try:
        _run([Followed(context, codec, config.node(name), tracks) for name, tracks in by_node.items()], show)
    finally:
        context.destroy(linger=0)


def _run(nodes: list["Followed"], show: Show) -> None:
    poller = zmq.Poller()
    owners = {socket: node for node in nodes for socket in node.sockets}
    for socket in owners:
        poller.register(socket, zmq.POLLIN)
    while True:
        due = min((track.deadline for node in nodes for track in node.tracks), default=math.inf) - time.monotonic()
        for socket, _ in poller.poll(None if due == math.inf else max(0, math.ceil(due * 1_000))):
            found = owners[socket].take(socket)
            if found:
                show(found)
        for node in nodes:
            node.ask(time.monotonic())


class Track:
    """One reading that is kept up to date."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.held: dict[tuple[str, int], Event] = {}
        """Events that were published and not read yet, by process start and number."""
        self.is_wanted = True
        """Something may have come since the last question."""
        self.asked: int | None = None
        """The question under way."""
        self.deadline = math.inf
        """When to ask again what was asked; without end while nothing is."""
        self._awaited: list[tuple[str, int]] = []
        """Events that were held before the question: the answer has them, or no file has."""

    def live(self, event: Event) -> None:
        """Hear of an event as it happens."""
        if self.reading.wants(event) and not self.reading.has(event):
            self.held[event.boot_id, event.seq] = event
            self.is_wanted = True

    def look(self, *, afresh: bool = False) -> None:
        """Find out whether something has come; `afresh` if what was asked may be lost."""
        self.is_wanted = True
        if afresh:
            self.asked, self.deadline = None, math.inf

    def is_due(self, now: float) -> bool:
        """Whether to put a question now."""
        return now >= self.deadline or (self.is_wanted and self.deadline == math.inf)

    def asks(self, id: int, now: float) -> None:
        """Note that the question was put."""
        if self.asked is None:
            self._awaited = list(self.held)
        self.asked, self.is_wanted, self.deadline = id, False, now + _ASK_AGAIN_S

    def answered(self, reply: Reply, now: float) -> list[Event]:
        """Take the answer; return what is to be shown."""
        found = self.reading.take(reply)
        self.asked, self.deadline = None, math.inf
        self.held = {key: event for key, event in self.held.items() if not self.reading.has(event)}
        if not self.reading.more:
            found += self._unwritten()
        elif reply.result is None:
            self.deadline = now + _BUSY_S
        self.is_wanted = self.is_wanted or self.reading.more or bool(self.held)
        return found

    def _unwritten(self) -> list[Event]:
        found = [self.held.pop(key) for key in self._awaited if key in self.held]
        for event in found:
            self.reading.passed(event)
        return found


class Followed:
    """The sockets of one node, and what is followed of it."""

    def __init__(self, context: Context, codec: Codec, node: Node, readings: list[Reading]) -> None:
        self.tracks = [Track(reading) for reading in readings]
        self._codec = codec
        self._id = 0
        topics = [f"{node.id}/{kind}".encode() for kind in ("status", *sorted(events.RECORDED))]
        self._live = subscription(context, node.events, topics)
        # Nothing waits inside the socket: a node that was down for long is not to be asked the same thousands of times.
        self._questions = dealer(context, node.client, wait_for_connection=True, linger_ms=0, reconnect_ms=RECONNECT_MS)
        connections = [each.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED) for each in (self._live, self._questions)]
        self.sockets: tuple[Socket, ...] = (self._live, self._questions, *connections)
        self._live.connect(node.events)

    def take(self, socket: Socket) -> list[Event]:
        """Read what `socket`, one of ours, has; return what is to be shown."""
        if socket is self._questions:
            return self._answers()
        if socket is self._live:
            self._hear()
            return []
        recv_monitor_message(socket, zmq.NOBLOCK)
        for track in self.tracks:
            track.look(afresh=True)
        return []

    def ask(self, now: float) -> None:
        """Put the questions that are due."""
        for track in self.tracks:
            if track.is_due(now):
                self._id += 1
                track.asks(self._id, now)
                # A node that is not there takes no question; it is asked again when it is, or when this one is overdue.
                with suppress(zmq.Again):
                    self._questions.send_multipart(self._codec.encode(track.reading.question(self._id)), zmq.NOBLOCK)

    def _hear(self) -> None:
        for _ in range(_MESSAGES_PER_TURN):
            try:
                event = events.decode(self._live.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            except ProtocolError:
                continue  # A stranger, or another version of zraft: the file will tell.
            for track in self.tracks:
                track.live(event)
                if event.kind == "status":
                    track.look()  # Once a second: what the subscription has dropped is missed for no longer.

    def _answers(self) -> list[Event]:
        found: list[Event] = []
        while self._questions.poll(0):
            try:
                reply = self._codec.decode(self._questions.recv_multipart(zmq.NOBLOCK), REPLY_KINDS).message
            except ProtocolError:
                continue
            for track in self.tracks:
                if track.asked == reply.id:
                    found += track.answered(reply, time.monotonic())
        return found
