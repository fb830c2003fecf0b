"""Node processes in a directory whose path is short enough for sockets; none is left behind."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from node_rig import NodeRig


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="zn", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def rig(place: Path) -> Iterator[Callable[..., NodeRig]]:
    """Make a cluster's file; its nodes are killed in the end, if any are left."""
    made: list[NodeRig] = []

    def make(**options: Any) -> NodeRig:
        made.append(NodeRig(place, **options))
        return made[-1]

    yield make
    for each in made:
        each.destroy()
