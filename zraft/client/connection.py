"""Who turns the client's wire: its I/O thread, or a thread that waits for a call of its own and for nothing else.

A call that somebody waits for would cost two changes of thread more than it needs, there and back, if only the I/O thread
might carry it: a tenth of the time of a write. So while nothing else is under way, the caller turns the wire himself until
he has his answer. One lock says who turns. Other threads append to the conversation's queues, and ring the bell if
the one who turns sleeps; if nobody turns, they wake the I/O thread.
"""

import threading
import time
from collections import deque

import zmq

from zraft.client.calls import Call
from zraft.client.conversation import Conversation
from zraft.client.greeting import Topology
from zraft.client.sockets import Context
from zraft.client.wire import LINGER_MS, Bell, Interrupted, Wire

FAREWELL_S = 0.2
"""How long `close` waits for the end of the session."""


class Connection:
    """The wire of one client, and the thread that turns it when nobody else does.

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
        """What is known of the cluster; set once, by whoever turns if not at the start."""
        self.known = threading.Event()
        """Set with `topology`."""
        self._targets = topology or seeds
        self._patience_s = patience_s
        self._conversation = Conversation(patience_s)
        self.writes: deque[Call] = self._conversation.writes
        """Where commands are handed over."""
        self.reads: deque[Call] = self._conversation.reads
        """Where queries are."""
        self.anywhere: deque[Call] = self._conversation.anywhere
        """Where queries are that any node may answer."""
        self._context: Context = zmq.Context()
        self._wire: Wire | None = None
        self._bell = Bell()
        self._turning = threading.Lock()
        """Held by the thread that turns the wire."""
        self._turner: int | None = None
        """That thread."""
        self._broken = False
        """A turn was left half done, so that nothing about the wire is certain: it must be made anew."""
        self._work = threading.Event()
        """Set when the I/O thread shall look whether there is something to do."""
        self._stopping = False
        """Set by `close`; from then on nothing is accepted."""
        self._ended = False
        """Set by the I/O thread when nobody will look at the queues any more."""
        self._thread = threading.Thread(target=self._run, name="zraft-client", daemon=True)

    def start(self) -> None:
        """Connect, and start the thread."""
        try:
            self._wire = self._new_wire()
        except zmq.ZMQError:
            self._context.destroy(linger=0)
            raise
        self._thread.start()

    def submit(self, call: Call, queue: deque[Call]) -> None:
        """Hand over a call to `writes` or `reads`; from any thread."""
        queue.append(call)
        if self._bell.needed:
            if self._conversation.is_idle(
                queue
            ):  # Else it leaves with the next batch, when an answer wakes the sleeper.
                self._bell.ring()
        elif not self._turning.locked():
            self._work.set()
        if self._ended:
            self._conversation.drain()

    def perform(self, call: Call, queue: deque[Call]) -> None:
        """Hand over a call that the caller is going to wait for, and see it through if nobody turns the wire."""
        if not self._turning.acquire(blocking=False):
            self.submit(call, queue)
            return
        wire, alone = self._wire, False
        try:
            alone = wire is not None and wire.knows and not (self._stopping or self._broken or self._conversation.busy)
            if alone and wire is not None:
                self._turner = threading.get_ident()
                queue.append(call)
                self._see_through(call, wire)
        finally:
            self._turner = None
            self._turning.release()
            # After the release: whoever found the lock taken has appended before that, and is seen here.
            if self._broken or self._stopping or self._conversation.busy:
                self._work.set()
        if not alone:
            self.submit(call, queue)

    def _see_through(self, call: Call, wire: Wire) -> None:
        try:
            while not (call.done() or self._stopping):
                wire.turn()
        except Interrupted as error:
            assert error.__cause__ is not None, "interrupted by nothing"
            raise error.__cause__ from None
        except BaseException:
            self._broken = True
            raise

    @property
    def inside(self) -> bool:
        """Whether the caller is within a turn, which must not wait for its own work."""
        return self._turner == threading.get_ident()

    def close(self) -> None:
        """End the session, fail what waits, and return once the thread is gone."""
        self._stopping = True
        self._bell.ring()
        self._work.set()
        if not self.inside:
            self._thread.join()

    # The thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._work.clear()
                with self._turning:
                    self._turn_while_busy()
                if not (self._conversation.busy or self._stopping):  # After the release, as in `perform`.
                    self._work.wait()
            with self._turning:
                self._say_farewell()
        finally:
            self._ended = True
            self._conversation.close()
            self._context.destroy(linger=LINGER_MS)

    def _turn_while_busy(self) -> None:
        self._turner = threading.get_ident()
        if self._broken:
            self._start_over()
        wire = self._wire
        assert wire is not None, "a thread without a wire"
        while not self._stopping and (self._conversation.busy or not wire.knows):
            wire.turn()
        self._turner = None

    def _say_farewell(self) -> None:
        self._turner = threading.get_ident()
        if self._broken:
            self._start_over()
        self._conversation.close()
        until = time.monotonic() + FAREWELL_S
        wire = self._wire
        assert wire is not None, "a thread without a wire"
        while self._conversation.closing and time.monotonic() < until:
            wire.turn(until)

    def _start_over(self) -> None:
        """Make wire and conversation anew after an interrupt: what was under way has an outcome that nobody knows."""
        self._conversation = self._conversation.start_over()
        if self._wire is not None:
            self._wire.close()
        self._wire = self._new_wire()
        self._broken = False

    def _new_wire(self) -> Wire:
        targets = self.topology or self._targets
        return Wire(
            self._context, targets, self._conversation, self._bell, patience_s=self._patience_s, on_known=self._know
        )

    def _know(self, topology: Topology) -> None:
        self.topology = topology
        self.known.set()
