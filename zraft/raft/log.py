"""The log in memory: entries, and how far they are handed to the disk, durable, committed and applied.

Five positions move along it, always in this order (`invariants` checks it)::

    last_applied <= commit_index <= last_index      stable_index <= handed_index <= last_index

Any node's `commit_index` may pass its own `stable_index`: a majority of *others* is enough (thesis §10.2.1).
"""

from collections.abc import Sequence

from zraft.raft.types import Entry, EntryId, Index, Term

ENTRY_BYTES = 64
"""What an entry costs besides its data, roughly: a flood of empty ones is bounded too."""


class Log:
    """A node's log (paper §5.3).

    Parameters
    ----------
    entries
        What recovery found durable, without a gap.
    base, base_time_ms
        The entry right before the first, and its cluster time; nothing, (0, 0), unless a snapshot replaced a prefix.
    """

    def __init__(self, entries: Sequence[Entry] = (), base: EntryId | None = None, base_time_ms: int = 0) -> None:
        self.base = base or EntryId(0, 0)
        """The last entry that is no longer here: a snapshot stands for it, and for all before it (paper §7)."""
        self._base_time_ms = base_time_ms
        self._entries = list(entries)
        self.last_index: Index = self.base.index + len(self._entries)
        """Index of the last entry; 0 in an empty log. Kept, not computed: it is asked for at every step."""
        self.handed_index: Index = self.last_index
        """Last index that is part of a `Write`; lowered by truncation."""
        self.stable_index: Index = self.last_index
        """Last index that is durable here; lowered by truncation."""
        self.commit_index: Index = self.base.index
        """Last index known to be committed; only rises."""
        self.last_applied: Index = self.base.index
        """Last index that the state machine has applied; only rises."""
        self.uncommitted_bytes = sum(len(entry.data) for entry in self._entries)
        """Sum of the data behind `commit_index`."""
        self._truncate_from: Index | None = None
        """Lowest index truncated on disk by the next `Write`."""

    @property
    def first_index(self) -> Index:
        """Index of the first entry here, or of the next one if there is none."""
        return self.base.index + 1

    @property
    def last(self) -> EntryId:
        """The last entry's (term, index): how up-to-date this log is (paper §5.4.1)."""
        return self._entries[-1].id if self._entries else self.base

    @property
    def last_time_ms(self) -> int:
        """Cluster time of the last entry; the highest there is, since it never falls along a log."""
        return self._entries[-1].time_ms if self._entries else self._base_time_ms

    def term_at(self, index: Index) -> Term | None:
        """Term of the entry at `index`; None where this log has no entry, so that "absent" never equals a term.

        Compacted entries are absent too, but for the last of them, `base`; in a log that begins at 1, `base` is index 0, of term 0.
        """
        if index == self.base.index:
            return self.base.term
        if self.first_index <= index <= self.last_index:
            return self._entries[index - self.first_index].term
        return None

    def entry(self, index: Index) -> Entry:
        """Return the entry at `index`, which must be here."""
        assert self.first_index <= index <= self.last_index, (
            f"no entry {index} in {self.first_index}..{self.last_index}"
        )
        return self._entries[index - self.first_index]

    def slice(self, first: Index, last: Index, bytes_max: int) -> list[Entry]:
        """Return entries `first` to `last`, cut when they exceed `bytes_max`, but at least one if there is one."""
        found = self._entries[first - self.first_index : last - self.first_index + 1]
        total = 0
        for count, entry in enumerate(found):
            total += len(entry.data) + ENTRY_BYTES
            if total > bytes_max and count:
                return found[:count]
        return found

    def append(self, entries: Sequence[Entry]) -> None:
        """Add `entries` right behind the last one."""
        assert not entries or entries[0].index == self.last_index + 1, "an entry that leaves a gap"
        self._entries.extend(entries)
        self.last_index += len(entries)
        self.uncommitted_bytes += sum(len(entry.data) for entry in entries)

    def conflict(self, entries: Sequence[Entry]) -> int | None:
        """Return the position in `entries` of the first that this log lacks or holds with another term, else None.

        Only a difference in *term* is a conflict (paper §5.3): a late message that says less than this log knows, takes
        nothing away from it.
        """
        return next((i for i, entry in enumerate(entries) if self.term_at(entry.index) != entry.term), None)

    def truncate(self, first_gone: Index) -> None:
        """Remove the entry at `first_gone` and all behind it; committed entries never go."""
        assert first_gone > self.commit_index, f"truncating {first_gone}, committed up to {self.commit_index}"
        keep = first_gone - self.first_index
        self.uncommitted_bytes -= sum(len(entry.data) for entry in self._entries[keep:])
        del self._entries[keep:]
        self.last_index = first_gone - 1
        self.stable_index = min(self.stable_index, first_gone - 1)
        if first_gone <= self.handed_index:
            self.handed_index = first_gone - 1
            self._truncate_from = min(first_gone, self._truncate_from or first_gone)

    def take_unwritten(self) -> tuple[Index | None, list[Entry]]:
        """Hand over what the disk does not know yet: where to truncate, if anywhere, and what to append."""
        if self.handed_index == self.last_index and self._truncate_from is None:
            return None, []
        truncate_from, self._truncate_from = self._truncate_from, None
        entries = self._entries[self.handed_index - self.base.index :]
        self.handed_index = self.last_index
        return truncate_from, entries

    def stabilize(self, index: Index) -> None:
        """Note that entries up to `index` are durable here, except what was truncated since it was handed to the disk."""
        self.stable_index = max(self.stable_index, min(index, self.handed_index))

    def commit(self, index: Index) -> None:
        """Raise the commit index."""
        assert self.commit_index <= index <= self.last_index, f"commit {self.commit_index} -> {index}"
        first = self.commit_index - self.base.index
        self.uncommitted_bytes -= sum(len(entry.data) for entry in self._entries[first : index - self.base.index])
        self.commit_index = index

    def last_not_after(self, id: EntryId) -> EntryId:
        """Return this log's last entry that lies at or before `id.index` and has at most `id.term`.

        Where two logs differ, nothing after that entry can match the other log, so a refused probe skips whole terms
        instead of single entries (the optimization at the end of paper §5.3). Of compacted entries nothing is known but that
        they lie before: for an `id` among them, `id` itself comes back; if every entry here has a later term, so does the
        place before the first.
        """
        if id.index < self.base.index:
            return id
        index = min(id.index, self.last_index)
        while index > self.base.index and self._entries[index - self.first_index].term > id.term:
            index -= 1
        term = self.term_at(index)
        assert term is not None, "an index between base and last has a term"
        return EntryId(term, index) if term <= id.term else EntryId(id.term, index - 1)

    def compact(self, last: EntryId) -> None:
        """Forget the entries up to `last`, which has been applied: a snapshot stands for them (paper §7)."""
        assert last.index <= self.last_applied, f"compacting up to {last.index}, applied {self.last_applied}"
        assert last.index <= self.stable_index, f"compacting up to {last.index}, durable {self.stable_index}"
        if last.index <= self.base.index:
            return
        gone = self._entries[: last.index - self.base.index]
        assert gone[-1].id == last, f"a snapshot of {last}, where the log has {gone[-1].id}"
        del self._entries[: len(gone)]
        self.base, self._base_time_ms = last, gone[-1].time_ms

    def restart(self, last: EntryId, time_ms: int) -> None:
        """Begin anew behind `last`, the end of a snapshot that tells more than is committed here (paper §7)."""
        assert last.index > self.commit_index, f"a snapshot of {last.index}, and {self.commit_index} is committed"
        if self.handed_index > self.commit_index:
            self._truncate_from = min(self.commit_index + 1, self._truncate_from or self.commit_index + 1)
        self._entries.clear()
        self.base, self._base_time_ms = last, time_ms
        self.last_index = self.handed_index = self.stable_index = last.index
        self.commit_index = self.last_applied = last.index
        self.uncommitted_bytes = 0
