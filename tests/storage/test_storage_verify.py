"""`verify` tells all that is wrong, wherever it is; and of what a crash leaves, or a whole directory, that nothing is."""

import struct
import zlib

import msgspec
import pytest
from crashfs import VARIANTS, CrashFS
from logmodel import CLUSTER_ID, DISK_ID, NODE, State, entry, lay, open_log, write
from test_storage_crash import RUNS
from test_storage_damage import GROWN, NAMES, outcome

from zraft.errors import NotFound, StorageError
from zraft.raft.membership import encode as encode_membership
from zraft.raft.types import Entry, EntryId, EntryKind, HardState, Membership
from zraft.seams import Draft
from zraft.storage.findings import Findings
from zraft.storage.header import BLOCK_BYTES
from zraft.storage.rebuild import lay_down, measured
from zraft.storage.records import SnapshotMark, Truncate, encode_turn, turns
from zraft.storage.segments import segment_name
from zraft.storage.slots import SLOT_OFFSETS, Slot, encode, sequence
from zraft.storage.verify import verify

OLDER = Slot(1, HardState(1), EntryId(1, 1))
MEMBERSHIP = Membership(("n1",), disk_ids={"n1": DISK_ID})


def contents(fs: CrashFS) -> dict[str, bytes]:
    return {name: bytes(inode.visible) for name, inode in fs.visible.items()}


def verified(fs: CrashFS) -> Findings:
    before, opened = contents(fs), fs.open_files
    found = verify(fs)
    assert fs.open_files == opened
    assert contents(fs) == before
    return found


def told(found: Findings) -> list[tuple[str, int | None, str]]:
    return [(problem.file, problem.offset, problem.what) for problem in found.damage]


def test_of_a_whole_log_it_tells_what_is_there() -> None:
    found = verified(GROWN.fs)
    assert told(found) == []
    assert (found.cluster_id, found.node, found.disk_id) == (CLUSTER_ID, NODE, DISK_ID)
    assert (found.hard_state, found.base, found.last) == (HardState(2, "n3"), EntryId(0, 0), EntryId(2, 7))
    used = [segment for segment in found.segments if segment.state == "in use"]
    assert [segment.file for segment in used] == NAMES
    assert [segment.turns for segment in used] == [len(GROWN.turns[name]) for name in NAMES]
    assert used[-1].end == GROWN.turns[GROWN.last][-1].end
    assert sum(segment.entries for segment in used) >= 8 + 3


def is_damaged(fs: CrashFS) -> bool:
    """Whether recovery refuses a log, or tells that its end is damaged."""
    try:
        return bool(open_log(fs).recovered.damage)
    except StorageError:
        return True


@pytest.mark.parametrize("variant", [*VARIANTS, "kill"])
def test_what_a_crash_leaves_is_no_damage(variant: str) -> None:
    for point, run in enumerate(RUNS):
        for seed in range(1 if variant in ("lose_all", "keep_all", "zeros", "kill") else 4):
            fs = run.fs.after_kill() if variant == "kill" else run.fs.after_power_loss(variant, seed)
            if not any(name.endswith(".wal") for name in fs.visible):
                continue
            found = verified(fs)
            # The script has its logs begin behind snapshots that nobody wrote.
            assert [name for name, _, _ in told(found) if name != "snapshots"] == [], f"point {point}, {variant} {seed}"
            recovered = open_log(fs).recovered
            last = recovered.entries[-1].id if recovered.entries else recovered.base
            assert (found.last, found.hard_state) == (last, recovered.hard_state), f"point {point}, {variant} {seed}"


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_that_recovery_refuses_is_told_and_no_other(name: str) -> None:
    content = GROWN.content(name)
    refused = 0
    for offset in range(0, len(content), 7):
        fs = GROWN.with_content(
            name, content[:offset] + bytes([content[offset] ^ 1 << offset % 8]) + content[offset + 1 :]
        )
        damage = told(verified(fs))
        if 512 <= offset < BLOCK_BYTES:
            continue  # Slots, which recovery passes over, and the reserve.
        assert bool(damage) == is_damaged(fs), (offset, damage)
        refused += bool(damage)
    assert refused > 300 or name == GROWN.last


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_that_recovery_refuses_is_told_and_no_other(name: str) -> None:
    content = GROWN.content(name)
    for size in range(0, len(content), 97):
        fs = GROWN.with_content(name, content[:size])
        damage = told(verified(fs))
        assert bool(damage) == is_damaged(fs), (size, damage)


@pytest.mark.parametrize("name", NAMES)
def test_a_segment_that_is_gone_is_told_unless_it_is_the_last(name: str) -> None:
    fs = GROWN.fs.after_kill()
    del fs.visible[name]
    damage = told(verified(fs))
    assert bool(damage) == isinstance(outcome(fs), str)
    assert bool(damage) == (name != GROWN.last)
    if name != GROWN.last:
        assert damage[0][0] == name
        assert "missing: entries " in damage[0][2]


def test_damage_in_one_place_does_not_hide_another() -> None:
    fs = GROWN.fs.after_kill()
    first, second, last = NAMES[0], NAMES[1], NAMES[-1]
    flipped = {(first, GROWN.turns[first][1].offset + 20), (second, GROWN.turns[second][0].offset + 20)}
    flipped |= {(last, GROWN.turns[last][0].offset + 20)}
    for name, offset in flipped:
        fs.visible[name].visible[offset] ^= 1
    damage = told(verified(fs))
    places = {(file, offset) for file, offset, what in damage if what.startswith("no intact write here")}
    assert {(name, offset - 20) for name, offset in flipped} <= places


def test_an_unreadable_header_does_not_hide_the_rest() -> None:
    fs = GROWN.fs.after_kill()
    fs.visible[NAMES[1]].visible[0] ^= 1
    offset = GROWN.turns[NAMES[0]][1].offset
    fs.visible[NAMES[0]].visible[offset + 20] ^= 1
    damage = told(verified(fs))
    assert (NAMES[1], 0, f"no intact header, though segment {int(NAMES[2][:16])} follows") in damage
    assert any(file == NAMES[0] and at == offset for file, at, _ in damage)


def test_what_the_advice_is() -> None:
    fs = GROWN.fs.after_kill()
    fs.visible[NAMES[0]].visible[GROWN.turns[NAMES[0]][1].offset + 20] ^= 1
    assert verified(fs).damage[0].advice == (
        "put back an intact copy of /data/n1, or keep it aside and replace this member: zraft member replace n1"
    )


def noop(index: int, data: bytes = b"") -> Entry:
    return Entry(1, index, EntryKind.NOOP, 10, data)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([HardState(1), entry(2)], "entry 2 where entry 1 is due"),
        ([HardState(2), entry(1, 2), entry(2, 1)], "entry 2 of term 1 behind one of term 2"),
        ([HardState(1), entry(1), Entry(1, 2, 1, 3, b"")], "entry 2 of cluster time 3 ms behind one of 10 ms"),
        ([HardState(1), noop(1)], "entry 1 of kind 0, which cannot be understood"),
        ([HardState(1), Entry(1, 1, 9, 0, b"")], "entry 1 of kind 9, which cannot be understood"),
        ([HardState(1), Entry(1, 1, 3, 0, b"x")], "entry 1 of kind 3, which cannot be understood"),
        ([HardState(1), Entry(1, 1, 3, 0, encode_membership(Membership(())))], "entry 1 of kind 3"),
        ([HardState(3), HardState(2)], "the term falls from 3 to 2"),
        ([HardState(3, "n1"), HardState(3, "n2")], "the vote in term 3 changes from n1 to n2"),
        ([HardState(1), Truncate(7)], "truncation from 7 of a log from 1 to 0"),
        ([HardState(1), SnapshotMark(EntryId(1, 5), 0, b"x")], "a snapshot_mark whose membership cannot be read"),
    ],
)
def test_records_that_contradict_each_other(values: list, says: str) -> None:
    fs = CrashFS()
    lay(fs, 1, values)
    assert any(says in what for _, _, what in told(verified(fs))), told(verified(fs))


def test_an_entry_of_a_term_that_the_node_has_not_seen() -> None:
    fs = CrashFS()
    lay(fs, 1, [HardState(1), entry(1, 2)])
    assert [what for _, _, what in told(verified(fs))] == ["an entry of term 2, though the hard_state is of 1"]


def nonsense(serial: int, offset: int) -> bytes:
    """Return a turn whose checksum is right, and which is of a kind that there is not."""
    turn = bytearray(encode_turn(serial, offset, [HardState(1)]))
    turn[8] = 77
    length = struct.unpack_from("<I", turn, 4)[0]
    seed = (zlib.crc32(struct.pack("<Q", serial)) + offset) % (1 << 32)
    struct.pack_into("<I", turn, 0, zlib.crc32(turn[4 : 12 + length], seed))
    return bytes(turn)


def test_what_lies_behind_a_record_that_makes_no_sense_is_looked_at_too() -> None:
    fs = CrashFS()
    end = lay(fs, 1, [HardState(1)], [entry(1)], [entry(2)], [entry(3)], [entry(4)])
    content = fs.visible[segment_name(1)].visible
    (_, second, third, _, _) = list(turns(bytes(content), 1))
    content[second.offset : second.end] = nonsense(1, second.offset)
    content[end - 1_024 + 20] ^= 1
    damage = told(verified(fs))
    assert [(offset, what) for _, offset, what in damage] == [
        (second.offset, "a record of 9 bytes and kind 77, which format 1 does not know"),
        (third.offset, "entries 1 to 1 are missing before this one"),
        (end - 1_024, f"no intact write here, though a later one at {end - 512} is intact"),
        (end - 512, "entries 3 to 3 are missing before this one"),
    ]


def test_the_last_write_of_a_segment_is_missed_though_nothing_else_shows_that_it_was_there() -> None:
    fs = CrashFS()
    end = lay(fs, 1, [HardState(1)], [entry(1)], [HardState(2)])
    lay(fs, 2, [HardState(2), entry(2)], first_index=2, previous_serial=1, previous_end=end)
    assert told(verified(fs)) == []
    fs.visible[segment_name(1)].visible[end - 512] ^= 1
    assert told(verified(fs)) == [
        (segment_name(1), end - 512, f"no intact write here, though the segment was good up to {end}")
    ]


# -- slots -------------------------------------------------------------------------------------------------------------


END = BLOCK_BYTES + 512
TOLD = Slot(sequence(1, END), HardState(2, "n1"), EntryId(2, 3))


def with_slots(*slots: Slot, broken: tuple[int, ...] = ()) -> CrashFS:
    """Return a log of one write, up to entry 3 of term 2, whose node voted for n1 in term 2, and which has these slots."""
    fs = CrashFS()
    lay(fs, 1, [HardState(2, "n1"), entry(1), entry(2, 2), entry(3, 2)])
    for number, slot in enumerate(slots):
        offset = SLOT_OFFSETS[number]
        fs.visible[segment_name(1)].visible[offset : offset + 512] = encode(slot, 1, offset)
        if number in broken:
            fs.visible[segment_name(1)].visible[offset + 100] ^= 1
    return fs


def test_slots_that_the_log_bears_out() -> None:
    found = verified(with_slots(TOLD, OLDER))
    assert told(found) == []
    assert found.acknowledged == TOLD


def test_a_log_that_ends_before_what_its_slot_tells_of() -> None:
    newest = Slot(sequence(1, END + 1_024), HardState(3, "n2"), EntryId(2, 4))
    for slots in ([newest, OLDER], [OLDER, newest]):
        ((name, offset, what),) = told(verified(with_slots(*slots)))
        assert (name, offset) == (segment_name(1), END)
        assert f"once went on to offset {END + 1_024} of {name}: to entry 4@2, in term 3 with a vote for n2" in what


def test_what_was_lost_and_is_missed_still_is_worth_a_note() -> None:
    found = verified(with_slots(msgspec.structs.replace(TOLD, last=EntryId(2, 7))))
    assert told(found) == []
    assert "entries up to 7@2 were lost; a leader has not sent them again yet" in [note.what for note in found.notes]


def test_one_broken_slot_in_the_segment_in_use_may_be_a_crash_and_two_are_not() -> None:
    found = verified(with_slots(TOLD, OLDER, broken=(0,)))
    assert told(found) == []
    assert [(note.offset, note.what.partition(":")[0]) for note in found.notes] == [
        (512, "a slot whose checksum does not match")
    ]
    assert found.acknowledged == OLDER
    assert len(told(verified(with_slots(TOLD, OLDER, broken=(0, 1))))) == 2


# -- snapshots ---------------------------------------------------------------------------------------------------------


def with_snapshot(size: int = 700_000) -> tuple[CrashFS, str]:
    """Return a directory that begins from a snapshot, and the path of that."""
    fs = CrashFS()
    data = bytes(range(256)) * (size // 256)
    snapshot = measured(Draft(EntryId(4, 400), 9, MEMBERSHIP), [data])
    lay_down(fs, snapshot, lambda: [data], cluster_id=CLUSTER_ID, node=NODE, disk_id=DISK_ID, segment_bytes=8_192)
    return fs, "snapshots/0000000000000400-4.snap"


def test_a_directory_that_begins_from_a_snapshot_is_whole() -> None:
    fs, path = with_snapshot()
    found = verified(fs)
    assert told(found) == []
    assert [(each.file, each.last, each.intact) for each in found.snapshots] == [(path, EntryId(4, 400), True)]
    assert (found.base, found.last, found.hard_state) == (EntryId(4, 400), EntryId(4, 400), HardState(4))
    recovered = open_log(fs).recovered
    assert (recovered.base, recovered.hard_state, recovered.disk_id) == (found.base, found.hard_state, DISK_ID)


def test_damage_to_a_snapshot_is_told_and_that_nothing_stands_in_for_it() -> None:
    fs, path = with_snapshot()
    size = len(fs.visible[path].visible)
    for offset in [*range(0, 700, 13), *range(700, size, 40_009)]:
        if 92 <= offset < 512 and offset % 2:
            continue
        fs.visible[path].visible[offset] ^= 1
        damage = told(verified(fs))
        fs.visible[path].visible[offset] ^= 1
        assert [(file, what) for file, _, what in damage[1:]] == [
            ("snapshots", "no intact snapshot of all up to entry 400, behind which the log begins")
        ], offset
        assert damage[0][0] == path
    assert told(verified(fs)) == []


def test_a_snapshot_under_a_wrong_name_or_of_another_cluster() -> None:
    fs, path = with_snapshot(2_560)
    fs.visible["snapshots/0000000000000500-4.snap"] = fs.visible[path].copy()
    other = measured(Draft(EntryId(9, 900), 9, MEMBERSHIP), [b"x"])
    stranger = CrashFS()
    lay_down(stranger, other, lambda: [b"x"], cluster_id=7, node=NODE, disk_id=DISK_ID, segment_bytes=8_192)
    fs.visible["snapshots/0000000000000900-9.snap"] = stranger.visible["snapshots/0000000000000900-9.snap"]
    fs.visible["snapshots/saving.part"] = fs.visible[path].copy()
    fs.visible["snapshots/0000000000000300-4.snap.damaged"] = fs.visible[path].copy()
    found = verified(fs)
    assert told(found) == [
        ("snapshots/0000000000000500-4.snap", None, "the snapshot of all up to entry 400@4 under a wrong name"),
        ("snapshots/0000000000000900-9.snap", None, "a snapshot of cluster 0000000000000007"),
    ]
    assert [note.file.rpartition(".")[2] for note in found.notes] == ["damaged", "part"]


def test_compacted_segments_are_not_missed_and_others_are() -> None:
    mark = SnapshotMark(EntryId(1, 4), 0, msgspec.msgpack.encode(MEMBERSHIP))
    for first in (3, 5, 6):
        fs, path = with_snapshot(2_560)
        fs.visible = {"snapshots/0000000000000400-4.snap": fs.visible[path]}
        lay(fs, 9, [HardState(4), mark, *([entry(5)] if first <= 5 else [])], first_index=first, previous_serial=8)
        assert (not told(verified(fs))) == isinstance(outcome(fs), State), first


def test_a_directory_without_a_log_is_not_found() -> None:
    with pytest.raises(NotFound, match="no log in it; name the data directory of a node"):
        verify(CrashFS())


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_read() -> None:
    fs = GROWN.fs.after_kill()
    fs.fail["pread"] = 5
    found = verified(fs)
    assert (NAMES[0], None, "cannot be read: Input/output error") in told(found)
    assert found.last == EntryId(2, 7)


def test_a_log_in_its_life_is_whole_after_every_write() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    for index in range(1, 30):
        storage.write([write(entry(index, data=bytes(700)), hard_state=HardState(1, "n1") if index == 1 else None)])
        storage.prepare()
        assert told(verified(fs)) == []
        assert verify(fs).last == EntryId(1, index)
