"""The slots: what they tell, one write late, and what a log is worth that ends before it."""

import struct
import zlib

import pytest
from crashfs import VARIANTS, CrashFS
from logmodel import State, entry, open_log, openings_cut_off, recovered_state, write

from zraft.errors import StorageError
from zraft.raft.types import EntryId, HardState
from zraft.storage import Storage
from zraft.storage.header import BLOCK_BYTES
from zraft.storage.records import turns
from zraft.storage.segments import segment_name, serial_of

VOTE = HardState(3, "n2")


def content(fs: CrashFS, storage: Storage) -> bytearray:
    """Return the bytes of the segment in use, to look at and to change."""
    return fs.visible[segment_name(storage.segments[-1].serial)].visible


def told(data: bytes, offset: int, serial: int) -> tuple | None:
    """Read a slot as the format describes it."""
    crc, zero, number, term, last_term, last_index, voted, length, name = struct.unpack_from(
        "<IIQQQQBB64s", data, offset
    )
    seed = (zlib.crc32(struct.pack("<Q", serial)) + offset) % 2**32
    if not number:
        return None
    assert not zero
    assert not any(data[offset + 106 : offset + 512])
    assert crc == zlib.crc32(data[offset + 4 : offset + 512], seed)
    where = (number >> 32, number % 2**32 * 512)
    return where, term, name[:length].decode() if voted else None, EntryId(last_term, last_index)


def damaged(*writes, vanish: int = 1) -> tuple[CrashFS, Storage]:
    """Return a log with these writes, one turn each, all told of, whose last turns are unreadable; and who wrote it."""
    fs = CrashFS()
    storage = open_log(fs)
    for each in writes:
        storage.write([each])
    storage.settle()
    data = content(fs, storage)
    for turn in list(turns(bytes(data), storage.segments[-1].serial))[-vanish:]:
        data[turn.offset + 20] ^= 1
    storage.close()
    fs = fs.after_kill()
    for inode in fs.visible.values():
        inode.durable = bytes(inode.visible)
    return fs, storage


def test_a_slot_tells_of_the_turn_before_and_lies_as_the_format_says() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    ends = [BLOCK_BYTES + 512]
    assert told(content(fs, storage), 512, 1) is told(content(fs, storage), 1_024, 1) is None
    storage.write([write(entry(1, 3), hard_state=VOTE)])
    assert told(content(fs, storage), 512, 1) == ((1, ends[0]), 0, None, EntryId(0, 0))
    ends.append(ends[-1] + 512)
    storage.write([write(entry(2, 3))])
    assert told(content(fs, storage), 1_024, 1) == ((1, ends[1]), 3, "n2", EntryId(3, 1))
    storage.write([write(hard_state=HardState(4))])
    assert told(content(fs, storage), 512, 1) == ((1, ends[1] + 512), 3, "n2", EntryId(3, 2))
    assert told(content(fs, storage), 1_024, 1) == ((1, ends[1]), 3, "n2", EntryId(3, 1))


def test_without_another_write_it_is_written_by_itself_once() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(entry(1, 3), hard_state=VOTE)])
    assert not storage.is_settled
    del fs.log[:]
    storage.settle()
    assert storage.is_settled
    assert [what for what, _ in fs.log] == ["pwritev", "datasync"]
    assert told(content(fs, storage), 1_024, 1) == ((1, BLOCK_BYTES + 1_024), 3, "n2", EntryId(3, 1))
    storage.settle()
    assert len(fs.log) == 2
    storage.write([write(entry(2, 3))])
    assert len(fs.log) == 4, "the next write has nothing to tell"


def test_a_segment_begins_with_what_was_durable_before_it() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    for index in range(1, 5):
        storage.write([write(entry(index, 1, bytes(2_500)), hard_state=HardState(1))])
    assert len(storage.segments) > 1
    first, second = storage.segments[:2]
    before = list(turns(bytes(fs.visible[segment_name(first.serial)].visible), first.serial))
    slot = told(fs.visible[segment_name(second.serial)].visible, 512, second.serial)
    assert slot == ((first.serial, before[-1].end), 1, None, EntryId(1, second.first_index - 1))


@pytest.mark.parametrize("place", [0, 1])
def test_with_one_slot_damaged_the_other_still_tells(place: int) -> None:
    fs, storage = damaged(write(entry(1, 3), hard_state=VOTE), write(entry(2, 3)), write(entry(3, 3)))
    content(fs, storage)[512 + 512 * place + 50] ^= 1
    found = recovered_state(open_log(fs))
    # The first slot tells of the second write alone: after two damages the third was never there.
    assert found == State((entry(1, 3), entry(2, 3)), VOTE, EntryId(3, 3) if place == 0 else EntryId(0, 0))


def test_a_vote_that_only_the_slot_tells_of_still_counts() -> None:
    fs, _ = damaged(write(hard_state=HardState(3)), write(hard_state=VOTE))
    recovered = open_log(fs).recovered
    assert recovered.hard_state == VOTE
    assert (
        "damaged at offset 5120: no intact write here, though the log once went on to offset 5632" in recovered.damage
    )
    assert open_log(fs).recovered.hard_state == VOTE


def test_what_is_lost_is_known_until_the_log_is_as_long_again() -> None:
    fs, _ = damaged(write(entry(1, 2), hard_state=VOTE), write(entry(2, 3), entry(3, 3)), write(entry(4, 3)), vanish=2)
    one = (entry(1, 2),)
    for _ in range(3):
        assert recovered_state(open_log(fs)) == State(one, VOTE, EntryId(3, 4))
    storage = open_log(fs)
    storage.write([write(entry(2, 3), entry(3, 3))])
    storage.settle()
    storage = open_log(fs)
    assert recovered_state(storage) == State((*one, entry(2, 3), entry(3, 3)), VOTE, EntryId(3, 4))
    # What a leader of a later term has instead: no more of it is lost, though the log is shorter.
    storage.write([write(entry(3, 4), truncate_from=3, hard_state=HardState(4))])
    storage.write([write(hard_state=HardState(5))])
    assert recovered_state(open_log(fs)) == State((*one, entry(2, 3), entry(3, 4)), HardState(5))


def test_a_legal_truncation_is_no_loss() -> None:
    """A leader of term 4 replaces an entry of term 3 by an older one of term 2, before its own (paper figure 7)."""
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(entry(1, 2), entry(2, 3), hard_state=HardState(3))])
    storage.write([write(entry(2, 2), truncate_from=2, hard_state=HardState(4))])
    storage.settle()
    storage.write([write(truncate_from=2)])
    storage.settle()
    found = open_log(fs).recovered
    assert (found.damage, found.acknowledged) == ("", EntryId(0, 0))
    assert [each.id for each in found.entries] == [EntryId(2, 1)]


def test_a_whole_segment_that_cannot_be_read_is_kept_aside_and_missed() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    index = 0
    while len(storage.segments) < 3:
        index += 1
        storage.write([write(entry(index, 3, bytes(2_500)), hard_state=VOTE)])
    storage.settle()
    name = segment_name(storage.segments[-1].serial)
    fs = fs.after_kill()
    fs.visible[name].visible[BLOCK_BYTES + 20] ^= 1
    again = open_log(fs)
    assert f"the log once went on to offset {BLOCK_BYTES + 3_072} of {name}" in again.recovered.damage
    assert recovered_state(again).lost == EntryId(3, index)
    assert len(again.recovered.entries) == index - 1
    assert f"{name}.damaged" in fs.list()
    assert serial_of(name) not in [segment.serial for segment in again.segments]


def test_a_log_whose_only_segment_cannot_be_read_is_refused_and_not_taken_for_blank() -> None:
    fs, _ = damaged(vanish=1)
    with pytest.raises(StorageError, match="unreadable, though it was in use once"):
        open_log(fs)


@pytest.mark.parametrize("variant", [*VARIANTS, "kill"])
def test_a_crash_while_a_damaged_log_is_opened_forgets_nothing(variant: str) -> None:
    writes = [
        write(entry(1, 2), hard_state=VOTE),
        write(entry(2, 3)),
        write(entry(3, 3), hard_state=HardState(4, "n1")),
    ]
    for vanish in (1, 2):
        expected = recovered_state(open_log(damaged(*writes, vanish=vanish)[0]))
        assert (expected.hard_state, expected.last) == (HardState(4, "n1"), EntryId(3, 3))
        for point, fs in openings_cut_off(lambda vanish=vanish: damaged(*writes, vanish=vanish)[0], variant):
            assert recovered_state(open_log(fs)) == expected, f"{variant} at {point}"
