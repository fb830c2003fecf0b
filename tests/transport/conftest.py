"""A short directory for ipc endpoints, and the ends of sockets, closed whatever happens."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Ends


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="zt", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def ends(place: Path) -> Iterator[Ends]:
    ends = Ends(place)
    yield ends
    ends.destroy()
