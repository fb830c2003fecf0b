"""``zraft simulate``: whole clusters in virtual time, under every fault, on as many processors as there are."""

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Annotated, Any

import msgspec
import typer

from zraft.cli.options import AsJson
from zraft.errors import ConfigError
from zraft.simulation.campaign import Finished, Summary, campaign
from zraft.simulation.machines import mounted
from zraft.simulation.plan import KINDS
from zraft.simulation.recipe import NO_FAULTS, Recipe
from zraft.simulation.run import run
from zraft.simulation.shrink import Shrinker
from zraft.simulation.violation import SENTENCES

app = typer.Typer(add_completion=False)

NODES_MAX = 9
SEEDS = "0..100"
HOUR_MS = 3_600_000
SHRINK_S = 60.0
"""How long the first failure may take to be made smaller."""
_SEEDS = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})")


@app.command()
def simulate(
    *,
    machine: Annotated[str, typer.Option(metavar="PKG.MOD:CLASS", help="Mount this machine besides, and try it.")] = "",
    nodes: Annotated[int | None, typer.Option(min=1, max=NODES_MAX, help="Else as each seed has it.")] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="A..B", help="From A up to B, without B.", show_default=SEEDS)
    ] = None,
    budget_s: Annotated[float | None, typer.Option(min=0.001, help="Begin no more after so many seconds.")] = None,
    faults: Annotated[str | None, typer.Option(metavar="LIST", help="These kinds alone, or none.")] = None,
    replay: Annotated[int | None, typer.Option(min=0, metavar="SEED", help="Run this seed alone.")] = None,
    clients: Annotated[int | None, typer.Option(min=1, help="Else as each seed has it.")] = None,
    events: Annotated[int | None, typer.Option(min=1, help="Faults end after so many events.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; else one for each processor.")] = None,
    shrink: Annotated[bool, typer.Option(help="Make the first failure smaller.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run whole clusters in virtual time under every fault, and check that nothing goes wrong.

    Exit code 1 when something has, with the line that replays it. The same seed gives the same run on any machine. Ctrl-C ends it
    with what there is to tell by then.
    """
    if replay is not None and seeds is not None:
        raise ConfigError("--replay runs one seed and --seeds many; give one of them")
    mounted(machine)
    chosen = Recipe(0, nodes, _kinds(faults), clients, events, machine)
    numbers = range(replay, replay + 1) if replay is not None else _seeds(seeds or SEEDS)
    recipes = (msgspec.structs.replace(chosen, seed=seed) for seed in numbers)
    began = time.monotonic()
    processes = min(jobs or os.cpu_count() or 1, len(numbers))
    finished = campaign(recipes, jobs=processes, budget_s=float("inf") if budget_s is None else budget_s)
    summary, cut_short = Summary(), False
    try:
        _run(finished, len(numbers), summary, as_json=as_json)
    except KeyboardInterrupt:
        cut_short = True
    took_s = time.monotonic() - began
    small = _smaller(summary.failures[0]) if summary.failures and shrink and replay is None and not cut_short else None
    if as_json:
        print(json.dumps(_as_data(summary, took_s, small)))
    else:
        _print(summary, took_s, small)
    if summary.failures:
        raise typer.Exit(1)
    if cut_short:
        raise KeyboardInterrupt


def _kinds(faults: str | None) -> tuple[str, ...] | None:
    if faults is None:
        return None
    kinds = () if faults == NO_FAULTS else tuple(kind.strip() for kind in faults.split(","))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ConfigError(
            f"--faults: there is no {', '.join(kind or 'kind without a name' for kind in unknown)}; there are {NO_FAULTS}, {', '.join(KINDS)}"
        )
    return kinds


def _seeds(text: str) -> range:
    match = _SEEDS.fullmatch(text)
    if match is None or int(match[1]) >= int(match[2]):
        raise ConfigError(f"--seeds: {text!r} is no range of seeds; write 0..100, which is 0 to 99")
    return range(int(match[1]), int(match[2]))


def _run(finished: Iterable[Finished], count: int, summary: Summary, *, as_json: bool) -> None:
    """Sum up what comes, and say at once what fails."""
    shows = sys.stderr.isatty() and not as_json
    bar: Any = typer.progressbar(length=count, label="simulating", file=sys.stderr) if shows else nullcontext()
    with bar as progress:
        for recipe, report in finished:
            summary.add(recipe, report)
            if report.broken and not as_json:
                where = f" ({report.where})" if report.where else ""
                print(f"seed {recipe.seed} fails: {report.violation}{where}\n  {recipe.line}", flush=True)
            if progress is not None:
                progress.update(1)


def _smaller(failure: Finished) -> Recipe:
    recipe, report = failure
    until = time.monotonic() + SHRINK_S
    return Shrinker(recipe, report, run, lambda: time.monotonic() < until).run()


def _as_data(summary: Summary, took_s: float, small: Recipe | None) -> dict[str, Any]:
    return {
        "seeds": summary.seeds,
        "events": summary.events,
        "operations": summary.operations,
        "judged": summary.judged,
        "undecided": summary.undecided,
        "virtual_ms": round(summary.virtual_ms),
        "took_s": round(took_s, 3),
        "hits": dict(sorted(summary.hits.items())),
        "checked": _in_order(summary.checked),
        "failures": [{**msgspec.to_builtins(report), "replay": recipe.line} for recipe, report in summary.failures],
        "smaller": None if small is None else small.line,
    }


def _print(summary: Summary, took_s: float, small: Recipe | None) -> None:
    if small is not None:
        print(f"smaller: {small.line}")
    print(
        f"{summary.seeds:,} seeds, {len(summary.failures):,} failed; {summary.events:,} events, "
        f"{summary.virtual_ms / HOUR_MS:.1f} simulated hours, in {took_s:.1f} s"
    )
    undecided = f"; {summary.undecided:,} keys were too much for the second" if summary.undecided else ""
    print(f"{summary.operations:,} operations, {summary.judged:,} judged by both checkers{undecided}")
    _print_counts("faults", dict(sorted(summary.hits.items())))
    _print_counts("checked", _in_order(summary.checked))


def _in_order(checked: Counter[str]) -> dict[str, int]:
    return {id: checked[id] for id in SENTENCES if checked[id]}


def _print_counts(title: str, counts: dict[str, int]) -> None:
    """Print what happened how often, a few to a line."""
    words = [f"{name} {count:,}" for name, count in counts.items()]
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > 100:  # noqa: PLR2004 - as wide as a terminal is read
            lines.append("")
        lines[-1] += f"{', ' if lines[-1] else ''}{word}"
    for number, line in enumerate(lines):
        print(f"{title if not number else '':8} {line or 'none'}")
