"""How the tests of the log open it, write to it, and say what it must hold."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from crashfs import CrashFS, PowerLoss

from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, HardState, Membership, Snapshot
from zraft.storage import Storage
from zraft.storage.header import Header, encode
from zraft.storage.records import Value, encode_turn
from zraft.storage.segments import segment_name

CLUSTER_ID = 0x0123456789ABCDEF
NODE = "n1"
DISK_ID = "00112233445566778899aabbccddeeff"
SEGMENT_BYTES = 8_192


class State(msgspec.Struct, frozen=True):
    """What a log must give back: the model that every test compares with."""

    entries: tuple[Entry, ...] = ()
    hard_state: HardState = HardState()
    lost: EntryId = EntryId(0, 0)
    """The last entry that was acknowledged, if it is not among them any more."""

    @property
    def last(self) -> EntryId:
        """The last entry that is known of."""
        return max(self.entries[-1].id if self.entries else EntryId(0, 0), self.lost)

    def after(self, *writes: Write) -> "State":
        """Return the state once `writes` are durable."""
        entries, hard_state = list(self.entries), self.hard_state
        for write in writes:
            if write.truncate_from is not None:
                entries = [entry for entry in entries if entry.index < write.truncate_from]
            if write.begins_after is not None:
                last = write.begins_after.last
                held = any(entry.id == last for entry in entries)
                entries = [entry for entry in entries if held and entry.index > last.index]
            entries += write.entries
            hard_state = write.hard_state or hard_state
        return State(tuple(entries), hard_state)


def open_log(fs: CrashFS, *, new_disk_id: Callable[[], str] = lambda: DISK_ID, **changed: Any) -> Storage:
    """Open the log of `fs`; `changed` overrides what identifies it."""
    given = {"cluster_id": CLUSTER_ID, "node": NODE, "segment_bytes": SEGMENT_BYTES} | changed
    return Storage.open(fs, new_disk_id=new_disk_id, **given)


def recovered_state(storage: Storage) -> State:
    """Return what `storage` found when it was opened."""
    recovered = storage.recovered
    return State(tuple(recovered.entries), recovered.hard_state, recovered.acknowledged)


def entry(index: int, term: int = 1, data: bytes | None = None) -> Entry:
    """Return an entry whose content tells its place."""
    return Entry(term, index, 1, index * 10, f"entry {term}.{index}".encode() if data is None else data)


def openings_cut_off(fresh: Callable[[], CrashFS], variant: str) -> Iterator[tuple[int, CrashFS]]:
    """Open the log of `fresh()` again and again, and lose power one operation later each time; yield that, and what is left.

    `variant` says what becomes of what was not synced; ``kill`` ends the process alone.
    """
    for point in itertools.count(1):
        fs = fresh()
        fs.crash_at = point
        try:
            open_log(fs)
        except PowerLoss:
            yield point, fs.after_kill() if variant == "kill" else fs.after_power_loss(variant, point)
        else:
            return


_ids = itertools.count(1)


def write(
    *entries: Entry,
    hard_state: HardState | None = None,
    truncate_from: int | None = None,
    begins_after: EntryId | None = None,
    term: int = 1,
) -> Write:
    """Return one turn's worth of work."""
    begin = begins_after and Snapshot(begins_after, begins_after.index * 10, Membership(("n1",)), 1, bytes(32))
    return Write(next(_ids), term, hard_state, truncate_from, list(entries), begins_after=begin)


def lay(fs: CrashFS, serial: int, *groups: list[Value], **changed: Any) -> int:
    """Write a segment with one turn per group straight to `fs`; return its end. `changed` overrides the header."""
    header = msgspec.structs.replace(Header(serial, CLUSTER_ID, NODE, DISK_ID), **changed)
    data = encode(header)
    for group in groups:
        data += encode_turn(serial, len(data), group)
    file = fs.open(segment_name(serial), create=True)
    file.pwritev([data], 0)
    file.datasync()
    file.close()
    fs.sync_directory()
    return len(data)
