"""What all tests share."""

import pytest
from hypothesis import Phase, settings

# The same cases in each run, so that a red test is a bug and never an accident; no deadline, since machines differ.
settings.register_profile("zraft", derandomize=True, deadline=None)
settings.load_profile("zraft")
# For tests/planted, where it matters that a bug is found, and not how small the case is that shows it.
settings.register_profile("planted", settings.get_profile("zraft"), phases=[Phase.explicit, Phase.generate])


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
