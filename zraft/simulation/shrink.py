"""Makes a failure small: takes away kinds of faults, then time, then clients and nodes, as long as the same thing goes wrong.

It is the same when the same invariant does not hold, or the same exception is raised. The seed stays, so what is left happens much as
before: dice are split by name, and a kind that is taken away leaves those of the others alone.
"""

from collections.abc import Callable, Iterator

import msgspec

from zraft.simulation.plan import Plan
from zraft.simulation.recipe import Recipe
from zraft.simulation.report import Report

Attempt = Callable[[Plan], Report]
ATTEMPTS_MAX = 200


class Shrinker:
    """One failure on its way to the smallest that shows it.

    Parameters
    ----------
    recipe
        What fails.
    report
        How it does.
    attempt
        Runs a plan: `run.run`.
    go_on
        Asked before each attempt; it ends at the first False.

    Attributes
    ----------
    recipe, report
        The smallest failure found so far, and how it fails.
    """

    def __init__(self, recipe: Recipe, report: Report, attempt: Attempt, go_on: Callable[[], bool]) -> None:
        assert report.broken, f"seed {recipe.seed} has not failed"
        plan = recipe.plan()
        self.recipe = msgspec.structs.replace(
            recipe, nodes=plan.nodes, faults=tuple(plan.faults), clients=plan.clients, events=plan.events
        )
        self.report = report
        self._attempt = attempt
        self._go_on = go_on
        self._left = ATTEMPTS_MAX

    def run(self) -> Recipe:
        """Return the smallest recipe that fails in the same way, as far as it was found."""
        before = None
        while before != self.recipe and self._may_go_on():
            before = self.recipe
            self._drop_faults()
            self._drop_events()
            self._lower("clients", 1)
            self._lower("nodes", 1)
        return self.recipe

    def _drop_faults(self) -> None:
        """Take kinds away: half of them at a time, then a quarter, down to one by one (delta debugging, Zeller 1999)."""
        size = len(self.recipe.faults or ())
        while size >= 1:
            kinds = self.recipe.faults or ()
            for dropped in _pieces(kinds, size):
                kept = tuple(kind for kind in self.recipe.faults or () if kind not in dropped)
                if kept != self.recipe.faults:
                    self._try(faults=kept)
            size //= 2

    def _drop_events(self) -> None:
        """End the faults earlier: right where it failed, then at half of that, and so on."""
        if 0 < self.report.events < (self.recipe.events or 0):
            self._try(events=self.report.events)
        step = (self.recipe.events or 0) // 2
        while step >= 1:
            events = (self.recipe.events or 0) - step
            if events < 1 or not self._try(events=events):
                step //= 2

    def _lower(self, name: str, least: int) -> None:
        """Lower a number, as far as possible at once, else by one."""
        for value in range(least, getattr(self.recipe, name)):
            if self._try(**{name: value}):
                return

    def _try(self, **changes: object) -> bool:
        """Run with these changes, and keep them if it fails in the same way."""
        if not self._may_go_on():
            return False
        self._left -= 1
        smaller = msgspec.structs.replace(self.recipe, **changes)
        report = self._attempt(smaller.plan())
        if report.broken != self.report.broken:
            return False
        self.recipe, self.report = smaller, report
        return True

    def _may_go_on(self) -> bool:
        return self._left > 0 and self._go_on()


def _pieces(kinds: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    return (kinds[at : at + size] for at in range(0, len(kinds), size))
