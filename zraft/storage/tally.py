"""What a log's writer remembers of what is durable, and tells in the slots, one write later."""

from collections.abc import Sequence

from zraft.raft.ready import Write
from zraft.raft.types import EntryId, HardState, Index
from zraft.seams import File
from zraft.storage import slots
from zraft.storage.slots import Slot
from zraft.storage.tail import Tail

NOTHING = EntryId(0, 0)


class Tally:
    """What is durable, and what of it the slots do not tell yet.

    Parameters
    ----------
    told
        What the slots of the directory told when it was opened, to be told on.
    lost
        The last entry that the node had acknowledged, if the log does not go so far any more; else (0, 0).
    """

    def __init__(self, tail: Tail, told: Slot | None, lost: EntryId) -> None:
        self._tail = tail
        self._lost = lost
        self._due = told
        """What the next write is to tell; None when it is told already."""
        self._place = 0
        """Which of the two slots it goes to."""

    @property
    def is_settled(self) -> bool:
        """Whether the slots tell of all that is durable."""
        return self._due is None

    @property
    def next_index(self) -> Index:
        """The index that the next entry written must have."""
        return self._tail.last.index + 1

    def durable(self, writes: Sequence[Write], serial: int, end: int, hard_state: HardState) -> None:
        """Take note that `writes` are durable, in a turn that ends at `end` of segment `serial`."""
        tail = self._tail
        for write in writes:
            if write.truncate_from is not None:
                tail.truncate(write.truncate_from)
            if write.begins_after is not None:
                tail.begin_after(write.begins_after.last)
            if write.entries:
                tail.append(write.entries)
        if tail.last >= self._lost:
            self._lost = NOTHING
        self._due = Slot(slots.sequence(serial, end), hard_state, max(tail.last, self._lost))

    def write(self, file: File, serial: int) -> None:
        """Write what is due into its slot of segment `serial`; a sync must follow."""
        if self._due is not None:
            offset = slots.SLOT_OFFSETS[self._place]
            file.pwritev([slots.encode(self._due, serial, offset)], offset)
            self._due, self._place = None, 1 - self._place

    def first_block(self, block: bytes, serial: int) -> bytes:
        """Return the first block of a new segment with what is due in it."""
        self._place = 0
        if self._due is None:
            return block
        due, self._due, self._place = self._due, None, 1
        return slots.placed(block, due, serial)
