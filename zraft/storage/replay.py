"""What the records of a log add up to, and what they can never say."""

import msgspec

from zraft.raft.types import Entry, EntryId, HardState, Index
from zraft.storage.records import Damage, Record, SnapshotMark, Truncate


class Recovered(msgspec.Struct):
    """What a data directory held when it was opened."""

    disk_id: str
    """The data directory's own name, as 32 hexadecimal digits."""
    blank: bool
    """The directory held no log: `disk_id` was minted by this opening, and is durable."""
    hard_state: HardState = HardState()
    entries: list[Entry] = []
    """Everything behind `base`, without a gap. The list is the caller's to keep and to change."""
    base: EntryId = EntryId(0, 0)
    """The last entry that the snapshot includes; (0, 0) without one."""
    base_time_ms: int = 0
    """Cluster time of that entry."""
    membership: bytes | None = None
    """The membership at `base`, as the snapshot_mark has it; None without one."""
    trimmed_bytes: int = 0
    """How much of a write that a crash cut off was dropped."""
    damage: str = ""
    """What of the end of the log is damaged, and where; empty when nothing is."""
    acknowledged: EntryId = EntryId(0, 0)
    """The last entry that the node may have acknowledged, when the log has lost it; else (0, 0)."""


class Replay:
    """Applies records in the order of the log, and refuses what no correct node writes.

    Parameters
    ----------
    first_index
        Where the log begins: 1, or what the oldest segment's header says when older ones are gone.
    """

    def __init__(self, first_index: Index = 1) -> None:
        self.hard_state = HardState()
        """The newest; set by every hard_state record."""
        self.mark: SnapshotMark | None = None
        """The newest; set by every snapshot_mark record."""
        self.entries: list[Entry] = []
        """The log from `first_index` on."""
        self.first_index = first_index
        """Index of the first of `entries`, or of the one that is due when there are none."""
        self.lowest_index = first_index
        """Lowest index that an entry was due at; set anew by recovery at each segment, lowered by truncation."""

    @property
    def next_index(self) -> Index:
        """The index that the next entry must have."""
        return self.first_index + len(self.entries)

    @property
    def base(self) -> EntryId:
        """The last entry that is not part of the log any more; (0, 0) when it begins at 1."""
        return EntryId(0, 0) if self.mark is None else self.mark.last

    @property
    def last(self) -> EntryId:
        """The last entry; `base` when there is none behind it."""
        return self.entries[-1].id if self.entries else self.base

    def apply(self, record: Record) -> None:
        """Take the next record in; raises `Damage` when it contradicts those before it."""
        value = record.value
        if isinstance(value, Entry):
            self._append(record, value)
        elif isinstance(value, HardState):
            self._adopt(record, value)
        elif isinstance(value, Truncate):
            self._truncate(record, value.index)
        else:
            self._start_after(record, value)

    def _append(self, record: Record, entry: Entry) -> None:
        if entry.index != self.next_index:
            raise Damage(record.offset, f"entry {entry.index} where entry {self.next_index} is due")
        last_term = self.entries[-1].term if self.entries else self.base.term
        if entry.term < last_term:
            raise Damage(record.offset, f"entry {entry.index} of term {entry.term} behind one of term {last_term}")
        self.entries.append(entry)

    def _adopt(self, record: Record, new: HardState) -> None:
        old = self.hard_state
        if new.term < old.term:
            raise Damage(record.offset, f"the term falls from {old.term} to {new.term}")
        if new.term == old.term and old.voted_for not in (None, new.voted_for):
            raise Damage(record.offset, f"the vote in term {old.term} changes from {old.voted_for} to {new.voted_for}")
        self.hard_state = new

    def _truncate(self, record: Record, index: Index) -> None:
        if not self.base.index < index <= self.next_index:
            raise Damage(
                record.offset, f"truncation from {index} of a log from {self.base.index + 1} to {self.next_index - 1}"
            )
        self.lowest_index = min(self.lowest_index, index)
        # Entries before `first_index` may lie in segments that a snapshot has made superfluous.
        self.first_index = min(self.first_index, index)
        del self.entries[index - self.first_index :]

    def _start_after(self, record: Record, mark: SnapshotMark) -> None:
        if mark.last.index < self.base.index or mark.last.term < self.base.term:
            raise Damage(record.offset, f"the snapshot goes back from {self.base} to {mark.last}")
        self.mark = mark
        behind = mark.last.index + 1 - self.first_index
        if behind < 1:
            return
        if behind <= len(self.entries) and self.entries[behind - 1].id == mark.last:
            del self.entries[:behind]
        else:
            self.entries.clear()
        self.first_index = mark.last.index + 1
