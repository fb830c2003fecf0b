"""Snapshot files: written beside, synced, renamed; read back whole to restore, or in pieces for a follower (paper §7).

A snapshot of the node's own is written by a process of its own (`SnapshotFiles.write`), and taken over from it (`keep`). In a
simulator, which has no processes, the same bytes are written a step at a time (`save`, `step`). All else happens on the thread
that writes the log, between two writes and a piece at a time, so that no write waits long. A snapshot counts from the moment when
its file has its name durably; whatever a crash leaves under another name is removed.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator

import msgspec

from zraft.errors import StorageError
from zraft.raft.messages import CHUNK_BYTES_MAX, InstallSnapshot
from zraft.raft.types import EntryId, Index, NodeId, Snapshot
from zraft.seams import DiskNews, Draft, Fetched, File, FileSystem, Saved, Stored, Unsaved
from zraft.storage import snapshotfile, snapshothead
from zraft.storage.snapshotfile import Part

DIRECTORY = "snapshots"
SAVING = f"{DIRECTORY}/saving.part"
"""The node's own snapshot, while it is written."""
ARRIVING = f"{DIRECTORY}/arriving.part"
"""The leader's, while it comes."""
PIECE_BYTES = CHUNK_BYTES_MAX
"""How much of a snapshot goes into one message."""
_NAME = re.compile(r"([0-9]{16,20})-([1-9][0-9]{0,19})\.snap")


def file_name(last: EntryId) -> str:
    """Return the name of the snapshot that ends at `last`."""
    return f"{last.index:016d}-{last.term}.snap"


class SnapshotFiles:
    """The snapshots of one data directory. Not for two threads at once.

    Parameters
    ----------
    fs
        The data directory.
    cluster_id
        Whose it is.
    piece_bytes
        How much of a snapshot goes into one message.

    Attributes
    ----------
    kept : list of Snapshot
        Those that are there, oldest first.
    piece_bytes : int
        As given; may be changed at any time.
    """

    def __init__(self, fs: FileSystem, cluster_id: int, *, piece_bytes: int | None = None) -> None:
        self.kept: list[Snapshot] = []
        self._fs = fs
        self._cluster_id = cluster_id
        self.piece_bytes = piece_bytes or PIECE_BYTES
        self._saving: tuple[Part, Iterator[bytes]] | None = None
        """The snapshot of the node's own that is being written, and what is left of it."""
        self._arriving: tuple[Snapshot, Part] | None = None
        """The leader's, as far as it has come."""
        self._needed_from: Index = 0
        """Snapshots that end before this are of no use: the log begins there."""
        self._news: list[DiskNews] = []
        self._damaged: dict[str, str] = {}
        """Files that can't be used, and why."""
        self._superfluous: list[str] = []
        """Files to remove."""

    def __str__(self) -> str:
        return f"{self._fs}/{DIRECTORY}"

    def open(self) -> None:
        """Find what is there; raises `StorageError` for another cluster's."""
        names = self._fs.list(DIRECTORY) if self._fs.exists(DIRECTORY) else []
        for name in names:
            if name.endswith(".part"):
                self._fs.unlink(f"{DIRECTORY}/{name}")
            elif _NAME.fullmatch(name):
                self._find(name)
        self.kept.sort(key=lambda snapshot: snapshot.last.index)
        if names:
            # Whoever gave the last one its name may have been killed before that was durable; the log is to begin behind it.
            self._fs.sync_directory(DIRECTORY)

    def _find(self, name: str) -> None:
        file = self._fs.open(f"{DIRECTORY}/{name}")
        try:
            cluster_id, snapshot = snapshothead.read(file)
        except ValueError as error:
            self._damaged[name] = str(error)
            return
        finally:
            file.close()
        if cluster_id != self._cluster_id:
            raise StorageError(f"{self}/{name}: belongs to cluster {cluster_id:016x}; move it away")
        if file_name(snapshot.last) == name:
            self.kept.append(snapshot)
        else:
            self._damaged[name] = f"it is the snapshot of all up to entry {snapshot.last.index}"

    # -- reading -------------------------------------------------------------------------------------------------------

    def is_intact(self, snapshot: Snapshot) -> bool:
        """Whether the file holds what was written; reads all of it."""
        digest = hashlib.sha256()
        for piece in self.pieces(snapshot):
            digest.update(piece)
        return digest.digest() == snapshot.sha256

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the bytes of a snapshot that is kept, as they are."""
        file, _ = self._open(snapshot)
        try:
            yield from snapshotfile.pieces(file, snapshot)
        finally:
            file.close()

    def sift(self) -> dict[str, str]:
        """Drop snapshots from `kept`, newest first, until one is intact; keep what is damaged aside, and say of each why."""
        while self.kept and not self.is_intact(self.kept[-1]):
            self._damaged[file_name(self.kept.pop().last)] = "its bytes are not those that were written"
        for name in self._damaged:
            self._fs.rename(f"{DIRECTORY}/{name}", f"{DIRECTORY}/{name}.damaged")
        if self._damaged:
            self._fs.sync_directory(DIRECTORY)
        damaged, self._damaged = self._damaged, {}
        return damaged

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        """Read a piece for a follower; `take_news` has it."""
        message = None
        if wanted.snapshot in self.kept:
            file, start = self._open(wanted.snapshot)
            try:
                size = min(self.piece_bytes, wanted.snapshot.size - wanted.offset)
                message = msgspec.structs.replace(wanted, data=file.pread(size, start + wanted.offset))
            finally:
                file.close()
        self._news.append(Fetched(target, message, wanted.term))

    def _open(self, snapshot: Snapshot) -> tuple[File, int]:
        file = self._fs.open(f"{DIRECTORY}/{file_name(snapshot.last)}")
        return file, snapshothead.data_offset(snapshot.membership)

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, draft: Draft, pieces: Iterable[bytes]) -> None:
        """Write a whole snapshot of the node's own, durably, for `keep`. For a forked process: nothing here changes."""
        file = self._part(SAVING, draft)
        for piece in pieces:
            file.write(piece)
        file.seal()

    def keep(self, draft: Draft, failure: Unsaved | Exception | None) -> None:
        """Take over what a process has written by `write`; `take_news` has it.

        Parameters
        ----------
        failure
            Why there is nothing to take over: what is left of the file is removed if nothing is wrong with the disk, else it
            is raised.
        """
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            if self._fs.exists(SAVING):
                self._fs.unlink(SAVING)
            self._news.append(failure)
            return
        self._news.append(Saved(self._keep(SAVING, self._written(draft))))

    def _written(self, draft: Draft) -> Snapshot:
        """Return what the file is that was written for `draft`, by its head and its size."""
        file = self._fs.open(SAVING)
        try:
            cluster_id, snapshot = snapshothead.read(file)
        except ValueError as error:
            raise StorageError(f"{self._fs}/{SAVING}: written just now, and not there: {error}") from error
        finally:
            file.close()
        found = cluster_id, Draft(snapshot.last, snapshot.time_ms, snapshot.membership)
        assert found == (self._cluster_id, draft), f"another snapshot than {draft}: {found}"
        return snapshot

    def save(self, draft: Draft, pieces: Iterable[bytes]) -> None:
        """Begin to write a snapshot of the node's own; `step` goes on with it, and `take_news` tells of its end."""
        assert self._saving is None, "two snapshots at a time"
        self._saving = (self._part(SAVING, draft), iter(pieces))

    def step(self) -> bool:
        """Do the next bit of work, some milliseconds at most; True while there is more."""
        if self._superfluous:
            self._fs.unlink(self._superfluous.pop(0))
            return True
        if self._saving is None:
            return False
        file, pieces = self._saving
        piece = next(pieces, None)
        if piece is not None:
            file.write(piece)
            return True
        self._saving = None
        self._news.append(Saved(self._keep(SAVING, file.seal())))
        return False

    def receive(self, piece: InstallSnapshot) -> None:
        """Take a piece of the leader's; `take_news` tells how much is there."""
        snapshot = piece.snapshot
        if piece.offset == 0:
            self._drop_arriving()
            draft = Draft(snapshot.last, snapshot.time_ms, snapshot.membership)
            self._arriving = (snapshot, self._part(ARRIVING, draft))
        if self._arriving is None or self._arriving[0] != snapshot or self._arriving[1].size != piece.offset:
            self._drop_arriving()
            self._news.append(Stored(snapshot, 0))
            return
        file = self._arriving[1]
        file.write(piece.data)
        if file.size == snapshot.size:
            self._arriving = None
            if file.digest() == snapshot.sha256:
                self._keep(ARRIVING, file.seal())
            else:
                file.drop()
                self._news.append(Stored(snapshot, 0))
                return
        self._news.append(Stored(snapshot, file.size))

    def _drop_arriving(self) -> None:
        if self._arriving is not None:
            self._arriving[1].drop()
            self._arriving = None

    def _keep(self, path: str, snapshot: Snapshot) -> Snapshot:
        """Give a file that is whole the name that counts, durably."""
        self._fs.rename(path, f"{DIRECTORY}/{file_name(snapshot.last)}")
        self._fs.sync_directory(DIRECTORY)
        if snapshot.last.index < self._needed_from:
            self._superfluous.append(f"{DIRECTORY}/{file_name(snapshot.last)}")
        elif snapshot not in self.kept:
            self.kept = sorted([*self.kept, snapshot], key=lambda each: each.last.index)
        return snapshot

    def drop_before(self, snapshot: Snapshot) -> None:
        """Remove those that are older than `snapshot`, behind which the log begins; `step` does it."""
        self._needed_from = snapshot.last.index
        old = [each for each in self.kept if each.last.index < snapshot.last.index]
        self.kept = self.kept[len(old) :]
        self._superfluous += [f"{DIRECTORY}/{file_name(each.last)}" for each in old]

    def _part(self, path: str, draft: Draft) -> Part:
        if not self._fs.exists(DIRECTORY):
            self._fs.mkdir(DIRECTORY)
            self._fs.sync_directory()
        return Part(self._fs, path, self._cluster_id, draft)

    def take_news(self) -> list[DiskNews]:
        """Return what has come to an end since the last call."""
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """Let go of the files; what is not whole is removed by the next `open`."""
        for file in (self._saving and self._saving[0], self._arriving and self._arriving[1]):
            if file is not None:
                file.close()
        self._saving = self._arriving = None
