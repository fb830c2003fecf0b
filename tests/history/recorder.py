"""A node of nothing but an event socket and a client socket, which records its events, and misbehaves on demand."""

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import zmq

from zraft import events
from zraft.codec import REQUEST_KINDS, Codec
from zraft.config import Config
from zraft.events import Event
from zraft.requests import EventsPage, Outcome, PastEvents, Reply

WAIT_S = 15.0
PAGE = 3
"""Events on one page."""


def event(node: str, seq: int, kind: str = "role", *, wall_ms: int = 0, boot: str = "00ff", **data: Any) -> Event:
    return Event(1, "watched", node, boot, seq, wall_ms, 1, "follower", kind, data)


class Recorder:
    """A thread that owns the sockets; everything else is set by the test, between two orders.

    Attributes
    ----------
    file : list of Event
        What it has recorded: heartbeats and others, in order.
    silent, refusals, outcome
        Answer nothing; refuse so many questions; how questions end.
    """

    def __init__(self, config: Config, node_id: str) -> None:
        self.id = node_id
        self.file: list[Event] = []
        self.silent = False
        self.refusals = 0
        self.outcome = Outcome.DONE
        self.result: Any = None
        """What to answer instead of the truth."""
        self.asked: list[PastEvents] = []
        self.has_asked = threading.Condition()
        self.boot_id = events.new_boot_id()
        self._config = config
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._wake, self._waker = os.pipe()
        self._subscribed = threading.Event()
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._bound.wait(WAIT_S), "the fake node could not bind"

    def happens(self, *found: Event, recorded: bool = True, published: bool = True) -> None:
        """Let events happen, in this order: each is recorded first and then published, as in a node."""

        def happen() -> None:
            for each in found:
                if recorded:
                    self.file.append(each)
                if published:
                    self._events.send_multipart(events.encode(each))

        self._order(happen)

    def wait_for_subscriber(self) -> None:
        assert self._subscribed.wait(WAIT_S), f"nobody has subscribed to {self.id}"

    def wait_for_questions(self, count: int) -> None:
        with self.has_asked:
            assert self.has_asked.wait_for(lambda: len(self.asked) >= count, WAIT_S), f"{len(self.asked)} questions"

    def close(self) -> None:
        self._order(None)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def _order(self, order: Callable[[], None] | None) -> None:
        self._orders.put(order)
        os.write(self._waker, b"x")

    def _run(self) -> None:
        context = zmq.Context()
        me = self._config.node(self.id)
        self._events, self._clients = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
        self._events.bind(me.events)
        self._clients.bind(me.client)
        self._codec = Codec(self._config.cluster_id, self.id, self.boot_id)
        self._bound.set()
        poller = zmq.Poller()
        for source in (self._events, self._clients, self._wake):
            poller.register(source, zmq.POLLIN)
        try:
            while self._turn({source for source, _ in poller.poll()}):
                continue
        finally:
            context.destroy(linger=200)
            os.close(self._wake)
            os.close(self._waker)

    def _turn(self, ready: set[Any]) -> bool:
        if self._events in ready and self._events.recv()[:1] == b"\x01":
            self._subscribed.set()
        if self._wake in ready:
            os.read(self._wake, 1)
            order = self._orders.get_nowait()
            if order is None:
                return False
            order()
        if self._clients in ready:
            self._answer(*self._clients.recv_multipart())
        return True

    def _answer(self, client: bytes, *frames: bytes) -> None:
        asked = self._codec.decode(list(frames), REQUEST_KINDS).message
        assert isinstance(asked, PastEvents)
        with self.has_asked:
            self.asked.append(asked)
            self.has_asked.notify_all()
        if self.silent:
            return
        reply = Reply(asked.id, self.outcome, self.result or self._page(asked), message="so it is")
        if self.refusals:
            self.refusals -= 1
            reply = Reply(asked.id, Outcome.REFUSED, message="busy")
        self._clients.send_multipart([client, *self._codec.encode(reply)])

    def _page(self, asked: PastEvents) -> EventsPage | None:
        if self.outcome != Outcome.DONE:
            return None
        sort = [each for each in self.file if (each.kind == "heartbeat") is asked.heartbeats]
        found = sort[asked.offset : asked.offset + PAGE]
        wanted = [
            each for each in found if each.kind in (asked.kinds or events.KINDS) and each.wall_ms >= asked.since_ms
        ]
        end = asked.offset + len(found)
        return EventsPage([events.as_json(each) for each in wanted], 1, end, end < len(sort))
