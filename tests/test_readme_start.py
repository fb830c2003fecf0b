"""What the README shows of starting a cluster, watching it, and scripts that follow the leader works as written there."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from awaiting import eventually
from test_readme import blocks, environment

PROVEN = (
    "cluster partition",
    "cluster add 2",
    "zraft cluster up --nodes 5",
    "zraft monitor",
    "kv put greeting",
    "scripts/test\n",
    "--leader-script",
    "my-singleton-job",
    "zraft leader --watch",
    "ZRAFT_MACHINES",
    "zraft catalog",
    "zraft escort",
    "zraft snapshot save",
    "zraft cluster recover",
)
"""What tells the README's shell examples apart; each is run by a test here, in `test_readme`, or is what runs them all."""
WAIT_S = 30


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory without a cluster, and a `zraft` on the path."""
    here = tmp_path_factory.mktemp("z")
    program = here / "bin" / "zraft"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m zraft "$@"\n')
    program.chmod(0o755)
    return here


def test_every_example_for_the_shell_is_run_by_a_test() -> None:
    for block in blocks("sh"):
        assert sum(mark in block for mark in PROVEN) == 1, f"no test, or more than one, runs this:\n{block}"


@pytest.mark.processes
def test_one_command_starts_five_nodes_and_a_second_terminal_shows_them(place: Path) -> None:
    (start,) = [block for block in blocks("sh") if "cluster up --nodes 5" in block]
    up = start.split("&&")[-1].strip()
    (monitor,) = [block.strip() for block in blocks("sh") if "zraft monitor" in block]
    assert up.startswith(".venv/bin/zraft ") and monitor.startswith(".venv/bin/zraft ")
    terminal = environment(place)
    cluster = subprocess.Popen(
        ["sh", "-c", f"exec {up.removeprefix('.venv/bin/')}"],
        cwd=place, env=terminal, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert cluster.stdout is not None
        assert any("cluster ready: " in line and "(5 nodes" in line for line in cluster.stdout)
        once = f"{monitor.removeprefix('.venv/bin/')} --once"
        shown = subprocess.run(
            ["sh", "-c", once], cwd=place, env=terminal, capture_output=True, text=True, timeout=WAIT_S, check=True
        )
        assert [shown.stdout.count(f"n{number} ") > 0 for number in range(1, 6)] == [True] * 5
        cluster.send_signal(signal.SIGINT)
        cluster.communicate(timeout=WAIT_S)
        assert cluster.returncode == 130
    finally:
        if cluster.poll() is None:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.communicate()


@pytest.mark.processes
def test_the_scripts_that_follow_the_leader(place: Path) -> None:
    (command,) = [block for block in blocks("sh") if "--leader-script" in block]
    (script,) = [block for block in blocks("sh") if "my-singleton-job" in block]
    told = place / "told"
    programs = {
        "on-leader.sh": script,
        "on-follower.sh": "#!/bin/sh\nexit 0\n",
        "bin/my-singleton-job": f'#!/bin/sh\necho "$@" >> {told}\nexec sleep 60\n',
    }
    for name, text in programs.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    terminal = environment(place)
    subprocess.run(["sh", "-c", f"{command.strip()} --detach"], cwd=place, env=terminal, timeout=WAIT_S, check=True)
    try:
        log = subprocess.Popen(
            ["sh", "-c", "exec zraft monitor --plain --tail 100"],
            cwd=place, env=terminal, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert log.stdout is not None
        (said,) = [next(line for line in log.stdout if "leads cluster zraft in term" in line)]
        log.kill()
        log.communicate()
        found = re.search(r"in term (\d+), after nobody", said)
        assert found is not None
        token = f"--fencing-token {found[1]}\n"
        eventually("the job is told its token", lambda: told.exists() and told.read_text() == token)
    finally:
        subprocess.run(["sh", "-c", "zraft cluster down"], cwd=place, env=terminal, timeout=WAIT_S, check=True)


@pytest.fixture
def run(place: Path) -> Callable[..., str]:
    """Give what runs a line in the shell, checks its exit code and returns what it prints."""

    def run(line: str, *, code: int = 0, within_s: float = WAIT_S) -> str:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=place, env=environment(place), capture_output=True, text=True, timeout=within_s, check=False,
        )  # fmt: skip
        assert done.returncode == code, (line, done)
        return done.stdout

    return run


@contextmanager
def cluster_of(count: int, run: Callable[..., str]) -> Iterator[None]:
    """Have so many nodes run meanwhile."""
    run(f"zraft cluster up --nodes {count} --detach")
    try:
        yield
    finally:
        run("zraft cluster down")


@pytest.mark.processes
def test_a_network_that_breaks(run: Callable[..., str]) -> None:
    (drill,) = [block for block in blocks("sh") if "cluster partition" in block]
    with cluster_of(5, run):
        for line in drill.splitlines():
            run(line, code=3 if "exit code 3" in line else 0)
        assert run("zraft kv get colour --node n1 --from-follower") == "blue"


@pytest.mark.processes
def test_a_cluster_grows_and_shrinks(run: Callable[..., str]) -> None:
    (example,) = [block for block in blocks("sh") if "cluster add 2" in block]
    with cluster_of(3, run):
        for line in example.splitlines():
            run(line, within_s=90)
        shown = run("zraft member list").splitlines()[1:]
        assert [line.split()[:2] for line in shown] == [[n, "voter"] for n in ("n2", "n3", "n5")]


@pytest.mark.processes
def test_a_backup_and_a_quorum_that_is_lost(place: Path, run: Callable[..., str]) -> None:
    (backup,) = [block for block in blocks("sh") if "zraft snapshot save" in block]
    (lost,) = [block for block in blocks("sh") if "zraft cluster recover" in block]
    told = {}
    with cluster_of(3, run):
        run("zraft kv put greeting hello")
        for line in backup.splitlines():
            told[line.split("#")[0].split()[2]] = run(line, within_s=90)
        assert told["get"] == "hello"
        assert "machine   kv: " in told["inspect"]
        for line in lost.splitlines():
            told[line.split("#")[0].split()[2]] = run_and_type(place, line, cluster_id(place))
            if "cluster down" in line:
                for node in ("n2", "n3"):
                    (place / ".zraft" / "data" / node).rename(place / f"gone-{node}")
        assert told["verify"].endswith("all of it is intact\n")
        assert "lost for good: whatever n2, n3 had" in told["recover"]
        assert run("zraft kv get greeting") == "hello"
        assert int(run("zraft kv put greeting again")) > 1_000_000
        rows = [line.split()[:2] for line in run("zraft member list").splitlines()[1:]]
        assert [role for _, role in rows] == ["voter"] * 3


def cluster_id(place: Path) -> str:
    found = re.search(r'id: "([0-9a-f]{16})"', (place / ".zraft" / "cluster.yaml").read_text())
    assert found is not None
    return found[1]


def run_and_type(place: Path, line: str, answer: str) -> str:
    """Run a line in a terminal in which somebody types `answer`; return what it prints."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=place, env=environment(place), stdin=theirs, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 0, (line, done)
    return done.stdout
