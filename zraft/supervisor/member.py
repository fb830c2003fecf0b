"""One node as the supervisor sees it: what it was told to do, what became of it, and when it is started again.

A table of its life; `paused` is left by `resume` or by death, `failed` and `stopped` by `start` alone::

    stopped --start--> running --pause--> paused --resume--> running
    running --dies---> backoff --delay over--> running
    running --dies with exit code 2 or 5--> failed        (a full disk is no failure: it is tried again)
    running --stop---> stopped
"""

import signal
from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Protocol

from zraft import stopsignals
from zraft.errors import ConfigError, StorageError
from zraft.raft.types import NodeId
from zraft.supervisor.backoff import Backoff
from zraft.supervisor.health import Health

FULL_DISK = "No space left on device"
"""What the last words of a node that ended on a full disk contain (the text of ENOSPC)."""
_NO_RETRY = (ConfigError.exit_code, StorageError.exit_code)


class State(StrEnum):
    """What `zraft cluster status` says of a node."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    BACKOFF = "backoff"
    FAILED = "failed"


class Process(Protocol):
    """A node's process, living or dead."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""

    @property
    def last_words(self) -> str:
        """The line on standard error that says why it ended."""

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens once it is dead."""

    def stopped(self) -> bool:
        """Whether SIGSTOP has taken hold of all its threads since the last call."""


class _Order(Enum):
    """Why the process is about to end, when the supervisor itself has seen to it."""

    KILL = 1
    STOP = 2
    RESTART = 3
    HUNG = 4


class Member:
    """One node, its process and its history.

    Parameters
    ----------
    node_id
        Its name.
    spawn
        Starts its process; may raise OSError.
    backoff
        Delays after deaths.
    hung_after_ms
        How long it may be unhealthy.
    stop_ms
        How long a clean stop may take before it is enforced.
    note
        Called with each line for the log.
    """

    def __init__(
        self,
        node_id: NodeId,
        spawn: Callable[[NodeId], Process],
        backoff: Backoff,
        *,
        hung_after_ms: float,
        stop_ms: float,
        note: Callable[[str], None],
    ) -> None:
        self.id = node_id
        self.state = State.STOPPED
        self.process: Process | None = None
        """The living process; None between a death and the next start."""
        self.health = Health(0)
        """Of that process, or of the last one."""
        self.restarts = 0
        """How often it was started again, except after `stop`."""
        self.reason = ""
        """Why it is in back-off or failed; empty otherwise."""
        self.exit_code: int | None = None
        """How its last process ended."""
        self._spawn = spawn
        self._backoff = backoff
        self._hung_after_ms = hung_after_ms
        self._stop_ms = stop_ms
        self._note = note
        self._order: _Order | None = None
        """Why the process is about to end; set by the verbs, taken by `died`."""
        self._start_at_ms: float | None = None
        """When back-off is over; set while in it."""
        self._enforce_at_ms: float | None = None
        """When a clean stop that is under way becomes SIGKILL."""

    @property
    def answered(self) -> bool:
        """Whether the living process has answered yet."""
        return self.process is not None and self.health.status is not None

    @property
    def deadline_ms(self) -> float | None:
        """When `tick` has something to do next."""
        if self.process is None:
            return self._start_at_ms
        if self._order is not None:
            return self._enforce_at_ms
        return None if self.state is State.PAUSED else self.health.hung_at_ms(self._hung_after_ms)

    def start(self, now_ms: float, *, again: bool = False) -> None:
        """Start its process, now; `again` counts it as a restart."""
        assert self.process is None, f"{self.id} runs already"
        self._start_at_ms = None
        self.restarts += again
        try:
            self.process = self._spawn(self.id)
        except OSError as error:
            self._retry(now_ms, self._backoff.after_death(), f"cannot be started: {error.strerror}")
            return
        self.state, self.reason = State.RUNNING, ""
        self.health = Health(now_ms)

    def kill(self, now_ms: float) -> None:
        """Kill it with SIGKILL; it comes back after the shortest delay."""
        self._end(_Order.KILL, signal.SIGKILL, now_ms)

    def stop(self, now_ms: float) -> None:
        """Stop it cleanly; it stays down until `start`."""
        if self.process is not None:
            self._end(_Order.STOP, signal.SIGTERM, now_ms)
            return
        self.state, self.reason, self._start_at_ms = State.STOPPED, "", None

    def alone(self) -> None:
        """Tell it, while it is being stopped, that nobody is left to hand its leadership over to."""
        if self.process is not None:
            self.process.signal(stopsignals.ALONE)

    def abort(self, now_ms: float) -> None:
        """Kill it and leave it down: what a clean stop becomes when there is no time for one."""
        if self.process is None:
            self.stop(now_ms)
        else:
            self._end(_Order.STOP, signal.SIGKILL, now_ms)

    def restart(self, now_ms: float) -> None:
        """Stop it cleanly, and start it again at once."""
        self._end(_Order.RESTART, signal.SIGTERM, now_ms)

    def pause(self) -> None:
        """Freeze it with SIGSTOP."""
        assert self.process is not None and self.state is State.RUNNING, f"{self.id} is {self.state}"
        self.process.signal(signal.SIGSTOP)
        self.state = State.PAUSED

    def frozen(self) -> bool:
        """Whether the pause has taken hold; true once per pause."""
        return self.process is not None and self.process.stopped()

    def resume(self, now_ms: float) -> None:
        """Let it run again; the pause does not count against it."""
        assert self.process is not None and self.state is State.PAUSED, f"{self.id} is {self.state}"
        self.process.signal(signal.SIGCONT)
        self.state = State.RUNNING
        self.health.forgive(now_ms)

    def tick(self, now_ms: float) -> None:
        """Do what `deadline_ms` was about: start it, enforce a stop, or restart it because it hangs."""
        deadline_ms = self.deadline_ms
        if deadline_ms is None or now_ms < deadline_ms:
            return
        if self.process is None:
            self.start(now_ms, again=True)
        elif self._order is not None:
            self._enforce_at_ms = None
            self._note(f"{self.id} did not end within {self._stop_ms / 1_000:.0f} s: killed")
            self.process.signal(signal.SIGKILL)
        else:
            self._note(f"{self.id} {self.health.complaint(now_ms)}: it hangs, and is started again")
            self._end(_Order.HUNG, signal.SIGKILL, now_ms)

    def died(self, now_ms: float) -> None:
        """Take note that the process has ended, and decide what comes next."""
        assert self.process is not None and self.process.returncode is not None, f"{self.id} still lives"
        code, words, order = self.process.returncode, self.process.last_words, self._order
        self.exit_code = code
        self.process = self._order = self._enforce_at_ms = None
        if self.health.steady:
            self._backoff.reset()
        if order is _Order.STOP:
            self.state, self.reason = State.STOPPED, ""
            self._note(f"{self.id} stopped")
        elif order is _Order.RESTART:
            self.start(now_ms, again=True)
        elif order is _Order.KILL:
            self._retry(now_ms, self._backoff.lower_ms, "killed by command")
        elif order is None and code in _NO_RETRY and FULL_DISK in words:
            self._retry(now_ms, self._backoff.upper_ms, words)
        elif order is None and code in _NO_RETRY:
            self.state, self.reason = State.FAILED, words or f"exit code {code}"
            self._note(f"{self.id} failed and is not started again: {self.reason}")
        else:
            self._retry(now_ms, self._backoff.after_death(), "hung" if order else _obituary(code, words))

    def _retry(self, now_ms: float, delay_ms: float, reason: str) -> None:
        self.state, self.reason = State.BACKOFF, reason
        self._start_at_ms = now_ms + delay_ms
        self._note(f"{self.id} is down ({reason}); it starts again in {delay_ms / 1_000:.1f} s")

    def _end(self, order: _Order, number: int, now_ms: float) -> None:
        assert self.process is not None, f"{self.id} does not run"
        self._order = order
        if self._enforce_at_ms is None:
            self._enforce_at_ms = now_ms + self._stop_ms
        self.process.signal(number)
        self.process.signal(signal.SIGCONT)  # A frozen process, whoever froze it, obeys SIGKILL alone.
        self.state = State.RUNNING


def _obituary(code: int, words: str) -> str:
    if code >= 0:
        return f"exit code {code}: {words}" if words else f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
