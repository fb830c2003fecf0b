"""``zraft cluster``: start, watch, disturb and stop all nodes of a cluster on this machine."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zraft import config
from zraft.cli import drills, growth
from zraft.cli import recover as rescue
from zraft.cli.find import find_path, run_directory
from zraft.config import Config
from zraft.errors import ConfigError, InvalidRequest, Unavailable
from zraft.supervisor import background, journal, launch
from zraft.supervisor.clock import born_ms
from zraft.supervisor.control import Line, listens
from zraft.supervisor.directory import FILE, Scripts
from zraft.supervisor.output import Prefixer, wants_colour

app = typer.Typer(add_completion=False, no_args_is_help=True)

_KEYS = ("node", "pid", "guard_pid", "state", "restarts", "role", "term")
_COLUMNS = ("node", "state", "role", "term", "pid", "guard", "restarts")
_FOLLOW_TAIL = 20
_TWO = "--dir and --config name two clusters; give one of them"
_CHECKOUT = Path("config") / FILE

Directory = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="The run directory. Else ZRAFT_DIR, else .zraft.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The cluster of this file, instead of a run directory.")
]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="A node; or leader, or follower.", show_default=False)]


@app.callback()
def _cluster() -> None:
    """Start, watch, disturb and stop all nodes of a cluster on this machine."""


@app.command()
def up(
    *,
    nodes: Annotated[
        int | None, typer.Option(metavar="N", help="How many, 1 to 9; 3 unless the directory has some.")
    ] = None,
    directory: Directory = None,
    config_file: ConfigFile = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when the cluster is ready.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="With --detach: how long to wait.")] = 30,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the directory's data and start over.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --fresh: do not ask.")] = False,
    leader_script: Annotated[
        Path | None, typer.Option(metavar="PROGRAM", help="Runs where a node becomes leader.")
    ] = None,
    follower_script: Annotated[
        Path | None, typer.Option(metavar="PROGRAM", help="Runs where a node starts, and stops leading.")
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="KEY=VALUE lines for the nodes' environment.")
    ] = None,
    log: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start a cluster and keep its nodes running.

    Without --config it needs no configuration: it makes a run directory with everything in it. The second time it uses
    that directory's data again. Ctrl-C stops all nodes cleanly, a second one kills them.
    """
    file = _named_file(config_file, wants_directory=directory is not None or nodes is not None)
    if file is not None and directory is not None:
        raise ConfigError(_TWO)
    place = None if file else directory or run_directory()
    wish = launch.Wish(nodes, place, file, fresh, Scripts(leader_script, follower_script), env_file)
    prepared = launch.prepare(wish, dict(os.environ), lambda question: yes or _confirm(question))
    for note in prepared.notes:
        print(note)
    if not detach:
        raise typer.Exit(launch.supervise(prepared, log=log, born_ms=born_ms()))
    print(background.detach(prepared, timeout_s=timeout, born_ms=born_ms()))


@app.command()
def down(directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Stop the cluster; return when nothing of it runs any more."""
    print(background.stop(_find(directory, config_file)))


@app.command()
def status(
    *,
    directory: Directory = None,
    config_file: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show the processes: their state, restarts, and what they say of themselves."""
    settings = _find(directory, config_file)
    with Line(settings.supervisor.control) as line:
        reply = line.ask("status", timeout_s=5)
    rows = reply.result["nodes"]
    if as_json:
        print(json.dumps({**reply.result, "nodes": [{key: row[key] for key in _KEYS} for row in rows]}, indent=2))
        return
    print(f"cluster {reply.result['cluster']} ({settings.path}, supervisor {reply.pid})")
    for text in _table(rows):
        print(text)


@app.command()
def kill(node: NodeName, directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Kill a node with SIGKILL; it is started again after 0.2 s."""
    _tell("kill", node, directory, config_file)


@app.command()
def stop(node: NodeName, directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Stop a node cleanly, until start."""
    _tell("stop", node, directory, config_file)


@app.command()
def start(node: NodeName, directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Start a node that is stopped, failed or waiting for its back-off."""
    _tell("start", node, directory, config_file)


@app.command()
def restart(node: NodeName, directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Stop a node cleanly and start it again."""
    _tell("restart", node, directory, config_file)


@app.command()
def pause(node: NodeName, directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Freeze a node with SIGSTOP, until resume."""
    _tell("pause", node, directory, config_file)


@app.command()
def resume(node: NodeName, directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Let a paused node go on."""
    _tell("resume", node, directory, config_file)


@app.command()
def partition(
    groups: Annotated[list[str], typer.Argument(metavar="NODES...", help="Groups, as n1,n2 n3,n4,n5.")],
    *,
    one_way: Annotated[bool, typer.Option("--one-way", help="Lose only what the first group sends.")] = False,
    directory: Directory = None,
    config_file: ConfigFile = None,
) -> None:
    """Cut the links between groups of nodes, until heal; nodes in no group keep theirs. One group: it and the rest.

    Every partition takes the place of the one before.
    """
    settings = _find(directory, config_file)
    print(drills.partition(settings, _rows(settings), groups, one_way=one_way))


@app.command()
def isolate(node: NodeName, directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Cut a node off from all others, until heal; clients still reach it."""
    settings = _find(directory, config_file)
    print(drills.isolate(settings, _rows(settings), node))


@app.command()
def heal(directory: Directory = None, config_file: ConfigFile = None) -> None:
    """Make all links between nodes whole again."""
    settings = _find(directory, config_file)
    print(drills.heal(settings, _rows(settings)))


@app.command()
def add(
    count: Annotated[int, typer.Argument(metavar="[N]", min=1, max=9, help="How many nodes.")] = 1,
    *,
    name: Annotated[str | None, typer.Option(metavar="NODE", help="Its name; else the next number.")] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long each step may take.")] = 30,
    directory: Directory = None,
    config_file: ConfigFile = None,
) -> None:
    """Start nodes and add them to the cluster; return when they have caught up and vote. It may be repeated with --name."""
    if name is not None and count > 1:
        raise ConfigError("--name is for one node; add the others without it")
    growth.add(_find(directory, config_file), [name] * count, timeout, lambda line: print(line, flush=True))


@app.command()
def remove(
    node: NodeName,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long each step may take.")] = 30,
    directory: Directory = None,
    config_file: ConfigFile = None,
) -> None:
    """Take a node out of the cluster, then stop it; the leader, too. Exit code 2 when that would lose the quorum."""
    print(growth.remove(_find(directory, config_file), node, timeout))


@app.command()
def recover(
    *,
    node: Annotated[str | None, typer.Option(metavar="NODE", help="Go on from the log of this node.")] = None,
    yes_lose: Annotated[
        str | None, typer.Option("--yes-lose", metavar="CLUSTER_ID", help="For scripts: the cluster's id, in full.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is left, and change nothing.")] = False,
    directory: Directory = None,
    config_file: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Let a stopped cluster that has lost its quorum for good go on as one node, from the best log that is left here.

    Shows all logs that are here and what may be lost, and wants the cluster's id typed in full. Nothing is deleted: the old
    data directories are set aside. Then: zraft cluster up, and zraft cluster add for the others. Terms, and with them fencing
    tokens, and revisions go on 1,000,000 above any that was found. Exit code 2 when the quorum is not lost.
    """
    settings = _load(directory, config_file)
    rescue.recover(settings, node=node, typed=yes_lose, dry_run=dry_run, as_json=as_json)


@app.command()
def logs(
    *,
    node: Annotated[
        str | None, typer.Argument(metavar="[NODE]", help="One node, or supervisor; all nodes without it.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    tail: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The last N lines of each; all of them, or 20 with -f.")
    ] = None,
    directory: Directory = None,
    config_file: ConfigFile = None,
) -> None:
    """Print the nodes' log files, merged by time; the cluster need not run."""
    settings = _load(directory, config_file)
    names = [member.id for member in settings.nodes]
    if node is not None and node not in (*names, "supervisor"):
        raise InvalidRequest(f"{node}: no such node; there are {', '.join(names)}, and supervisor")
    shown = names if node is None else [node]
    files = [journal.LogFile(name, Path(settings.log.directory) / f"{name}.log") for name in shown]
    colour = wants_colour(sys.stdout.fileno(), os.environ)
    heads = None if node is not None else Prefixer(names, colour=colour)
    recorded = journal.recorded(files, _FOLLOW_TAIL if follow and tail is None else tail)
    for line in recorded:
        print(heads.head(line.node) + line.text if heads else line.text)
    if not follow:
        return
    for line in journal.followed(files):
        print(heads.head(line.node) + line.text if heads else line.text, flush=True)


def _named_file(option: Path | None, *, wants_directory: bool) -> Path | None:
    """Return the configuration that `up` is to supervise; ZRAFT_CONFIG counts only when no run directory is asked for."""
    variable = os.environ.get("ZRAFT_CONFIG")
    return option or (Path(variable) if variable and not wants_directory else None)


def _rows(settings: Config) -> dict[str, dict[str, Any]]:
    with Line(settings.supervisor.control) as line:
        return {row["node"]: row for row in line.ask("status", timeout_s=5).result["nodes"]}


def _tell(verb: str, node: str, directory: Path | None, config_file: Path | None) -> None:
    settings = _find(directory, config_file)
    with Line(settings.supervisor.control) as line:
        print(line.ask(verb, node, timeout_s=background.patience_s(settings)).message)


def _load(directory: Path | None, config_file: Path | None) -> Config:
    """Load the configuration of the cluster that is meant, running or not."""
    if directory is not None and config_file is not None:
        raise ConfigError(_TWO)
    if config_file is None and not os.environ.get("ZRAFT_CONFIG") and os.environ.get("ZRAFT_DIR"):
        directory = directory or run_directory()
    if directory is None:
        return config.load(find_path(config_file))
    if not (directory / FILE).exists():
        raise Unavailable(f"{directory}: no cluster here; start one with: zraft cluster up --dir {directory}")
    return config.load(directory / FILE)


def _find(directory: Path | None, config_file: Path | None) -> Config:
    """Load the configuration of the cluster that is meant, which must be running."""
    named = directory or config_file or os.environ.get("ZRAFT_CONFIG") or os.environ.get("ZRAFT_DIR")
    if not named and not (run_directory() / FILE).exists() and not _CHECKOUT.exists():
        raise Unavailable(f"no cluster is running here ({run_directory()} does not exist); start one: zraft cluster up")
    settings = _load(directory, config_file)
    if listens(settings.supervisor.control):
        return settings
    if not named and _CHECKOUT.exists():
        other = config.load(_CHECKOUT)
        if listens(other.supervisor.control):
            print(f"zraft: note: {settings.path} is not running; using {_CHECKOUT}, which is", file=sys.stderr)
            return other
    raise Unavailable(f"{settings.path}: this cluster is not running; start it with: zraft cluster up")


def _confirm(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("--fresh deletes data and nobody can be asked here; add --yes")
    return typer.confirm(question)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [_COLUMNS] + [
        tuple("-" if row[key] is None else str(row[key]) for key in ("node", "state", "role", "term", "pid"))
        + ("-" if row["guard_pid"] is None else str(row["guard_pid"]), str(row["restarts"]))
        for row in rows
    ]
    widths = [max(len(cell[column]) for cell in cells) for column in range(len(_COLUMNS))]
    reasons = ["", *(row["reason"] for row in rows)]
    return [
        "  ".join([*(text.ljust(width) for text, width in zip(cell, widths, strict=True)), reason]).rstrip()
        for cell, reason in zip(cells, reasons, strict=True)
    ]
