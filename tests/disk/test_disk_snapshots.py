"""Snapshots of a node's own: a real child writes them beside the real log, and the thread takes them over."""

import ctypes
import errno
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from awaiting import alive, eventually

from zraft import hugepages
from zraft.disk import OsFileSystem
from zraft.diskthread import DiskThread
from zraft.errors import StorageError
from zraft.raft.messages import InstallSnapshot
from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, EntryKind, Membership
from zraft.seams import DiskNews, Draft, Fetched, Saved, Stored, Unsaved
from zraft.storage import Storage
from zraft.storage.snapshots import SAVING, SnapshotFiles

CLUSTER_ID = 0xC0FFEE
MEMBERS = Membership(("n1", "n2"), disk_ids={"n1": "d1"})
PIECES = [bytes([number]) * 100_000 for number in range(30)]
PATIENCE_S = 20


def drafted(index: int) -> Draft:
    return Draft(EntryId(1, index), index * 10, MEMBERS)


class Disk:
    """A disk thread over the log in a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        fs = OsFileSystem(place)
        self.storage = Storage.open(
            fs, cluster_id=CLUSTER_ID, node="n1", segment_bytes=1 << 16, new_disk_id=lambda: "ab" * 16
        )
        self.thread = DiskThread(self.storage)
        self.part = place / SAVING

    def write(self, index: int) -> None:
        """Write an entry, and return when it is durable."""
        self.thread.submit(Write(index, 1, entries=[Entry(1, index, EntryKind.COMMAND, 0, b"x")]))
        while (done := self.thread.completed()) != [index]:
            assert not done
            self.awaited()

    def news(self) -> DiskNews:
        """Wait for the next news, as the node's loop does."""
        while not (news := self.thread.news()):
            self.awaited()
            assert self.thread.completed() == []
        (only,) = news
        return only

    def awaited(self) -> None:
        """Wait until there is something to hear."""
        assert select.select([self.thread], [], [], PATIENCE_S)[0], "nobody woke us"

    def child(self) -> int:
        """Return the process that writes."""
        assert self.thread._child is not None
        return self.thread._child[1].pid

    def close(self) -> None:
        self.thread.close()
        self.storage.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return a pipe by name: to open it for reading is to wait until somebody opens it for writing."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def held_up(gate: Path, pieces: Iterable[bytes] = PIECES) -> Callable[[], Iterator[bytes]]:
    """Return a state whose last piece comes when `gate` is opened."""

    def state() -> Iterator[bytes]:
        yield from pieces
        yield gate.read_bytes()

    return state


def test_it_is_the_same_to_the_byte_as_one_that_is_written_in_steps(disk: Disk, tmp_path: Path) -> None:
    disk.thread.save(drafted(7), lambda: PIECES)
    saved = disk.news()
    fs = OsFileSystem(tmp_path / "stepped")
    fs.mkdir("")
    files = SnapshotFiles(fs, CLUSTER_ID)
    files.save(drafted(7), PIECES)
    while files.step():
        pass
    assert [saved] == files.take_news()
    (file,) = (disk.place / "snapshots").iterdir()
    (other,) = (tmp_path / "stepped" / "snapshots").iterdir()
    assert file.name == other.name
    assert file.read_bytes() == other.read_bytes()
    assert isinstance(saved, Saved)
    assert b"".join(disk.thread.pieces(saved.snapshot)) == b"".join(PIECES)
    while select.select([disk.thread], [], [], 0)[0]:  # A bell may come behind what it tells of; then no other does.
        assert disk.thread.completed() == disk.thread.news() == []


def test_all_else_goes_on_beside_it(disk: Disk, gate: Path) -> None:
    disk.thread.save(drafted(1), lambda: PIECES)
    saved = disk.news()
    assert isinstance(saved, Saved)
    disk.thread.save(drafted(3), held_up(gate))
    eventually("it is being written", disk.part.exists)
    disk.write(1)
    disk.write(2)
    piece = InstallSnapshot(1, saved.snapshot, 0)
    disk.thread.fetch("n2", piece)
    fetched = disk.news()
    assert isinstance(fetched, Fetched) and fetched.message is not None and fetched.message.data
    disk.thread.receive(InstallSnapshot(1, saved.snapshot, 0, PIECES[0]))
    assert disk.news() == Stored(saved.snapshot, len(PIECES[0]))
    assert alive(disk.child())
    gate.write_bytes(b"")
    later = disk.news()
    assert isinstance(later, Saved) and later.snapshot.last == EntryId(1, 3)
    assert disk.storage.snapshots.kept == [saved.snapshot, later.snapshot]


def test_memory_is_made_ready_for_the_next_fork_once_a_child_has_ended(
    disk: Disk, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(hugepages, "begin", lambda: begun.append(alive(pid)))
    disk.thread.save(drafted(3), held_up(gate))
    pid = disk.child()
    disk.write(1)
    assert begun == [], "while both share it, it is of no use"
    gate.write_bytes(b"")
    assert isinstance(disk.news(), Saved)
    assert begun == [False]


def test_it_counts_behind_the_writes_that_came_before_it(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may stand for entries that the cluster has committed, and that are on their way to the log here."""
    order: list[str] = []
    write, keep = disk.storage.write, disk.storage.keep
    monkeypatch.setattr(disk.storage, "write", lambda writes: (order.append("write"), write(writes)))
    monkeypatch.setattr(disk.storage, "keep", lambda *given: (order.append("keep"), keep(*given)))
    disk.thread.save(drafted(1), lambda: PIECES)
    pid = disk.child()
    eventually("the child has ended", lambda: not alive(pid))
    disk.thread.submit(Write(1, 1, entries=[Entry(1, 1, EntryKind.COMMAND, 0, b"x" * 9_000)]))
    heard: list[DiskNews] = []
    while not heard:
        disk.awaited()
        disk.thread.completed()
        heard = disk.thread.news()
    assert order == ["write", "keep"]


def test_one_that_somebody_kills_leaves_nothing_and_the_next_is_kept(disk: Disk, gate: Path) -> None:
    disk.thread.save(drafted(3), held_up(gate))
    eventually("it is being written", disk.part.exists)
    os.kill(disk.child(), signal.SIGKILL)
    assert disk.news() == Unsaved("the process that wrote it was ended by SIGKILL")
    assert [*(disk.place / "snapshots").iterdir()] == []
    disk.write(1)
    disk.thread.save(drafted(4), lambda: PIECES)
    assert isinstance(disk.news(), Saved)


def test_where_no_process_can_be_made_nothing_is_saved_and_all_else_goes_on(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fork", refuse)
        disk.thread.save(drafted(3), lambda: PIECES)
    assert disk.news() == Unsaved("no process can be made for it: Resource temporarily unavailable")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    disk.write(1)
    disk.thread.save(drafted(3), lambda: PIECES)
    assert isinstance(disk.news(), Saved)


def test_a_machine_that_cannot_be_written_ends_the_node_with_its_own_words(disk: Disk) -> None:
    def broken() -> Iterator[bytes]:
        yield b"so far"
        raise ValueError("no snapshot of this")

    disk.thread.save(drafted(3), broken)
    with pytest.raises(StorageError, match="a snapshot can't be written: ValueError: no snapshot of this; correct"):
        disk.news()


def test_closing_ends_it_and_the_next_start_removes_what_it_left(tmp_path: Path, gate: Path) -> None:
    disk = Disk(tmp_path / "data")
    disk.thread.save(drafted(3), held_up(gate))
    eventually("it is being written", disk.part.exists)
    pid = disk.child()
    disk.close()
    assert not Path(f"/proc/{pid}").exists()
    disk.storage._fs.close()  # type: ignore[attr-defined] # The lock would be this process's for good.
    again = Disk(tmp_path / "data")
    assert not again.part.exists()
    again.close()


# -- a disk that is full ----------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk of 2 MiB."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = tmp_path / "small"
    path.mkdir()
    if libc.mount(b"none", os.fsencode(path), b"tmpfs", ctypes.c_ulong(0), b"size=2m") != 0:
        pytest.skip(f"A FULL DISK IS NOT TESTED: only root can make a small one: {os.strerror(ctypes.get_errno())}")
    yield path
    assert libc.umount2(os.fsencode(path), 0) == 0


def test_a_full_disk_stops_the_node_and_one_with_space_again_starts_it(small: Path) -> None:
    disk = Disk(small / "data")
    disk.write(1)
    disk.thread.save(drafted(1), lambda: PIECES)
    with pytest.raises(
        StorageError, match="cannot keep a snapshot in .*small/data: No space left on device; free some"
    ):
        disk.news()
    with pytest.raises(StorageError, match="No space left on device"):
        disk.thread.completed()
    assert disk.part.exists(), "which is what fills the disk"
    disk.close()
    disk.storage._fs.close()  # type: ignore[attr-defined]
    again = Disk(small / "data")
    assert not again.part.exists()
    assert [entry.index for entry in again.storage.recovered.entries] == [1]
    again.thread.save(drafted(1), lambda: PIECES[:5])
    assert isinstance(again.news(), Saved)
    again.close()
    again.storage._fs.close()  # type: ignore[attr-defined]
