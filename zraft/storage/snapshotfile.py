"""One snapshot file, wherever it lies: read and checked as a whole, or written beside and renamed; laid out as in a data directory."""

import hashlib
from collections.abc import Iterator

from zraft.raft.messages import CHUNK_BYTES_MAX
from zraft.raft.types import Snapshot
from zraft.seams import Draft, File, FileSystem
from zraft.storage import snapshothead

PIECE_BYTES = CHUNK_BYTES_MAX
"""How much is read at a time."""


def examine(file: File) -> tuple[int, Snapshot]:
    """Return the cluster's id and which snapshot it is, having read all of it; ValueError says what is damaged."""
    cluster_id, snapshot = snapshothead.read(file)
    digest = hashlib.sha256()
    for piece in pieces(file, snapshot):
        digest.update(piece)
    if digest.digest() != snapshot.sha256:
        raise ValueError(
            "the SHA-256 of its data does not match: bytes behind its head are not those that were written"
        )
    return cluster_id, snapshot


def pieces(file: File, snapshot: Snapshot) -> Iterator[bytes]:
    """Yield the data, a bounded piece at a time."""
    start = snapshothead.data_offset(snapshot.membership)
    for offset in range(0, snapshot.size, PIECE_BYTES):
        yield file.pread(min(PIECE_BYTES, snapshot.size - offset), start + offset)


class Part:
    """A snapshot file in the making, under a name that does not count.

    Parameters
    ----------
    fs
        Where it is.
    path
        What it is called; there must be none of that name.
    """

    SYNC_EVERY_BYTES = 1 << 20
    """How much is written between two syncs: a whole snapshot at once would hold up the sync of a log write for as long."""

    def __init__(self, fs: FileSystem, path: str, cluster_id: int, draft: Draft) -> None:
        self.size = 0
        """Bytes of data so far."""
        self._fs, self._path = fs, path
        self._cluster_id, self._draft = cluster_id, draft
        self._start = snapshothead.data_offset(draft.membership)
        self._digest = hashlib.sha256()
        self._unsynced = 0
        self._file: File | None = fs.open(path, create=True)

    def write(self, data: bytes) -> None:
        """Add `data`."""
        assert self._file is not None, "written to after its end"
        self._file.pwritev([data], self._start + self.size)
        self._digest.update(data)
        self.size += len(data)
        self._unsynced += len(data)
        if self._unsynced >= self.SYNC_EVERY_BYTES:
            self._file.datasync()
            self._unsynced = 0

    def digest(self) -> bytes:
        """Return the SHA-256 of the data so far."""
        return self._digest.digest()

    def seal(self) -> Snapshot:
        """Make it durable, still under this name; its head is written last, so that nothing cut off looks whole."""
        assert self._file is not None, "sealed twice"
        draft = self._draft
        snapshot = Snapshot(draft.last, draft.time_ms, draft.membership, self.size, self.digest())
        self._file.pwritev([snapshothead.encode(self._cluster_id, snapshot)], 0)
        self._file.datasync()
        self.close()
        return snapshot

    def drop(self) -> None:
        """Remove what there is of it; does nothing once it is sealed."""
        if self._file is not None:
            self.close()
            self._fs.unlink(self._path)

    def close(self) -> None:
        """Let go of the file, however far it is."""
        if self._file is not None:
            self._file.close()
            self._file = None


class NewFile(Part):
    """A snapshot file that gets its name once it is whole.

    Parameters
    ----------
    fs
        Its directory.
    name
        What it is to be called; a file of that name is replaced in the end.
    beside
        What it is called until then; there must be none.
    """

    SYNC_EVERY_BYTES = 8 << 20
    """So that the last sync does not take long; no log waits here."""

    def __init__(self, fs: FileSystem, name: str, beside: str, cluster_id: int, draft: Draft) -> None:
        super().__init__(fs, beside, cluster_id, draft)
        self._name = name

    def finish(self) -> Snapshot:
        """Make it durable under its name."""
        snapshot = self.seal()
        self._fs.rename(self._path, self._name)
        self._fs.sync_directory()
        return snapshot
