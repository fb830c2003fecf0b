"""Snapshot files: power lost at every operation while they are written, and transfers that bring something else."""

import errno
import hashlib
import os
import random
import re
from collections.abc import Iterator
from itertools import count

import msgspec
import pytest
from crashfs import VARIANTS, CrashFS, PowerLoss
from logmodel import CLUSTER_ID, open_log

from zraft.errors import StorageError
from zraft.raft.messages import InstallSnapshot
from zraft.raft.types import EntryId, Membership, Snapshot
from zraft.seams import Draft, Fetched, Saved, Stored, Unsaved
from zraft.storage.snapshots import SAVING, SnapshotFiles, file_name

MEMBERS = Membership(("n1", "n2", "n3"), disk_ids={"n1": "d1"})
BYTES = bytes(range(256)) * 9
PIECE = 700
SOAK = bool(os.environ.get("ZRAFT_SOAK"))
"""Every bit, where otherwise some are tried."""


def drafted(index: int) -> Draft:
    return Draft(EntryId(2, index), index * 10, MEMBERS)


def named(index: int, data: bytes = BYTES) -> Snapshot:
    draft = drafted(index)
    return Snapshot(draft.last, draft.time_ms, MEMBERS, len(data), hashlib.sha256(data).digest())


def opened(fs: CrashFS) -> SnapshotFiles:
    files = SnapshotFiles(fs, CLUSTER_ID, piece_bytes=PIECE)
    files.open()
    return files


def cut(data: bytes) -> list[bytes]:
    return [data[offset : offset + PIECE] for offset in range(0, len(data), PIECE)]


class Run:
    """A node takes a snapshot, is sent another, and takes a third; `PowerLoss` may end it anywhere.

    Its own are written in steps, or all at once and then taken over, as from a process.
    """

    def __init__(self, fs: CrashFS, *, in_steps: bool) -> None:
        self.fs = fs
        self.in_steps = in_steps
        self.told: list[Snapshot] = []
        """What the files have told to be durable."""

    def live(self) -> None:
        files = opened(self.fs)
        self._save(files, 3)
        for number, piece in enumerate(cut(BYTES)):
            files.receive(InstallSnapshot(2, named(5), number * PIECE, piece))
            stored = files.take_news()[-1]
            if stored == Stored(named(5), len(BYTES)):
                self.told.append(named(5))
        self._save(files, 8)
        files.drop_before(named(5))
        self.told.remove(named(3))
        while files.step():
            pass
        files.close()

    def _save(self, files: SnapshotFiles, index: int) -> None:
        if self.in_steps:
            save(files, index)
        else:
            files.write(drafted(index), iter(cut(BYTES)))
            files.keep(drafted(index), None)
        assert files.take_news() == [Saved(named(index))]
        self.told.append(named(index))


def save(files: SnapshotFiles, index: int) -> None:
    files.save(drafted(index), iter(cut(BYTES)))
    while files.step():
        pass


def every_crash(*, in_steps: bool) -> list[Run]:
    runs = []
    for point in count(1):
        run = Run(CrashFS(), in_steps=in_steps)
        run.fs.crash_at = point
        try:
            run.live()
        except PowerLoss:
            runs.append(run)
        else:
            return runs
    raise AssertionError("a script without an end")


RUNS = every_crash(in_steps=True) + every_crash(in_steps=False)


def test_the_script_passes_enough_places_to_crash_at() -> None:
    assert len(RUNS) > 80


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_was_told_to_be_durable_is_whole_wherever_the_power_goes(variant: str) -> None:
    for number, run in enumerate(RUNS):
        files = opened(run.fs.after_power_loss(variant, number))
        there = {snapshot.last.index for snapshot in files.kept if files.is_intact(snapshot)}
        assert {snapshot.last.index for snapshot in run.told} <= there, f"lost at crash point {number + 1}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_has_its_name_is_whole_wherever_the_power_goes(variant: str) -> None:
    for number, run in enumerate(RUNS):
        files = opened(run.fs.after_power_loss(variant, number))
        broken = [snapshot.last.index for snapshot in files.kept if not files.is_intact(snapshot)]
        assert not broken, f"named before it was whole, at crash point {number + 1}"
        assert not files.sift()


def test_no_flipped_bit_and_no_truncation_of_a_snapshot_is_taken_for_true() -> None:
    fs = CrashFS()
    save(opened(fs), 3)
    name = f"snapshots/{file_name(named(3).last)}"
    whole = bytes(fs.visible[name].visible)
    assert opened(fs).kept == [named(3)]
    bits = range(8 * len(whole))
    flips = bits if SOAK else random.Random(3).sample(bits, 2_000)
    spoiled = [whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :] for bit in flips]
    for content in [*spoiled, *(whole[:size] for size in range(0, len(whole), 1 if SOAK else 7)), whole + b"x"]:
        damaged = fs.after_kill()
        damaged.visible[name].visible[:] = content
        files = opened(damaged)
        assert list(files.sift()) == [file_name(named(3).last)]
        assert files.kept == []


def test_a_transfer_that_brings_other_bytes_begins_anew_and_leaves_nothing() -> None:
    fs = CrashFS()
    files = opened(fs)
    wanted = named(5)
    for attempt in (bytes(len(BYTES)), BYTES):
        for number, piece in enumerate(cut(attempt)):
            files.receive(InstallSnapshot(2, wanted, number * PIECE, piece))
        news = files.take_news()
        assert news[-1] == Stored(wanted, 0 if attempt != BYTES else len(BYTES))
    assert files.kept == [wanted]
    assert len(fs.list("snapshots")) == 1


@pytest.mark.parametrize(
    "piece",
    [InstallSnapshot(2, named(5), PIECE, BYTES[PIECE : 2 * PIECE]), InstallSnapshot(2, named(5), 2 * PIECE, b"x")],
    ids=["of a transfer that was not begun", "with a gap before it"],
)
def test_a_piece_that_does_not_follow_begins_anew(piece: InstallSnapshot) -> None:
    files = opened(CrashFS())
    if piece.offset > PIECE:
        files.receive(InstallSnapshot(2, named(5), 0, BYTES[:PIECE]))
        files.take_news()
    files.receive(piece)
    assert files.take_news() == [Stored(named(5), 0)]


def test_a_piece_that_is_asked_for_is_the_one_that_was_written() -> None:
    files = opened(CrashFS())
    save(files, 3)
    files.take_news()
    asked = InstallSnapshot(2, named(3), PIECE)
    files.fetch("n2", asked)
    files.fetch("n3", InstallSnapshot(2, named(4), 0))
    with_data = msgspec.structs.replace(asked, data=BYTES[PIECE : 2 * PIECE])
    assert files.take_news() == [Fetched("n2", with_data, 2), Fetched("n3", None, 2)]


def test_a_snapshot_that_the_log_has_left_behind_while_it_was_written_goes_again() -> None:
    """The leader's was installed meanwhile: the log begins behind that one, and nothing leads there from the older one."""
    fs = CrashFS()
    files = opened(fs)
    files.save(drafted(3), iter(cut(BYTES)))
    for number, piece in enumerate(cut(BYTES)):
        files.step()
        files.receive(InstallSnapshot(2, named(5), number * PIECE, piece))
    files.drop_before(named(5))
    while files.step():
        pass
    assert Saved(named(3)) in files.take_news(), "whoever began it hears of its end"
    while files.step():
        pass
    assert files.kept == [named(5)]
    assert len(fs.list("snapshots")) == 1


# -- written by a process, and taken over ------------------------------------------------------------------------------


def contents(fs: CrashFS) -> dict[str, bytes]:
    names = [f"snapshots/{name}" for name in fs.list("snapshots")]
    return {name: fs.open(name).pread(1 << 20, 0) for name in names}


@pytest.mark.parametrize("data", [BYTES, b""], ids=["some", "none"])
def test_whoever_writes_it_a_snapshot_is_the_same_to_the_byte(data: bytes) -> None:
    stepped, whole = CrashFS(), CrashFS()
    files = opened(stepped)
    files.save(drafted(3), iter(cut(data)))
    while files.step():
        pass
    taken_over = opened(whole)
    taken_over.write(drafted(3), iter(cut(data)))
    assert taken_over.kept == [], "it does not count yet"
    taken_over.keep(drafted(3), None)
    assert contents(stepped) == contents(whole)
    assert files.kept == taken_over.kept == [named(3, data)]


@pytest.mark.parametrize("written", [0, 1, 3], ids=["nothing", "the beginning", "some"])
def test_what_a_process_has_left_that_was_ended_is_removed_and_the_next_one_is_kept(written: int) -> None:
    class Ended(BaseException):
        pass

    def until_ended() -> Iterator[bytes]:
        yield from cut(BYTES)[:written]
        raise Ended

    fs = CrashFS()
    files = opened(fs)
    if written:
        with pytest.raises(Ended):
            files.write(drafted(3), until_ended())
        assert fs.exists(SAVING)
    files.keep(drafted(3), Unsaved("it was ended"))
    assert files.take_news() == [Unsaved("it was ended")]
    assert not fs.exists(SAVING)
    files.write(drafted(4), cut(BYTES))
    files.keep(drafted(4), None)
    assert files.take_news() == [Saved(named(4))]


def test_a_process_that_the_disk_has_refused_something_fails_the_log_for_good() -> None:
    storage = open_log(CrashFS())
    refused = "cannot keep a snapshot in .*: No space left on device; free some space, and start the node again"
    for _ in range(2):
        with pytest.raises(StorageError, match=refused):
            storage.keep(drafted(3), OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(StorageError, match=refused):
        storage.write([])


@pytest.mark.parametrize(
    ("offset", "data", "why"),
    [
        (512 + 3, b"!", "the checksum of its head does not match"),
        (1024 + len(BYTES), b"!", "3329 bytes where 3328 belong"),
        (0, bytes(512), "no snapshot of format 1"),
    ],
    ids=["damaged", "longer", "blank"],
)
def test_a_file_that_is_not_what_its_writer_says_is_not_kept(offset: int, data: bytes, why: str) -> None:
    fs = CrashFS()
    files = opened(fs)
    files.write(drafted(3), cut(BYTES))
    fs.open(SAVING).pwritev([data], offset)
    with pytest.raises(StorageError, match=re.escape(f"{SAVING}: written just now, and not there: {why}")):
        files.keep(drafted(3), None)
    assert files.kept == []


def test_another_snapshot_than_was_asked_for_is_not_kept() -> None:
    files = opened(CrashFS())
    files.write(drafted(5), cut(BYTES))
    with pytest.raises(AssertionError, match="another snapshot than"):
        files.keep(drafted(6), None)
    assert files.kept == []


def test_one_that_the_log_has_left_behind_while_a_process_wrote_it_goes_again() -> None:
    fs = CrashFS()
    files = opened(fs)
    files.write(drafted(3), cut(BYTES))
    for number, piece in enumerate(cut(BYTES)):
        files.receive(InstallSnapshot(2, named(5), number * PIECE, piece))
    files.drop_before(named(5))
    files.keep(drafted(3), None)
    assert Saved(named(3)) in files.take_news(), "whoever began it hears of its end"
    while files.step():
        pass
    assert files.kept == [named(5)]
    assert len(fs.list("snapshots")) == 1
