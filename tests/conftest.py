"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import Phase, settings

# The same cases in each run, so that a red test is a bug and never an accident; no deadline, since machines differ.
settings.register_profile("zraft", derandomize=True, deadline=None)
settings.load_profile("zraft")
# For tests/planted, where it matters that a bug is found, and not how small the case is that shows it.
settings.register_profile("planted", settings.get_profile("zraft"), phases=[Phase.explicit, Phase.generate])


FAST = ("raft", "disk", "config", "test_paper.py")
"""Where the tests of the core are, with what it stands on: no port, no sleep, half a minute for all of them."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m fast`` look nowhere else: to import all other tests takes half as long as to run these."""
    here = Path(__file__).parent
    if config.option.markexpr != "fast" or not collection_path.is_relative_to(here) or collection_path == here:
        return None
    return True if collection_path.relative_to(here).parts[0] not in FAST else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the fast suite."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] in FAST and item.get_closest_marker("processes") is None:
            item.add_marker(pytest.mark.fast)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what the scenarios of tests/raft print into their files, instead of comparing; then read the diff",
    )


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--rewrite"))
