"""What is left of a cluster in the data directories of its stopped nodes: read as they are, and compared."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from zraft.config import Config
from zraft.disk import OsFileSystem
from zraft.errors import ConfigError, StorageError
from zraft.raft.membership import decode
from zraft.raft.types import Entry, EntryId, EntryKind, Membership, NodeId, Snapshot, Term
from zraft.seams import FileSystem
from zraft.storage import failures, snapshotfile
from zraft.storage.recovery import Recovery
from zraft.storage.segments import LOCK_NAME, serial_of
from zraft.storage.snapshothead import decode_membership
from zraft.storage.snapshots import DIRECTORY


class Survivor(msgspec.Struct):
    """One node's data directory."""

    node: NodeId
    directory: Path
    fs: OsFileSystem
    """Open, and its lock taken."""
    damage: str = ""
    """What is wrong with it; the rest is of no meaning then."""
    disk_id: str = ""
    term: Term = 0
    """The newest that the node has seen."""
    last: EntryId = EntryId(0, 0)
    """The end of its log; among whole logs the highest has everything that any of them knows to be committed (paper §5.4.1)."""
    entries: list[Entry] = []
    """Its log, behind what is no longer in it."""
    snapshot: Snapshot | None = None
    """The newest that is intact."""
    membership: Membership | None = None
    """What is in force at the end of its log; None: what the cluster began with."""


def find(config: Config, progress: Callable[[str], None]) -> list[Survivor]:
    """Read the data directories of all nodes of `config` that are here, and take their locks.

    Raises
    ------
    ConfigError
        A node runs.
    StorageError
        A directory cannot be read at all.
    """
    found = []
    for node in config.nodes:
        directory = config.data_directory(node.id)
        with failures.spoken_of("read", str(directory)):
            fs = OsFileSystem(directory)
            if not directory.is_dir() or not any(serial_of(name) for name in fs.list()):
                continue
            if not fs.lock(LOCK_NAME):
                raise ConfigError(
                    f"{node.id} runs, with the data in {directory}; stop all nodes first: zraft cluster down"
                )
            found.append(_read(fs, directory, config.cluster_id, node.id, progress))
    return found


def _read(
    fs: OsFileSystem, directory: Path, cluster_id: int, node: NodeId, progress: Callable[[str], None]
) -> Survivor:
    survivor = Survivor(node, directory, fs)
    try:
        found = Recovery(fs, cluster_id, node, progress).run()
    except StorageError as error:
        survivor.damage = str(error)
        return survivor
    if found.last is None:
        survivor.damage = f"{directory}: its log was begun and never written to"
        return survivor
    replay = found.replay
    survivor.disk_id, survivor.term = found.last.disk_id, replay.hard_state.term
    survivor.entries, survivor.last = replay.entries, replay.entries[-1].id if replay.entries else replay.base
    survivor.snapshot = snapshot = newest_snapshot(fs, cluster_id)
    if replay.base.index and (snapshot is None or snapshot.last.index < replay.base.index):
        survivor.damage = (
            f"{directory}: no intact snapshot of all up to entry {replay.base.index}, where its log begins"
        )
        return survivor
    if snapshot is not None and _stands_for_more(snapshot, survivor):
        survivor.entries, survivor.last = [], snapshot.last
    changed = [entry for entry in survivor.entries if entry.kind == EntryKind.MEMBERSHIP]
    if changed:
        survivor.membership = decode(changed[-1].data)
    elif snapshot is not None:
        survivor.membership = snapshot.membership
    elif replay.mark is not None:
        survivor.membership = decode_membership(replay.mark.membership)
    return survivor


def newest_snapshot(fs: FileSystem, cluster_id: int) -> Snapshot | None:
    """Return the newest snapshot in a data directory that is intact and its cluster's; changes nothing there."""
    names = [name for name in fs.list(DIRECTORY) if name.endswith(".snap")] if fs.exists(DIRECTORY) else []
    for name in sorted(names, reverse=True):
        file = fs.open(f"{DIRECTORY}/{name}")
        try:
            owner, snapshot = snapshotfile.examine(file)
        except ValueError:
            continue  # An older one stands in for it; what is wrong, zraft log verify says.
        finally:
            file.close()
        if owner == cluster_id:
            return snapshot
    return None


def _stands_for_more(snapshot: Snapshot, survivor: Survivor) -> bool:
    """Whether the node ended between receiving a snapshot and beginning its log anew behind it (paper §7)."""
    if snapshot.last.index > survivor.last.index:
        return True
    if not survivor.entries or snapshot.last.index < survivor.entries[0].index:
        return False
    return survivor.entries[snapshot.last.index - survivor.entries[0].index].id != snapshot.last
