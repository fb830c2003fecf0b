"""One snapshot file, wherever it lies: read and checked as a whole, or written beside and renamed; laid out as in a data directory."""

import hashlib
from collections.abc import Iterator

from zraft.raft.messages import CHUNK_BYTES_MAX
from zraft.raft.types import Snapshot
from zraft.seams import Draft, File, FileSystem
from zraft.storage import snapshothead

PIECE_BYTES = CHUNK_BYTES_MAX
"""How much is read at a time."""
SYNC_EVERY_BYTES = 8 << 20
"""How much is written between two syncs, so that the last one does not take long."""


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


class NewFile:
    """A snapshot file in the making: under a name of its own until it is whole and durable.

    Parameters
    ----------
    fs
        Its directory.
    name
        What it is to be called; a file of that name is replaced in the end.
    beside
        What it is called until then; there must be none.
    """

    def __init__(self, fs: FileSystem, name: str, beside: str, cluster_id: int, draft: Draft) -> None:
        self.size = 0
        """Bytes of data so far."""
        self._fs, self._name, self._beside = fs, name, beside
        self._cluster_id, self._draft = cluster_id, draft
        self._start = snapshothead.data_offset(draft.membership)
        self._digest = hashlib.sha256()
        self._unsynced = 0
        self._file: File | None = fs.open(beside, create=True)

    def write(self, data: bytes) -> None:
        """Add `data`."""
        assert self._file is not None, "written to after its end"
        self._file.pwritev([data], self._start + self.size)
        self._digest.update(data)
        self.size += len(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNC_EVERY_BYTES:
            self._file.datasync()
            self._unsynced = 0

    def finish(self) -> Snapshot:
        """Make it durable under its name; its head is written last, so that nothing cut off looks whole."""
        assert self._file is not None, "finished twice"
        draft = self._draft
        snapshot = Snapshot(draft.last, draft.time_ms, draft.membership, self.size, self._digest.digest())
        self._file.pwritev([snapshothead.encode(self._cluster_id, snapshot)], 0)
        self._file.datasync()
        self._close()
        self._fs.rename(self._beside, self._name)
        self._fs.sync_directory()
        return snapshot

    def drop(self) -> None:
        """Remove what there is of it; does nothing once it is finished."""
        if self._file is not None:
            self._close()
            self._fs.unlink(self._beside)

    def _close(self) -> None:
        assert self._file is not None, "closed twice"
        self._file.close()
        self._file = None
