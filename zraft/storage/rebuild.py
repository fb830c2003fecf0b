"""Writes a whole data directory from a snapshot, as if its node had got the snapshot from a leader and nothing since."""

import hashlib
from collections.abc import Callable, Iterable, Iterator

from zraft.errors import StorageError
from zraft.raft.messages import CHUNK_BYTES_MAX, InstallSnapshot
from zraft.raft.ready import Write
from zraft.raft.types import HardState, NodeId, Snapshot
from zraft.seams import Draft, FileSystem, Stored
from zraft.storage.wal import Storage


def measured(draft: Draft, pieces: Iterable[bytes]) -> Snapshot:
    """Return the snapshot that `pieces` make, having gone through them once."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return Snapshot(draft.last, draft.time_ms, draft.membership, size, digest.digest())


def lay_down(
    fs: FileSystem,
    snapshot: Snapshot,
    pieces: Callable[[], Iterable[bytes]],
    *,
    cluster_id: int,
    node: NodeId,
    disk_id: str,
    segment_bytes: int,
) -> None:
    """Fill an empty data directory with `snapshot`, and a log that begins behind it, in the snapshot's term.

    All of it is durable in the end but the directory's own name. The node has voted for nobody.

    Parameters
    ----------
    fs
        The directory; it is made if need be, and its lock is left taken.
    snapshot
        As `measured` returns it.
    pieces
        Gives its bytes, however they are cut.
    cluster_id, node, disk_id
        Whose the directory is to be. The membership of `snapshot` should know the node by that `disk_id`.
    segment_bytes
        Size of the log's first file.

    Raises
    ------
    StorageError
        The directory is not empty, or the disk failed.
    """
    storage = Storage.open(
        fs, cluster_id=cluster_id, node=node, segment_bytes=segment_bytes, new_disk_id=lambda: disk_id
    )
    try:
        if not storage.recovered.blank:
            raise StorageError(f"{fs}: holds a log already; move it away, or name another directory")
        offset = 0
        for data in _cut(pieces()):
            storage.receive(InstallSnapshot(snapshot.last.term, snapshot, offset, data))
            offset += len(data)
        if storage.take_news()[-1:] != [Stored(snapshot, snapshot.size)]:
            raise StorageError(
                f"{fs}: the snapshot that was to be written came out different; nothing uses it: try again"
            )
        term = snapshot.last.term
        storage.write([Write(1, term, HardState(term), begins_after=snapshot)])
    finally:
        storage.close()


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces as a leader sends them."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= CHUNK_BYTES_MAX:
            yield bytes(waiting[:CHUNK_BYTES_MAX])
            del waiting[:CHUNK_BYTES_MAX]
    if waiting:
        yield bytes(waiting)
