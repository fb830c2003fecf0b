"""Goes along the records of a log and says of each what is wrong with it, without keeping any, and without ever stopping.

What `replay` refuses at once is told here, and the next record is taken as it comes: so one damaged place is told once, and what lies
behind it is looked at too.
"""

from array import array
from collections.abc import Callable

import msgspec

from zraft.raft.types import Ballot, Entry, EntryId, EntryKind, HardState, Index, Membership
from zraft.storage.records import Record, SnapshotMark, Truncate

Tell = Callable[[int, str], None]
"""Takes the offset of a record, and what is wrong with it."""
_KINDS = frozenset(EntryKind)
_decode_membership = msgspec.msgpack.Decoder(Membership).decode
_decode_ballot = msgspec.msgpack.Decoder(Ballot).decode


class Course:
    """The state that the records so far add up to, as far as it matters for what may follow."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.base = EntryId(0, 0)
        """The last entry of the newest snapshot_mark."""
        self.first_index: Index = 1
        """Index of the first entry that was read without a gap up to the last, or of the one that is due."""
        self.beginning: Index = 1
        """Where the log itself begins, gaps or not."""
        self.lost = False
        """Records before the next one could not be read: where the log is, the next entry says."""
        self.anywhere = False
        """Nor is it known where the log begins: the next entry may be any."""
        self._terms = array("Q")
        """Of the log's entries, as are the next; eight bytes each, so that a long log fits into memory."""
        self._times = array("Q")

    @property
    def next_index(self) -> Index:
        """The index that the next entry must have."""
        return self.first_index + len(self._terms)

    @property
    def last(self) -> EntryId:
        """The end of the log."""
        return EntryId(self._terms[-1], self.next_index - 1) if self._terms else self.base

    def begin(self, index: Index) -> None:
        """Begin the log at `index`."""
        self.beginning = index
        self.go_on(index)

    def go_on(self, index: Index) -> None:
        """Go on with `index`, whatever came before."""
        self.first_index, self.lost, self.anywhere = index, False, False
        del self._terms[:], self._times[:]

    def take(self, record: Record, tell: Tell) -> None:
        """Take the next record in."""
        value = record.value
        if isinstance(value, Entry):
            self._entry(record.offset, value, tell)
        elif isinstance(value, HardState):
            self._hard_state(record.offset, value, tell)
        elif isinstance(value, Truncate):
            self._truncate(record.offset, value.index, tell)
        else:
            self._mark(record.offset, value, tell)

    def _entry(self, offset: int, entry: Entry, tell: Tell) -> None:
        due = self.next_index
        if entry.index != due:
            if not self.lost:
                tell(offset, f"entry {entry.index} where entry {due} is due")
            elif entry.index > due and not self.anywhere:
                tell(offset, f"entries {due} to {entry.index - 1} are missing before this one")
            if self.anywhere:
                self.beginning = entry.index
            self.go_on(entry.index)
        self.lost = self.anywhere = False
        last_term = self._terms[-1] if self._terms else self.base.term
        if entry.term < last_term:
            tell(offset, f"entry {entry.index} of term {entry.term} behind one of term {last_term}")
        if self._times and entry.time_ms < self._times[-1]:
            tell(offset, f"entry {entry.index} of cluster time {entry.time_ms} ms behind one of {self._times[-1]} ms")
        if not _can_be_read(entry):
            tell(offset, f"entry {entry.index} of kind {entry.kind}, which cannot be understood")
        self._terms.append(entry.term)
        self._times.append(entry.time_ms)

    def _hard_state(self, offset: int, new: HardState, tell: Tell) -> None:
        old = self.hard_state
        if new.term < old.term:
            tell(offset, f"the term falls from {old.term} to {new.term}")
        elif new.term == old.term and old.voted_for not in (None, new.voted_for):
            tell(offset, f"the vote in term {old.term} changes from {old.voted_for} to {new.voted_for}")
        self.hard_state = new

    def _truncate(self, offset: int, index: Index, tell: Tell) -> None:
        if not self.lost and not self.base.index < index <= self.next_index:
            tell(offset, f"truncation from {index} of a log from {self.base.index + 1} to {self.next_index - 1}")
        self.beginning, self.first_index = min(self.beginning, index), min(self.first_index, index)
        kept = max(0, index - self.first_index)
        del self._terms[kept:], self._times[kept:]

    def _mark(self, offset: int, mark: SnapshotMark, tell: Tell) -> None:
        if mark.last.index < self.base.index or mark.last.term < self.base.term:
            tell(offset, f"the snapshot goes back from {_shown(self.base)} to {_shown(mark.last)}")
        try:
            _decode_membership(mark.membership)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            tell(offset, "a snapshot_mark whose membership cannot be read")
        self.base = mark.last
        self.beginning = max(self.beginning, mark.last.index + 1)
        behind = mark.last.index + 1 - self.first_index
        if behind < 1:
            return
        if behind <= len(self._terms) and self._terms[behind - 1] == mark.last.term:
            del self._terms[:behind], self._times[:behind]
            self.first_index = mark.last.index + 1
        else:
            self.go_on(mark.last.index + 1)


def _shown(id: EntryId) -> str:
    return f"{id.index}@{id.term}"


def _can_be_read(entry: Entry) -> bool:
    try:
        if entry.kind == EntryKind.MEMBERSHIP:
            return bool(_decode_membership(entry.data).voters)
        if entry.kind == EntryKind.NOOP:
            return bool(_decode_ballot(entry.data).leader)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return entry.kind in _KINDS
