"""Working directories for clusters."""

from collections.abc import Iterator

import pytest
from cluster_rig import Clusters, lent


@pytest.fixture
def clusters() -> Iterator[Clusters]:
    """Give a directory of its own; whatever runs in it ends with the test."""
    with lent("zc") as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Clusters]:
    """Give all tests of a module one detached cluster of three; each leaves it with all nodes running."""
    with lent("zc") as made:
        ready = made.say("up", "--nodes", "3", "--detach")
        assert ready.startswith("cluster ready: n")
        made.remember()
        yield made
        made.end_whole(3)
