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
from itertools import takewhile

import msgspec

from zraft.simulation.checkers.models import ENDLESS, Call, State

STEPS_MAX = 2_000_000
CULPRIT_STEPS_MAX = 50_000


class Verdict(Enum):
    """What the search found."""

    LEGAL = "legal"
    """There is such an order."""
    ILLEGAL = "illegal"
    """There is none."""
    UNDECIDED = "undecided"
    """It gave up."""


Mark = tuple[int, int, int, State]
"""What has happened, and the state behind it.

Of the operations that returned, all before the first number have happened and that one has not; the second has a bit for each from
there on. The third has a bit for each of those that never returned.
"""


class _Reached:
    """A point of the search."""

    __slots__ = ("ahead", "candidates", "first", "hinted", "loose", "owing", "state")

    def __init__(self, mark: Mark, hinted: int, owing: int) -> None:
        self.first, self.ahead, self.loose, self.state = mark
        self.hinted = hinted
        """All before this place of `_Search.by_hint` have happened."""
        self.owing = owing
        """All before this place of `_Search.by_return` have happened."""
        self.candidates: Iterator[int] = iter(())
        """What to try next here."""

    def has(self, number: int) -> bool:
        """Whether that operation has happened."""
        if number < 0:
            return bool(self.loose >> ~number & 1)
        return number < self.first or bool(self.ahead >> number - self.first & 1)


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

    What has become illegal stays so, whatever comes after it; so this takes a search for each halving. A search that would take
    long is passed over, and the answer is then a later operation.
    """
    ended = sorted((call for call in calls if call.returned != ENDLESS), key=lambda call: call.returned)
    low, high = 0, len(ended) - 1
    while low < high:
        middle = (low + high) // 2
        if judge(_until(calls, ended[middle].returned), steps_max=CULPRIT_STEPS_MAX) is Verdict.ILLEGAL:
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

    Operations have numbers: their places among those that returned, in the order of invocation, and ``~place`` among the others.

    Parameters
    ----------
    calls
        As `judge` takes them.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._ended = sorted((call for call in calls if call.returned != ENDLESS), key=lambda call: call.invoked)
        self._loose = sorted((call for call in calls if call.returned == ENDLESS), key=lambda call: call.invoked)
        numbers = [*range(len(self._ended)), *(~place for place in range(len(self._loose)))]
        self.by_hint = sorted(numbers, key=lambda number: self._call(number).hint)
        self.by_return = sorted(range(len(self._ended)), key=lambda number: self._ended[number].returned)

    def _call(self, number: int) -> Call:
        return self._ended[number] if number >= 0 else self._loose[~number]

    def run(self, steps_max: int) -> Verdict:
        count = len(self._ended)
        seen: set[Mark] = set()
        path = [self._reach((0, 0, 0, ()), 0, 0)]
        steps = 0
        while path[-1].first < count:
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
            state = self._call(number).step(here.state)
            if state is None:
                continue
            first, ahead, loose = here.first, here.ahead, here.loose
            if number >= 0:
                ahead |= 1 << number - first
                while ahead & 1:
                    first, ahead = first + 1, ahead >> 1
            else:
                loose |= 1 << ~number
            mark: Mark = (first, ahead, loose, state)
            if mark not in seen:
                seen.add(mark)
                path.append(self._reach(mark, here.hinted, here.owing))
        return Verdict.LEGAL

    def _reach(self, mark: Mark, hinted: int, owing: int) -> _Reached:
        """Return a point of the search; `hinted` and `owing` may be those of a point before it."""
        here = _Reached(mark, hinted, owing)
        while here.hinted < len(self.by_hint) and here.has(self.by_hint[here.hinted]):
            here.hinted += 1
        while here.owing < len(self.by_return) and here.has(self.by_return[here.owing]):
            here.owing += 1
        here.candidates = self._candidates(here)
        return here

    def _candidates(self, here: _Reached) -> Iterator[int]:
        """Yield what may happen next: whatever was invoked before the first return that is owed. What the hints have next comes first."""
        owed = ENDLESS if here.owing == len(self.by_return) else self._ended[self.by_return[here.owing]].returned
        favourite = self.by_hint[here.hinted] if here.hinted < len(self.by_hint) else None
        if favourite is not None and self._call(favourite).invoked < owed:
            yield favourite
        others = [
            number
            for numbers in (range(here.first, len(self._ended)), (~place for place in range(len(self._loose))))
            for number in takewhile(lambda number: self._call(number).invoked < owed, numbers)
            if number != favourite and not here.has(number)
        ]
        yield from sorted(others, key=lambda number: self._call(number).hint)
