"""A node's disk as the core's contract describes it: a queue of jobs, and the image that survives a crash.

Compacted entries stay in the image, so that whoever checks has them; a node that starts is not given them.
"""

import hashlib
from collections import deque

import msgspec

from zraft.raft.messages import InstallSnapshot
from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, HardState, Index, Membership, NodeId, Recovered, Snapshot, Term


class Save(msgspec.Struct, frozen=True):
    """A snapshot of the node's own on its way to the disk."""

    snapshot: Snapshot
    data: bytes


Job = Write | Save | InstallSnapshot


class Disk:
    """One data directory: what is durable, and the jobs that wait for it."""

    def __init__(self, disk_id: str) -> None:
        self.disk_id = disk_id
        self.hard_state = HardState()
        """The durable term and vote."""
        self.entries: list[Entry] = []
        """The durable log, from index 1, with what is compacted."""
        self.begins_after: Snapshot | None = None
        """Where the log begins."""
        self.snapshots: list[Save] = []
        """The snapshots that are kept, oldest first."""
        self.partial = bytearray()
        """The snapshot that is arriving; lost in a crash."""
        self.waiting: deque[Job] = deque()
        """Jobs handed over and not yet done."""
        self.lost: list[Entry] = []
        """The log as it was when entries were lost; the disk knows its last one."""
        self.held = False
        """Completes nothing by itself: a stalled disk."""
        self.votes: dict[Term, NodeId] = {}
        """Every vote that was ever durable here, by term: a second one in a term is the end of safety."""

    @property
    def recovered(self) -> Recovered:
        """What a node that starts here is given."""
        base = self.begins_after
        entries = self.entries[base.last.index if base else 0 :]
        kept = tuple(save.snapshot for save in self.snapshots)
        return Recovered(
            self.hard_state,
            entries,
            base=base.last if base else EntryId(0, 0),
            base_time_ms=base.time_ms if base else 0,
            membership=base.membership if base else None,
            snapshots=kept,
            acknowledged=self.lost[-1].id if self.lost else EntryId(0, 0),
        )

    @property
    def whole(self) -> list[Entry]:
        """The log that a node started here would have, from index 1: a snapshot that it contradicts replaces it."""
        held = contents(self.snapshots[-1].data) if self.snapshots else []
        return self.entries if not held or self.entries[len(held) - 1 : len(held)] == held[-1:] else held

    def complete_next(self) -> Job:
        """Make the oldest waiting job durable, as a whole, and return it."""
        job = self.waiting.popleft()
        match job:
            case Write():
                self._write(job)
            case Save():
                self._keep_snapshot(job)
            case InstallSnapshot():
                self._receive(job)
        return job

    def _write(self, write: Write) -> None:
        if write.truncate_from is not None:
            assert write.truncate_from <= len(self.entries) + 1, "a truncation behind the end of the log"
            assert write.truncate_from > self._base_index, "a truncation of what is compacted"
            del self.entries[write.truncate_from - 1 :]
        if write.begins_after is not None:
            self._begin_after(write.begins_after)
        if write.entries:
            assert write.entries[0].index == len(self.entries) + 1, f"write {write.id} leaves a gap on the disk"
            self.entries.extend(write.entries)
        if write.hard_state is not None:
            self._keep(write.hard_state)

    def _begin_after(self, snapshot: Snapshot) -> None:
        (held,) = (save for save in self.snapshots if save.snapshot == snapshot)
        if len(self.entries) < snapshot.last.index:
            self.entries = contents(held.data)
        assert self.entries[snapshot.last.index - 1].id == snapshot.last, "a log that contradicts where it begins"
        self.begins_after = snapshot
        self.snapshots = [save for save in self.snapshots if save.snapshot.last >= snapshot.last]

    def _keep_snapshot(self, save: Save) -> None:
        assert hashlib.sha256(save.data).digest() == save.snapshot.sha256, "a snapshot with holes"
        if all(kept.snapshot != save.snapshot for kept in self.snapshots):
            self.snapshots = sorted([*self.snapshots, save], key=lambda each: each.snapshot.last)

    def _receive(self, piece: InstallSnapshot) -> None:
        if piece.offset == 0:
            self.partial.clear()
        assert len(self.partial) == piece.offset, f"a piece for {piece.offset}, {len(self.partial)} are there"
        self.partial += piece.data
        if len(self.partial) == piece.snapshot.size:
            self._keep_snapshot(Save(piece.snapshot, bytes(self.partial)))

    def piece(self, wanted: InstallSnapshot, size: int) -> InstallSnapshot | None:
        """Return `wanted` with its bytes; None when that snapshot is kept no more."""
        held = next((save.data for save in self.snapshots if save.snapshot == wanted.snapshot), None)
        if held is None:
            return None
        return msgspec.structs.replace(wanted, data=held[wanted.offset : wanted.offset + size])

    def crash(self, survivors: int = 0) -> None:
        """Lose what waits, except the first `survivors` jobs, which made it to the disk unreported."""
        for _ in range(survivors):
            self.complete_next()
        self.waiting.clear()
        self.partial.clear()

    def lose(self, first_gone: Index) -> None:
        """Lose durable entries, and know how far they went."""
        assert first_gone > self._base_index, "what is compacted is in a snapshot"
        if not self.lacks_entries:
            self.lost = list(self.whole)
        del self.entries[first_gone - 1 :]

    @property
    def lacks_entries(self) -> bool:
        """Whether what was lost, or what took its place, is not here yet."""
        return bool(self.lost) and self.last < self.lost[-1].id

    def id_at(self, index: Index) -> EntryId | None:
        """Return the durable entry's name at `index`; None where there is none."""
        if index == 0:
            return EntryId(0, 0)
        return self.whole[index - 1].id if index <= len(self.whole) else None

    @property
    def last(self) -> EntryId:
        """The last durable entry."""
        return self.whole[-1].id if self.whole else EntryId(0, 0)

    @property
    def _base_index(self) -> Index:
        return self.begins_after.last.index if self.begins_after else 0

    def _keep(self, new: HardState) -> None:
        assert new.term >= self.hard_state.term, f"the durable term falls: {self.hard_state} -> {new}"
        if new.voted_for is not None:
            before = self.votes.setdefault(new.term, new.voted_for)
            assert before == new.voted_for, f"two votes in term {new.term}: {before} and {new.voted_for}"
        self.hard_state = new


def snapshot_of(entries: list[Entry], membership: Membership) -> Save:
    """Return a snapshot of what `entries`, from index 1, have done: to a machine that remembers all."""
    data = msgspec.msgpack.encode(entries)
    last = entries[-1]
    return Save(Snapshot(last.id, last.time_ms, membership, len(data), hashlib.sha256(data).digest()), data)


def contents(data: bytes) -> list[Entry]:
    """Return the entries that a snapshot's bytes stand for."""
    return msgspec.msgpack.decode(data, type=list[Entry])
