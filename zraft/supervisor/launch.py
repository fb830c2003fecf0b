"""From what the command line says to a running cluster."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from zraft import config
from zraft.config import Config
from zraft.endpoints import Lock
from zraft.errors import ConfigError
from zraft.hooks.check import check_hooks
from zraft.supervisor.control import listens
from zraft.supervisor.directory import (
    NODES_DEFAULT,
    NODES_MAX,
    RunDirectory,
    Scripts,
    already_running,
    lock_data,
    packaged_scripts,
)
from zraft.supervisor.loop import Supervisor
from zraft.supervisor.output import Prefixer, Printer, wants_colour

_FLUSH_S = 2.0
_STDERR = (2,)


class Wish(NamedTuple):
    """What `zraft cluster up` was told."""

    nodes: int | None = None
    directory: Path | None = None
    """A run directory; None when `file` names a configuration."""
    file: Path | None = None
    """A configuration to supervise the nodes of."""
    fresh: bool = False
    scripts: Scripts = Scripts()
    env_file: Path | None = None


class Launch(NamedTuple):
    """A cluster that is ready to be started."""

    settings: Config
    environment: dict[str, str]
    """Of the nodes."""
    lock: Lock
    """Held for as long as the supervisor runs."""
    arguments: tuple[str, ...]
    """Those by which `zraft cluster up` finds it again."""
    notes: tuple[str, ...]
    """Lines for whoever starts it."""


def prepare(wish: Wish, environment: dict[str, str], confirm: Callable[[str], bool]) -> Launch:
    """Make or find the cluster that is wished for, and take its lock.

    Parameters
    ----------
    wish
        What was asked for.
    environment
        That of this process.
    confirm
        Asks whether to delete data; False gives up.

    Raises
    ------
    ConfigError
        It cannot be had as it was asked for; the message says how it can.
    """
    _check(wish)
    wish = wish._replace(scripts=Scripts(*(path and path.absolute() for path in wish.scripts)))
    environment = dict(environment)
    if wish.env_file is not None:
        environment |= config.read_env_file(wish.env_file)
    _put_scripts(environment, wish.scripts)
    if wish.file is not None:
        settings = _load(wish.file, environment, wish.scripts)
        if listens(settings.supervisor.control):
            raise ConfigError(already_running(str(wish.file)))
        _demand_scripts(settings, Scripts())
        _enable_faults(environment, settings)
        return Launch(settings, environment, lock_data(settings), ("--config", settings.path), _notes(settings))
    assert wish.directory is not None, "a wish names a run directory or a file"
    directory = RunDirectory(wish.directory.absolute())
    if wish.fresh or not directory.file.exists():
        _rehearse(directory, wish, environment)
    lock = directory.open()
    try:
        reused = _fill(directory, wish, confirm)
        settings = _load(directory.file, environment, wish.scripts)
        ours = _missing_scripts(settings)
        _demand_scripts(settings, ours)
    except BaseException:
        lock.release()
        raise
    _put_scripts(environment, ours)
    _enable_faults(environment, settings)
    notes = (*_notes(settings), *([_reuse(directory, settings)] if reused else []))
    return Launch(settings, environment, lock, ("--dir", str(directory.path)), notes)


def supervise(launch: Launch, *, log: Path | None = None, born_ms: float | None = None) -> int:
    """Run the cluster in this process until it is stopped; return the exit code."""
    sys.stdout.flush()
    fd = sys.stdout.fileno()
    names = [node.id for node in launch.settings.nodes]
    printer = Printer(fd, Prefixer(names, colour=wants_colour(fd, launch.environment)), log, _STDERR if log else ())
    try:
        supervisor = Supervisor(launch.settings, printer, environment=launch.environment, born_ms=born_ms)
        return supervisor.run()
    finally:
        printer.close(_FLUSH_S)


def _check(wish: Wish) -> None:
    if wish.file is not None and (wish.nodes is not None or wish.fresh):
        flag = "--fresh" if wish.fresh else "--nodes"
        raise ConfigError(f"{flag} is for a run directory; {wish.file} says itself which nodes it has and where")
    if wish.nodes is not None and not 1 <= wish.nodes <= NODES_MAX:
        raise ConfigError(f"--nodes {wish.nodes}: a cluster in a run directory has 1 to {NODES_MAX} nodes")


def _rehearse(directory: RunDirectory, wish: Wish, environment: dict[str, str]) -> None:
    """Find out what would be wrong with a new cluster before anything is made of it, or deleted for it."""
    text = directory.text(wish.nodes or NODES_DEFAULT, wish.scripts)
    settings = _load(directory.file, environment, wish.scripts, text)
    _demand_scripts(settings, _missing_scripts(settings))


def _fill(directory: RunDirectory, wish: Wish, confirm: Callable[[str], bool]) -> bool:
    """See to it that the directory holds the cluster; True when it did before."""
    if wish.fresh and directory.file.exists():
        if not confirm(f"Delete the cluster in {directory.path} with all its data?"):
            raise ConfigError(f"{directory.path}: kept as it is; without --fresh its data is used again")
        directory.clear()
    directory.check_size(wish.nodes)
    if directory.file.exists():
        return True
    directory.create(wish.nodes or NODES_DEFAULT, wish.scripts)
    return False


def _load(file: Path, environment: dict[str, str], flags: Scripts, text: str | None = None) -> Config:
    """Load the configuration as the nodes will see it; `text` is what will stand in the file, if it is not made yet."""
    settings = config.load(file, text=text, env=environment)
    if len(settings.nodes) > 1 and environment.get("ZRAFT_CONTAINER_PORT"):
        raise ConfigError(
            f"ZRAFT_CONTAINER_PORT: is the port of one node, and {len(settings.nodes)} would share it; unset it"
        )
    settings = config.own_port(settings, settings.nodes[0].id, env=environment)
    named = {f"hooks.{event}": f"--{event}-script" for event, path in flags._asdict().items() if path is not None}
    return msgspec.structs.replace(settings, origins=settings.origins | named)


def _demand_scripts(settings: Config, ours: Scripts) -> None:
    """Refuse scripts that no node could run: those of the configuration, and `ours` where it has none."""
    hooks = msgspec.structs.replace(
        settings.hooks,
        leader=settings.hooks.leader or _text(ours.leader),
        follower=settings.hooks.follower or _text(ours.follower),
    )
    mistakes, _ = check_hooks(msgspec.structs.replace(settings, hooks=hooks))
    if mistakes:
        raise ConfigError(*mistakes)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _put_scripts(environment: dict[str, str], scripts: Scripts) -> None:
    """Name the scripts in the nodes' environment, which takes precedence over the file."""
    for event, path in zip(("LEADER", "FOLLOWER"), scripts, strict=True):
        if path is not None:
            environment[f"ZRAFT_HOOKS_{event}"] = str(path)
            environment.pop(f"ZRAFT_SCRIPT_{event}_PATH", None)


def _missing_scripts(settings: Config) -> Scripts:
    ours = packaged_scripts()
    return Scripts(None if settings.hooks.leader else ours.leader, None if settings.hooks.follower else ours.follower)


def _enable_faults(environment: dict[str, str], settings: Config) -> None:
    """Let links be cut for drills, unless the configuration says whether they may be."""
    if settings.cluster.faults is None:
        environment["ZRAFT_CLUSTER_FAULTS"] = "enabled"


def _notes(settings: Config) -> tuple[str, ...]:
    return tuple(f"note: {warning}" for warning in settings.warnings)


def _reuse(directory: RunDirectory, settings: Config) -> str:
    has_data = any(settings.data_directory(node.id).exists() for node in settings.nodes)
    what = "the data" if has_data else "the configuration"
    count = len(settings.nodes)
    return f"using {what} of {count} node{'s' if count > 1 else ''} in {directory.path} again (--fresh starts over)"
