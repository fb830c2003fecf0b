"""The client's sockets, and the turn that carries over them what the conversation wants said.

One thread at a time turns it; which one is the business of `connection`.
"""

import math
import os
import secrets
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

import msgspec
import zmq

from zraft import frames, requests
from zraft.client.conversation import Conversation
from zraft.client.errands import Errand
from zraft.client.greeting import Greeter, Topology, learned
from zraft.client.sockets import Context, Socket, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.errors import ProtocolError
from zraft.raft.types import NodeId

LINGER_MS = 500
"""How long the end of a session may still travel once the sockets are closed."""
LEARN_EVERY_S = 1.0
"""How often a client that is at work asks which nodes there are: by and by all that it knew may leave."""
_NODES_ID = 1
"""The id of every question for the nodes that there are; those of the conversation are above it."""
_IN, _OUT = int(zmq.POLLIN), int(zmq.POLLOUT)
"""As plain numbers: to combine flags of an enumeration takes microseconds, for each connection at each turn."""


class Bell:
    """Wakes whoever sleeps in a turn; any thread may ring."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Closed with the last reference, never earlier: somebody may ring just when the last turn ends.
        weakref.finalize(self, os.close, self.fd)
        self.needed = False
        """Whether somebody sleeps, or is about to; set by him, cleared by whoever rings."""

    def ring(self) -> None:
        """Wake the sleeper."""
        self.needed = False
        os.eventfd_write(self.fd, 1)

    def silence(self) -> None:
        """Take note that it has rung."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)


class _Link:
    """The connection to one node."""

    def __init__(self, context: Context, endpoint: str) -> None:
        self.socket = dealer(context, endpoint, wait_for_connection=True, linger_ms=LINGER_MS)
        self.monitor: Socket = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        """Tells of connections that break, so that nobody waits for an answer that cannot come."""

    def forget_breaks(self) -> None:
        """Take note of every break so far."""
        while frames.waits(self.monitor):
            frames.receive(self.monitor)

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close()


class Interrupted(BaseException):
    """Wraps what a signal handler raised while a turn slept, when nothing was half done."""


class Wire:
    """Links to the nodes, and what is said over them.

    Parameters
    ----------
    context
        Whose I/O thread carries the sockets.
    targets
        The cluster, or endpoints to learn it from.
    conversation
        What is to be said.
    bell
        Wakes it.
    patience_s
        How long a greeting may stay unanswered.
    on_known
        Called with the cluster, once it is known.

    Raises
    ------
    zmq.ZMQError
        An endpoint is none.
    """

    def __init__(
        self,
        context: Context,
        targets: Topology | list[str],
        conversation: Conversation,
        bell: Bell,
        *,
        patience_s: float,
        on_known: Callable[[Topology], None],
    ) -> None:
        self._context = context
        self._conversation = conversation
        self._bell = bell
        self._on_known = on_known
        self._source = f"client-{os.getpid()}-{secrets.token_hex(4)}"
        self._boot_id = secrets.randbits(64)
        self._greeter = Greeter(self._source, self._boot_id, patience_s)
        self._codec: Codec | None = None
        self._topology: Topology | None = None
        self._learn_at = time.monotonic() + LEARN_EVERY_S
        """When to ask for that next; sooner, when a leader is named that no link leads to."""
        self._asking: set[str] = set()
        """Links over which it was asked which nodes there are, and not answered yet."""
        self._links: dict[str, _Link] = {}
        """By node, or by endpoint while the cluster is not known."""
        self._watched: set[str] = set()
        """Links that may have something to tell; to look at those that nobody was asked over would cost as much."""
        self._wanted: set[str] = set()
        """Links that refused to send: a turn wakes as soon as one of them takes a message."""
        self._sources: list[tuple[Socket | int, int]] = []
        """What a turn sleeps on, made of these two and the bell; and for which events."""
        if isinstance(targets, Topology):
            self._settle(targets)
        else:
            self._use(self._connect({endpoint: endpoint for endpoint in targets}))

    @property
    def knows(self) -> bool:
        """Whether the cluster is known."""
        return self._codec is not None

    def close(self) -> None:
        """Close every socket; what was sent still leaves, for LINGER_MS."""
        for link in self._links.values():
            link.close()

    def turn(self, until: float | None = None) -> None:
        """Send what is due, sleep until something happens, take it in, and fail what is out of time.

        Parameters
        ----------
        until
            When to wake at the latest, on the monotonic clock.

        Raises
        ------
        Interrupted
            A signal handler raised while it slept; the next turn goes on where this one ended.
        """
        now = time.monotonic()
        wanted = self._greet(now) if self._codec is None else self._send_due(self._codec, now)
        if wanted != self._wanted:
            self._wanted = wanted
            self._choose_sources()
        ready = self._sleep(self._sleep_ms(now, until))
        if ready.pop(self._bell.fd, None):
            self._bell.silence()
        now = time.monotonic()
        if ready:
            self._take_in(ready, now)
        # After the answers, which may have come in time, and before who waits looks again.
        self._conversation.expire(now)

    def _sleep(self, ms: int) -> dict[Socket | int, int]:
        try:
            return dict(zmq.zmq_poll(self._sources, ms))
        except zmq.ZMQError:
            raise
        except BaseException as error:
            raise Interrupted from error
        finally:
            self._bell.needed = False

    def _sleep_ms(self, now: float, until: float | None) -> int:
        """Return how long to sleep at most, -1 for ever; 0 when something was handed over since we looked."""
        # First this, then a look at the queues: whoever appends later sees it, and rings.
        self._bell.needed = True
        if self._codec is not None and self._conversation.has_new:
            return 0
        greeting = self._greeter.wakes_at() if self._codec is None else None
        times = [at for at in (until, self._conversation.wakes_at(), greeting) if at is not None]
        return max(0, math.ceil((min(times) - now) * 1_000)) if times else -1

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
                self._conversation.route.unreachable(endpoint, now)
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
        for node in self._conversation.order(errand, now):
            self._watch(node)
            if self._send(self._links[node], parts):
                self._conversation.sent(errand, id, node, now)
                if now >= self._learn_at:
                    self._learn_at = now + LEARN_EVERY_S
                    self._ask_for_nodes(node)
                return True
            self._conversation.route.unreachable(node, now)
        return False

    def _send(self, link: _Link, parts: list[bytes]) -> bool:
        try:
            frames.send(link.socket, parts)
        except zmq.Again:
            return False
        return True

    def _take_in(self, ready: dict[Socket | int, int], now: float) -> None:
        # Messages before broken connections: the answer may have come before the end.
        for name in self._watched | self._wanted:
            link = self._links[name]
            events = ready.get(link.socket, 0)
            if events & _OUT:
                self._conversation.connected(now)
            if events & _IN and self._receive(name, link, now):
                return
        for name in self._watched:
            link = self._links[name]
            if link.monitor in ready:
                link.forget_breaks()
                self._asking.discard(name)
                self._conversation.lost(name, now)

    def _receive(self, name: str, link: _Link, now: float) -> bool:
        """Take in one message of a node; True when that told us the cluster, and all links are new."""
        parts = frames.receive(link.socket)
        try:
            if self._codec is None:
                self._settle(self._greeter.heard(name, parts))
                return True
            reply: requests.Reply = self._codec.decode(parts, REPLY_KINDS).message
        except (ProtocolError, zmq.ZMQError) as error:
            self._conversation.route.strange(name, str(error))
        else:
            if reply.id == _NODES_ID:
                self._asking.discard(name)
                self._meet(learned(reply), now)
                return True
            self._conversation.received(name, reply, now)
            if reply.leader is not None and not self._reaches(reply.leader, now):
                self._ask_for_nodes(name)  # It joined later, or is somewhere else by now.
        return False

    def _reaches(self, node: NodeId, now: float) -> bool:
        return node in self._links and not self._conversation.route.is_out_of_reach(node, now)

    def _ask_for_nodes(self, name: str) -> None:
        """Ask a node which nodes there are, unless only some of them are to be asked, or it was asked already."""
        stays = self._topology is None or self._topology.alone
        if self._codec is None or stays or name in self._asking:
            return
        if self._send(self._links[name], self._codec.encode(requests.Hello(_NODES_ID))):
            self._asking.add(name)

    def _meet(self, endpoints: dict[NodeId, str], now: float) -> None:
        """Connect to nodes that joined since the cluster was known, and anew to those out of reach that are somewhere else now."""
        known = {} if self._topology is None else self._topology.endpoints
        new = {node: at for node, at in endpoints.items() if known.get(node) != at and not self._reaches(node, now)}
        if not new or self._topology is None:
            return
        links = self._connect(new)
        for node in new:
            if node in self._links:
                self._conversation.lost(node, now)
                self._links[node].close()
            else:
                self._conversation.route.meet(node)
        self._links |= links
        self._conversation.connected(now)
        self._choose_sources()
        self._topology = msgspec.structs.replace(self._topology, endpoints=known | new)
        self._on_known(self._topology)

    def _settle(self, topology: Topology) -> None:
        """Connect to the nodes of the cluster, now that they are known, in place of the seeds."""
        links = self._connect(topology.endpoints)
        for link in self._links.values():
            link.close()
        self._topology = topology
        self._codec = Codec(topology.cluster_id, self._source, self._boot_id)
        self._use(links)
        self._conversation.know(list(topology.endpoints), topology.name)
        self._on_known(topology)

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
        self._watched = set(links) if self._codec is None else set()
        self._wanted = set()
        self._choose_sources()

    def _watch(self, node: str) -> None:
        """See to it that an answer of `node` is heard, and of those asked before it that have not answered."""
        if node in self._watched:
            return
        self._links[node].forget_breaks()  # What broke earlier says nothing of what is asked now.
        self._watched = {node, *self._conversation.asked(), *self._asking} & set(self._links)
        self._choose_sources()

    def _choose_sources(self) -> None:
        self._sources = [(self._bell.fd, _IN)]
        for name in self._watched | self._wanted:
            link = self._links[name]
            events = (_IN if name in self._watched else 0) | (_OUT if name in self._wanted else 0)
            self._sources.append((link.socket, events))
        self._sources += [(self._links[name].monitor, _IN) for name in self._watched]
