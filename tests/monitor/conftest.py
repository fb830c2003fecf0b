"""Nodes of nothing but an event socket and a client socket, and a cluster file that names them."""

import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from zraft import config, events, requests
from zraft.codec import REQUEST_KINDS, Codec
from zraft.config import Config

WAIT_S = 10.0


class FakeNode:
    """Publishes what a test tells it to, and answers `RecentEvents` and `StatusRequest`; a thread owns its sockets."""

    def __init__(self, config: Config, node_id: str) -> None:
        self.id = node_id
        self.silent = False
        """Set to leave questions unanswered, like a paused process."""
        self.lie: Any = None
        """What to answer instead of the truth."""
        self.asked: list[Any] = []
        """Requests that came, in order."""
        self._config = config
        self._boot_id = events.new_boot_id()
        self._orders: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._wake, self._waker = os.pipe()
        self._subscribers = threading.Event()
        self._publisher = events.Publisher(config.cluster.name, node_id, self._boot_id, _wall_ms, self._emit)
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._bound.wait(WAIT_S), "the fake node could not bind"

    def publish(self, kind: str, /, **data: Any) -> None:
        """Publish an event."""
        self._orders.put((kind, data))
        os.write(self._waker, b"x")

    def settle(self) -> None:
        """Return once all that was to be published has been."""
        done = threading.Event()
        self._orders.put(("settled", {"done": done}))
        os.write(self._waker, b"x")
        assert done.wait(WAIT_S), f"{self.id} does not publish"

    def leads(self, term: int) -> None:
        """Publish what a node publishes when it becomes leader."""
        self.publish("role", role="leader", term=term, leader=self.id, reason="election", prev_role="candidate")

    def wait_for_subscriber(self) -> None:
        """Return once somebody has subscribed."""
        assert self._subscribers.wait(WAIT_S), f"nobody has subscribed to {self.id}"

    def close(self) -> None:
        """End, and free the endpoints."""
        self._orders.put(None)
        os.write(self._waker, b"x")
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        os.close(self._wake)
        os.close(self._waker)

    def _run(self) -> None:
        context = zmq.Context()
        me = self._config.node(self.id)
        self._events, self._clients = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
        self._events.bind(me.events)
        self._clients.bind(me.client)
        self._codec = Codec(self._config.cluster_id, self.id, self._boot_id)
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
            self._subscribers.set()
        if self._clients in ready:
            self._answer(*self._clients.recv_multipart())
        if self._wake in ready:
            os.read(self._wake, 1)
            order = self._orders.get_nowait()
            if order is None:
                return False
            if order[0] == "settled":
                order[1]["done"].set()
            else:
                self._publisher.publish(order[0], **order[1])
        return True

    def _emit(self, event: events.Event) -> None:
        self._events.send_multipart(events.encode(event))

    def _answer(self, client: bytes, *frames: bytes) -> None:
        request = self._codec.decode(list(frames), REQUEST_KINDS).message
        self.asked.append(request)
        if self.silent:
            return
        if self.lie is not None:
            result: Any = self.lie
        elif isinstance(request, requests.RecentEvents):
            result = [msgspec.to_builtins(event) for event in self._publisher.recent(request.count)]
        elif isinstance(request, requests.Hello):
            result = {"cluster": self._config.cluster.name}
        else:
            result = msgspec.to_builtins(status(self._config, self.id, request))
        reply = requests.Reply(request.id, requests.Outcome.DONE, result)
        self._clients.send_multipart([client, *self._codec.encode(reply)])


def status(config: Config, node_id: str, request: requests.StatusRequest) -> requests.Status:
    """Return a status in which n1 leads term 3."""
    entries = [requests.EntryView(9, 3, "command", "kv put a=1", False), requests.EntryView(8, 3, "noop", "n1", True)]
    return requests.Status(
        node=node_id,
        endpoint=config.node(node_id).client,
        role="leader" if node_id == "n1" else "follower",
        term=3,
        leader="n1",
        voted_for="n1",
        commit_index=8,
        last_applied=8,
        last_index=9,
        election_timer_ms=120,
        election_timeout_ms=731,
        healthy=True,
        uptime_s=12.5,
        pid=4_321,
        warnings=["the disk is slow"] if node_id == "n2" else [],
        log=entries[: request.log],
    )


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def cluster_file() -> Iterator[Path]:
    """Write the file of three nodes on sockets in a directory of their own."""
    directory = Path(tempfile.mkdtemp(prefix="zr", dir="/tmp"))
    items = [
        f"{{id: {n}, peer: 'ipc://{n}.p', client: 'ipc://{n}.c', events: 'ipc://{n}.e'}}" for n in ("n1", "n2", "n3")
    ]
    file = directory / "cluster.yaml"
    file.write_text(f"cluster: {{name: watched}}\nnodes: [{', '.join(items)}]\nmonitor: {{refresh_ms: 50}}\n")
    yield file
    shutil.rmtree(directory)


@pytest.fixture
def watched(cluster_file: Path) -> Config:
    """Return its configuration."""
    return config.load(cluster_file, env={})


@pytest.fixture
def start(watched: Config) -> Iterator[Callable[[str], FakeNode]]:
    """Start fake nodes; all that are still there are closed in the end."""
    nodes: list[FakeNode] = []

    def start(node_id: str) -> FakeNode:
        nodes.append(FakeNode(watched, node_id))
        return nodes[-1]

    yield start
    for node in nodes:
        if node._thread.is_alive():
            node.close()
