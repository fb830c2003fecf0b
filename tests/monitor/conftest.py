"""Nodes that publish what they are told to, and a cluster file that names them."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from node_sockets import WAIT_S, NodeSockets, starting, written_cluster_file

from zraft import config, events, requests
from zraft.config import Config


class FakeNode(NodeSockets):
    """Publishes what a test tells it to, and answers `RecentEvents` and `StatusRequest`."""

    def __init__(self, config: Config, node_id: str) -> None:
        super().__init__(config, node_id)
        self.lie: Any = None
        """What to answer instead of the truth."""
        self._publisher = events.Publisher(config.cluster.name, node_id, self.boot_id, _wall_ms, self.emit)
        self.begin()

    def publish(self, kind: str, /, **data: Any) -> None:
        """Publish an event."""
        self.order(lambda: self._publisher.publish(kind, **data))

    def settle(self) -> None:
        """Return once all that was to be published has been."""
        done = threading.Event()
        self.order(done.set)
        assert done.wait(WAIT_S), f"{self.id} does not publish"

    def leads(self, term: int) -> None:
        """Publish what a node publishes when it becomes leader."""
        self.publish("role", role="leader", term=term, leader=self.id, reason="election", prev_role="candidate")

    def reply(self, request: Any) -> requests.Reply:
        if self.lie is not None:
            result: Any = self.lie
        elif isinstance(request, requests.RecentEvents):
            result = [msgspec.to_builtins(event) for event in self._publisher.recent(request.count)]
        elif isinstance(request, requests.Hello):
            result = {"cluster": self._config.cluster.name}
        else:
            result = msgspec.to_builtins(status(self._config, self.id, request))
        return requests.Reply(request.id, requests.Outcome.DONE, result)


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
    """Write the file of three nodes."""
    with written_cluster_file("monitor: {refresh_ms: 50}\n") as file:
        yield file


@pytest.fixture
def watched(cluster_file: Path) -> Config:
    """Return its configuration."""
    return config.load(cluster_file, env={})


@pytest.fixture
def start(watched: Config) -> Iterator[Callable[[str], FakeNode]]:
    """Start fake nodes; all that are still there are closed in the end."""
    with starting(FakeNode, watched) as start:
        yield start
