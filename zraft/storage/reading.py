"""Reads the log of a data directory that belongs to a node: as recovery does, and without taking or changing anything."""

from zraft.errors import NotFound
from zraft.seams import FileSystem
from zraft.storage import failures
from zraft.storage.header import SECTOR_BYTES, Header, decode
from zraft.storage.recovery import Recovery
from zraft.storage.replay import Replay
from zraft.storage.segments import serial_of


def read_log(fs: FileSystem) -> Replay:
    """Return what the log in a data directory adds up to, whosever it is.

    Parameters
    ----------
    fs
        The data directory; nothing is written to it, so it may be one that can only be read.

    Raises
    ------
    NotFound
        There is no log in it.
    StorageError
        It is damaged, or cannot be read.
    """
    with failures.spoken_of("read", str(fs)):
        names = [name for name in fs.list() if serial_of(name) is not None]
        if not names:
            raise NotFound(f"{fs}: no log in it; name the data directory of a node (storage.directory/NODE)")
        owner = _owner(fs, names)
        cluster_id, node = (owner.cluster_id, owner.node) if owner is not None else (0, "NODE")
        return Recovery(fs, cluster_id, node, _silent).run().replay


def _owner(fs: FileSystem, names: list[str]) -> Header | None:
    """Return an intact header of the newest segment that has one; None where recovery will say what is wrong."""
    for name in reversed(names):
        file = fs.open(name)
        try:
            header = decode(file.pread(SECTOR_BYTES, 0))
        finally:
            file.close()
        if isinstance(header, Header):
            return header
    return None


def _silent(line: str) -> None:
    """Show no progress."""
