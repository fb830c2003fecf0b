"""Looks for an order in which the operations on one key could have happened one by one (Wing and Gong 1993, Lowe 2017).

The search lets one operation after the other happen: any that was invoked before the first return that is still owed. When
nothing fits any more it goes back. It remembers each pair of "these have happened" and "this is the state", since what can
follow is the same however that was reached.

The problem is NP-complete, so the search has a limit: a number of steps rather than of seconds, for the same history must get the
same verdict on every machine. Two million steps take some five seconds. Beyond it the verdict is `UNDECIDED`, which is
counted, and passes for nothing.

A `Call.hint` says when an operation happened, as others believe. It decides what is tried first and nothing else: a search
that is led astray takes longer, and ends with the same verdict.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from zraft.simulation.checkers.models import ENDLESS, Call, State

STEPS_MAX = 2_000_000


class Verdict(Enum):
    """What the search found."""

    LEGAL = "legal"
    """There is such an order."""
    ILLEGAL = "illegal"
    """There is none."""
    UNDECIDED = "undecided"
    """It gave up."""


class _Reached(NamedTuple):
    """A point of the search."""

    happened: int
    """A bit for each operation, in the order of `_Search.calls`."""
    state: State
    first: int
    """All operations that returned and stand before this place have happened."""
    candidates: Iterator[int]
    """What to try next here."""


def judge(calls: Sequence[Call], *, steps_max: int = STEPS_MAX) -> Verdict:
    """Search for an order of `calls`, which concern one key.

    Parameters
    ----------
    calls
        In any order. One that never returned may happen at any time after its invocation, or never.
    steps_max
        After so many the search gives up.
    """
    return _Search(calls).run(steps_max)


def culprit(calls: Sequence[Call]) -> Call:
    """Return the operation with whose return a history turns illegal: until then there was an order.

    What has become illegal stays so, whatever comes after it; so this takes a search for each halving.
    """
    ended = sorted((call for call in calls if call.returned != ENDLESS), key=lambda call: call.returned)
    low, high = 0, len(ended) - 1
    while low < high:
        middle = (low + high) // 2
        if judge(_until(calls, ended[middle].returned)) is Verdict.ILLEGAL:
            high = middle
        else:
            low = middle + 1
    return ended[low]


def _until(calls: Sequence[Call], stamp: int) -> list[Call]:
    """Return the history as it was right after `stamp`; what was read by then and told later is left out."""
    ended = [call for call in calls if call.returned <= stamp]
    return ended + [
        msgspec.structs.replace(call, returned=ENDLESS)
        for call in calls
        if call.invoked < stamp < call.returned and call.operation.writes
    ]


class _Search:
    """One search.

    Parameters
    ----------
    calls
        As `judge` takes them.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        ended = sorted((call for call in calls if call.returned != ENDLESS), key=lambda call: call.invoked)
        self.open = sorted((call for call in calls if call.returned == ENDLESS), key=lambda call: call.invoked)
        """Those that never returned."""
        self.ended = len(ended)
        self.calls = ended + self.open
        self.done = (1 << self.ended) - 1
        """Nothing that returned is owed any more."""

    def run(self, steps_max: int) -> Verdict:
        calls, done = self.calls, self.done
        happened, first = 0, 0
        seen: set[tuple[int, State]] = set()
        path = [_Reached(happened, (), first, self._candidates(happened, first))]
        steps = 0
        while happened & done != done:
            here = path[-1]
            number = next(here.candidates, None)
            if number is None:
                path.pop()
                if not path:
                    return Verdict.ILLEGAL
                continue
            steps += 1
            if steps > steps_max:
                return Verdict.UNDECIDED
            behind = calls[number].step(here.state)
            if behind is None or (mark := (here.happened | 1 << number, behind)) in seen:
                continue
            seen.add(mark)
            happened, first = mark[0], here.first
            while happened >> first & 1 and first < self.ended:
                first += 1
            path.append(_Reached(happened, behind, first, self._candidates(happened, first)))
        return Verdict.LEGAL

    def _candidates(self, happened: int, first: int) -> Iterator[int]:
        """Yield what may happen next: first what returned, then what did not, each as the hints have it.

        What returned comes first unless a hint has what did not before it: only where nothing else fits is it asked whether
        something happened that nobody has heard of.
        """
        calls = self.calls
        found: list[int] = []
        owed = ENDLESS
        """The first return among those that have not happened."""
        for number in range(first, self.ended):
            if calls[number].invoked > owed:
                break
            if not happened >> number & 1:
                found.append(number)
                owed = min(owed, calls[number].returned)
        for number in range(self.ended, len(calls)):
            if calls[number].invoked > owed:
                break
            if not happened >> number & 1:
                found.append(number)
        found.sort(key=lambda number: calls[number].hint)
        return iter(found)
