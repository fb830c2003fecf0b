"""A failure becomes as small as it can, and stays the same failure; what is written down replays it."""

import shlex
from collections.abc import Callable

import msgspec
import pytest

from zraft.errors import ConfigError
from zraft.simulation.plan import Plan
from zraft.simulation.recipe import Recipe
from zraft.simulation.report import Report
from zraft.simulation.shrink import ATTEMPTS_MAX, Shrinker

SEED = 11
FAILED = Report(SEED, events=5_000, broken="I5", violation="I5 does not hold")


def drawn() -> tuple[str, ...]:
    return tuple(Recipe(SEED).plan().faults)


def shrunk(fails: Callable[[Plan], str], go_on: Callable[[], bool] = lambda: True) -> tuple[Recipe, int]:
    """Shrink what fails as `fails` says; return the recipe, and how many attempts that took."""
    plans: list[Plan] = []

    def attempt(plan: Plan) -> Report:
        plans.append(plan)
        broken = fails(plan)
        return Report(plan.seed, events=plan.events // 2 if broken else plan.events, broken=broken)

    return Shrinker(Recipe(SEED), FAILED, attempt, go_on).run(), len(plans)


def test_what_is_not_needed_is_taken_away() -> None:
    kinds = drawn()
    needed = {kinds[1], kinds[-2]}

    def fails(plan: Plan) -> str:
        return "I5" if needed <= {*plan.faults} and plan.events >= 700 and plan.clients >= 2 and plan.nodes >= 3 else ""

    recipe, _ = shrunk(fails)
    assert {*(recipe.faults or ())} == needed
    assert (recipe.events, recipe.clients, recipe.nodes) == (700, 2, 3)


def test_what_always_fails_fails_with_nothing() -> None:
    recipe, _ = shrunk(lambda plan: "I5")
    assert recipe == Recipe(SEED, nodes=1, faults=(), clients=1, events=1)


def test_another_failure_is_not_this_one() -> None:
    kinds = drawn()
    recipe, _ = shrunk(lambda plan: "I5" if kinds[0] in plan.faults else "L1")
    assert recipe.faults == (kinds[0],)


def test_what_needs_everything_stays_as_it_is() -> None:
    whole = Recipe(SEED).plan()
    recipe, attempts = shrunk(lambda plan: "I5" if plan == whole else "")
    assert recipe.plan() == whole
    assert attempts <= ATTEMPTS_MAX


def test_it_ends_when_there_is_no_time_left() -> None:
    left = iter([True] * 5)
    _, attempts = shrunk(lambda plan: "I5", lambda: next(left, False))
    assert attempts < 5


def test_a_line_says_all_that_a_recipe_does() -> None:
    recipe = Recipe(3, nodes=5, faults=("loss", "kill"), clients=2, events=77, machine="a.b:C d")
    assert shlex.split(recipe.line) == [
        *("zraft", "simulate", "--replay", "3", "--nodes", "5", "--clients", "2", "--events", "77"),
        *("--faults", "loss,kill", "--machine", "a.b:C d"),
    ]
    assert Recipe(3).line == "zraft simulate --replay 3"
    assert Recipe(3, faults=()).line == "zraft simulate --replay 3 --faults none"


def test_a_recipe_changes_what_it_names_and_nothing_else() -> None:
    plain = Recipe(SEED).plan()
    changed = Recipe(SEED, nodes=plain.nodes, faults=drawn()[:3], clients=1, events=5).plan()
    assert changed == msgspec.structs.replace(plain, faults=changed.faults, clients=1, events=5)
    assert changed.faults == {kind: plain.faults[kind] for kind in drawn()[:3]}


def test_a_fault_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match="no such fault: rain"):
        Recipe(1, faults=("rain",)).plan()
