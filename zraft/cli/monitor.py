"""``zraft monitor``: watch what a cluster does."""

import os
import sys
from typing import Annotated

import typer

from zraft.cli.find import find_config
from zraft.cli.options import ConfigFile
from zraft.config import Config
from zraft.errors import ConfigError
from zraft.monitor import lines
from zraft.monitor.run import Display, Drawing, Lines, lost_notice, once, watch
from zraft.monitor.screen import Screen
from zraft.supervisor.output import wants_colour

app = typer.Typer(add_completion=False)


@app.command()
def monitor(
    *,
    config_file: ConfigFile = None,
    node: Annotated[list[str] | None, typer.Option(metavar="NODE", help="Only this node; may be repeated.")] = None,
    tail: Annotated[int, typer.Option(min=0, metavar="N", help="Lines of each node's past to begin with.")] = 20,
    plain: Annotated[bool, typer.Option("--plain", help="Lines only, no table.")] = False,
    once_: Annotated[bool, typer.Option("--once", help="Print the table and exit.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Every event as one line of JSON.")] = False,
) -> None:
    """Show a table of nodes, and under it events, log lines and entries as they commit. Ctrl-C ends it.

    It may be started before the cluster, and survives its coming and going. Without a terminal it prints lines only.
    """
    if plain + once_ + json > 1:
        raise ConfigError("--plain, --once and --json exclude each other; for a table as JSON: zraft status --json")
    config = find_config(config_file)
    names = chosen(config, node or [])
    width = max(map(len, names))
    if once_:
        print("\n".join(once(config, names, colour=wants_colour(sys.stdout.fileno(), os.environ))))
    elif json:
        watch(config, names, Lines(lines.as_json, lambda _: True), tail=tail, wants=lambda _: True)
    elif plain or not sys.stdout.isatty():
        display = Lines(lambda event: lines.as_text(event, width), lines.is_shown, lost_notice)
        watch(config, names, display, tail=tail, wants=lines.is_shown)
    else:
        title = f"zraft monitor: {config.cluster.name}, {len(names)} nodes ({config.path})"
        with Screen(title, colour=wants_colour(sys.stdout.fileno(), os.environ)) as screen:
            drawing: Display = Drawing(screen, width, config.monitor.refresh_ms)
            watch(config, names, drawing, tail=tail, wants=lines.is_shown)


def chosen(config: Config, wanted: list[str]) -> list[str]:
    """Return the nodes of the configuration that are wanted, in its order; all if none is named."""
    known = [node.id for node in config.nodes]
    for name in wanted:
        if name not in known:
            raise ConfigError(f"{config.path}: there is no node {name!r} in it; its nodes are {', '.join(known)}")
    return [name for name in known if name in wanted or not wanted]
