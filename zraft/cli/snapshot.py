"""``zraft snapshot``: the whole state of a cluster in one file; saved while it runs, looked at, made a new cluster of."""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from zraft import config as configuration
from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile
from zraft.client.copies import copy_state
from zraft.config import Config
from zraft.disk import OsFileSystem
from zraft.errors import ConfigError
from zraft.machines.snapshots import Contents, contents
from zraft.raft.types import Snapshot
from zraft.rescue.restore import restore as restored
from zraft.rescue.saved import opened
from zraft.seams import Draft, FileSystem
from zraft.statepieces import StatePiece
from zraft.storage import failures
from zraft.storage.snapshotfile import NewFile
from zraft.supervisor.directory import new_run_directory

app = typer.Typer(add_completion=False, no_args_is_help=True)

SavedFile = Annotated[Path, typer.Argument(metavar="FILE", help="A file that zraft snapshot save has written.")]


@app.callback()
def _snapshot() -> None:
    """Save the state of a cluster to a file, look at it, and make a new cluster of it."""


@app.command()
def save(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to; a file that is there is replaced in the end.")
    ],
    *,
    node: Annotated[str | None, typer.Option("--node", metavar="NODE", help="Take that of this node.")] = None,
    config_file: ConfigFile = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="How long to wait for each piece.")
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Write the whole state, as it is now, to FILE; the cluster goes on meanwhile.

    Everything that was acknowledged before the command began is in it, whichever node gives it. FILE appears whole or not
    at all.
    """
    config = find_config(config_file)
    fs, name = _place(file)

    def write(arriving: Iterator[StatePiece]) -> StatePiece:
        return _write(fs, name, config.cluster_id, arriving)

    with failures.spoken_of("write", str(file)):
        last = copy_state(config, write, node=node, timeout_s=timeout)
    size = last.offset + len(last.data)
    if as_json:
        told = {"file": str(file), "node": last.node, "index": last.last.index, "term": last.last.term, "bytes": size}
        print(json.dumps(told))
    else:
        print(
            f"saved all up to entry {last.last.index} of term {last.last.term}, as {last.node} has it: {size:,} bytes"
        )


@app.command()
def inspect(file: SavedFile, as_json: AsJson = False) -> None:
    """Show what is in FILE, having read and checked all of it; exit code 5 when it is damaged.

    The snapshots in a node's data directory are files of the same format.
    """
    with opened(file) as saved:
        cluster_id, snapshot, found = saved.cluster_id, saved.snapshot, contents(saved.pieces())
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(_as_keys(cluster_id, snapshot, found)), indent=2).decode())
        return
    members = snapshot.membership
    print(f"cluster   {cluster_id:016x}")
    print(
        f"up to     entry {snapshot.last.index} of term {snapshot.last.term}, cluster time {snapshot.time_ms / 1e3:.3f} s"
    )
    for role, nodes in (("voters", members.voters), ("outgoing", members.outgoing), ("learners", members.learners)):
        if nodes:
            print(f"{role:<9} {', '.join(nodes)}")
    print(f"sessions  {found.sessions:,}")
    for name, size in found.machines.items():
        print(f"machine   {name}: {size:,} bytes")
    print(f"sha256    {snapshot.sha256.hex()}, of {snapshot.size:,} bytes: as written")


@app.command()
def restore(
    file: SavedFile,
    *,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="A run directory to make; with --config where the nodes' data directories go, else storage.directory.",
        ),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The new cluster's configuration, if there is one.")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(metavar="N", help="Without --config: how many nodes, 1 to 9; else 3.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new cluster that begins with the state in FILE, and is not started yet.

    Without --config, DIR becomes a run directory, as zraft cluster up makes one. With it, the data directories of all its
    nodes are written, and the configuration must have a cluster.id or cluster.name that the saved cluster had not. What is
    not empty is refused.

    Terms, and with them fencing tokens, and revisions go on 1,000,000 above those in FILE, so that none comes a second time that
    was given out after FILE was saved. Sessions of the old cluster's clients are ended: it has another id, and they cannot come.
    """
    with opened(file) as saved, ExitStack() as stack:
        if config_file is not None:
            if nodes is not None:
                raise ConfigError(f"--nodes is for a new run directory; {config_file} says which nodes there are")
            config = configuration.load(config_file)
            place = directory or Path(config.storage.directory)
            start = f"zraft cluster up --config {config_file}"
        elif directory is not None:
            config = stack.enter_context(new_run_directory(directory, nodes))
            place = Path(config.storage.directory)
            start = f"zraft cluster up --dir {directory}"
        else:
            raise ConfigError("where to? --dir DIR makes a run directory, --config FILE names a configuration")
        snapshot = restored(saved, config, place.absolute())
    elsewhere = place.absolute() != Path(config.storage.directory)
    if as_json:
        _print_restored(config, snapshot, place)
        return
    print(
        f"restored cluster {config.cluster_id:016x} with {len(config.nodes)} nodes from entry {saved.snapshot.last.index} of"
        f" cluster {saved.cluster_id:016x}; it goes on behind entry {snapshot.last.index} in term {snapshot.last.term + 1}"
    )
    if elsewhere:
        print(f"move each node's directory from {place} to {config.storage.directory}, where the node looks for it")
    print(f"start it with: {start}")


def _print_restored(config: Config, snapshot: Snapshot, place: Path) -> None:
    told = {
        "cluster_id": f"{config.cluster_id:016x}",
        "index": snapshot.last.index,
        "term": snapshot.last.term,
        "directories": {node.id: str(place.absolute() / node.id) for node in config.nodes},
    }
    print(json.dumps(told, indent=2))


def _place(file: Path) -> tuple[FileSystem, str]:
    if file.is_dir():
        raise ConfigError(f"{file}: is a directory; name a file")
    if not file.parent.is_dir():
        raise ConfigError(f"{file.parent}: no such directory; make it first, or name another file")
    return OsFileSystem(file.parent), file.name


def _write(fs: FileSystem, name: str, cluster_id: int, arriving: Iterator[StatePiece]) -> StatePiece:
    """Write the pieces to a file as they come; return the last."""
    piece = next(arriving)
    draft = Draft(piece.last, piece.time_ms, piece.membership)
    # A name of its own, so that of two commands neither writes into the other's file.
    new = NewFile(fs, name, f".{name}.{secrets.token_hex(4)}.part", cluster_id, draft)
    try:
        new.write(piece.data)
        for piece in arriving:
            new.write(piece.data)
        new.finish()
    finally:
        new.drop()
    return piece


def _as_keys(cluster_id: int, snapshot: Snapshot, found: Contents) -> dict[str, Any]:
    return {
        "cluster_id": f"{cluster_id:016x}",
        "index": snapshot.last.index,
        "term": snapshot.last.term,
        "time_ms": snapshot.time_ms,
        "membership": msgspec.to_builtins(snapshot.membership),
        "sessions": found.sessions,
        "machines": found.machines,
        "bytes": snapshot.size,
        "sha256": snapshot.sha256.hex(),
    }
