"""Which entry a log ends with, though a writer keeps none of them: it remembers where each term begins."""

from bisect import bisect_right
from collections.abc import Sequence

from zraft.raft.types import Entry, EntryId, Index, Term


class Tail:
    """The end of a log, through all that a turn may do to it.

    Parameters
    ----------
    base
        The entry behind which the log begins; (0, 0) for index 1.
    """

    def __init__(self, base: EntryId) -> None:
        self.last = base
        """The last entry; `base` while there is none."""
        self._starts: list[EntryId] = [base]
        """The base, and the first entry of each term behind it."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Take entries that follow the last one."""
        if not entries:
            return
        if entries[0].term == entries[-1].term:  # Terms never fall along a log.
            entries = (entries[0], entries[-1]) if len(entries) > 1 else entries
        for entry in entries:
            if entry.term != self.last.term:
                self._starts.append(entry.id)
            self.last = entry.id

    def truncate(self, index: Index) -> None:
        """Forget entries from `index` on, which lies behind the base."""
        if index > self.last.index:
            return
        while len(self._starts) > 1 and self._starts[-1].index >= index:
            self._starts.pop()
        self.last = EntryId(self._starts[-1].term, index - 1)

    def begin_after(self, base: EntryId) -> None:
        """Let the log begin behind `base`; all of it goes unless it holds that very entry (paper §7)."""
        if self.term_at(base.index) != base.term:
            self.last = base
            self._starts = [base]
            return
        self._starts = [base, *(start for start in self._starts if start.index > base.index)]

    def term_at(self, index: Index) -> Term | None:
        """Return the term of the entry at `index`; None where there is none."""
        if not self._starts[0].index <= index <= self.last.index:
            return None
        return self._starts[bisect_right(self._starts, index, key=lambda start: start.index) - 1].term
