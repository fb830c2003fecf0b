"""Records and turns: every value comes back, every byte stands where format 1 says, nothing else is believed."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.raft.types import Entry, EntryId, HardState
from zraft.storage import SnapshotMark, Truncate, scan
from zraft.storage.header import BLOCK_BYTES, SECTOR_BYTES, Header, NoHeader, decode, encode
from zraft.storage.records import FIRST, LAST, Damage, Kind, encode_turn, later_turn, turns

u63 = st.integers(0, (1 << 63) - 1)
names = st.text("abcXYZ019._-", min_size=1, max_size=64)
values = st.one_of(
    st.builds(Entry, u63, u63, st.integers(0, 255), u63, st.binary(max_size=1_500)),
    st.builds(HardState, u63, st.none() | names),
    st.builds(Truncate, u63),
    st.builds(SnapshotMark, st.builds(EntryId, u63, u63), u63, st.binary(max_size=200)),
)
serials = st.integers(1, (1 << 64) - 1)


def segment(serial: int, *groups: list) -> bytes:
    """Return a segment with one turn per group and an empty first block."""
    data = bytes(BLOCK_BYTES)
    for group in groups:
        data += encode_turn(serial, len(data), group)
    return data


def resealed(data: bytes, serial: int, offset: int, at: int, byte: int) -> bytes:
    """Return `data` with one byte of the record at `offset` changed and the record's checksum made right again."""
    changed = bytearray(data)
    changed[offset + at] = byte
    length = struct.unpack_from("<I", changed, offset + 4)[0]
    seed = zlib.crc32(serial.to_bytes(8, "little")) + offset & 0xFFFFFFFF
    struct.pack_into("<I", changed, offset, zlib.crc32(changed[offset + 4 : offset + 12 + length], seed))
    return bytes(changed)


@given(serials, st.lists(st.lists(values, min_size=1, max_size=6), max_size=6))
def test_every_value_comes_back_with_its_place(serial: int, groups: list[list]) -> None:
    data = segment(serial, *groups)
    found = list(scan(data, serial))
    assert [record.value for record in found] == [value for group in groups for value in group]
    assert [[record.value for record in turn.records] for turn in turns(data, serial)] == groups
    assert all(turn.offset % SECTOR_BYTES == 0 for turn in turns(data, serial))


def test_the_bytes_of_format_1_stand_where_the_page_says() -> None:
    turn = encode_turn(3, 4096, [Entry(5, 7, 1, 1_000, b"abc"), HardState(5, "n2"), Truncate(7)])
    seed = zlib.crc32((3).to_bytes(8, "little")) + 4096
    body = bytes.fromhex("1c000000 01 01 0000 0500000000000000 0700000000000000 e803000000000000 01") + b"abc"
    first = struct.pack("<I", zlib.crc32(body, seed)) + body
    assert turn.startswith(first)
    second = bytes.fromhex("0b000000 02 00 0000 0500000000000000 01") + b"n2"
    assert turn[len(first) + 4 :].startswith(second)
    third = bytes.fromhex("08000000 03 02 0000 0700000000000000")
    assert turn[len(first) + 4 + len(second) + 4 :].rstrip(b"\0") == third.rstrip(b"\0")
    assert len(turn) == SECTOR_BYTES
    mark = encode_turn(3, 4096, [SnapshotMark(EntryId(2, 9), 77, b"m")])
    assert mark[4:37] == bytes.fromhex("19000000 04 03 0000 0200000000000000 0900000000000000 4d00000000000000") + b"m"


def test_the_header_of_format_1_stands_where_the_page_says() -> None:
    header = Header(2, 0x0123456789ABCDEF, "n1", "00112233445566778899aabbccddeeff", 1, 4608, 9, True)
    block = encode(header)
    assert len(block) == BLOCK_BYTES
    assert block[:12] == b"zraftwal\x01\0\0\0"
    assert block[16:32] == bytes.fromhex("0200000000000000 efcdab8967452301")
    assert block[32:48].hex() == header.disk_id
    assert block[48:74] == bytes.fromhex("0100000000000000 0012000000000000 0900000000000000 01 02")
    assert block[74:138] == b"n1".ljust(64, b"\0")
    assert not any(block[138:]), "slots and reserve are zero"
    cleared = bytearray(block[:512])
    cleared[12:16] = bytes(4)
    assert struct.unpack_from("<I", block, 12)[0] == zlib.crc32(cleared)
    assert decode(block) == header


@pytest.mark.parametrize("offset", range(0, 512, 7))
def test_a_header_with_a_flipped_bit_is_none(offset: int) -> None:
    block = bytearray(encode(Header(2, 1, "n1", "00" * 16)))
    block[offset] ^= 0x10
    assert isinstance(decode(bytes(block)), NoHeader)


def test_another_version_is_told_from_rubbish() -> None:
    block = bytearray(encode(Header(2, 1, "n1", "00" * 16)))
    block[8] = 2
    assert decode(bytes(block)) is NoHeader.VERSION
    assert decode(bytes(512)) is NoHeader.UNREADABLE
    assert decode(b"") is NoHeader.UNREADABLE


@given(serials, serials, st.binary(max_size=600))
def test_a_record_is_valid_in_one_segment_and_at_one_place_only(serial: int, other: int, data: bytes) -> None:
    turn = encode_turn(serial, BLOCK_BYTES, [Entry(1, 1, 1, 1, data)])
    if other != serial:
        assert list(scan(bytes(BLOCK_BYTES) + turn, other)) == []
    moved = bytes(BLOCK_BYTES + SECTOR_BYTES) + turn
    assert list(scan(moved, serial, BLOCK_BYTES + SECTOR_BYTES)) == []


def test_a_turn_counts_whole_or_not_at_all() -> None:
    whole = segment(1, [HardState(1, None)], [Entry(1, i, 1, 0, bytes(300)) for i in range(1, 5)])
    assert len(list(turns(whole, 1))) == 2
    last_record = list(scan(whole, 1))[-1]
    for size in range(BLOCK_BYTES + SECTOR_BYTES, last_record.end):
        assert len(list(turns(whole[:size], 1))) == 1


def test_a_later_turn_is_found_behind_a_broken_one_and_records_within_a_turn_are_not() -> None:
    data = segment(1, [HardState(1, None)], [Entry(1, i, 1, 0, bytes(475)) for i in range(1, 9)], [Truncate(3)])
    offsets = [turn.offset for turn in turns(data, 1)]
    assert later_turn(data, 1, offsets[0]) == offsets[1]
    assert later_turn(data, 1, offsets[1]) == offsets[2], "entries of 512 bytes begin on sectors and begin no turn"
    assert later_turn(data, 1, offsets[2]) is None
    assert later_turn(data, 2, offsets[0]) is None
    assert later_turn(data[: offsets[1]] + bytes(9_000), 1, BLOCK_BYTES) is None


@pytest.mark.parametrize(
    ("at", "byte", "complaint"),
    [
        (8, 0, "kind 0"),
        (8, 9, "kind 9"),
        (8, Kind.TRUNCATE, "kind 3"),
        (8, Kind.SNAPSHOT_MARK, "kind 4"),
        (9, 0x80, "flags"),
        (10, 1, "flags"),
        (9, LAST, "the middle of a write"),
        (21, 0xFF, "kind 2"),
    ],
)
def test_a_right_checksum_over_nonsense_is_damage(at: int, byte: int, complaint: str) -> None:
    data = segment(1, [HardState(1, "n1")])
    with pytest.raises(Damage, match=complaint):
        list(turns(resealed(data, 1, BLOCK_BYTES, at, byte), 1))


def test_a_write_that_begins_inside_another_is_damage() -> None:
    data = segment(1, [HardState(1, None), Truncate(1)])
    second = list(scan(data, 1))[1]
    with pytest.raises(Damage, match="inside another"):
        list(turns(resealed(data, 1, second.offset, 9, FIRST | LAST), 1))


def test_a_record_tells_its_kind() -> None:
    data = segment(1, [Entry(1, 1, 1, 1, b""), HardState(), Truncate(1), SnapshotMark(EntryId(1, 1), 0)])
    assert [record.kind for record in scan(data, 1)] == list(Kind)
