"""Virtual time: one heap of what is to happen, and a hash over all that has.

Nothing happens between events, and an event takes no time: `now` stands still until the next one is taken off the heap.
Events of the same moment happen in the order in which they were planned.
"""

from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from struct import Struct
from typing import Final

Action = Callable[[], object]
"""What happens at some moment. It returns `STALE` when it found that it has been overtaken and did nothing."""
STALE: Final = "stale"
SAMPLE_EVENTS: Final = 1_000
"""The trace is sampled each so many events, so that two runs that differ show where they parted."""
_stamp = Struct("<dQ").pack


class Timeline:
    """The heap, and the trace.

    Attributes
    ----------
    now : float
        Milliseconds of true time since the simulation began; no node knows it.
    events : int
        How many things have happened.
    samples : list of str
        The hash after each `SAMPLE_EVENTS` events.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.samples: list[str] = []
        self._heap: list[tuple[float, int, Action]] = []
        self._planned = 0
        self._trace = blake2b(digest_size=8)
        self.note = self._trace.update
        """Folds bytes into the trace: whatever must be the same in each run of a seed."""

    def at(self, time_ms: float, action: Action) -> None:
        """Let `action` happen at `time_ms`, or now if that is past."""
        self._planned += 1
        heappush(self._heap, (time_ms, self._planned, action))

    def after(self, delay_ms: float, action: Action) -> None:
        """Let `action` happen `delay_ms` from now."""
        self.at(self.now + delay_ms, action)

    @property
    def next_at(self) -> float:
        """When the next event is due; never, if nothing is planned."""
        return self._heap[0][0] if self._heap else float("inf")

    def step(self) -> None:
        """Let the next event happen; there must be one."""
        due, number, action = heappop(self._heap)
        self.now = max(self.now, due)
        if action() is STALE:
            return
        self.note(_stamp(due, number))
        self.events += 1
        if self.events % SAMPLE_EVENTS == 0:
            self.samples.append(self.trace)

    @property
    def trace(self) -> str:
        """The hash over everything so far, as 16 hexadecimal digits."""
        return self._trace.hexdigest()
