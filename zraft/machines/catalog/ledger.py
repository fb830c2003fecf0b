"""All that the catalog knows, in the order in which it last changed: what fetches and snapshots read."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import msgspec

from zraft.machines.catalog.commands import PAGE_RECORDS_MAX, Page
from zraft.machines.catalog.records import KINDS, Deleted, Known, Record, RegistrationChange
from zraft.machines.catalog.rules import Bounds

_CHUNK_ROWS = 500
"""Rows in one chunk of a snapshot: some 50 KiB, a few times that when they are of the largest."""
_ROWS_LOOKED_AT_MAX = 20_000
"""A page that wants few of them ends after so many rows, so that no query holds up the node for long."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record, or what is left of it."""

    revision: int
    """The catalog's, when it last changed."""
    known: Known


class Ledger:
    """Rows by uuid, ordered by revision.

    Rows are immutable, so a snapshot is a list of references and costs no copy of the data.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.revision = 0
        """Rises by one with each command that changed something."""
        self.forgotten = 0
        """The revision of the newest deletion that is not known any more."""
        self._rows: dict[str, Row] = {}
        """By uuid of the record; whoever changes comes last."""
        self._deleted: deque[str] = deque()
        """The uuids of what was deleted, oldest first."""
        self._changes: deque[str] = deque()
        """The uuids of the registration changes, oldest first."""
        self._in_order: list[Row] | None = None
        """All rows, or None since one changed; made by whoever reads next, and never changed itself."""

    def get(self, uuid: str) -> Record | None:
        """Return a record that is there."""
        row = self._rows.get(uuid)
        return None if row is None or isinstance(row.known, Deleted) else row.known

    def records(self) -> Iterator[Record]:
        """Return every record that is there."""
        return (row.known for row in self._rows.values() if not isinstance(row.known, Deleted))

    def put(self, record: Record, time_ms: int) -> None:
        """Add or replace a record, as of this revision; one registration change too many displaces the oldest."""
        self._set(record.uuid, record)
        if type(record) is RegistrationChange:
            self._changes.append(record.uuid)
            if len(self._changes) > self._bounds.registration_changes_max:
                oldest = self.get(self._changes[0])
                assert oldest is not None, "a registration change is deleted nowhere else"
                self.delete(oldest, time_ms)

    def delete(self, record: Record, time_ms: int) -> None:
        """Replace a record by the note that it was deleted, as of this revision; one note too many drops the oldest."""
        kind = KINDS[type(record)]
        self._set(record.uuid, Deleted(kind, record.uuid, self.revision, time_ms, record))
        if type(record) is RegistrationChange:
            self._changes.popleft()
        self._deleted.append(record.uuid)
        if len(self._deleted) > self._bounds.deletions_max:
            self.forgotten = self._rows.pop(self._deleted.popleft()).revision

    def _set(self, uuid: str, known: Known) -> None:
        self._rows.pop(uuid, None)
        self._rows[uuid] = Row(self.revision, known)
        self._in_order = None

    def _ordered(self) -> list[Row]:
        if self._in_order is None:
            self._in_order = list(self._rows.values())
        return self._in_order

    def page(self, after: int, wanted: Callable[[Record], bool]) -> Page:
        """Return the next page of what changed behind `after` and is wanted; a revision is never cut in two."""
        rows = self._ordered()
        first = at = bisect_right(rows, after, key=lambda row: row.revision)
        records: list[Record] = []
        deleted: list[Deleted] = []
        until = after
        while at < len(rows):
            row = rows[at]
            full = len(records) + len(deleted) >= PAGE_RECORDS_MAX or at - first >= _ROWS_LOOKED_AT_MAX
            if full and row.revision != until:
                return Page(self.revision, until, self.forgotten, records, deleted)
            known, until = row.known, row.revision
            if isinstance(known, Deleted):
                if wanted(known.record):
                    deleted.append(known)
            elif wanted(known):
                records.append(known)
            at += 1
        return Page(self.revision, self.revision, self.forgotten, records, deleted)

    def leap(self, by: int) -> None:
        """Go on `by` revisions further; deletions before are not known any more, as there may have been others."""
        self.revision += by
        self.forgotten = self.revision

    def snapshot(self) -> Iterator[bytes]:
        """Return the state as of this call: a chunk with the two revisions, then chunks of rows."""
        return _chunks((self.revision, self.forgotten), self._ordered())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by that of a snapshot."""
        remaining = iter(chunks)
        head = next(remaining, None)
        revision, forgotten = (0, 0) if head is None else _decode_head(head)
        rows = [row for chunk in remaining for row in _decode_rows(chunk)]
        self.revision, self.forgotten = revision, forgotten
        self._rows = {row.known.uuid: row for row in rows}
        self._deleted = deque(row.known.uuid for row in rows if isinstance(row.known, Deleted))
        self._changes = deque(row.known.uuid for row in rows if type(row.known) is RegistrationChange)
        self._in_order = rows


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(tuple[int, int]).decode
_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


def _chunks(head: tuple[int, int], rows: list[Row]) -> Iterator[bytes]:
    yield _encode(head)
    for at in range(0, len(rows), _CHUNK_ROWS):
        yield _encode(rows[at : at + _CHUNK_ROWS])
