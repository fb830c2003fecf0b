"""What a node's answers say about its health, from the start of one process to its end; time is an argument."""

from zraft.requests import Status

STEADY_MS = 10_000
"""A node that was healthy for so long without a break has earned a fresh back-off."""
_SILENCE_MS = 3_000
"""Between two answers; a longer break ends a healthy spell."""
_FIRST_ANSWER_FACTOR = 6
"""Before its first answer a node reads its log, which takes longer than any answer afterwards."""


class Health:
    """The answers of one process.

    Parameters
    ----------
    started_ms
        When the process was started.
    """

    def __init__(self, started_ms: float) -> None:
        self.started_ms = started_ms
        self.status: Status | None = None
        """The newest answer; set by `heard`."""
        self.heard_ms: float | None = None
        """When it came."""
        self.steady = False
        """Whether the process was ever healthy for `STEADY_MS` on end."""
        self._well_ms = started_ms
        """When there was last no reason to doubt it."""
        self._spell_ms: float | None = None
        """When the healthy spell that still lasts began."""

    def heard(self, status: Status, now_ms: float) -> None:
        """Take in an answer."""
        silent = self.heard_ms is None or now_ms - self.heard_ms > _SILENCE_MS
        self.status, self.heard_ms = status, now_ms
        if not status.healthy:
            self._spell_ms = None
            return
        self._well_ms = now_ms
        if self._spell_ms is None or silent:
            self._spell_ms = now_ms
        self.steady = self.steady or now_ms - self._spell_ms >= STEADY_MS

    def forgive(self, now_ms: float) -> None:
        """Count nothing before `now_ms` against the node: it was paused by command, or we did not run ourselves."""
        self._well_ms = max(self._well_ms, now_ms)

    def hung_at_ms(self, limit_ms: float) -> float:
        """When the node counts as hung unless it shows itself healthy before."""
        return self._well_ms + limit_ms * (_FIRST_ANSWER_FACTOR if self.heard_ms is None else 1)

    def complaint(self, now_ms: float) -> str:
        """Say, for the log, what is wrong with it."""
        seconds = (now_ms - self._well_ms) / 1_000
        if self.status is not None and not self.status.healthy:
            return f"has called itself unhealthy for {seconds:.1f} s"
        return f"has not answered for {seconds:.1f} s"
