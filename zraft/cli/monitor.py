"""``zraft monitor``: watch what a cluster does."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from zraft.cli.find import find_coming, find_config, places
from zraft.cli.options import ConfigFile
from zraft.config import Config
from zraft.errors import ConfigError, Unavailable
from zraft.monitor import lines
from zraft.monitor.run import Display, Drawing, Lines, lost_notice, picture, watch
from zraft.monitor.screen import Screen
from zraft.monitor.statuses import ask_all
from zraft.monitor.waiting import wait_for
from zraft.supervisor.output import wants_colour

app = typer.Typer(add_completion=False)


@app.command()
def monitor(
    *,
    config_file: ConfigFile = None,
    node: Annotated[list[str] | None, typer.Option(metavar="NODE", help="Only this node; may be repeated.")] = None,
    tail: Annotated[int, typer.Option(min=0, metavar="N", help="Lines of each node's past to begin with.")] = 20,
    plain: Annotated[bool, typer.Option("--plain", help="Lines only, no table.")] = False,
    once_: Annotated[
        bool, typer.Option("--once", help="Print the table and exit; exit code 3 when no node answers.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Every event as one line of JSON.")] = False,
) -> None:
    """Show a table of nodes, and under it events, log lines and entries as they commit. Ctrl-C ends it.

    It may be started before the cluster, and survives its coming and going. Without a terminal it prints lines only.
    """
    if plain + once_ + json > 1:
        raise ConfigError("--plain, --once and --json exclude each other; for a table as JSON: zraft status --json")
    config = find_config(config_file) if once_ else coming(config_file)
    if config is None:
        return
    if once_:
        show_once(config, node or [])
        return
    if node and not {*node} <= {each.id for each in config.nodes}:
        config, _ = ask_all(config)
    names = chosen(config, node or [])
    width = max(map(len, names))
    if json:
        watch(config, names, Lines(lines.as_json, lambda _: True), tail=tail, wants=lines.is_shown)
    elif plain or not sys.stdout.isatty():
        display = Lines(lambda event: lines.as_text(event, width), lines.is_shown, lost_notice)
        watch(config, names, display, tail=tail, wants=lines.is_shown)
    else:
        title = f"zraft monitor: {config.cluster.name}, {len(names)} nodes ({config.path})"
        with Screen(title, colour=wants_colour(sys.stdout.fileno(), os.environ)) as screen:
            drawing: Display = Drawing(screen, width, config.monitor.refresh_ms)
            watch(config, names, drawing, tail=tail, wants=lines.is_shown)


def show_once(config: Config, wanted: list[str]) -> None:
    """Ask every node for its status and print the table of those that are wanted; `Unavailable` when none answers."""
    config, found = ask_all(config)
    answers = {name: found[name] for name in chosen(config, wanted)}
    print("\n".join(picture(config, answers, colour=wants_colour(sys.stdout.fileno(), os.environ))))
    if not any(answers.values()):
        raise unanswered(config)


def unanswered(config: Config, node: str | None = None) -> Unavailable:
    """Return the error for nodes that do not answer, or for the one that was asked."""
    who = f"no node of {config.cluster.name} answers" if node is None else f"{node} does not answer"
    return Unavailable(f"{who} ({config.path}); start the cluster with zraft cluster up, or see zraft cluster status")


def coming(config_file: Path | None) -> Config | None:
    """Return the configuration, having waited for it if there is none yet; None when somebody ends the monitor first."""
    found = find_coming(config_file)
    if found is not None:
        return found
    there, *checkout = places(config_file)
    or_else = "".join(f", or for the cluster of {path} to run" for path in checkout if path.exists())
    note = f"zraft: note: no cluster yet; waiting for {there}{or_else} (zraft cluster up)"
    return wait_for(lambda: find_coming(config_file), lambda: print(note, file=sys.stderr, flush=True))


def chosen(config: Config, wanted: list[str]) -> list[str]:
    """Return the nodes of the configuration that are wanted, in its order; all if none is named."""
    known = [node.id for node in config.nodes]
    for name in wanted:
        if name not in known:
            raise ConfigError(f"{config.path}: there is no node {name!r} in it; its nodes are {', '.join(known)}")
    return [name for name in known if name in wanted or not wanted]
