"""``zraft cluster recover``: shows what is left and what is lost, asks, and does it."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from zraft.config import Config
from zraft.errors import ConfigError
from zraft.raft.types import NodeId
from zraft.rescue import recover as rescue
from zraft.rescue.recover import Plan, Recovered
from zraft.rescue.survivors import Survivor, find
from zraft.supervisor.control import listens

_SILENT_S = 1.0
"""After so long, progress is shown."""


def recover(config: Config, *, node: NodeId | None, typed: str | None, dry_run: bool, as_json: bool) -> None:
    """Carry out the command.

    Parameters
    ----------
    config
        The cluster's.
    node
        The survivor to choose; the one with the most up-to-date log when None.
    typed
        The cluster's id, by which the user agrees; None to be asked for it.
    dry_run
        Show alone.
    as_json
        Print one object, and nothing else; unless there is an earlier recovery to finish, which is all that is done then.

    Raises
    ------
    ConfigError
        The cluster runs; or the id is not the cluster's, or nobody can be asked for it.
    ZraftError
        As `rescue.plan` and `rescue.recover` do.
    """
    if listens(config.supervisor.control):
        raise ConfigError(f"{config.path}: this cluster is running; stop it first: zraft cluster down")
    if begun := rescue.interrupted(config):
        _finish(config, begun, dry_run=dry_run)
        return
    with _survivors(config) as survivors:
        plan = rescue.plan(config, survivors, node)
        if not as_json:
            _show(plan, survivors)
        done = None
        if not dry_run:
            _agree(config, typed)
            done = rescue.recover(config, plan, dict(os.environ))
    if as_json:
        print(json.dumps(_as_keys(config, plan, survivors, done), indent=2))
    elif done is not None:
        _tell(config, plan, done)


def _finish(config: Config, nodes: list[NodeId], *, dry_run: bool) -> None:
    names = ", ".join(nodes)
    if dry_run:
        print(f"the recovery of {names} was interrupted at its last step; without --dry-run this command finishes it")
        return
    rescue.finish(config, nodes)
    print(f"finished the recovery of {names}, which was interrupted; start it with: zraft cluster up")


@contextmanager
def _survivors(config: Config) -> Iterator[list[Survivor]]:
    """Give what is left, with its locks taken until the block ends."""
    began = time.monotonic()

    def progress(line: str) -> None:
        if time.monotonic() - began > _SILENT_S:
            print(f"zraft: {line}", file=sys.stderr)

    survivors = find(config, progress)
    try:
        yield survivors
    finally:
        for survivor in survivors:
            survivor.fs.close()


def _show(plan: Plan, survivors: list[Survivor]) -> None:
    for each in survivors:
        mark = "*" if each is plan.chosen else " "
        if each.damage:
            print(f"{mark} {each.node:<6} damaged: {each.damage}")
        else:
            print(
                f"{mark} {each.node:<6} log up to entry {each.last.index} of term {each.last.term}; seen term {each.term}"
            )
    for line in rescue.losses(plan):
        print(line)


def _agree(config: Config, typed: str | None) -> None:
    """Raise unless whoever sits there means this cluster."""
    wanted = f"{config.cluster_id:016x}"
    if typed is None:
        if not sys.stdin.isatty():
            raise ConfigError(f"nobody can be asked here whether that may be lost; add --yes-lose {wanted}")
        typed = str(typer.prompt(f"Type the id of the cluster in full to do that ({wanted})", prompt_suffix=": "))
    if typed.strip().lower() != wanted:
        raise ConfigError(f"{typed.strip()!r} is not the id of this cluster, which is {wanted}; nothing was changed")


def _tell(config: Config, plan: Plan, done: Recovered) -> None:
    for node, place in done.aside.items():
        print(f"{node}: what it had is in {place}")
    last = done.snapshot.last
    print(
        f"{plan.chosen.node} begins behind entry {last.index}, in term {last.term + 1}; {config.path} names it alone now. Start it"
        " with zraft cluster up, then let others join: zraft cluster add 2"
    )


def _as_keys(config: Config, plan: Plan, survivors: list[Survivor], done: Recovered | None) -> dict[str, object]:
    return {
        "cluster_id": f"{config.cluster_id:016x}",
        "chosen": plan.chosen.node,
        "missing": plan.missing,
        "losses": rescue.losses(plan),
        "survivors": [
            {
                "node": each.node,
                "directory": str(each.directory),
                "damage": each.damage or None,
                "term": each.term,
                "last_index": each.last.index,
                "last_term": each.last.term,
            }
            for each in survivors
        ],
        "recovered": None
        if done is None
        else {"index": done.snapshot.last.index, "term": done.snapshot.last.term, "aside": done.aside},
    }
