"""One run of one script, from its start until nothing of it is left; standard library alone.

The script leads a session and a group of its own. The guard is its child subreaper, so whatever the script leaves behind,
in whatever group or session, stays a descendant of the guard: "nothing is left" is the guard having no child, and who is
to be killed is who descends from it. A script that has exited while descendants live on is still running in every other
sense: they are ended when it would have been.
"""

import os
import select
import signal
from typing import Any

from zraft.hooks import linux
from zraft.hooks.output import Budget, Lines
from zraft.hooks.spawn import spawn
from zraft.hooks.wire import Writer

READ_BYTES = 1 << 16
DRAIN_BYTES_MAX = 1 << 20
"""How much is still read once nothing of the script is left; somebody else may have been handed its output pipe."""
KILL_PAUSE_LOWER_MS = 20.0
KILL_PAUSE_UPPER_MS = 1_000.0
"""How long to wait between rounds of SIGKILL; doubles from one to the other."""
STUCK_AFTER_MS = 1_000.0
"""How long after the first SIGKILL survivors are reported."""
ORPHAN_GRACE_MS_MAX = 4_000
"""The longest grace once the node has died: five seconds after a supervisor was killed, nothing of its cluster is left."""
LEFT_AFTER_MS = 100.0
"""How long after the script's exit its descendants are reported; a pipeline needs a moment to end."""
KILL_WALKS_MAX = 8
"""Walks in one round of SIGKILL, while each finds somebody new: children that were being born."""


class Run:
    """One script that runs, ends, or is being killed.

    Parameters
    ----------
    order
        The `run` order.
    writer
        Takes the reports.
    poll
        The guard's; the run registers its own pipes and removes them.

    Raises
    ------
    OSError
        There is no room for another process, or for its pipes.
    """

    def __init__(self, order: dict[str, Any], writer: Writer, poll: select.poll) -> None:
        self.seq: int = order["seq"]
        self.event: str = order["event"]
        self.deadline_ms: float | None = order["deadline_ms"]
        """When it must be ended unless this is renewed (`deadline` orders)."""
        self.reason: str | None = None
        """Why it is being ended; None while it may run."""
        self._grace_ms: int = order["grace_ms"]
        self._writer = writer
        self._poll = poll
        spawned = spawn(order)
        self.pid = spawned.pid
        self._started_ms = linux.boot_ms()
        self._timeout_at = None if order["timeout_ms"] is None else self._started_ms + order["timeout_ms"]
        self._start_pipe: int | None = spawned.failure
        """Open until it is known whether the script could be started."""
        self._failure = b""
        """Why it could not."""
        self._streams = {spawned.stdout: ("stdout", Lines()), spawned.stderr: ("stderr", Lines())}
        """The script's open output pipes."""
        self._budget = Budget(self._started_ms)
        self._dropped = 0
        """Lines dropped and not yet reported."""
        self._status: int | None = None
        """Wait status of the script itself, once it has exited."""
        self._exited_ms = self._started_ms
        """When it did."""
        self._left_at: float | None = None
        """When to report what it left behind."""
        self._kill_at: float | None = None
        """When the next round of SIGKILL is due."""
        self._kill_pause_ms = 0.0
        """The pause before that round; 0 before the first."""
        self._stuck_at: float | None = None
        """When to report survivors of SIGKILL."""
        for descriptor in (spawned.failure, *self._streams):
            poll.register(descriptor, select.POLLIN)

    def due_ms(self) -> float | None:
        """When `act` has something to do, if nothing else happens before."""
        moments = [self._left_at, self._kill_at]
        if self.reason is None:
            moments += [self._timeout_at, self.deadline_ms]
        return min((moment for moment in moments if moment is not None), default=None)

    def readable(self, descriptor: int) -> None:
        """Read what the script, or its start, has to say."""
        if descriptor == self._start_pipe:
            self._read_start()
        elif descriptor in self._streams:
            self._read_stream(descriptor)

    def end(self, reason: str) -> None:
        """Begin to end it: SIGTERM now, SIGKILL after the grace. Only the first reason counts."""
        if self.reason is not None:
            return
        self.reason = reason
        self._kill_at = linux.boot_ms() + self._grace_ms
        self._terminate()

    def orphan(self) -> None:
        """End it because its node died: within a bound whatever its grace, since nobody watches over it any more."""
        self._grace_ms = min(self._grace_ms, ORPHAN_GRACE_MS_MAX)
        if self._kill_at is not None:
            self._kill_at = min(self._kill_at, linux.boot_ms() + self._grace_ms)
        self.end("node_died")

    def act(self, now_ms: float) -> None:
        """Do what is due."""
        if self.reason is None and self.deadline_ms is not None and now_ms >= self.deadline_ms:
            self.end("deadline")
        if self.reason is None and self._timeout_at is not None and now_ms >= self._timeout_at:
            self.end("timeout")
        if self._kill_at is not None and now_ms >= self._kill_at:
            self._kill(now_ms)
        if self._left_at is not None and now_ms >= self._left_at:
            self._left_at = None
            left = linux.descendants(os.getpid())
            self._writer.put({"kind": "exited", "seq": self.seq, **self._result(), "left": left})

    def exited(self, status: int) -> None:
        """Take note that the script itself has ended, with this wait status."""
        self._status = status
        self._exited_ms = linux.boot_ms()
        self._left_at = self._exited_ms + LEFT_AFTER_MS

    def finish(self) -> None:
        """Report the end: nothing of the script is left."""
        if self._start_pipe is not None:
            self._read_start()
        for descriptor in tuple(self._streams):
            self._drain(descriptor)
        if self._dropped:
            self._writer.put({"kind": "dropped", "seq": self.seq, "lines": self._dropped})
        if self._failure:
            code, _, sentence = self._failure.decode().partition(" ")
            self._writer.put({"kind": "failed", "seq": self.seq, "exit_code": int(code), "reason": sentence})
        else:
            reason = self.reason or "exit"
            self._writer.put({"kind": "ended", "seq": self.seq, **self._result(), "reason": reason})

    def _result(self) -> dict[str, int | None]:
        assert self._status is not None, "the script's own end comes before the end of what it left"
        killed = os.WIFSIGNALED(self._status)
        return {
            "exit_code": None if killed else os.WEXITSTATUS(self._status),
            "signal": os.WTERMSIG(self._status) if killed else None,
            "duration_ms": int(self._exited_ms - self._started_ms),
        }

    # Output

    def _read_start(self) -> None:
        assert self._start_pipe is not None
        try:
            data = os.read(self._start_pipe, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._failure += data
            return
        self._close(self._start_pipe)
        self._start_pipe = None
        if not self._failure:
            self._writer.put({"kind": "started", "seq": self.seq, "pid": self.pid})

    def _read_stream(self, descriptor: int) -> int:
        """Read once; return how many bytes there were."""
        name, lines = self._streams[descriptor]
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return 0
        room = self._budget.left(linux.boot_ms())
        if data:
            whole, dropped = lines.feed(data, room)
        else:
            whole, dropped = lines.last()[:room], 0 if room else len(lines.last())
            self._close(descriptor)
            del self._streams[descriptor]
        self._budget.spend(len(whole))
        for line in whole:
            self._pass_on(name, line.text, line.cut)
        self._dropped += dropped
        return len(data)

    def _pass_on(self, stream: str, text: str, cut: int) -> None:
        if self._dropped and self._writer.offer({"kind": "dropped", "seq": self.seq, "lines": self._dropped}):
            self._dropped = 0
        report = {"kind": "output", "seq": self.seq, "stream": stream, "line": text, "cut": cut}
        if not self._writer.offer(report):
            self._dropped += 1

    def _drain(self, descriptor: int) -> None:
        taken = 0
        while taken < DRAIN_BYTES_MAX and (count := self._read_stream(descriptor)):
            taken += count
        if descriptor in self._streams:
            # Open though nothing of the script is left: a stranger holds the other end, and is not ours to wait for.
            self._close(descriptor)
            del self._streams[descriptor]

    def _close(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        os.close(descriptor)

    # Signals

    def _terminate(self) -> None:
        """Ask every process of the script to end; wake those that are stopped, so that they can."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            family = linux.descendants(os.getpid())
            outside = [pid for pid in family if _group(pid) != self.pid]
            # The group exists, and is the script's, as long as a descendant is in it; at once is better than one by one.
            if len(outside) < len(family):
                linux.send(-self.pid, number)
            for pid in outside:
                linux.send(pid, number)

    def _kill(self, now_ms: float) -> None:
        seen = kill_descendants()
        self._kill_pause_ms = min(KILL_PAUSE_UPPER_MS, max(KILL_PAUSE_LOWER_MS, 2 * self._kill_pause_ms))
        self._kill_at = now_ms + self._kill_pause_ms
        if self._stuck_at is None:
            self._stuck_at = now_ms + STUCK_AFTER_MS
        elif now_ms >= self._stuck_at:
            self._stuck_at = float("inf")
            self._writer.put({"kind": "stuck", "seq": self.seq, "pids": seen})


def kill_descendants() -> list[int]:
    """Send SIGKILL to every descendant of this process; return those met. One that may not be killed is passed over."""
    seen: list[int] = []
    for _ in range(KILL_WALKS_MAX):
        new = [pid for pid in linux.descendants(os.getpid()) if pid not in seen]
        if not new:
            break
        for pid in new:
            linux.send(pid, signal.SIGKILL)
        seen.extend(new)
    return seen


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
