"""A guard with everything that it has reported, and ways to wait for what it does."""

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from zraft.hooks.process import GuardProcess

PATIENCE_S = 15.0
"""How long a test waits for an event before it fails: long, since it never waits longer than the event takes."""
GRACE_MS = 300


class GuardUnderTest:
    """A real guard, started as a node starts it."""

    def __init__(self) -> None:
        self.process = GuardProcess(GRACE_MS)
        self.reports: list[dict[str, Any]] = []
        """Everything reported so far, in order."""

    def run(self, seq: int, event: str, *argv: str, **changed: Any) -> None:
        """Order a program to be run; `changed` overrides fields of the order."""
        order = {
            "kind": "run",
            "seq": seq,
            "event": event,
            "argv": list(argv),
            "env": {"PATH": os.environ["PATH"]},
            "cwd": "/",
            "timeout_ms": None,
            "grace_ms": GRACE_MS,
            "deadline_ms": None,
        }
        self.process.tell(order | changed)

    def shell(self, seq: int, event: str, script: str, **changed: Any) -> None:
        """Order a few lines of sh to be run."""
        self.run(seq, event, "/bin/sh", "-c", script, **changed)

    def hear(self, timeout_s: float) -> None:
        """Take what is reported within the time, as soon as anything is; like a turn of the node's loop."""
        self.process.flush()
        if select.select([self.process], [], [], min(timeout_s, 0.05))[0]:
            self.reports += self.process.receive()

    def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait for the first report like this, and return it."""
        until = time.monotonic() + PATIENCE_S
        while (found := self.find(kind, **fields)) is None:
            assert self.process.closed is None, f"the guard is gone; it said {self.reports}"
            left = until - time.monotonic()
            assert left > 0, f"no {kind} {fields} in {self.reports}"
            self.hear(left)
        return found

    def find(self, kind: str, **fields: Any) -> dict[str, Any] | None:
        """Return the first report like this, if it has come."""
        wanted = {"kind": kind, **fields}
        return next((report for report in self.reports if wanted.items() <= report.items()), None)

    def until_ready(self) -> None:
        """Wait until the guard works."""
        self._until(lambda: self.process.ready, "it is not ready")

    def until_answered(self) -> None:
        """Wait until no ping is unanswered."""
        self._until(lambda: self.process.silent_ms(1e15) == 0, "it does not answer")

    def until_lines(self, seq: int, count: int) -> list[str]:
        """Wait until a script has printed that many lines, and return what it has printed."""
        self._until(lambda: len(self.lines(seq)) >= count, f"fewer than {count} lines of run {seq}")
        return self.lines(seq)

    def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until, f"{complaint}; the guard said {self.reports}"
            self.hear(1)

    def until_closed(self) -> str:
        """Wait until the guard is given up, and return why."""
        self._until(lambda: self.process.closed is not None, "the guard is still there")
        assert self.process.closed is not None
        return self.process.closed

    def lines(self, seq: int) -> list[str]:
        """Return what a script has printed so far."""
        return [report["line"] for report in self.reports if report["kind"] == "output" and report["seq"] == seq]

    def kinds(self) -> list[tuple[str, int]]:
        """Return (kind, seq) of each report but output, in order."""
        return [(report["kind"], report["seq"]) for report in self.reports if report["kind"] != "output"]


@pytest.fixture
def guard() -> Iterator[GuardUnderTest]:
    guard = GuardUnderTest()
    yield guard
    guard.process.close(0, guard.reports.append)


def await_gone(pid: int, timeout_s: float = PATIENCE_S) -> None:
    """Wait until that process has ended, whoever's child it is."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            gone = select.select([descriptor], [], [], timeout_s)[0]
        finally:
            os.close(descriptor)
        assert gone, f"process {pid} is still there after {timeout_s} s"


@pytest.fixture
def gone() -> Any:
    return await_gone
