"""What the writes of one turn say, as the records of one turn: checked against the log that they follow."""

from collections.abc import Sequence
from typing import NamedTuple

from zraft.raft.ready import Write
from zraft.raft.types import HardState, Index, Snapshot
from zraft.storage.records import SnapshotMark, Truncate, Value
from zraft.storage.snapshothead import encode_membership


class Gathered(NamedTuple):
    """A turn before it is written."""

    values: list[Value]
    """Its records, in order; empty when there is nothing to write."""
    hard_state: HardState
    """In force behind it, as is the next."""
    mark: SnapshotMark | None
    lowest_index: Index
    """The lowest index at which it writes an entry, or could."""


def gathered(writes: Sequence[Write], next_index: Index, hard_state: HardState, mark: SnapshotMark | None) -> Gathered:
    """Return what `writes` come to, behind a log whose next entry is `next_index`, and in which the other two are in force."""
    values: list[Value] = []
    lowest_index = next_index
    for write in writes:
        if write.truncate_from is not None:
            assert write.truncate_from <= next_index, f"no entry {write.truncate_from} to truncate: {next_index} is due"
            next_index = write.truncate_from
            lowest_index = min(lowest_index, next_index)
            values.append(Truncate(next_index))
        if write.begins_after is not None:
            mark = _mark_of(write.begins_after)
            next_index = max(next_index, mark.last.index + 1)
            values.append(mark)
        if write.entries:
            first, last = write.entries[0].index, write.entries[-1].index
            assert first == next_index, f"a gap in the log: {first} where {next_index} is due"
            assert last - first + 1 == len(write.entries), f"a gap within entries {first} to {last}"
            next_index = last + 1
            values += write.entries
        if write.hard_state is not None:
            assert write.hard_state.term >= hard_state.term, f"the term falls: {hard_state} -> {write.hard_state}"
            hard_state = write.hard_state
            values.append(hard_state)
    return Gathered(values, hard_state, mark, lowest_index)


def _mark_of(snapshot: Snapshot) -> SnapshotMark:
    return SnapshotMark(snapshot.last, snapshot.time_ms, encode_membership(snapshot.membership))
