"""The node's end of the guard: deaths on either side, clean stops, and a guard that hangs."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zraft.hooks import linux
from zraft.hooks.process import BACKLOG_BYTES_MAX

pytestmark = pytest.mark.processes

GRACE_MS = 300

NODE = """
import select, sys
from zraft.hooks.process import GuardProcess
guard = GuardProcess({grace})
print(guard.pid, flush=True)
for seq, (event, script) in enumerate({scripts!r}, 1):
    guard.tell(dict(kind="run", seq=seq, event=event, argv=["/bin/sh", "-c", script], env=dict(PATH="/usr/bin:/bin"),
                    cwd="/", timeout_ms=None, grace_ms={grace}, deadline_ms=None))
while True:
    select.select([guard], [], [])
    for report in guard.receive():
        if report["kind"] == "output":
            print(report["line"], flush=True)
"""
"""A node that has nothing but a guard: prints the guard's process, and then what the scripts print."""

STUBBORN = "trap '' TERM; setsid sh -c 'trap : TERM; echo $$; while :; do sleep 0.1; done' & echo $$; wait; sleep 60"


class NodeUnderTest:
    """A node process with a guard."""

    def __init__(self, *scripts: tuple[str, str]) -> None:
        source = NODE.format(grace=GRACE_MS, scripts=list(scripts))
        # No buffer of ours: a line that had been read ahead would be one that `select` never tells of.
        self.process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, bufsize=0)
        self.guard = int(self.line())

    def line(self) -> str:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 15)[0], "the node says nothing"
        return self.process.stdout.readline().decode().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start_node() -> Iterator[Callable[..., NodeUnderTest]]:
    started = []

    def start(*scripts: tuple[str, str]) -> NodeUnderTest:
        started.append(NodeUnderTest(*scripts))
        return started[-1]

    yield start
    for node in started:
        node.kill()


@pytest.mark.parametrize("event", ["leader", "follower"])
def test_when_the_node_is_killed_nothing_is_left_after_the_grace(event: str, start_node: Any, gone: Any) -> None:
    node = start_node((event, STUBBORN))
    family = [int(node.line()), int(node.line())]
    began = time.monotonic()
    node.kill()
    for pid in (*family, node.guard):
        gone(pid, GRACE_MS / 1_000 + 1)
    assert time.monotonic() - began >= GRACE_MS / 1_000


def test_when_the_node_is_killed_what_waits_is_not_run(start_node: Any, gone: Any, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    node = start_node(("follower", "echo up; exec sleep 60"), ("leader", f"touch {trace}"))
    assert node.line() == "up"
    node.kill()
    gone(node.guard)
    assert not trace.exists()


def test_an_idle_guard_leaves_with_its_node(start_node: Any, gone: Any) -> None:
    node = start_node()
    node.kill()
    gone(node.guard)


def test_when_the_guard_is_killed_the_node_knows_and_the_script_is_gone(guard: Any, gone: Any) -> None:
    guard.shell(1, "leader", "trap '' TERM; sleep 60 & echo $!; wait")
    script, child = guard.until("started", seq=1)["pid"], int(guard.until("output", seq=1)["line"])
    os.kill(guard.process.pid, signal.SIGKILL)
    assert guard.until_closed() == "the guard ended by itself"
    gone(script)
    gone(child)
    guard.process.tell({"kind": "end"})
    guard.process.ping(linux.boot_ms())
    assert guard.process.receive() == []


def test_a_script_dies_with_its_guard_though_the_node_can_do_nothing(start_node: Any, gone: Any) -> None:
    node = start_node(("leader", "trap '' TERM; echo $$; exec sleep 60"))
    script = int(node.line())
    os.kill(node.process.pid, signal.SIGSTOP)
    os.kill(node.guard, signal.SIGKILL)
    gone(script)


def test_a_clean_stop_ends_leader_and_waits_for_follower(guard: Any) -> None:
    guard.shell(1, "leader", "echo up; exec sleep 60")
    guard.until("output", seq=1)
    guard.shell(2, "follower", "sleep 0.3; echo cleaned")
    guard.process.close(15, guard.reports.append)
    assert guard.process.closed == "the guard was stopped"
    assert guard.lines(2) == ["cleaned"]
    assert guard.kinds() == [("started", 1), ("ended", 1), ("started", 2), ("ended", 2)]
    guard.process.close(15, guard.reports.append)


def test_a_clean_stop_ends_a_leader_script_that_nothing_replaces(guard: Any) -> None:
    guard.shell(1, "leader", "exec sleep 60")
    guard.until("started", seq=1)
    guard.process.close(15, guard.reports.append)
    assert guard.find("ended", seq=1)["reason"] == "stop"


def test_after_stop_no_script_is_started(guard: Any) -> None:
    guard.shell(1, "follower", "echo up; sleep 0.2")
    guard.until("output", seq=1)
    guard.process.tell({"kind": "stop"})
    guard.run(2, "leader", "/bin/true")
    assert guard.until("skipped", seq=2)["reason"] == "stop"
    assert guard.until_closed() == "the guard ended by itself"


def test_a_script_that_cleans_up_for_too_long_is_ended_at_the_stop(guard: Any, gone: Any) -> None:
    guard.shell(1, "follower", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    guard.until("output", seq=1)
    pid = guard.find("started", seq=1)["pid"]
    guard.process.close(0.1, guard.reports.append)
    gone(pid, 0)
    assert guard.find("ended", seq=1)["reason"] == "node_died"


class Impatience:
    """Somebody who wants an end at once as soon as a script has said that it ignores being asked."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.asked = False

    def fileno(self) -> int:
        return self.reading

    def wanted(self) -> bool:
        return self.asked

    def grow(self, report: dict[str, Any]) -> None:
        if report.get("line") == "no":
            self.asked = True
            os.write(self.writing, b"x")


@pytest.mark.parametrize("timeout_s", [60, 0])
def test_who_is_in_a_hurry_leaves_the_guard_alone_with_what_runs(guard: Any, gone: Any, timeout_s: float) -> None:
    """Whether the script is waited for or already being ended, the wait is over; the guard finishes its work."""
    guard.shell(
        1, "follower", "trap '' TERM; echo up; sleep 0.1; echo no; while :; do sleep 0.05; done", grace_ms=2_000
    )
    guard.until("output", seq=1)
    pid, hurry = guard.find("started", seq=1)["pid"], Impatience()
    began = time.monotonic()
    guard.process.close(timeout_s, hurry.grow, hurry)
    assert time.monotonic() - began < 1
    assert guard.process.closed == "the guard was left alone with what runs"
    gone(pid)
    gone(guard.process.pid)


def test_a_guard_that_hangs_is_killed_with_its_script(guard: Any, gone: Any) -> None:
    guard.shell(1, "leader", "echo up; exec sleep 60")
    guard.until("output", seq=1)
    pid = guard.find("started", seq=1)["pid"]
    os.kill(guard.process.pid, signal.SIGSTOP)
    guard.process.ping(linux.boot_ms())
    guard.process.close(0.1, guard.reports.append)
    assert guard.process.closed == "the guard did not stop, and was killed"
    gone(pid)


def test_a_guard_that_hangs_is_known_by_its_silence_and_given_up_at_a_full_backlog(guard: Any, gone: Any) -> None:
    guard.until_ready()
    os.kill(guard.process.pid, signal.SIGSTOP)
    guard.process.ping(1_000.0)
    guard.process.ping(2_000.0)
    assert guard.process.silent_ms(2_500.0) == 1_500.0
    order = {"kind": "deadline", "seq": 1, "deadline_ms": 1}
    for _ in range(2 * BACKLOG_BYTES_MAX // 40):
        guard.process.tell(order)
    assert guard.process.closed == "the guard does not read its orders"
    gone(guard.process.pid)


def test_each_ping_is_answered(guard: Any) -> None:
    for _ in range(3):
        guard.process.ping(linux.boot_ms())
        guard.until_answered()
    assert guard.process.silent_ms(linux.boot_ms()) == 0.0
    assert guard.reports == []
