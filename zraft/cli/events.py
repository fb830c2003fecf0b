"""``zraft events``: what the nodes have recorded, and what they record."""

import sys
from typing import Annotated

import typer

from zraft import events as recorded
from zraft.cli.elections import print_note
from zraft.cli.find import find_config
from zraft.cli.monitor import chosen
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.cli.times import SINCE_HELP, since_ms
from zraft.client.history.past import read_past
from zraft.client.history.reading import merged
from zraft.errors import ConfigError, Unavailable
from zraft.events import Event
from zraft.monitor import lines
from zraft.monitor.follow import follow

app = typer.Typer(add_completion=False)

_KINDS = ", ".join(sorted(recorded.RECORDED))


@app.command()
def events(
    *,
    node: Annotated[list[str] | None, typer.Option(metavar="NODE", help="Only of this node; may be repeated.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help=f"Only of this kind; may be repeated. {_KINDS}.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=SINCE_HELP)] = None,
    follows: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")] = False,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show the events that the nodes have recorded, oldest first: roles, votes, candidacies, scripts, starts and ends.

    Each node keeps its newest 16 MiB, and is asked for them itself: what a node has recorded that does not answer is
    missing, and with -f comes when it is back. --json prints one list; with -f, one event a line.
    """
    config = find_config(config_file)
    kinds = list(dict.fromkeys(kind or []))
    for each in kinds:
        if each not in recorded.RECORDED:
            raise ConfigError(f"--kind: no event of the kind {each!r} is recorded; there are {_KINDS}")
    endpoints = {name: config.node(name).client for name in chosen(config, node or [])}
    past = read_past(config.cluster_id, endpoints, kinds=kinds, since_ms=since_ms(since), timeout_s=timeout)
    if len(past.silent) == len(endpoints) and not follows:
        raise Unavailable(
            f"none of {', '.join(endpoints)} answers ({config.path}); start the cluster with zraft cluster up"
        )
    for note in past.notes():
        print_note(note)
    shown = _Shown(max(map(len, endpoints)), as_json=as_json)
    if as_json and not follows:
        print(f"[{','.join(map(lines.as_json, merged(past.streams)))}]")
        return
    shown.show(merged(past.streams))
    if follows:
        follow(config, past.readings, shown.show)


class _Shown:
    """Prints events, one a line."""

    def __init__(self, width: int, *, as_json: bool) -> None:
        self._width = width
        self._as_json = as_json

    def show(self, found: list[Event]) -> None:
        """Print them at once."""
        for event in found:
            print(lines.as_json(event) if self._as_json else lines.as_text(event, self._width, dated=True))
        sys.stdout.flush()
