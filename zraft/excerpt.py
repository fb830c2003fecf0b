"""A piece of the log for people: what `zraft status NODE` and `zraft log show` print."""

from collections.abc import Mapping

from zraft.narration import Describer, entry_text
from zraft.raft.log import Log
from zraft.raft.types import Entry, EntryKind, Index
from zraft.requests import EntryView

ENTRIES_MAX = 1_000
BYTES_MAX = 1 << 20
"""What one excerpt may show, by entries and by their data: it is put into words in one go, while heartbeats wait."""


def excerpt(log: Log, count: int, until: Index, describers: Mapping[str, Describer]) -> list[EntryView]:
    """Return `count` entries, newest first, the newest being that of index `until`, or the last; fewer when it is too much."""
    newest = min(until, log.last_index) if until > 0 else log.last_index
    oldest = max(log.first_index, newest + 1 - min(count, ENTRIES_MAX))
    views: list[EntryView] = []
    size = 0
    for index in range(newest, oldest - 1, -1):
        entry = log.entry(index)
        size += len(entry.data)
        if views and size > BYTES_MAX:
            break
        views.append(view(entry, index <= log.last_applied, describers))
    return views


def view(entry: Entry, committed: bool, describers: Mapping[str, Describer]) -> EntryView:
    """Return one entry in words."""
    kind = EntryKind(entry.kind).name.lower()
    return EntryView(entry.index, entry.term, kind, entry_text(entry, describers), committed, entry.time_ms)
