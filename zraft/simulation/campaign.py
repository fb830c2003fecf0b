"""Many seeds: over all processors, within a budget of real time, with a summary of what has happened and what was checked.

This is the one place of the simulator that knows real time, and nothing of a simulation depends on it: only how many there are.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from zraft.errors import ZraftError
from zraft.simulation.recipe import Recipe
from zraft.simulation.report import Report
from zraft.simulation.run import run

SEEDS_PER_PROCESS_MAX = 100
"""After so many a process is replaced by a new one, which has its memory back."""
Finished = tuple[Recipe, Report]


class Summary:
    """What all simulations together came to."""

    def __init__(self) -> None:
        self.seeds = 0
        self.events = 0
        self.operations = 0
        self.judged = 0
        self.undecided = 0
        self.virtual_ms = 0.0
        self.hits: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        self.failures: list[Finished] = []

    def add(self, recipe: Recipe, report: Report) -> None:
        """Count one."""
        self.seeds += 1
        self.events += report.events
        self.operations += report.operations
        self.judged += report.judged
        self.undecided += report.undecided
        self.virtual_ms += report.virtual_ms
        self.hits.update(report.hits)
        self.checked.update(report.checked)
        if report.broken:
            self.failures.append((recipe, report))


def campaign(recipes: Iterable[Recipe], *, jobs: int, budget_s: float = float("inf")) -> Iterator[Finished]:
    """Run one simulation after the other, `jobs` at a time, and yield each with its report when it ends.

    Parameters
    ----------
    recipes
        What to run, in this order; they end in another.
    jobs
        How many processes; with 1 all happens in this one.
    budget_s
        After so many seconds none is begun any more.

    Raises
    ------
    ZraftError
        A process has died.
    """
    until = time.monotonic() + budget_s
    if jobs == 1:
        yield from _one_by_one(recipes, lambda: time.monotonic() < until)
        return
    remaining = iter(recipes)
    under_way: dict[Future[Report], Recipe] = {}
    with ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_die_of_interrupts, max_tasks_per_child=SEEDS_PER_PROCESS_MAX
    ) as pool:
        while True:
            while len(under_way) < jobs and time.monotonic() < until and (recipe := next(remaining, None)) is not None:
                under_way[pool.submit(_run, recipe)] = recipe
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                recipe = under_way.pop(future)
                yield recipe, _result(future, recipe)


def _one_by_one(recipes: Iterable[Recipe], go_on: Callable[[], bool]) -> Iterator[Finished]:
    for recipe in recipes:
        if not go_on():
            return
        yield recipe, run(recipe.plan())


def _run(recipe: Recipe) -> Report:
    return run(recipe.plan())


def _result(future: Future[Report], recipe: Recipe) -> Report:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ZraftError(
            f"a process of the simulation has died, at seed {recipe.seed} or one beside it; if memory ran out, try fewer --jobs; "
            f"see what happens with: {recipe.line}"
        ) from error


def _die_of_interrupts() -> None:
    """Let Ctrl-C end a process without a word: the one that began it says what there is to say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
