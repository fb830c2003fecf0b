"""What the README shows works as it is written there."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ZRAFT = [sys.executable, "-m", "zraft"]


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of `language`, in the README's order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Give a directory in which a cluster of three runs, and a `zraft` on the path."""
    with tempfile.TemporaryDirectory(prefix="zr-") as folder:
        here = Path(folder)
        program = here / "bin" / "zraft"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m zraft "$@"\n')
        program.chmod(0o755)
        run(here, *ZRAFT, "cluster", "up", "--nodes", "3", "--detach")
        try:
            yield here
        finally:
            run(here, *ZRAFT, "cluster", "down")


def environment(place: Path) -> dict[str, str]:
    """Return the variables of a terminal there."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ZRAFT_")}
    return own | {"PYTHONPATH": str(ROOT), "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}


def run(place: Path, *words: str) -> str:
    """Run a program there and return what it prints; it must succeed."""
    done = subprocess.run(
        words, cwd=place, env=environment(place), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, (words, done)
    return done.stdout


@pytest.mark.processes
def test_the_python_example(place: Path) -> None:
    (example,) = [block for block in blocks("python") if "DistDict" in block]
    printed = run(place, sys.executable, "-c", example).splitlines()
    assert printed[:2] == ["b'1'", "b'1'"], "by the leader, and by another"
    assert "create_revision" in printed[2]
    assert int(printed[3]) == 1_001, "a thousand and one changes to a fresh store"
    assert printed[4] == "['colour', 'numbers'] None"
    assert printed[5] == "True green"


@pytest.mark.processes
def test_the_commands_for_the_third_terminal(place: Path) -> None:
    (commands,) = [block for block in blocks("sh") if "kv put greeting" in block]
    printed = run(place, "sh", "-e", "-c", commands)
    assert printed.count("hello") == 2, "the value is there before and after the leader is killed"


@pytest.mark.processes
def test_the_commands_of_the_catalog(place: Path) -> None:
    (commands,) = [block for block in blocks("sh") if "zraft catalog" in block]
    *_, fetch, header, register, change = run(place, "sh", "-e", "-c", commands).splitlines()
    assert header.split() == ["REVISION", "TIME", "TERM", "VERB", "KIND", "KEY"]
    assert [line.split()[3:] for line in (register, change)] == [["register", "broker", "1"], ["change", "broker", "1"]]
    fetched = json.loads(fetch)
    assert fetched["revision"] == 5
    assert [(each["isr"], each["leader"], each["partition_epoch"]) for each in fetched["partitions"]] == [
        ([1, 3], 3, 1)
    ]
    assert [each["status"] for each in fetched["registration_changes"]] == ["FENCED"]
    assert fetched["topics"] == []


@pytest.mark.processes
def test_the_commands_of_the_escort(place: Path) -> None:
    (commands,) = [block for block in blocks("sh") if "zraft escort" in block]
    printed = run(place, "sh", "-e", "-c", commands).splitlines()
    assert printed[0].endswith(" at [3, -1]")
    assert printed[2] == "arrived at [10, 0] after 8 steps"
    assert printed[3].split() == ["NODE", "ROLE", "POSITION"]
    assert printed[-1].endswith(" [10, 0]")
    example = "zraft escort positions --json; zraft escort history --json"
    positions, history = map(json.loads, run(place, "sh", "-e", "-c", example).splitlines())
    assert all(f'"{key}"' in commands for key in (*positions[0], *history[0])), "the keys are those of the README"


@pytest.mark.processes
def test_the_command_that_follows_the_leader(place: Path) -> None:
    (command,) = [block for block in blocks("sh") if "zraft leader --watch" in block]
    watch = subprocess.Popen(
        ["sh", "-c", f"exec {command}"], cwd=place, env=environment(place), stdout=subprocess.PIPE, text=True
    )
    try:
        assert watch.stdout is not None
        told, echoed = watch.stdout.readline(), watch.stdout.readline()
        found = re.fullmatch(r"(n\d leads term \d+) \((ipc://.+)\)\n", told)
        assert found is not None
        assert echoed == f"{found[1]}, clients reach it at {found[2]}\n"
        watch.send_signal(signal.SIGINT)
        assert watch.wait(20) == 130
    finally:
        watch.kill()
        watch.communicate()


@pytest.mark.processes
def test_the_state_machine_of_ones_own(place: Path) -> None:
    machine, use = [block for block in blocks("python") if "tickets" in block]
    assert len(machine.splitlines()) <= 40
    (start,) = [block for block in blocks("sh") if "ZRAFT_MACHINES" in block]
    home = place / "shop"
    home.mkdir()
    (home / "tickets.py").write_text(machine)
    # The tests need no zraft that is installed: the checkout goes on the path as well.
    run(place, "sh", "-e", "-c", "cd shop\n" + start.replace('"$PWD"', f'"$PWD:{ROOT}"'))
    try:
        printed = run(place, "sh", "-c", 'cd shop && exec "$@"', "sh", sys.executable, "-c", use).splitlines()
        assert printed == ["b'1' b'2' b'1'", """b'{"Ada": 1, "Bob": 2}'"""]
    finally:
        run(place, "sh", "-c", "cd shop && zraft cluster down")


def test_the_one_command_that_passes_the_tests_is_the_one_that_continuous_integration_runs() -> None:
    assert "scripts/test\n" in blocks("sh")
    assert "scripts/test" in (ROOT / ".ci" / "run").read_text()
