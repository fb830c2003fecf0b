"""Clocks of machines: durations that run a little fast or slow, and wall time that jumps."""

from zraft.simulation.timeline import Timeline


class MachineClock:
    """The `Clock` seam of one machine; goes on while processes come and go, and while the machine sleeps.

    Parameters
    ----------
    timeline
        True time.
    offset_ms
        What the clock shows when true time is 0: machines were not started at the same moment.
    """

    def __init__(self, timeline: Timeline, offset_ms: float) -> None:
        self._timeline = timeline
        self._since = 0.0
        """True time since when it runs at `rate`."""
        self._shown = offset_ms
        """What it showed then."""
        self.rate = 1.0
        """Milliseconds that it shows per millisecond of true time."""
        self.wall_offset_ms = 1_700_000_000_000
        """What wall time is ahead of `now_ms`."""

    def now_ms(self) -> float:
        """Milliseconds since the machine was started."""
        return self._shown + (self._timeline.now - self._since) * self.rate

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as far as this machine knows."""
        return int(self.now_ms()) + self.wall_offset_ms

    def true_time(self, shown_ms: float) -> float:
        """Return the true time at which the clock will show `shown_ms`, if it keeps its rate."""
        return self._since + (shown_ms - self._shown) / self.rate

    def run_at(self, rate: float) -> None:
        """Go on at another rate."""
        self._shown, self._since = self.now_ms(), self._timeline.now
        self.rate = rate
