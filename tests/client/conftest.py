"""A fake cluster per test, and clients that are closed whatever happens."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from fake_cluster import FakeCluster

import zraft.client.client as client_module
from zraft.client.client import Client
from zraft.config import Election

BRISK_MS = 100


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    """Three nodes, not started, of which n1 leads once it is."""
    cluster = FakeCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def brisk(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients of that cluster turn to another node after a tenth of a second of silence."""
    monkeypatch.setattr(client_module, "PATIENCE_LOWER_S", BRISK_MS / 1_000)
    cluster.config = msgspec.structs.replace(
        cluster.config, election=Election(timeout_lower_ms=BRISK_MS // 2, timeout_upper_ms=BRISK_MS)
    )


@pytest.fixture
def connect(cluster: FakeCluster) -> Iterator[Callable[..., Client]]:
    """Make a client of that cluster, by its configuration unless endpoints are given."""
    clients: list[Client] = []

    def make(**options: Any) -> Client:
        options.setdefault("timeout_s", 5.0)
        client = Client(**options) if "endpoints" in options else Client(cluster.config, **options)
        clients.append(client)
        return client

    yield make
    cluster.serve()
    for client in clients:
        client.close()
