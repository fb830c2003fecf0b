"""Three nodes that record, and the file that names them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_sockets import starting, written_cluster_file
from recorder import Recorder

from zraft import config
from zraft.config import Config


@pytest.fixture
def cluster_file() -> Iterator[Path]:
    """Write the file of three nodes."""
    with written_cluster_file() as file:
        yield file


@pytest.fixture
def watched(cluster_file: Path) -> Config:
    """Return its configuration."""
    return config.load(cluster_file, env={})


@pytest.fixture
def start(watched: Config) -> Iterator[Callable[[str], Recorder]]:
    """Start fake nodes; all that are still there are closed in the end."""
    with starting(Recorder, watched) as start:
        yield start
