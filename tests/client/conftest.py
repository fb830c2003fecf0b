"""A fake cluster per test, and clients that are closed whatever happens."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_cluster import FakeCluster

from zraft.client.client import Client


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    """Three nodes, not started, of which n1 leads once it is."""
    cluster = FakeCluster()
    yield cluster
    cluster.stop()
    shutil.rmtree(cluster.directory)


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
    for client in clients:
        client.close()
