"""The files of an event file against a plain list; crashes, cut-off lines, a disk that is full."""

import errno

import pytest
from crashfs import VARIANTS, CrashFS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.eventfile.ring import Cursor, Ring

FILE_BYTES = 64
FILES_MAX = 3


def ring(fs: CrashFS, name: str = "events") -> Ring:
    return Ring(fs, name, file_bytes=FILE_BYTES, files_max=FILES_MAX)


def append(ring: Ring, lines: list[bytes]) -> None:
    while lines:
        count = ring.append(lines)
        assert 1 <= count <= len(lines)
        lines = lines[count:]


def read(ring: Ring, cursor: Cursor = Cursor(), bytes_max: int = 40) -> tuple[list[bytes], Cursor]:  # noqa: B008
    """Read to the end."""
    found: list[bytes] = []
    more = True
    while more:
        before = cursor
        lines, cursor, more = ring.read(cursor, bytes_max)
        assert cursor != before or not more, "reading stands still"
        found += lines
    return found, cursor


class AgainstAList(RuleBasedStateMachine):
    """A list of all lines that were ever written; what the ring has is its end, and a reader misses none of that."""

    def __init__(self) -> None:
        super().__init__()
        self.fs = CrashFS()
        self.ring = ring(self.fs)
        self.all: list[bytes] = []
        self.follower: list[bytes] = []
        self.cursor = Cursor()

    @rule(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6))
    def append(self, sizes: list[int]) -> None:
        lines = [b"%04d" % (len(self.all) + number) + b"x" * size for number, size in enumerate(sizes)]
        self.all += lines
        append(self.ring, lines)

    @rule()
    def kill(self) -> None:
        self.fs = self.fs.after_kill()
        self.ring = ring(self.fs)

    @rule()
    def stop_and_start(self) -> None:
        self.ring.sync()
        self.ring.close()
        self.ring = ring(self.fs)

    @rule(variant=st.sampled_from(VARIANTS))
    def lose_power_after_a_sync(self, variant: str) -> None:
        self.ring.sync()
        self.fs = self.fs.after_power_loss(variant)
        self.ring = ring(self.fs)

    @rule()
    def follow(self) -> None:
        lines, self.cursor = read(self.ring, self.cursor)
        self.follower += lines

    @invariant()
    def what_is_kept_is_the_end_of_all(self) -> None:
        found, _ = read(self.ring)
        assert found == self.all[len(self.all) - len(found) :]
        size = sum(len(line) + 1 for line in found)
        assert size <= FILES_MAX * FILE_BYTES
        assert len(found) == len(self.all) or size >= (FILES_MAX - 2) * FILE_BYTES

    @invariant()
    def whoever_follows_sees_each_line_once_and_in_order(self) -> None:
        places = [int(line[:4]) for line in self.follower]
        assert places == sorted(set(places))
        assert all(line == self.all[place] for place, line in zip(places, self.follower, strict=True))

    @invariant()
    def a_follower_misses_only_what_made_room(self) -> None:
        kept, _ = read(self.ring)
        missed, _ = read(self.ring, self.cursor)
        place = int(self.follower[-1][:4]) + 1 if self.follower else 0
        assert missed == self.all[max(place, len(self.all) - len(kept)) :]

    @invariant()
    def files_are_let_go_of(self) -> None:
        assert self.fs.open_files <= 1


TestAgainstAList = AgainstAList.TestCase


@given(cut=st.integers(0, 40), variant=st.sampled_from(VARIANTS), seed=st.integers(0, 50))
def test_a_line_that_power_cut_off_is_dropped_and_what_was_synced_is_there(cut: int, variant: str, seed: int) -> None:
    fs = CrashFS()
    before = ring(fs)
    append(before, [b"one", b"two"])
    before.sync()
    append(before, [b"three" * 7, b"four"])
    after = fs.after_power_loss(variant, seed)
    files = [inode for inode in after.visible.values()]
    del files[-1].visible[max(8, len(files[-1].visible) - cut) :]
    again = ring(after)
    append(again, [b"five"])
    found, _ = read(again)
    assert found[-1] == b"five"
    # A disk that leaves garbage in a sector takes the lines beside it with it: that is more than disks do.
    assert found[:2] == [b"one", b"two"] or variant == "torn"


@pytest.mark.parametrize("end", range(9))
def test_every_torn_end_is_cut_off(end: int) -> None:
    fs = CrashFS()
    append(ring(fs), [b"one", b"two"])
    (inode,) = fs.visible.values()
    whole = bytes(inode.visible)
    assert whole == b"one\ntwo\n"
    inode.visible[:] = whole[:end]
    again = ring(fs)
    append(again, [b"next"])
    assert read(again)[0] == [line for line in (b"one", b"two") if whole.index(line) + 4 <= end] + [b"next"]


def test_zeros_behind_the_end_are_cut_off() -> None:
    fs = CrashFS()
    append(ring(fs), [b"one"])
    (inode,) = fs.visible.values()
    inode.visible += bytes(50)
    again = ring(fs)
    append(again, [b"two"])
    assert bytes(inode.visible) == b"one\ntwo\n"


@pytest.mark.parametrize("what", ["pwritev", "create", "open", "unlink", "mkdir", "datasync", "truncate"])
def test_after_a_failure_it_goes_on_and_what_was_there_is_there(what: str) -> None:
    fs = CrashFS()
    first = ring(fs)
    lines = [b"%02d" % number + b"x" * 20 for number in range(20)]
    written: list[bytes] = []
    failures = 0
    for line in lines:
        fs.fail = {what: errno.ENOSPC}
        try:
            first.append([line])
        except OSError as error:
            assert error.errno == errno.ENOSPC
            failures += 1
            fs.fail = {}
            first.append([line])
        fs.fail = {}
        written.append(line)
    found, _ = read(first)
    assert failures or what in ("open", "mkdir", "truncate")
    assert found == written[-len(found) :]
    assert len(found) >= FILES_MAX - 1
    assert fs.open_files == 1


def test_a_write_that_failed_half_way_leaves_no_broken_line() -> None:
    fs = CrashFS()
    ours = ring(fs)
    append(ours, [b"one"])
    fs.fail = {"pwritev": errno.ENOSPC}
    with pytest.raises(OSError, match="No space left"):
        ours.append([b"two", b"three", b"four"])
    (inode,) = fs.visible.values()
    inode.visible += b"two\nthree\nfo"  # As far as there was room.
    append(ours, [b"5"])
    assert read(ours)[0] == read(ring(fs.after_kill()))[0] == [b"one", b"two", b"three", b"5"]


def test_a_failed_sync_is_told_and_the_next_one_works() -> None:
    fs = CrashFS()
    ours = ring(fs)
    append(ours, [b"one"])
    fs.fail = {"datasync": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        ours.sync()
    ours.sync()
    assert read(ours)[0] == [b"one"]


def test_two_sorts_share_a_directory_and_nothing_else() -> None:
    fs = CrashFS()
    one, other = ring(fs), ring(fs, "heartbeats")
    append(one, [b"a"])
    append(other, [b"b"])
    assert (read(ring(fs))[0], read(ring(fs, "heartbeats"))[0]) == ([b"a"], [b"b"])
    assert fs.list() == ["events-0000000001.jsonl", "heartbeats-0000000001.jsonl"]


def test_reading_what_was_never_written_makes_no_file() -> None:
    fs = CrashFS()
    assert ring(fs).read(Cursor(), 100) == ([], Cursor(), False)
    assert fs.list() == []


@pytest.mark.parametrize("cursor", [Cursor(99, 0), Cursor(2, 1 << 40), Cursor(1, 1 << 40)])
def test_a_cursor_from_elsewhere_leads_somewhere(cursor: Cursor) -> None:
    ours = ring(CrashFS())
    append(ours, [b"a" * 40, b"b" * 40])
    assert read(ours, cursor, 100)[0] in ([b"a" * 40, b"b" * 40], [b"b" * 40])
