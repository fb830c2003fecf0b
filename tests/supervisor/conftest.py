"""A place whose path is short enough for sockets, and supervisors in it that end with the test."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from supervisor_rig import FakeCluster


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="zs", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def fake(place: Path) -> Iterator[Callable[..., FakeCluster]]:
    made: list[FakeCluster] = []

    def make(nodes: int = 3, **options: Any) -> FakeCluster:
        made.append(FakeCluster(place, nodes, options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.destroy()
