"""The client's I/O thread: it owns every socket, and carries what the conversation wants said.

Other threads append to the conversation's queues and ring the bell; nothing else is shared with them.
"""

import math
import os
import secrets
import threading
import time
import weakref

import zmq

from zraft import frames
from zraft.client.calls import Call
from zraft.client.conversation import Conversation
from zraft.client.errands import Errand
from zraft.client.greeting import Greeter, Topology
from zraft.client.sockets import Context, Socket, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.errors import ProtocolError

LINGER_MS = 500
"""How long the end of a session may still travel once the sockets are closed."""
FAREWELL_S = 0.2
"""How long `close` waits for the end of the session."""
_MESSAGES_PER_TURN = 64
_IN, _OUT = int(zmq.POLLIN), int(zmq.POLLOUT)
"""As plain numbers: to combine flags of an enumeration takes microseconds, for each connection at each turn."""


class _Link:
    """The connection to one node."""

    def __init__(self, context: Context, endpoint: str) -> None:
        self.socket = dealer(context, endpoint, wait_for_connection=True, linger_ms=LINGER_MS)
        self.monitor: Socket = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        """Tells of connections that break, so that nobody waits for an answer that cannot come."""

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close()


class Connection:
    """Sockets, thread and poll loop of one client.

    Parameters
    ----------
    topology
        The cluster, or None when it is to be learned from `seeds`.
    seeds
        Endpoints to learn it from.
    patience_s
        How long an attempt may stay unanswered before another node is asked.
    """

    def __init__(self, topology: Topology | None, seeds: list[str], patience_s: float) -> None:
        self.topology = topology
        """What is known of the cluster; set once, by the I/O thread if not at the start."""
        self.known = threading.Event()
        """Set with `topology`."""
        self._conversation = Conversation(patience_s)
        self._source = f"client-{os.getpid()}-{secrets.token_hex(4)}"
        self._boot_id = secrets.randbits(64)
        self._greeter = Greeter(self._source, self._boot_id, patience_s)
        self._codec: Codec | None = None
        self._links: dict[str, _Link] = {}
        """By node, or by endpoint while the cluster is not known."""
        self._seeds = seeds
        self._context: Context = zmq.Context()
        self._poller = zmq.Poller()
        self._wanted: set[str] = set()
        """Links that refused to send: the thread wakes as soon as one of them takes a message."""
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Closed with the last reference, never earlier: somebody may ring just when the thread ends.
        weakref.finalize(self, os.close, self._bell)
        self._asleep = False
        """Whether the bell must be rung; set by the I/O thread, cleared by whoever rings."""
        self._stopping = False
        """Set by `close`; from then on nothing is accepted."""
        self._ended = False
        """Set by the I/O thread when it will look at the queues no more."""
        self._thread = threading.Thread(target=self._run, name="zraft-client", daemon=True)

    def start(self) -> None:
        """Connect, and start the thread."""
        try:
            if self.topology is None:
                self._use(self._connect({endpoint: endpoint for endpoint in self._seeds}))
            else:
                self._settle(self.topology)
        except zmq.ZMQError:
            self._context.destroy(linger=0)
            raise
        self._poller.register(self._bell, zmq.POLLIN)
        self._thread.start()

    def write(self, call: Call) -> None:
        """Hand over a command; from any thread."""
        self._conversation.writes.append(call)
        if self._asleep and self._conversation.idle_writes:
            self._ring()
        if self._ended:
            self._conversation.drain()

    def read(self, call: Call) -> None:
        """Hand over a query; from any thread."""
        self._conversation.reads.append(call)
        if self._asleep and self._conversation.idle_reads:
            self._ring()
        if self._ended:
            self._conversation.drain()

    @property
    def inside(self) -> bool:
        """Whether the caller is the I/O thread itself, which must not wait for its own work."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """End the session, fail what waits, and return once the thread is gone."""
        self._stopping = True
        self._ring()
        if not self.inside:
            self._thread.join()

    def _ring(self) -> None:
        self._asleep = False
        os.eventfd_write(self._bell, 1)

    # The thread

    def _run(self) -> None:
        try:
            self._converse()
        finally:
            self._ended = True
            self._conversation.close()
            self._context.destroy(linger=LINGER_MS)

    def _converse(self) -> None:
        while not self._stopping:
            self._turn(None)
        self._conversation.close()
        until = time.monotonic() + FAREWELL_S
        while self._conversation.closing and time.monotonic() < until:
            self._turn(until)

    def _turn(self, until: float | None) -> None:
        """Send what is due, wait for something to happen, and take it in."""
        now = time.monotonic()
        self._conversation.expire(now)
        self._want_out(self._greet(now) if self._codec is None else self._send_due(self._codec, now))
        ready = dict(self._poller.poll(self._sleep_ms(now, until)))
        self._asleep = False
        if ready.pop(self._bell, None):
            os.eventfd_read(self._bell)
        if ready:
            self._take_in(ready)

    def _sleep_ms(self, now: float, until: float | None) -> int | None:
        """Return how long to wait at most; 0 when something was handed over since we looked."""
        # First this, then a look at the queues: whoever appends later sees it, and rings.
        self._asleep = True
        if self._stopping and until is None:
            return 0
        if self._codec is not None and self._conversation.has_new:
            return 0
        greeting = self._greeter.wakes_at() if self._codec is None else None
        times = [at for at in (until, self._conversation.wakes_at(), greeting) if at is not None]
        return max(0, math.ceil((min(times) - now) * 1_000)) if times else None

    def _greet(self, now: float) -> set[str]:
        """Say hello where it is due; return where a connection is missing."""
        refused = set()
        for endpoint, link in self._links.items():
            if not self._greeter.due(endpoint, now):
                continue
            if self._send(link, self._greeter.frames()):
                self._greeter.greeted(endpoint, now)
                self._conversation.route.silent(endpoint, now)  # Until it answers; then there is another route.
            else:
                self._conversation.route.unreachable(endpoint)
                refused.add(endpoint)
        return refused

    def _send_due(self, codec: Codec, now: float) -> set[str]:
        """Send what is due; return the links to wait for, all of them when none took some of it."""
        for errand in self._conversation.due(now):
            if not self._attempt(errand, codec, now):
                errand.block(now)
        return set(self._links) if self._conversation.blocked else set()

    def _attempt(self, errand: Errand, codec: Codec, now: float) -> bool:
        """Hand `errand` to the best node that has a connection; False when none has."""
        id = self._conversation.new_id()
        parts = errand.frames(codec, id)
        for node in self._conversation.route.order(now, errand.avoid):
            if self._send(self._links[node], parts):
                self._conversation.sent(errand, id, node, now)
                return True
            self._conversation.route.unreachable(node)
        return False

    def _send(self, link: _Link, parts: list[bytes]) -> bool:
        try:
            frames.send(link.socket, parts)
        except zmq.Again:
            return False
        return True

    def _take_in(self, ready: dict[Socket, int]) -> None:
        now = time.monotonic()
        # Messages before broken connections: the answer may have come before the end.
        for name, link in list(self._links.items()):
            events = ready.get(link.socket, 0)
            if events & _OUT:
                self._conversation.connected(now)
            if events & _IN and self._receive(name, link):
                return
        for name, link in self._links.items():
            if link.monitor in ready:
                while link.monitor.poll(0):
                    link.monitor.recv_multipart(zmq.NOBLOCK)
                self._conversation.lost(name, now)

    def _receive(self, name: str, link: _Link) -> bool:
        """Take in what a node says; True when that told us the cluster, and all links are new."""
        for _ in range(_MESSAGES_PER_TURN):
            try:
                parts = frames.receive(link.socket)
            except zmq.Again:
                return False
            try:
                if self._codec is None:
                    self._settle(self._greeter.heard(name, parts))
                    return True
                reply = self._codec.decode(parts, REPLY_KINDS).message
            except (ProtocolError, zmq.ZMQError) as error:
                self._conversation.route.strange(name, str(error))
                continue
            self._conversation.received(name, reply, time.monotonic())
        return False

    def _settle(self, topology: Topology) -> None:
        """Connect to the nodes of the cluster, now that they are known, in place of the seeds."""
        links = self._connect(topology.endpoints)
        for link in self._links.values():
            self._poller.unregister(link.socket)
            self._poller.unregister(link.monitor)
            link.close()
        self._use(links)
        self._codec = Codec(topology.cluster_id, self._source, self._boot_id)
        self._conversation.know(list(topology.endpoints))
        self.topology = topology
        self.known.set()

    def _connect(self, endpoints: dict[str, str]) -> dict[str, _Link]:
        """Open a link to each endpoint, or raise and open none."""
        links: dict[str, _Link] = {}
        try:
            for name, endpoint in endpoints.items():
                links[name] = _Link(self._context, endpoint)
        except zmq.ZMQError:
            for link in links.values():
                link.close()
            raise
        return links

    def _use(self, links: dict[str, _Link]) -> None:
        self._links = links
        self._wanted = set()
        for link in links.values():
            self._poller.register(link.socket, zmq.POLLIN)
            self._poller.register(link.monitor, zmq.POLLIN)

    def _want_out(self, wanted: set[str]) -> None:
        """Wake when one of these links can take a message, and for no other."""
        for name in wanted ^ self._wanted:
            self._poller.modify(self._links[name].socket, zmq.POLLIN | (zmq.POLLOUT if name in wanted else 0))
        self._wanted = wanted
