"""The two scripts that come with zraft, run as a guard runs them."""

import os
import subprocess
from pathlib import Path

import pytest

from zraft.hooks.decide import HookScheduler, HookSettings, Standing
from zraft.raft.types import Role

SCRIPTS = Path(__file__).parents[2] / "scripts"

FOLLOWING = Standing(Role.FOLLOWER, 2, None, False, 0, "startup")
LEADING = Standing(Role.LEADER, 3, "n1", True, 9, "election")
DEPOSED = Standing(Role.FOLLOWER, 4, "n2", False, 9, "higher_term")


@pytest.mark.processes
def test_they_say_who_they_run_for_and_end() -> None:
    scheduler = HookScheduler(
        HookSettings(
            node="n1",
            cluster="demo",
            scripts={event: (str(SCRIPTS / f"{event}.sh"),) for event in ("leader", "follower")},
            grace_ms=5_000,
            timeout_ms=60_000,
            base_env={"PATH": os.environ["PATH"]},
            config_path="",
            endpoints={},
        )
    )
    said = []
    for standing in (FOLLOWING, LEADING, DEPOSED):
        (order,) = scheduler.observe(standing)
        done = subprocess.run(order["argv"], env=order["env"], capture_output=True, text=True, timeout=30, check=True)
        assert done.stderr == ""
        said.append(done.stdout)
    assert said == [
        "follower: n1 follows in demo, term 2 (leader: nobody yet, reason startup)\n",
        "leader: n1 leads demo in term 3 (token 3, reason election)\n",
        "follower: n1 follows in demo, term 4 (leader: n2, reason higher_term)\n",
    ]
