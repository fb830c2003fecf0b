"""What a reading of a whole data directory has found: what is there, and what is wrong."""

import msgspec

from zraft.raft.types import EntryId, HardState, Index, NodeId
from zraft.storage.slots import Slot


class Problem(msgspec.Struct, frozen=True):
    """Something that is not as a correct node left it, or that is worth knowing."""

    file: str
    """Relative to the data directory."""
    offset: int | None
    """Where in it, in bytes; None for the file as a whole."""
    what: str
    advice: str = ""
    """What to do about it; empty when there is nothing to do."""


class SegmentFound(msgspec.Struct):
    """One file of the log."""

    file: str
    serial: int
    size: int
    state: str
    """``in use``; ``unused``: made ahead, recycled, or cut off at its very first write; ``leftover``: needed no more."""
    first_index: Index | None = None
    """The entry that was due when it was begun, by its header; None when that is unreadable."""
    turns: int = 0
    """Writes in it that are whole."""
    entries: int = 0
    """Entries in these, those that later ones have truncated among them."""
    end: int = 0
    """Where the last of them ends."""


class SnapshotFound(msgspec.Struct):
    """One snapshot file."""

    file: str
    size: int
    last: EntryId | None = None
    """The last entry that it stands for; None when its head is unreadable."""
    intact: bool = False


class Findings(msgspec.Struct):
    """All of a data directory."""

    directory: str
    cluster_id: int | None = None
    """Whose it is, by the newest header that is intact; as are the next two."""
    node: NodeId | None = None
    disk_id: str | None = None
    hard_state: HardState = HardState()
    """In force at the end of the log."""
    base: EntryId = EntryId(0, 0)
    """The entry right before the log."""
    last: EntryId = EntryId(0, 0)
    """The end of the log."""
    acknowledged: Slot | None = None
    """By the newest slot; None when none is written."""
    segments: list[SegmentFound] = []
    snapshots: list[SnapshotFound] = []
    damage: list[Problem] = []
    notes: list[Problem] = []
    """What is no damage: what a crash has cut off, what the next start removes."""

    def damaged(self, file: str, offset: int | None, what: str, advice: str | None = None) -> None:
        """Note damage; with the advice that holds for all of a log, unless another is given."""
        self.damage.append(Problem(file, offset, what, self.replacing if advice is None else advice))

    def noted(self, file: str, offset: int | None, what: str) -> None:
        """Note what is worth knowing."""
        self.notes.append(Problem(file, offset, what))

    @property
    def replacing(self) -> str:
        """What to do about a log that is damaged."""
        return (
            f"put back an intact copy of {self.directory}, or keep it aside and replace this member: zraft member replace"
            f" {self.node or 'NODE'}"
        )
