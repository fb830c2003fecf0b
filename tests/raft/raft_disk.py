"""A node's disk as the core's contract describes it: a queue of writes, and the image that survives a crash."""

from collections import deque

from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, HardState, Index, NodeId, Term


class Disk:
    """One data directory: what is durable, and the writes that wait for it."""

    def __init__(self, disk_id: str) -> None:
        self.disk_id = disk_id
        self.hard_state = HardState()
        """The durable term and vote."""
        self.entries: list[Entry] = []
        """The durable log, from index 1."""
        self.waiting: deque[Write] = deque()
        """Writes handed over and not yet durable."""
        self.held = False
        """Completes nothing by itself: a stalled disk."""
        self.votes: dict[Term, NodeId] = {}
        """Every vote that was ever durable here, by term: a second one in a term is the end of safety."""

    def complete_next(self) -> Write:
        """Make the oldest waiting write durable, as a whole, and return it."""
        write = self.waiting.popleft()
        if write.truncate_from is not None:
            assert write.truncate_from <= len(self.entries) + 1, "a truncation behind the end of the log"
            del self.entries[write.truncate_from - 1 :]
        if write.entries:
            assert write.entries[0].index == len(self.entries) + 1, f"write {write.id} leaves a gap on the disk"
            self.entries.extend(write.entries)
        if write.hard_state is not None:
            self._keep(write.hard_state)
        return write

    def crash(self, survivors: int = 0) -> None:
        """Lose what waits, except the first `survivors` writes, which made it to the disk unreported."""
        for _ in range(survivors):
            self.complete_next()
        self.waiting.clear()

    def id_at(self, index: Index) -> EntryId | None:
        """Return the durable entry's name at `index`; None where there is none."""
        if index == 0:
            return EntryId(0, 0)
        return self.entries[index - 1].id if index <= len(self.entries) else None

    @property
    def last(self) -> EntryId:
        """The last durable entry."""
        return self.entries[-1].id if self.entries else EntryId(0, 0)

    def _keep(self, new: HardState) -> None:
        assert new.term >= self.hard_state.term, f"the durable term falls: {self.hard_state} -> {new}"
        if new.voted_for is not None:
            before = self.votes.setdefault(new.term, new.voted_for)
            assert before == new.voted_for, f"two votes in term {new.term}: {before} and {new.voted_for}"
        self.hard_state = new
