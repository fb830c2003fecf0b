"""The node's end of the guard: starts it, tells it, hears it, and stops it. Nothing here blocks but `close`."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from zraft.hooks import linux
from zraft.hooks.wire import REPORTS, Decoder, Writer

GUARD = Path(__file__).with_name("guard.py")
READ_BYTES = 1 << 16
BACKLOG_BYTES_MAX = 1 << 20
"""A guard that leaves this much unread has hung, and is given up."""
EXIT_MARGIN_S = 1.0
"""How long beyond the grace a guard may take to leave."""


class Hurry(Protocol):
    """Somebody who may come to want an end at once."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when `wanted` may have changed."""

    def wanted(self) -> bool:
        """Return whether to wait no longer; what made the descriptor readable is read."""


class GuardProcess:
    """The guard as a child process; the *Guard* seam of `zraft.seams`.

    Parameters
    ----------
    grace_ms
        The longest that a script is given between SIGTERM and SIGKILL; `close` waits accordingly.
    """

    def __init__(self, grace_ms: int) -> None:
        self._grace_s = grace_ms / 1000
        # A session of its own, so that Ctrl-C in a terminal reaches the node alone, which then says what is to happen.
        # -S -E -s: without site-packages and PYTHON* variables it is ready at once, and nobody's .pth file runs in it.
        self._process = subprocess.Popen(  # noqa: S603 - our own program, by our own interpreter
            [sys.executable, "-S", "-E", "-s", str(GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders = self._process.stdin
        self._reports = self._process.stdout
        os.set_blocking(self._orders.fileno(), False)
        os.set_blocking(self._reports.fileno(), False)
        self._writer = Writer(self._orders.fileno(), BACKLOG_BYTES_MAX)
        self._decoder = Decoder(REPORTS)
        self._scripts: dict[int, int] = {}
        """Scripts that run, by sequence: their process, and so their group."""
        self._pings = 0
        """Number of the last ping."""
        self._pinged_ms: float | None = None
        """When it was sent, unless it is answered."""
        self._stopping = False
        """`close` was called: the guard is to end."""
        self.pid = self._process.pid
        self.ready = False
        """The guard has reported that it works."""
        self.closed: str | None = None
        """Why the guard is of no use any more, in words; None while it is. A node without a guard must not lead."""

    def fileno(self) -> int:
        """Return the descriptor to poll for reading; when it is readable, call `receive`."""
        return self._reports.fileno()

    def tell(self, order: dict[str, object]) -> None:
        """Pass an order of `hooks.wire` on without blocking; nothing happens once the guard is `closed`."""
        if self.closed is not None:
            return
        if not self._writer.offer(order):
            self._lose("the guard does not read its orders")
        elif self._writer.broken:
            self._lose("the guard ended by itself")

    def flush(self) -> None:
        """Write orders that did not fit into the pipe before; to be called in each turn of the loop."""
        if self.closed is None:
            self._writer.flush()

    def receive(self) -> list[dict[str, Any]]:
        """Return the reports that have come, without those that concern this class alone; bounded per call."""
        if self.closed is not None:
            return []
        try:
            data = os.read(self.fileno(), READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            self._lose("the guard was stopped" if self._stopping else "the guard ended by itself")
            return []
        reports, mistakes = self._decoder.feed(data)
        if mistakes:
            self._lose(f"the guard said what is no report: {mistakes[0]}")
        return [report for report in reports if self._concerns_node(report)]

    def ping(self, now_ms: float) -> None:
        """Ask for a sign of life, unless one is asked for already."""
        self.flush()
        if self._pinged_ms is None and self.closed is None:
            self._pings += 1
            self._pinged_ms = now_ms
            self.tell({"kind": "ping", "n": self._pings})

    def silent_ms(self, now_ms: float) -> float:
        """Return for how long a ping has been unanswered; 0 when none is."""
        return 0.0 if self._pinged_ms is None else now_ms - self._pinged_ms

    def close(self, timeout_s: float, deliver: Callable[[dict[str, Any]], None], hurry: Hurry | None = None) -> None:
        """Let a cleaning script finish within `timeout_s`, end what runs after that, and leave nothing behind.

        Returns once the guard is gone. May be called again, to no effect.

        Parameters
        ----------
        timeout_s
            How long to wait before what runs is ended.
        deliver
            Takes the reports that come meanwhile.
        hurry
            Tells when to wait no longer. Then this returns at once: the guard takes the end of its orders as the end of
            the node, ends what runs without it, and then itself.
        """
        if self._reports.closed:
            return
        self.tell({"kind": "stop"})
        self._stopping = True
        self._hear_until_closed(timeout_s, deliver, hurry)
        if self.closed is None:
            # The guard takes the end of its orders as the end of the node: SIGTERM, grace, SIGKILL, exit.
            self._orders.close()
            self._hear_until_closed(self._grace_s + EXIT_MARGIN_S, deliver, hurry)
        if self.closed is None and hurry is not None and hurry.wanted():
            self.closed = "the guard was left alone with what runs"
        self._lose("the guard did not stop, and was killed")
        self._orders.close()
        self._reports.close()

    def _hear_until_closed(
        self, timeout_s: float, deliver: Callable[[dict[str, Any]], None], hurry: Hurry | None
    ) -> None:
        until = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        if hurry is not None:
            poll.register(hurry.fileno(), select.POLLIN)
        while self.closed is None and (left := until - time.monotonic()) > 0:
            if hurry is not None and hurry.wanted():
                return
            if not self._orders.closed:
                self.flush()
            poll.poll(min(left, 0.1 if self._writer.backlog_bytes else left) * 1000)
            for report in self.receive():
                deliver(report)

    def _concerns_node(self, report: dict[str, Any]) -> bool:
        kind = report["kind"]
        if kind == "pong":
            self._pinged_ms = None if report["n"] == self._pings else self._pinged_ms
        elif kind == "ready":
            self.ready = True
        elif kind == "started":
            self._scripts[report["seq"]] = report["pid"]
        elif kind == "ended":
            self._scripts.pop(report["seq"], None)
        return kind not in ("pong", "ready")

    def _lose(self, why: str) -> None:
        """Give the guard up; a script that it can no longer end is killed here, with its group."""
        if self.closed is not None:
            return
        self.closed = why
        self._process.kill()
        self._process.wait()
        for script in self._scripts.values():
            linux.send(-script, signal.SIGKILL)
        self._scripts.clear()
