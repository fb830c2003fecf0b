"""From what a data directory holds to what a node starts with: the newest intact snapshot, and the log behind it."""

from collections.abc import Callable, Iterable

from zraft.errors import StorageError
from zraft.raft.types import EntryId, Recovered
from zraft.storage import failures
from zraft.storage.snapshothead import decode_membership
from zraft.storage.wal import Storage


def start_from(storage: Storage, restore: Callable[[Iterable[bytes]], None], tell: Callable[[str], None]) -> Recovered:
    """Restore the state machines, and return what the core starts from.

    Parameters
    ----------
    storage
        Just opened.
    restore
        Replaces the state by that of a snapshot.
    tell
        Hears of each damaged snapshot that an older one stands in for, and of a log whose end is damaged.

    Raises
    ------
    StorageError
        The log begins behind a snapshot, and none that is there can be read; or `restore` can't take it.
    """
    found, files = storage.recovered, storage.snapshots
    if found.damage:
        tell(f"{storage}/{found.damage}; {_loss(found.acknowledged)}")
    with failures.spoken_of("read", str(files)):
        damaged = files.sift()
        for name, reason in damaged.items():
            tell(f"{files}/{name}: damaged: {reason}; it is kept aside, and not used")
        newest = files.kept[-1] if files.kept else None
        if found.base.index and (newest is None or newest.last.index < found.base.index):
            raise StorageError(
                f"{files}: no intact snapshot of all up to entry {found.base.index}, behind which the log begins; put an"
                f" intact copy back, or keep the directory aside and replace this member: zraft member replace"
                f" {storage.node}"
            )
        if newest is not None:
            restore(files.pieces(newest))
    membership = None if found.membership is None else decode_membership(found.membership)
    return Recovered(
        found.hard_state,
        found.entries,
        base=found.base,
        base_time_ms=found.base_time_ms,
        membership=membership,
        snapshots=tuple(files.kept),
        acknowledged=found.acknowledged,
    )


def _loss(last: EntryId) -> str:
    if not last.index:
        return "no entry that this node has acknowledged is lost"
    return (
        f"entries up to {last.index} of term {last.term} are missed until a leader sends them, and this node elects nobody"
        " without them"
    )
