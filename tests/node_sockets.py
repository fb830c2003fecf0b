"""Nodes of nothing but an event socket and a client socket, and the cluster file that names three of them."""

import os
import queue
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import zmq

from zraft import events
from zraft.codec import REQUEST_KINDS, Codec
from zraft.config import Config
from zraft.requests import Reply

WAIT_S = 15.0


class NodeSockets(ABC):
    """A thread that owns the sockets; everything else is done in its turns, between two messages.

    Attributes
    ----------
    silent : bool
        Set to leave questions unanswered, like a paused process.
    asked : list
        Requests that came, in order.
    """

    def __init__(self, config: Config, node_id: str) -> None:
        self.id = node_id
        self.silent = False
        self.asked: list[Any] = []
        self.has_asked = threading.Condition()
        self.boot_id = events.new_boot_id()
        self._config = config
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._wake, self._waker = os.pipe()
        self._subscribed = threading.Event()
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Bind the sockets and serve them from now on."""
        self._thread.start()
        assert self._bound.wait(WAIT_S), "the fake node could not bind"

    def wait_for_subscriber(self) -> None:
        """Return once somebody has subscribed."""
        assert self._subscribed.wait(WAIT_S), f"nobody has subscribed to {self.id}"

    def wait_for_questions(self, count: int) -> None:
        """Return once so many have come."""
        with self.has_asked:
            assert self.has_asked.wait_for(lambda: len(self.asked) >= count, WAIT_S), f"{len(self.asked)} questions"

    def close(self) -> None:
        """End, and free the endpoints."""
        self.order(None)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        os.close(self._wake)
        os.close(self._waker)

    @property
    def closed(self) -> bool:
        return not self._thread.is_alive()

    def order(self, order: Callable[[], None] | None) -> None:
        """Have something done by the thread that owns the sockets, after what was ordered before; None ends it."""
        self._orders.put(order)
        os.write(self._waker, b"x")

    def emit(self, event: events.Event) -> None:
        """Publish an event; the thread's own."""
        self._events.send_multipart(events.encode(event))

    @abstractmethod
    def reply(self, request: Any) -> Reply:
        """Return what to answer; the thread's own."""

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
        request = self._codec.decode(list(frames), REQUEST_KINDS).message
        with self.has_asked:
            self.asked.append(request)
            self.has_asked.notify_all()
        if not self.silent:
            self._clients.send_multipart([client, *self._codec.encode(self.reply(request))])


AnyNode = TypeVar("AnyNode", bound=NodeSockets)


@contextmanager
def starting(make: Callable[[Config, str], AnyNode], config: Config) -> Iterator[Callable[[str], AnyNode]]:
    """Give what starts a node by its name; all that are still there are closed in the end."""
    nodes: list[AnyNode] = []

    def start(node_id: str) -> AnyNode:
        nodes.append(make(config, node_id))
        return nodes[-1]

    yield start
    for node in nodes:
        if not node.closed:
            node.close()


@contextmanager
def written_cluster_file(more: str = "") -> Iterator[Path]:
    """Give the file of three nodes on sockets in a directory of their own, with `more` at its end."""
    directory = Path(tempfile.mkdtemp(prefix="zr", dir="/tmp"))
    items = [
        f"{{id: {n}, peer: 'ipc://{n}.p', client: 'ipc://{n}.c', events: 'ipc://{n}.e'}}" for n in ("n1", "n2", "n3")
    ]
    file = directory / "cluster.yaml"
    file.write_text(f"cluster: {{name: watched}}\nnodes: [{', '.join(items)}]\n{more}")
    yield file
    shutil.rmtree(directory)
