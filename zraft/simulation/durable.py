"""What one data directory is known to hold: kept beside the disk, so that every promise can be looked up in no time.

The bytes are the truth, and each recovery compares them with this image (I17). Between two recoveries the image speaks for
them: it takes in a write when the log says that it is durable.
"""

from collections.abc import Sequence
from typing import NamedTuple

from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, HardState, Index, NodeId, Term


class Image(NamedTuple):
    """What recovery finds on a disk."""

    hard_state: HardState
    base: EntryId
    """The last entry that a snapshot stands for; (0, 0) without one."""
    entries: list[Entry]
    """The log behind it."""


class Durable:
    """Term, vote and log that survive whatever happens to the process.

    Attributes
    ----------
    hard_state : HardState
        The durable term and vote.
    votes : dict
        Every vote that was ever durable here, by term.
    """

    def __init__(self, disk_id: str) -> None:
        self.disk_id = disk_id
        self.hard_state = HardState()
        self.votes: dict[Term, NodeId] = {}
        self.base = EntryId(0, 0)
        """The last entry that a snapshot stands for."""
        self._entries: list[Entry] = []
        """The log behind it."""
        self._owed: dict[EntryId, Entry] = {}
        """What the disk has lost, and the node has acknowledged: until it is back, it elects nobody who lacks any of it."""

    @property
    def last(self) -> EntryId:
        """The last entry."""
        return self._entries[-1].id if self._entries else self.base

    @property
    def promised_index(self) -> Index:
        """Index of the last entry that the node keeps or stands for."""
        return max(self.last_index, *(id.index for id in self._owed)) if self._owed else self.last_index

    @property
    def last_index(self) -> Index:
        """Index of the last entry."""
        return self.base.index + len(self._entries)

    def id_at(self, index: Index) -> EntryId | None:
        """Return what the entry at `index` is called; None where there is none, or none any more."""
        position = index - self.base.index
        if position == 0:
            return self.base
        return self._entries[position - 1].id if 0 < position <= len(self._entries) else None

    def holds(self, entry: Entry) -> bool:
        """Whether this very entry is here, or a snapshot that stands for it; or lost, and the node stands for it."""
        position = entry.index - self.base.index - 1
        if position < 0:
            return True
        here = position < len(self._entries) and self._entries[position] == entry
        return here or self._owed.get(entry.id) == entry

    def written(self, writes: Sequence[Write]) -> None:
        """Take in what has become durable."""
        for write in writes:
            if write.truncate_from is not None:
                del self._entries[write.truncate_from - self.base.index - 1 :]
            if write.begins_after is not None:
                last = write.begins_after.last
                del self._entries[: last.index - self.base.index]
                self.base = last
            self._entries += write.entries
            if write.hard_state is not None:
                self.hard_state = write.hard_state
                self._vote(write.hard_state)
        if self._owed and self.last >= max(self._owed):
            self._owed.clear()

    def after(self, writes: Sequence[Write]) -> Image:
        """Return what is there if `writes` last too."""
        twin = Durable(self.disk_id)
        twin.found(Image(self.hard_state, self.base, self._entries))
        twin.written(writes)
        return Image(twin.hard_state, twin.base, twin._entries)

    def found_less(self, image: Image) -> None:
        """Take for the truth what a recovery found that knows of damage; what it lacks is owed."""
        here = {entry.id for entry in image.entries}
        if (image.entries[-1].id if image.entries else image.base) < self.last:
            self._owed |= {each.id: each for each in self._entries if each.id not in here}
        self.found(image)

    def found(self, image: Image) -> None:
        """Take what a recovery found for the truth from now on."""
        self.hard_state, self.base, self._entries = image.hard_state, image.base, list(image.entries)
        self._vote(image.hard_state)

    def _vote(self, hard_state: HardState) -> None:
        if hard_state.voted_for is not None:
            self.votes.setdefault(hard_state.term, hard_state.voted_for)
