"""Which membership is in force: always the newest one in this node's log, committed or not (paper §6).

"A server always uses the latest configuration in its log, regardless of whether the entry is committed." So it takes
force when appended and falls back when its entry is truncated.
"""

from collections.abc import Iterable, Iterator

import msgspec

from zraft.raft.types import Entry, EntryKind, Index, Membership, NodeId

_decode = msgspec.msgpack.Decoder(Membership).decode
_encode = msgspec.msgpack.Encoder(order="sorted").encode


def encode(membership: Membership) -> bytes:
    """Return the `data` of a MEMBERSHIP entry."""
    return _encode(membership)


def decode(data: bytes) -> Membership:
    """Read the `data` of a MEMBERSHIP entry; raises msgspec.MsgspecError when it is none."""
    return _decode(data)


class Memberships:
    """The memberships in this node's log, oldest first, under the index that brought each one.

    The first is what the cluster began with, or what a snapshot brought (paper §7).

    Invariants: never empty; indices rise; the last one is in force.
    """

    def __init__(self, first: Membership, index: Index = 0) -> None:
        self._known: list[tuple[Index, Membership]] = [(index, first)]
        self.current = first
        """The membership in force."""
        self.changed_at: Index = index
        """Index of the entry that brought it; 0 for the one the cluster began with; of what a snapshot brought, its end."""

    def appended(self, entries: Iterable[Entry]) -> None:
        """Take up what `entries` bring."""
        for entry in entries:
            if entry.kind == EntryKind.MEMBERSHIP:
                self._known.append((entry.index, decode(entry.data)))
                self.changed_at, self.current = self._known[-1]

    def truncated(self, first_gone: Index) -> None:
        """Fall back behind truncated entries."""
        while self._known[-1][0] >= first_gone:
            self._known.pop()
        self.changed_at, self.current = self._known[-1]

    def at(self, index: Index) -> Membership:
        """Return what was in force at `index`, which is not compacted."""
        return next(known for changed_at, known in reversed(self._known) if changed_at <= index)

    def compacted(self, index: Index) -> None:
        """Forget what was no longer in force at `index`."""
        while len(self._known) > 1 and self._known[1][0] <= index:
            del self._known[0]

    def restarted(self, index: Index, membership: Membership) -> None:
        """Take up `membership` alone, from a snapshot that ends at `index`."""
        self._known = [(index, membership)]
        self.changed_at, self.current = self._known[0]

    def open_change(self, commit_index: Index) -> bool:
        """Whether a change of who takes part is not finished: in joint consensus, or not committed yet.

        Registrations of data directories do not count: who votes stays the same.
        """
        if self.current.outgoing:
            return True
        newest = [(index, known) for index, known in self._known if index > commit_index]
        before = next((known for index, known in reversed(self._known) if index <= commit_index), None)
        return any(before is None or _parts(known) != _parts(before) for _, known in newest)

    def others(self, commit_index: Index) -> Iterator[Membership]:
        """Yield what else may come into force again: the newest committed membership, and all since but the current one."""
        for index, known in reversed(self._known):
            if known is not self.current:
                yield known
            if index <= commit_index:
                return

    def is_registered(self, node: NodeId, disk_id: str) -> bool:
        """Whether `node` is known under this very data directory."""
        return self.current.disk_ids.get(node) == disk_id

    def has_lost_data(self, node: NodeId, disk_id: str) -> bool:
        """Whether `node` is known under another data directory than this one."""
        return self.current.disk_ids.get(node, disk_id) != disk_id


def _parts(membership: Membership) -> tuple[object, ...]:
    return membership.voters, membership.outgoing, membership.learners, membership.manual, membership.replacing
