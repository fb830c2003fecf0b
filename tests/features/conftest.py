"""One cluster for all of these tests, and the rigs of other rooms for what needs no process."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.extend(str(Path(__file__).parents[1] / room) for room in ("cluster", "monitor", "raft", "replica", "storage"))
from cluster_rig import Clusters, lent
from virtual_fixtures import cluster, leader, session

__all__ = ["app", "cluster", "leader", "session"]


@pytest.fixture(scope="session")
def app() -> Iterator[Clusters]:
    """Start three nodes by one command, with a bare script for both roles and an environment file; each test leaves all running."""
    with lent("zy") as made:
        script = made.place / "role.sh"
        script.write_text(f'#!/bin/sh\necho "$1 $3" >> {made.place}/ran\n')
        script.chmod(0o755)
        (made.place / ".env").write_text(
            "ZRAFT_APP_NAME=shop\nZRAFT_LOGGING=DEBUG\nexport ZRAFT_ELECTION_TIMEOUT_UPPER_MILLIS=900  # milliseconds\n"
            'ZRAFT_LOG_JSON="true"\n'
        )
        made.run(
            *("cluster", "up", "--nodes", "3", "--detach", "--env-file", ".env"),
            *("--leader-script", str(script), "--follower-script", str(script)),
        )
        made.remember()
        yield made
        made.end_whole(3)
