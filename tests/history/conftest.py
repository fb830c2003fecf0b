"""Three nodes that record, and the file that names them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recorder import Recorder

from zraft import config
from zraft.config import Config


@pytest.fixture
def cluster_file() -> Iterator[Path]:
    """Write the file of three nodes on sockets in a directory of their own."""
    directory = Path(tempfile.mkdtemp(prefix="zh", dir="/tmp"))
    items = [
        f"{{id: {n}, peer: 'ipc://{n}.p', client: 'ipc://{n}.c', events: 'ipc://{n}.e'}}" for n in ("n1", "n2", "n3")
    ]
    file = directory / "cluster.yaml"
    file.write_text(f"cluster: {{name: watched}}\nnodes: [{', '.join(items)}]\n")
    yield file
    shutil.rmtree(directory)


@pytest.fixture
def watched(cluster_file: Path) -> Config:
    """Return its configuration."""
    return config.load(cluster_file, env={})


@pytest.fixture
def start(watched: Config) -> Iterator[Callable[[str], Recorder]]:
    """Start fake nodes; all that are still there are closed in the end."""
    nodes: list[Recorder] = []

    def start(node_id: str) -> Recorder:
        nodes.append(Recorder(watched, node_id))
        return nodes[-1]

    yield start
    for node in nodes:
        if node._thread.is_alive():
            node.close()
