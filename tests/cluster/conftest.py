"""Working directories for clusters, whose paths are short enough for sockets."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_rig import Clusters


@pytest.fixture
def clusters() -> Iterator[Clusters]:
    """Give a directory of its own; whatever runs in it ends with the test."""
    place = Path(tempfile.mkdtemp(prefix="zc", dir="/tmp"))
    made = Clusters(place)
    yield made
    made.destroy()
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def shared() -> Iterator[Clusters]:
    """Give all tests of a module one detached cluster of three; each leaves it with all nodes running."""
    place = Path(tempfile.mkdtemp(prefix="zc", dir="/tmp"))
    made = Clusters(place)
    ready = made.say("up", "--nodes", "3", "--detach")
    assert ready.startswith("cluster ready: n")
    made.remember()
    yield made
    made.remember()
    assert made.say("down") == "3 nodes stopped; nothing of the cluster runs"
    left = made.left()
    made.destroy()
    shutil.rmtree(place)
    assert left == []
