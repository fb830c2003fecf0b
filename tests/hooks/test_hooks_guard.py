"""The guard with real scripts: what they get, how they end, and that nothing of them is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from zraft.hooks import linux
from zraft.hooks.output import LINE_BYTES_MAX
from zraft.hooks.process import GUARD

pytestmark = pytest.mark.processes

STUBBORN = "trap 'echo asked' TERM; echo $$; while :; do sleep 0.1; done"
"""A script that hears SIGTERM, says so, and goes on."""


# -- what a script gets


def test_output_comes_line_by_line_then_the_exit_code(guard: Any) -> None:
    guard.shell(1, "follower", "echo one; echo two >&2; printf three; exit 7")
    ended = guard.until("ended", seq=1)
    assert (ended["exit_code"], ended["signal"], ended["reason"]) == (7, None, "exit")
    assert sorted(guard.lines(1)) == ["one", "three", "two"]
    assert guard.find("output", stream="stderr")["line"] == "two"
    assert guard.kinds() == [("started", 1), ("ended", 1)]


def test_a_script_gets_exactly_the_ordered_environment_and_directory(guard: Any, tmp_path: Path) -> None:
    text = os.fsdecode(b"caf\xe9")
    guard.run(1, "follower", "/usr/bin/env", env={"A": "1", "B": text}, cwd=str(tmp_path))
    guard.run(2, "follower", "/bin/pwd", cwd=str(tmp_path))
    guard.until("ended", seq=2)
    assert sorted(guard.lines(1)) == ["A=1", "B=caf\ufffd"]
    assert guard.lines(2) == [str(tmp_path)]


def test_a_script_has_a_session_of_its_own_no_input_no_other_descriptor_and_default_signals(guard: Any) -> None:
    looks = """import os, signal
print(os.getsid(0) == os.getpid() == os.getpgid(0))
print(os.readlink("/proc/self/fd/0"))
print(sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["SigBlk"], 16), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
print(signal.getsignal(signal.SIGHUP) == signal.SIG_DFL)
"""
    guard.run(1, "follower", sys.executable, "-S", "-c", looks)
    guard.run(2, "follower", "/bin/grep", "SigIgn", "/proc/self/status")
    guard.until("ended", seq=2, exit_code=0)
    assert guard.lines(2) == ["SigIgn:\t0000000000000000"]
    assert guard.lines(1) == ["True", "/dev/null", "[0, 1, 2]", "0 True", "True"]


def test_what_cannot_be_executed_fails_with_the_code_of_a_shell(guard: Any, tmp_path: Path) -> None:
    plain, lost, empty = tmp_path / "plain", tmp_path / "lost", tmp_path / "empty"
    plain.write_text("#!/bin/sh\n")
    lost.write_text("#!/no/such/interpreter\n")
    empty.write_text("echo no first line\n")
    plain.chmod(0o644)
    lost.chmod(0o755)
    empty.chmod(0o755)
    failures = []
    for seq, (path, cwd) in enumerate(
        [
            (plain, "/"),
            (tmp_path / "none", "/"),
            (lost, "/"),
            (empty, "/"),
            (tmp_path, "/"),
            (Path("/bin/true"), "/no"),
        ],
        1,
    ):
        guard.run(seq, "leader", str(path), cwd=cwd)
        failures.append(guard.until("failed", seq=seq))
    assert [failure["exit_code"] for failure in failures] == [126, 127, 127, 126, 126, 126]
    assert failures[0]["reason"] == f"{plain}: Permission denied"
    assert failures[5]["reason"] == "/no: No such file or directory"
    assert {kind for kind, _ in guard.kinds()} == {"failed"}
    guard.run(9, "leader", "/bin/true")
    assert guard.until("ended", seq=9)["exit_code"] == 0


def test_what_no_program_can_be_given_fails_by_name(guard: Any) -> None:
    guard.run(1, "leader", "/bin/true", "x" * (1 << 18))
    assert guard.until("failed", seq=1)["reason"] == "/bin/true: Argument list too long"
    guard.run(2, "leader", "/bin/true", "\ud800")
    assert guard.until("failed", seq=2)["exit_code"] == 126


# -- output without measure


def test_what_is_too_much_is_dropped_and_counted(guard: Any) -> None:
    guard.run(1, "follower", "/usr/bin/seq", "200000")
    guard.until("ended", seq=1)
    dropped = sum(report["lines"] for report in guard.reports if report["kind"] == "dropped")
    assert dropped > 0
    assert len(guard.lines(1)) + dropped == 200_000
    assert guard.lines(1)[:3] == ["1", "2", "3"]


def test_a_script_never_waits_for_a_node_that_does_not_read(guard: Any, gone: Any) -> None:
    guard.shell(1, "follower", "echo $$; exec /usr/bin/seq -f '%0500.0f' 100000")
    guard.until("started", seq=1)
    script = guard.until("output", seq=1)["line"]
    gone(int(script))  # Though nobody reads a single line meanwhile.
    guard.until("ended", seq=1, exit_code=0)
    dropped = sum(report["lines"] for report in guard.reports if report["kind"] == "dropped")
    assert len(guard.lines(1)) + dropped == 100_001


def test_a_line_without_end_is_cut(guard: Any) -> None:
    guard.shell(1, "follower", "head -c 300000 /dev/zero | tr '\\0' x; echo; echo after")
    guard.until("ended", seq=1)
    first, second = [report for report in guard.reports if report["kind"] == "output"]
    assert (len(first["line"]), first["cut"]) == (LINE_BYTES_MAX, 300_000 - LINE_BYTES_MAX)
    assert second["line"] == "after"


# -- how a script ends


def test_a_newer_order_ends_a_leader_script(guard: Any) -> None:
    guard.shell(1, "leader", "echo up; exec sleep 60")
    guard.until_lines(1, 1)
    guard.run(2, "follower", "/bin/echo", "down")
    ended = guard.until("ended", seq=1)
    assert (ended["signal"], ended["reason"]) == (signal.SIGTERM, "replaced")
    guard.until("ended", seq=2)
    assert guard.kinds() == [("started", 1), ("ended", 1), ("started", 2), ("ended", 2)]


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(guard: Any) -> None:
    guard.shell(1, "leader", STUBBORN, grace_ms=400)
    guard.until_lines(1, 1)
    began = time.monotonic()
    guard.process.tell({"kind": "end"})
    ended = guard.until("ended", seq=1)
    assert (ended["signal"], ended["reason"]) == (signal.SIGKILL, "end")
    assert 0.4 <= time.monotonic() - began < 1.4
    assert "asked" in guard.lines(1)


def test_children_that_left_group_and_session_are_asked_and_then_killed(guard: Any, gone: Any) -> None:
    guard.shell(1, "leader", f'setsid sh -c "{STUBBORN.replace("$$", chr(92) + "$$")}" & echo up; wait')
    lines = guard.until_lines(1, 2)
    grandchild = int(next(line for line in lines if line != "up"))
    assert os.getsid(grandchild) == grandchild
    guard.process.tell({"kind": "end"})
    guard.until("ended", seq=1)
    assert "asked" in guard.lines(1)
    assert linux.descendants(guard.process.pid) == []
    gone(grandchild, 0)


def test_orphans_of_orphans_are_killed_too(guard: Any) -> None:
    guard.shell(
        1, "leader", "(setsid sh -c '(setsid sh -c \"trap : TERM; while :; do sleep 0.1; done\" &)' &); sleep 60"
    )
    until = time.monotonic() + 15
    while len(linux.descendants(guard.process.pid)) < 3:
        assert time.monotonic() < until
        guard.hear(0.02)
    guard.process.tell({"kind": "end"})
    guard.until("ended", seq=1)
    assert linux.descendants(guard.process.pid) == []


def test_a_script_that_is_stopped_can_still_be_ended(guard: Any) -> None:
    guard.shell(1, "leader", "trap 'echo cleaned; exit 3' TERM; echo $$; while :; do sleep 0.05; done", grace_ms=10_000)
    os.killpg(int(guard.until_lines(1, 1)[0]), signal.SIGSTOP)
    guard.process.tell({"kind": "end"})
    assert guard.until("ended", seq=1)["exit_code"] == 3
    assert "cleaned" in guard.lines(1)


def test_what_a_script_leaves_behind_runs_on_until_the_script_would_have_ended(guard: Any) -> None:
    guard.shell(1, "leader", "sleep 60 & echo $!; exit 4")
    left = guard.until("exited", seq=1)
    assert (left["exit_code"], left["left"]) == (4, [int(guard.lines(1)[0])])
    guard.run(2, "follower", "/bin/true")
    ended = guard.until("ended", seq=1)
    assert (ended["exit_code"], ended["reason"]) == (4, "replaced")
    guard.until("ended", seq=2)
    assert guard.kinds() == [("started", 1), ("exited", 1), ("ended", 1), ("started", 2), ("ended", 2)]


def test_a_timeout_ends_a_script(guard: Any) -> None:
    guard.shell(1, "follower", "exec sleep 60", timeout_ms=200)
    ended = guard.until("ended", seq=1)
    assert (ended["signal"], ended["reason"]) == (signal.SIGTERM, "timeout")
    assert 200 <= ended["duration_ms"] < 1_500


def test_a_deadline_that_is_not_renewed_ends_a_script(guard: Any) -> None:
    guard.shell(1, "leader", "exec sleep 60", deadline_ms=int(linux.boot_ms()) + 300)
    assert guard.until("ended", seq=1)["reason"] == "deadline"


def test_a_renewed_deadline_counts_and_the_old_one_does_not(guard: Any) -> None:
    began = int(linux.boot_ms())
    guard.shell(1, "leader", "exec sleep 60", deadline_ms=began + 300)
    guard.process.tell({"kind": "deadline", "seq": 1, "deadline_ms": began + 900})
    guard.process.tell({"kind": "deadline", "seq": 7, "deadline_ms": 0})
    assert guard.until("ended", seq=1)["reason"] == "deadline"
    assert linux.boot_ms() - began >= 900


def test_a_script_whose_deadline_has_passed_is_not_started(guard: Any) -> None:
    guard.shell(1, "leader", "exec sleep 60", deadline_ms=1)
    assert guard.until("skipped", seq=1)["reason"] == "deadline"
    assert guard.kinds() == [("skipped", 1)]


# -- who waits for whom


def test_a_follower_script_is_not_cut_short_and_of_those_that_wait_the_newest_wins(guard: Any, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    guard.shell(1, "follower", f"echo up; read line < {fifo}; echo $line")
    guard.until_lines(1, 1)
    guard.run(2, "leader", "/bin/echo", "two")
    guard.run(3, "follower", "/bin/echo", "three")
    guard.run(4, "leader", "/bin/echo", "four")
    guard.process.tell({"kind": "end"})
    guard.run(5, "leader", "/bin/echo", "five")
    guard.until("skipped", seq=4, reason="end")
    guard.process.ping(linux.boot_ms())
    fifo.write_text("done\n")
    ended = guard.until("ended", seq=1)
    assert (ended["exit_code"], guard.lines(1)) == (0, ["up", "done"])
    guard.until("ended", seq=5)
    assert guard.lines(5) == ["five"]
    assert guard.kinds() == [
        ("started", 1),
        ("skipped", 2),
        ("skipped", 3),
        ("skipped", 4),
        ("ended", 1),
        ("started", 5),
        ("ended", 5),
    ]


def test_the_next_script_starts_only_when_nothing_of_the_last_one_is_left(guard: Any) -> None:
    guard.shell(1, "leader", f'setsid sh -c "{STUBBORN.replace("$$", chr(92) + "$$")}" & wait')
    stubborn = guard.until_lines(1, 1)[0]
    guard.shell(2, "follower", f"test -e /proc/{stubborn} && echo overlap || echo alone")
    guard.until("ended", seq=2)
    assert guard.lines(2) == ["alone"]


def test_end_leaves_a_follower_script_alone(guard: Any) -> None:
    guard.shell(1, "follower", "echo up; sleep 0.3; echo done")
    guard.until_lines(1, 1)
    guard.process.tell({"kind": "end"})
    assert guard.until("ended", seq=1)["exit_code"] == 0
    assert guard.lines(1) == ["up", "done"]


# -- the guard itself


def test_bad_orders_are_reported_and_the_next_one_is_obeyed(guard: Any) -> None:
    os.write(guard.process._orders.fileno(), b'\xff\xfe\n{"kind":"run","seq":1}\n[1]\n')
    guard.run(2, "follower", "/bin/echo", "fine")
    guard.until("ended", seq=2)
    rejected = [report["reason"] for report in guard.reports if report["kind"] == "rejected"]
    assert rejected[1].startswith("run without argv, cwd, deadline_ms")
    assert rejected[2] == "not an object"
    assert guard.lines(2) == ["fine"]


def test_signals_of_a_terminal_do_not_end_it(guard: Any) -> None:
    guard.shell(1, "leader", "echo up; exec sleep 60")
    guard.until_lines(1, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guard.process.pid, number)
    guard.process.ping(linux.boot_ms())
    guard.until_answered()
    assert guard.process.closed is None
    assert guard.find("ended", seq=1) is None
    assert os.getsid(guard.process.pid) == guard.process.pid


def test_it_loads_nothing_but_the_standard_library_and_its_own_few_files() -> None:
    command = [sys.executable, "-X", "importtime", "-S", "-E", "-s", str(GUARD)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True)
    modules = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    ours = {name for name in modules if name.startswith("zraft")}
    assert ours == {f"zraft.hooks.{name}" for name in ("linux", "output", "run", "spawn", "wire")}
    foreign = {name.split(".")[0] for name in modules - ours} - set(sys.stdlib_module_names)
    assert foreign <= {"imported package", "encodings"}


def test_it_is_ready_at_once(guard: Any, record_property: Any) -> None:
    began = time.monotonic()
    guard.until_ready()
    took_s = time.monotonic() - began
    record_property("ready_ms", round(took_s * 1_000))
    assert took_s < 2
