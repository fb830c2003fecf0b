"""When a command runs that follows the leader: once for each, one at a time, the newest next, again if it fails; pure."""

from zraft.monitor.leadership import Leader

RETRY_LOWER_MS, RETRY_UPPER_MS = 1_000, 30_000
"""How long after a failure it is tried again: the first time, and at most, since it doubles each time."""


class Reaction:
    """The turns of one command.

    Whoever uses it tells of leaders (`changed`) and of the command's end (`ended`), and runs it whenever `next` says so.
    """

    def __init__(self) -> None:
        self.running: Leader | None = None
        """For whom the command runs now."""
        self.due_ms: float | None = None
        """When to look for the next run; None while there is none, or one runs."""
        self._wanted: Leader | None = None
        """The newest leader, until the command has succeeded for it."""
        self._pause_ms = RETRY_LOWER_MS

    def changed(self, leader: Leader, now_ms: float) -> None:
        """Hear of a new leader: whoever came before and has not had his run has none."""
        self._wanted, self._pause_ms = leader, RETRY_LOWER_MS
        if self.running is None:
            self.due_ms = now_ms

    def next(self, now_ms: float) -> Leader | None:
        """Return for whom to start the command now, if it is to be started."""
        if self.due_ms is None or now_ms < self.due_ms:
            return None
        assert self.running is None, "due while it runs"
        self.running, self.due_ms = self._wanted, None
        return self.running

    def ended(self, now_ms: float, *, well: bool) -> float | None:
        """Hear that it has ended; return after how many milliseconds it is tried again for the same leader, if it is."""
        ran, self.running = self.running, None
        if self._wanted != ran:
            self.due_ms = now_ms
            return None
        if well:
            self._wanted = None
            return None
        pause_ms = self._pause_ms
        self.due_ms, self._pause_ms = now_ms + pause_ms, min(2 * pause_ms, RETRY_UPPER_MS)
        return pause_ms
