"""A snapshot in a file of its own, as ``zraft snapshot save`` writes it: opened, and checked as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from zraft.disk import OsFileSystem
from zraft.errors import NotFound, StorageError
from zraft.raft.types import Snapshot
from zraft.seams import File
from zraft.storage import failures
from zraft.storage.snapshotfile import examine, pieces


class Saved(msgspec.Struct, frozen=True):
    """An open snapshot file, found intact."""

    path: Path
    cluster_id: int
    """Of the cluster that it was saved from."""
    snapshot: Snapshot
    file: File

    def pieces(self) -> Iterator[bytes]:
        """Yield its data."""
        return pieces(self.file, self.snapshot)


@contextmanager
def opened(path: Path) -> Iterator[Saved]:
    """Give a snapshot file for the length of the block, having read and checked all of it.

    Raises
    ------
    NotFound
        There is no such file.
    StorageError
        It is damaged, or cannot be read; also when the block finds its content damaged.
    """
    if not path.is_file():
        raise NotFound(f"{path}: no such file; zraft snapshot save writes one")
    with failures.spoken_of("read", str(path)):
        file = OsFileSystem(path.parent, writable=False).open(path.name)
        try:
            yield Saved(path, *_examined(path, file), file)
        finally:
            file.close()


def _examined(path: Path, file: File) -> tuple[int, Snapshot]:
    try:
        return examine(file)
    except ValueError as error:
        raise StorageError(f"{path}: damaged: {error}; use another copy, or save the cluster anew") from error
