"""The snapshots of one node: which are kept, how far the log may be compacted, and the one that is arriving (paper §7).

A snapshot stands for a prefix of the log. Two are kept, and the log from the older one on: so if the newest turns out to be
damaged, the node can still start from the one before it, and a follower that gets one finds the entries behind it still
there. The bytes are nobody's business here; whoever drives the core moves them, and reports how far it is.
"""

from zraft.raft.messages import InstallSnapshot
from zraft.raft.types import Snapshot

KEPT = 2
"""How many of a node's own snapshots are kept."""


class Snapshots:
    """Kept and arriving snapshots.

    Parameters
    ----------
    kept
        Those on the disk, oldest first.
    """

    def __init__(self, kept: tuple[Snapshot, ...]) -> None:
        self.kept = list(kept)
        """Durable here, oldest first; the log begins at or before the end of the first."""
        self.arriving: Snapshot | None = None
        """What the leader is sending."""
        self.offset = 0
        """How much of it the disk has."""
        self.with_disk = False
        """Whether a piece of it is on its way to the disk."""

    @property
    def newest(self) -> Snapshot | None:
        """The newest that is kept."""
        return self.kept[-1] if self.kept else None

    def taken(self, snapshot: Snapshot) -> Snapshot | None:
        """Keep a snapshot of one's own; return the one up to whose end the log may be forgotten, if any.

        One that was overtaken by the leader's while it was being written is of no more use: the log begins after that.
        """
        if self.newest is not None and snapshot.last.index <= self.newest.last.index:
            return None
        self.kept = [*self.kept, snapshot][-KEPT:]
        return self.kept[0] if len(self.kept) == KEPT else None

    def installed(self, snapshot: Snapshot) -> None:
        """Keep one that tells more than the log did: those before it are of no more use."""
        self.kept = [snapshot]

    def take(self, piece: InstallSnapshot) -> bool:
        """Whether `piece` is the next one and goes to the disk; if not, `offset` says what is, unless one is `with_disk`.

        A snapshot that was not begun here, or was lost in a crash, begins at 0, whatever its sender believes.
        """
        if piece.snapshot != self.arriving:
            self.arriving, self.offset, self.with_disk = piece.snapshot, 0, False
        if self.with_disk or piece.offset != self.offset:
            return False
        self.with_disk = True
        return True

    def stored(self, snapshot: Snapshot, offset: int) -> bool:
        """Hear that the disk has `offset` bytes of it; False when it is no longer the one that is arriving."""
        if snapshot != self.arriving:
            return False
        self.offset, self.with_disk = offset, False
        if offset == snapshot.size:
            self.arriving, self.offset = None, 0
        return True
