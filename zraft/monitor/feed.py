"""One node's events in order: each once, whether it came as it happened or was asked for afterwards.

A subscriber misses what is published before its subscription arrives, and what a full queue dropped. A node remembers its
newest events; the feed says when to ask for them, and holds back for a moment what would otherwise overtake them. The node's answer
leaves out periodic events that newer ones have replaced (`events`): between two events of one answer nothing is lost.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from zraft.events import Event

PATIENCE_MS = 100
"""How long events are held back for an answer: they shall be seen within 200 ms of happening."""
ASK_EVERY_MS = 1_000
"""Gaps are asked about at most this often: who cannot keep up shall not make the node work more."""


class Passage(NamedTuple):
    """Events that are due, oldest first."""

    events: list[Event]
    hidden: int
    """So many of the first are older than what was asked for: they count for the table alone."""
    lost: int
    """Events before or between them that nobody has any more."""


class Feed:
    """Puts one node's events in order.

    Parameters
    ----------
    tail
        How many past events to show at first contact.
    counts
        Whether an event is one that is shown, and so counts for `tail`.
    """

    def __init__(self, tail: int, counts: Callable[[Event], bool] = lambda event: True) -> None:
        self._tail = tail
        self._counts = counts
        self.wants_recent = False
        """Set when the node is to be asked for its newest events; cleared by who asks."""
        self.deadline: float | None = None
        """When to stop waiting for the answer."""
        self._asked_at = -float("inf")
        self._boot: str | None = None
        self._former_boots: set[str] = set()
        self._last = 0
        """Sequence number of the newest event passed on; all before it are passed or lost."""
        self._held: dict[int, Event] = {}
        """Events that wait, by sequence number."""
        self._live_from: int | None = None
        """Of those held, this one and later ones came as they happened."""
        self._at_first_contact = True

    def connected(self, now_ms: float) -> None:
        """Note that a subscription stands, perhaps again: what happened before it is to be asked for."""
        self._ask(now_ms)

    def live(self, event: Event, now_ms: float) -> list[Passage]:
        """Take an event as it happens."""
        passages = self._enter(event.boot_id)
        if event.boot_id != self._boot or event.seq <= self._last:
            return passages
        self._held[event.seq] = event
        self._live_from = event.seq if self._live_from is None else min(self._live_from, event.seq)
        if self.deadline is not None:
            return passages
        if event.seq != self._last + 1 and now_ms - self._asked_at >= ASK_EVERY_MS:
            self._ask(now_ms)
            return passages
        return [*passages, self._release()]

    def recent(self, events: Iterable[Event]) -> list[Passage]:
        """Take the node's answer: its newest events."""
        passages: list[Passage] = []
        numbers: list[int] = []
        for event in events:
            before = self._boot
            passages += self._enter(event.boot_id)
            if self._boot != before:
                numbers.clear()
            if event.boot_id != self._boot:
                continue
            numbers.append(event.seq)
            if event.seq > self._last:
                self._held.setdefault(event.seq, event)
        self.deadline = None
        if self._held:
            passages.append(self._release(numbers))
        return passages

    def expire(self, now_ms: float) -> list[Passage]:
        """Wait no longer than the deadline."""
        if self.deadline is None or now_ms < self.deadline:
            return []
        self.deadline = None
        return [self._release()] if self._held else []

    def _ask(self, now_ms: float) -> None:
        self.wants_recent = True
        self._asked_at = now_ms
        self.deadline = now_ms + PATIENCE_MS

    def _enter(self, boot_id: str) -> list[Passage]:
        """Turn to another start of the node's process: what is held of the last one is all that there will be."""
        if boot_id == self._boot or boot_id in self._former_boots:
            return []
        passages = [self._release()] if self._held else []
        if self._boot is not None:
            self._former_boots.add(self._boot)
            self._asked_at = -float("inf")
        self._boot, self._last = boot_id, 0
        return passages

    def _release(self, answered: Sequence[int] = ()) -> Passage:
        """Pass on all that is held; `answered` are the numbers of the answer that brings it, if one does."""
        numbers = sorted(self._held)
        events = [self._held[number] for number in numbers]
        hidden = self._hidden(events) if self._at_first_contact else 0
        last = numbers[0] - 1 if self._at_first_contact else self._last
        gaps = [(before + 1, after - 1) for before, after in pairwise((last, *numbers))]
        missing = sum(end - begin + 1 for begin, end in gaps)
        if answered:
            missing -= sum(_overlap(gap, (min(answered), max(answered))) for gap in gaps)
        self._last = numbers[-1]
        self._held.clear()
        self._live_from = None
        self._at_first_contact = False
        return Passage(events, hidden, missing)

    def _hidden(self, events: list[Event]) -> int:
        past = [event for event in events if self._live_from is None or event.seq < self._live_from]
        shown = [position for position, event in enumerate(past) if self._counts(event)]
        if len(shown) <= self._tail:
            return 0
        return shown[-self._tail] if self._tail else len(past)


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> int:
    """Return how many numbers lie in both ranges, ends included."""
    return max(0, min(one[1], other[1]) - max(one[0], other[0]) + 1)
