"""``zraft escort``: move the formation of nodes from the command line, and see where it is."""

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from math import hypot
from typing import Annotated

import msgspec
import typer

from zraft.cli import formation
from zraft.cli.find import find_config
from zraft.cli.formation import shown
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.client.client import Client
from zraft.client.escort import Formation, March
from zraft.errors import Unavailable, ZraftError
from zraft.machines.escort.commands import EVERY_MS, EVERY_MS_MAX
from zraft.monitor.screen import Screen
from zraft.monitor.table import Line, grid
from zraft.printable import fit
from zraft.supervisor.output import wants_colour

app = typer.Typer(add_completion=False, no_args_is_help=True)

_LOOK_MIN_S, _LOOK_MAX_S = 0.05, 1.0
"""How long `march` waits until it looks again whether the formation has arrived."""
_NEGATIVE = {"ignore_unknown_options": True}
"""Lets -1 be a number, and not an option that nobody knows."""
X = Annotated[str, typer.Argument(metavar="X", help="A number of at most three decimals.")]
Y = Annotated[str, typer.Argument(metavar="Y", help="Another one.")]


@app.callback()
def _escort() -> None:
    """Move the formation that the nodes make, the leader at its head, and see where it is."""


@app.command(context_settings=_NEGATIVE)
def move(
    x: X,
    y: Y,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Move all nodes by X to the right and Y up, once; prints where the leader is then."""
    with Client(find_config(config_file), timeout_s=timeout) as client:
        step = client.escort.move(x, y)
    if as_json:
        print(json.dumps(msgspec.to_builtins(step)))
    else:
        print(f"step {step.step}: leader {step.leader} at {shown(step.leader_position)}")


@app.command()
def march(
    *,
    to: Annotated[tuple[str, str], typer.Option("--to", metavar="X Y", help="The goal of the leader.")],
    every_ms: Annotated[
        int, typer.Option("--every-ms", min=1, max=EVERY_MS_MAX, metavar="MS", help="Time between two steps.")
    ] = EVERY_MS,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until it arrives.")] = False,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """March to a place, at most one unit a step; returns on arrival, exit code 1 if another march takes its place.

    The leader takes the steps, whoever that is: the march goes on when this command is ended, or any minority of nodes.
    --timeout is for each question to the cluster, and not for the march.
    """
    with Client(find_config(config_file), timeout_s=timeout) as client:
        going = client.escort.march(*to, every_ms=every_ms)
        if not (as_json or going.arrived):
            print(f"march {going.number} to {shown(going.goal)}, a step every {going.every_ms} ms", flush=True)
        if not detach:
            try:
                going = _arrival(client, going)
            except KeyboardInterrupt:
                print("zraft: the march goes on; see zraft escort positions --watch", file=sys.stderr, flush=True)
                raise
    if as_json:
        print(json.dumps(msgspec.to_builtins(going)))
    elif going.arrived:
        print(f"arrived at {shown(going.goal)} after {going.steps} steps")


def _arrival(client: Client, going: March) -> March:
    """Look again and again until the march is over; return how it ended."""
    while not going.arrived:
        now = client.escort.formation()
        newest = now.march
        if newest is None or newest.number != going.number:
            to = "" if newest is None else f" to {shown(newest.goal)}"
            raise ZraftError(
                f"march {going.number} is over: another one{to} has taken its place; see zraft escort history"
            )
        going = newest
        if not going.arrived:
            time.sleep(_until_arrival_s(now, going))
    return going


def _until_arrival_s(now: Formation, going: March) -> float:
    head = formation.head_of(now.positions)
    far = 0.0 if head is None else hypot(going.goal[0] - head[0], going.goal[1] - head[1])
    return min(max(_LOOK_MIN_S, far * going.every_ms / 1_000), _LOOK_MAX_S)


@app.command()
def positions(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw them until Ctrl-C; without a terminal, at each change.")
    ] = False,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print where each node is; - or null until it has its place, a moment after joining."""
    config = find_config(config_file)
    with Client(config, timeout_s=timeout) as client:
        if watch:
            _watch(client, f"zraft escort: {config.cluster.name}", config.monitor.refresh_ms / 1_000, as_json=as_json)
            return
        found = client.escort.formation()
    print(_json(found) if as_json else "\n".join(formation.table(found, colour=_colour())))


@app.command()
def history(config_file: ConfigFile = None, timeout: Timeout = 5.0, as_json: AsJson = False) -> None:
    """Print the newest 10,000 moves and steps, oldest first."""
    with Client(find_config(config_file), timeout_s=timeout) as client:
        steps = client.escort.history()
    if as_json:
        print(json.dumps(msgspec.to_builtins(steps)))
        return
    rows = [
        Line((str(row.step), str(row.term), row.leader, shown(row.move), shown(row.leader_position))) for row in steps
    ]
    print("\n".join(grid(("STEP", "TERM", "LEADER", "MOVE", "LEADER AT"), rows, colour=_colour())))


# -- watching ----------------------------------------------------------------------------------------------------------

Show = Callable[[Formation | None, str], None]
"""Shows the formation, or why there is none to show."""


def _watch(client: Client, title: str, every_s: float, *, as_json: bool) -> None:
    """Show the formation again and again until SIGINT, SIGTERM or SIGHUP; the cluster may come and go meanwhile."""
    with contextlib.suppress(KeyboardInterrupt):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        if as_json or not sys.stdout.isatty():
            _look(client, _printer(as_json=as_json), every_s)
        with Screen(title, colour=_colour()) as screen:
            _look(client, _painter(screen, title), every_s)


def _look(client: Client, show: Show, every_s: float) -> None:
    while True:
        try:
            show(client.escort.formation(), "")
        except Unavailable as error:
            show(None, str(error))
        time.sleep(every_s)


def _printer(*, as_json: bool) -> Show:
    """Return what prints a formation wherever it has changed, as lines."""
    last: Formation | None = None

    def show(now: Formation | None, why: str) -> None:
        nonlocal last
        if now is None:
            print(f"zraft: {why}", file=sys.stderr, flush=True)
        elif now != last:
            print(_json(now) if as_json else "\n".join([*formation.table(now, colour=False), ""]), flush=True)
            last = now

    return show


def _painter(screen: Screen, title: str) -> Show:
    """Return what draws a formation on the whole terminal, in the size that it has."""
    last: Formation | None = None

    def show(now: Formation | None, why: str) -> None:
        nonlocal last
        last = now or last
        size = shutil.get_terminal_size()
        head = title if now is not None else f"{title}: {why}"
        if last is None:
            screen.show([fit(head, size.columns)])
        else:
            screen.show(formation.picture(head, last, size.columns, size.lines, colour=_colour()))

    return show


def _json(found: Formation) -> str:
    return json.dumps(msgspec.to_builtins(found.positions))


def _colour() -> bool:
    return wants_colour(sys.stdout.fileno(), os.environ)
