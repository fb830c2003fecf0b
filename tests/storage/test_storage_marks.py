"""A snapshot_mark says that entries up to it may be gone: where the log begins, and what may be missing before it."""

import pytest
from crashfs import CrashFS
from logmodel import entry, lay, open_log, write

from zraft.errors import StorageError
from zraft.raft.types import EntryId, HardState
from zraft.storage import SnapshotMark, Truncate
from zraft.storage.header import BLOCK_BYTES
from zraft.storage.records import scan
from zraft.storage.segments import segment_name, serial_of

FIVE = [entry(index, 2) for index in range(1, 6)]


def mark(index: int, term: int = 2, membership: bytes = b"members") -> SnapshotMark:
    return SnapshotMark(EntryId(term, index), index * 10, membership)


def log_of(*groups: list) -> CrashFS:
    fs = CrashFS()
    lay(fs, 1, [HardState(2, "n1")], *groups)
    return fs


def indices(fs: CrashFS) -> list[int]:
    return [each.index for each in open_log(fs).recovered.entries]


def test_the_log_starts_after_its_mark() -> None:
    recovered = open_log(log_of(FIVE, [mark(3)])).recovered
    assert (recovered.base, recovered.base_time_ms, recovered.membership) == (EntryId(2, 3), 30, b"members")
    assert [each.index for each in recovered.entries] == [4, 5]


def test_a_mark_ahead_of_the_log_replaces_it() -> None:
    fs = log_of(FIVE, [mark(9, 3)], [entry(10, 3)])
    assert open_log(fs).recovered.base == EntryId(3, 9)
    assert indices(fs) == [10]


def test_a_mark_that_contradicts_the_log_drops_all_of_it() -> None:
    """Paper §7: only a log that holds the snapshot's very last entry keeps what is behind it."""
    assert indices(log_of(FIVE, [mark(3, 4)])) == []


def test_a_mark_at_the_last_entry_leaves_an_empty_log_that_goes_on_behind_it() -> None:
    fs = log_of(FIVE, [mark(5)])
    assert indices(fs) == []
    open_log(fs).write([write(entry(6, 2))])
    assert indices(fs) == [6]


def test_the_same_mark_twice_changes_nothing() -> None:
    assert indices(log_of(FIVE, [mark(3)], [mark(3)])) == [4, 5]


@pytest.mark.parametrize("again", [mark(2), mark(4, 1)])
def test_a_mark_never_goes_back(again: SnapshotMark) -> None:
    with pytest.raises(StorageError, match="the snapshot goes back"):
        open_log(log_of(FIVE, [mark(3)], [again]))


def test_truncation_never_reaches_behind_the_mark() -> None:
    assert indices(log_of(FIVE, [mark(3)], [Truncate(4)])) == []
    with pytest.raises(StorageError, match="truncation from 3 of a log from 4 to 5"):
        open_log(log_of(FIVE, [mark(3)], [Truncate(3)]))


def test_entries_behind_a_mark_keep_its_term_at_least() -> None:
    with pytest.raises(StorageError, match="entry 6 of term 1 behind one of term 2"):
        open_log(log_of(FIVE, [mark(5)], [entry(6, 1)]))


def test_every_segment_repeats_the_mark_in_force() -> None:
    fs = log_of(FIVE, [mark(3)], [entry(6, 2)])
    storage = open_log(fs)
    for index in range(7, 12):
        storage.write([write(entry(index, 2, bytes(3_000)))])
    storage.close()
    for start in storage.segments[1:]:
        content = bytes(fs.visible[segment_name(start.serial)].visible)
        assert [record.value for record in scan(content, start.serial)][:2] == [HardState(2, "n1"), mark(3)]
    assert indices(fs) == list(range(4, 12))


@pytest.mark.parametrize("marked", [5, 6, 8])
def test_segments_that_a_mark_covers_may_be_gone(marked: int) -> None:
    fs = log_of(FIVE)
    end = len(fs.visible[segment_name(1)].visible)
    later = [entry(6, 2), entry(7, 2), entry(8, 2)]
    lay(fs, 2, [HardState(2, "n1"), *later], [mark(marked)], previous_serial=1, previous_end=end, first_index=6)
    del fs.visible[segment_name(1)]
    recovered = open_log(fs).recovered
    assert recovered.hard_state == HardState(2, "n1")
    assert recovered.base.index == marked
    assert [each.index for each in recovered.entries] == list(range(marked + 1, 9))


def test_segments_that_no_mark_covers_may_not_be_gone() -> None:
    fs = log_of(FIVE)
    end = len(fs.visible[segment_name(1)].visible)
    lay(fs, 2, [HardState(2, "n1"), entry(6, 2)], [mark(4)], previous_serial=1, previous_end=end, first_index=6)
    assert indices(fs.after_kill()) == [5, 6]
    del fs.visible[segment_name(1)]
    with pytest.raises(StorageError, match=r"0000000000000001\.wal: missing: entries 5 to 5 were in it or before it"):
        open_log(fs)


def test_a_truncation_into_segments_that_are_gone_is_replayed() -> None:
    fs = log_of(FIVE)
    end = len(fs.visible[segment_name(1)].visible)
    rest = [Truncate(4), entry(4, 3), entry(5, 3)]
    lay(fs, 2, [HardState(3), *rest], [mark(4, 3)], previous_serial=1, previous_end=end, first_index=6)
    assert indices(fs.after_kill()) == [5]
    del fs.visible[segment_name(1)]
    assert indices(fs) == [5]


def test_a_segment_off_the_chain_is_removed_once_the_log_is_open() -> None:
    fs = log_of(FIVE, [mark(5)])
    lay(fs, 3, [HardState(2, "n1"), mark(5)], [entry(6, 2)], previous_serial=2, previous_end=BLOCK_BYTES, first_index=6)
    assert indices(fs) == [6]
    assert segment_name(1) not in fs.visible
    assert sorted(serial_of(name) for name in fs.visible if name != "lock") == [3, 4]


@pytest.mark.parametrize("last", range(1, 12))
def test_segments_go_once_a_snapshot_stands_for_all_of_them(last: int) -> None:
    fs = CrashFS()
    storage = open_log(fs)
    for index in range(1, 13):
        storage.write([write(entry(index, 2, bytes(3_000)), hard_state=HardState(2))])
    firsts = [segment.first_index for segment in storage.segments]
    assert len(firsts) > 3
    storage.write([write(begins_after=EntryId(2, last))])
    while storage.prepare():
        pass
    storage.close()
    assert indices(fs) == list(range(last + 1, 13))
    needed = [first for first, following in zip(firsts, [*firsts[1:], 13], strict=True) if following > last + 1]
    assert [segment.first_index for segment in storage.segments] == needed


def test_segments_that_are_needed_no_more_are_used_again() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    index = 0
    for _ in range(60):
        for _ in range(3):
            index += 1
            storage.write([write(entry(index, 2, bytes(2_500)), hard_state=HardState(2))])
            while storage.prepare():
                pass
        storage.write([write(begins_after=EntryId(2, index - 2))])
        if index == 12:
            del fs.log[:]
    done = {what for what, _ in fs.log}
    assert "create" not in done
    assert "unlink" not in done
    assert sum(what == "pwritev" for what, _ in fs.log) <= 2 * 4 * 56, "a turn and a slot for each write, and no zeros"
    assert len([name for name in fs.visible if serial_of(name)]) <= 8
    names = [name for name in fs.visible if serial_of(name)]
    assert len({serial_of(name) for name in names}) == len(names)
    assert max(map(serial_of, names)) > 60
    assert indices(fs.after_power_loss("lose_all")) == [index - 1, index]
