"""What may find a planted bug: rooms of the suite and the simulator, each on a copy of the tree, for a bounded time."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

CPU_S = 150
"""How much of a processor's time one check may take; a bug that needs more counts as not found by it."""
WALL_S = 240
"""How long it may take on a machine that has other things to do."""
BUDGET_S = 45
"""After so long the simulator begins no further seed."""
TEST_S = 60
"""How long one test may take: a bug that makes it run for ever is found there."""
HISTORIES = 100
"""Random histories of bare cores."""
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+\.py.*?)(?: - (.*))?$", re.MULTILINE)
_HISTORY = re.compile(r"test_random_history\[(\d+)\]")
_SEED = re.compile(r"^seed (\d+) fails, the (\d+)th: (.*)\n(.*)$", re.MULTILINE)


class Finding(NamedTuple):
    """How a check found a bug."""

    where: str
    """The test, or the seed."""
    why: str
    """What was said about it."""
    seeds: int | None
    """How many seeds it took; None for a test that throws no dice."""
    replay: str
    """The command that shows it again, in a tree with the bug."""


class Verdict(NamedTuple):
    """How a check ended."""

    check: str
    finding: Finding | None
    took_s: float
    trouble: str = ""
    """Why the check says nothing: it ran out of time, or could not be run."""


class Check(NamedTuple):
    """A command, and how to read what it prints."""

    command: list[str]
    read: Callable[[str], Finding | None]
    environment: dict[str, str] = {}  # noqa: RUF012 - a named tuple's default, never changed


def _pytest(*arguments: str) -> list[str]:
    options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", f"--timeout={TEST_S}", "--hypothesis-profile=planted"]
    return [sys.executable, "-m", "pytest", *options, *arguments]


def _failed_test(output: str) -> Finding | None:
    match = _FAILED.search(output)
    if match is None:
        return None
    test, why = match[1], match[2] or ""
    history = _HISTORY.search(test)
    if history is None:
        return Finding(test, why, None, f"python -m pytest '{test}'")
    seed = int(history[1])
    return Finding(f"history {seed}", why, seed + 1, f"ZRAFT_SEED={seed} python -m pytest {test.split('::')[0]}")


def _failed_seed(output: str) -> Finding | None:
    match = _SEED.search(output)
    if match is None:
        return None
    return Finding(f"seed {match[1]}", match[3], int(match[2]), match[4])


_HISTORIES = "tests/raft/test_raft_schedules.py"
CHECKS = {
    "scenarios": Check(_pytest("tests/raft", "tests/test_paper.py", f"--ignore={_HISTORIES}"), _failed_test),
    "histories": Check(_pytest(_HISTORIES), _failed_test, {"ZRAFT_SEEDS": str(HISTORIES)}),
    "machines": Check(_pytest("tests/machines/test_machines_sessions.py", "tests/machines"), _failed_test),
    "disk": Check(_pytest("tests/disk"), _failed_test),
    "replica": Check(_pytest("tests/replica"), _failed_test),
    "storage": Check(_pytest("tests/storage"), _failed_test),
    "simulator": Check([sys.executable, "tests/planted/planted_simulator.py", str(BUDGET_S)], _failed_seed),
}
"""By name, in the order of what they cost."""
_running: set[int] = set()
"""Process groups of checks."""
_ending = threading.Event()
"""No check is to begin any more."""


def run(name: str, tree: Path) -> Verdict:
    """Run a check on a tree; it ends within its limits, whatever the bug does."""
    check = CHECKS[name]
    if _ending.is_set():
        return Verdict(name, None, 0.0, "told to end")
    output, code, took_s = _output(check, tree)
    finding = check.read(output)
    if finding is None and code:
        return Verdict(name, None, took_s, _trouble(output, code))
    return Verdict(name, finding, took_s)


def _output(check: Check, tree: Path) -> tuple[str, int, float]:
    """Run a command; return what it printed, how it ended, and how much of a processor's time it took."""
    limited = ["sh", "-c", f'ulimit -t {CPU_S}; exec "$@"', "sh", *check.command]
    environment = {**os.environ, "PYTHONPATH": str(tree), **check.environment}
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            limited,
            cwd=tree,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # So that whatever it starts ends with it.
        )
        alarm = threading.Timer(WALL_S, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        _running.add(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        _running.remove(process.pid)
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        return printed.read(), process.returncode, used.ru_utime + used.ru_stime


def end_all() -> None:
    """End the checks that run, and begin no other."""
    _ending.set()
    for pid in list(_running):
        os.killpg(pid, signal.SIGKILL)


def _trouble(output: str, code: int) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name} at its limit"
    return f"exit code {code}: {' '.join(output.split()[-20:])}"
