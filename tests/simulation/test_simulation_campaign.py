"""Many seeds, over processes and within a budget; and the command that runs them."""

import itertools
import json
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import pytest

from zraft.cli import commands, simulate
from zraft.errors import ConfigError
from zraft.machines.kv.store import KeyValueStore
from zraft.simulation import campaign as campaigns
from zraft.simulation.campaign import Summary, campaign
from zraft.simulation.machines import asked_of
from zraft.simulation.plan import Plan
from zraft.simulation.recipe import Recipe
from zraft.simulation.report import Report

BAD_SEED = 16


def lived(plan: Plan) -> Report:
    """Stand for a simulation: one seed fails, as long as there is loss."""
    report = Report(
        plan.seed, events=1_000, virtual_ms=36e5, operations=10, judged=9, hits={"loss": 2}, checked={"I5": 3}
    )
    if plan.seed != BAD_SEED or "loss" not in plan.faults:
        return report
    return Report(plan.seed, events=500, broken="I5", violation="I5 does not hold: it changed", where="log.py:7")


@pytest.fixture
def _pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "run", lived)
    monkeypatch.setattr(simulate, "run", lived)


def recipes(count: int) -> Iterator[Recipe]:
    return (Recipe(seed, nodes=3, events=300, clients=3) for seed in range(count))


@pytest.mark.usefixtures("_pretended")
def test_a_summary_adds_up() -> None:
    summary = Summary()
    for recipe, report in campaign([Recipe(seed) for seed in range(10, 20)], jobs=1):
        summary.add(recipe, report)
    assert (summary.seeds, summary.events, summary.operations, summary.judged) == (10, 9_500, 90, 81)
    assert (summary.hits["loss"], summary.checked["I5"], summary.virtual_ms) == (18, 27, 9 * 36e5)
    assert [recipe.seed for recipe, _ in summary.failures] == [BAD_SEED]


@pytest.mark.usefixtures("_pretended")
def test_none_is_begun_behind_the_budget() -> None:
    assert not list(campaign(recipes(5), jobs=1, budget_s=0))


@pytest.mark.processes
def test_processes_find_what_one_process_finds() -> None:
    alone = {recipe.seed: report for recipe, report in campaign(recipes(4), jobs=1)}
    together = {recipe.seed: report for recipe, report in campaign(recipes(4), jobs=2)}
    assert together == alone
    assert all(report.events >= 300 and report.trace for report in alone.values())


@pytest.mark.parametrize("given", [["text"], [], None, b"bytes"])
def test_a_machine_that_gives_nothing_to_ask_is_named(given: object) -> None:
    machine = KeyValueStore()
    machine.simulated_commands = lambda random: given  # type: ignore[attr-defined]
    commands_of, queries_of = asked_of(machine)
    with pytest.raises(
        ConfigError, match=r"KeyValueStore.simulated_commands\(\) must give a list of bytes, one at least"
    ):
        commands_of(Random(1))
    assert queries_of is None


# -- the command ---------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    return commands.run(["simulate", *arguments, "--jobs", "1"])


@pytest.mark.usefixtures("_pretended")
def test_when_all_holds_the_summary_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--seeds", "0..10") == 0
    out = capsys.readouterr().out
    assert "10 seeds, 0 failed; 10,000 events, 10.0 simulated hours" in out
    assert "100 operations, 90 judged by both checkers" in out
    assert "faults   loss 20" in out
    assert "checked  I5 30" in out


@pytest.mark.usefixtures("_pretended")
def test_a_failure_is_exit_code_1_and_the_lines_that_replay_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--seeds", "10..20") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed 16 fails: I5 does not hold: it changed (log.py:7)"
    assert lines[1] == "  zraft simulate --replay 16"
    assert lines[2] == "smaller: zraft simulate --replay 16 --nodes 1 --clients 1 --events 1 --faults loss"


@pytest.mark.usefixtures("_pretended")
def test_a_replay_runs_its_seed_as_the_line_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--replay", "16", "--nodes", "1", "--clients", "1", "--events", "1", "--faults", "loss") == 1
    assert "smaller" not in capsys.readouterr().out
    assert run("--replay", "16", "--faults", "none") == 0


@pytest.mark.usefixtures("_pretended")
def test_ctrl_c_ends_it_with_what_there_is_to_tell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(recipes: Iterable[Recipe], **options: Any) -> Iterator[campaigns.Finished]:
        yield from itertools.islice(campaign(recipes, **options), 8)
        raise KeyboardInterrupt

    monkeypatch.setattr("zraft.cli.simulate.campaign", cut_short)
    assert run("--seeds", "10..20") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["seed 16 fails: I5 does not hold: it changed (log.py:7)", "  zraft simulate --replay 16"]
    assert lines[2].startswith("8 seeds, 1 failed")
    assert run("--seeds", "0..10") == commands.INTERRUPTED
    assert "8 seeds, 0 failed" in capsys.readouterr().out


@pytest.mark.usefixtures("_pretended")
def test_a_range_of_any_length_ends_with_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--seeds", f"0..{10**18 - 1}", "--budget-s", "0.001", "--faults", "none") == 0
    assert " seeds, 0 failed" in capsys.readouterr().out


@pytest.mark.usefixtures("_pretended")
def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--seeds", "16..18", "--json", "--no-shrink") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["seeds"], found["events"], found["judged"], found["smaller"]) == (2, 1_500, 9, None)
    (failure,) = found["failures"]
    assert (failure["seed"], failure["broken"], failure["replay"]) == (16, "I5", "zraft simulate --replay 16")


@pytest.mark.usefixtures("_pretended")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seeds", "7"], "'7' is no range of seeds"),
        (["--seeds", "9..9"], "'9..9' is no range of seeds"),
        (["--seeds", f"0..{10**23}"], f"'0..{10**23}' is no range of seeds"),
        (["--faults", "loss,rain"], "there is no rain"),
        (["--faults", ""], "there is no kind without a name"),
        (["--replay", "3", "--seeds", "0..9"], "give one of them"),
        (["--machine", "nowhere:At"], "there is no module nowhere"),
        (["--machine", "nocolon"], "'nocolon' names no class; write pkg.mod:Class"),
        (["--nodes", "0"], "--nodes"),
    ],
)
def test_a_mistake_is_told(arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run(*arguments)
