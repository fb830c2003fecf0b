"""``zraft leader``: who leads, now and from now on."""

import json
import sys
from typing import Annotated

import typer

from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile
from zraft.errors import ConfigError, NotFound
from zraft.monitor.asking import find_leader, transfer
from zraft.monitor.leadership import Leader
from zraft.monitor.leaderwatch import watch

app = typer.Typer(add_completion=False)


@app.command()
def leader(
    *,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- CMD", help="With --watch: run it for each leader.")
    ] = None,
    watches: Annotated[bool, typer.Option("--watch", help="Go on, a line for each new leader, until Ctrl-C.")] = False,
    transfer_to: Annotated[
        str | None, typer.Option("--transfer", metavar="NODE", help="Have leadership handed over to NODE first.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="With --transfer: give up after this long.")
    ] = 5.0,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print who leads; exit code 1 when nobody does, 3 when no node answers or nobody is there to hand over.

    CMD runs at the start and at each change of leader, with ZRAFT_LEADER, ZRAFT_LEADER_ENDPOINT (for clients) and
    ZRAFT_TERM in its environment: one run at a time, and never for an older leader after a newer one. Of the changes that come
    while it runs, only the newest gets a run. If it fails, it is run again after 1 s, then 2 s, up to 30 s, until it succeeds
    or there is a newer leader. However long it takes, it is left to end; but when the watch is ended, SIGTERM goes to its
    process group, and after 5 s, or a second Ctrl-C, SIGKILL. Only a watch that is itself ended by SIGKILL leaves it running.
    """
    if command and not watches:
        raise ConfigError("a command is for --watch: zraft leader --watch -- CMD...")
    if watches and transfer_to is not None:
        raise ConfigError("--watch and --transfer exclude each other")
    config = find_config(config_file)
    if watches:
        raise typer.Exit(watch(config, lambda found: _print(found, as_json=as_json), command or (), complain=_complain))
    if transfer_to is not None:
        found: Leader | None = transfer(config, transfer_to, timeout)
    else:
        found = find_leader(config)
    _print(found, as_json=as_json)
    if found is None:
        raise NotFound("nobody leads now; is a majority of the nodes up? zraft status")


def _print(found: Leader | None, *, as_json: bool) -> None:
    node, term, endpoint = found or (None, None, None)
    if as_json:
        print(json.dumps({"leader": node, "term": term, "endpoint": endpoint}), flush=True)
    elif found is not None:
        print(f"{node} leads term {term} ({endpoint})", flush=True)


def _complain(line: str) -> None:
    print(f"zraft: {line}", file=sys.stderr, flush=True)
