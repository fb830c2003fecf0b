"""Places for clusters, whose paths are short enough for sockets, and in which no process outlives its test."""

import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from promises_rig import Cluster, Place

LINES_SHOWN = 400
_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Give a directory; whatever was started in it must have ended by itself when the test is over."""
    path = Path(tempfile.mkdtemp(prefix="zp", dir="/tmp"))
    made = Place(path)
    try:
        yield made
        failed = request.node.stash.get(_FAILED, False)
        if failed:
            print("\n".join(made.log_lines()[-LINES_SHOWN:]))
        left = made.clear()
    finally:
        made.clear()
        shutil.rmtree(path)
    assert failed or not left, f"left behind: {left}"


@pytest.fixture
def cluster(request: pytest.FixtureRequest, place: Place) -> Iterator[Cluster]:
    """Give a cluster that is not up yet; if it still is at the end of a test that went well, it is taken down."""
    made = Cluster(place)
    yield made
    if place.remains() and not request.node.stash.get(_FAILED, False):
        made.say("down")
        place.gone(5)
