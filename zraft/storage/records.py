"""Records and turns: state to bytes, and a segment's bytes back to records with their offsets. Pure."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec

from zraft.raft.types import Entry, EntryId, HardState, Index
from zraft.storage.header import BLOCK_BYTES, SECTOR_BYTES

RECORD_HEADER_BYTES = 12
PAYLOAD_BYTES_MAX = (1 << 32) - 1
FIRST = 1
"""Flag of the first record of a turn."""
LAST = 2
"""Flag of the last record of a turn."""

_U32 = 0xFFFFFFFF
_HEADER = struct.Struct("<IIBBH")  # CRC, length, kind, flags, reserved
_REST = struct.Struct("<IBBH")  # The header without its CRC.
_CRC = struct.Struct("<I")
_ENTRY = struct.Struct("<QQQB")  # term, index, time_ms, kind
_ENTRY_REST = struct.Struct("<IBBHQQQB")  # `_REST` and `_ENTRY` in one go
_VOTE = struct.Struct("<QB")  # term, whether there is a vote
_INDEX = struct.Struct("<Q")
_MARK = struct.Struct("<QQQ")  # term, index, time_ms


class Kind(IntEnum):
    """What a record says; the numbers are the format's."""

    ENTRY = 1
    HARD_STATE = 2
    TRUNCATE = 3
    SNAPSHOT_MARK = 4


class Truncate(msgspec.Struct, frozen=True):
    """Entries from `index` on are gone."""

    index: Index


class SnapshotMark(msgspec.Struct, frozen=True):
    """Entries up to `last` may be gone: a snapshot holds what they did, and the log starts after it."""

    last: EntryId
    """The last entry that the snapshot includes."""
    time_ms: int
    """Cluster time of that entry."""
    membership: bytes = b""
    """The membership in force there, opaque to the log."""


Value = Entry | HardState | Truncate | SnapshotMark


class Record(NamedTuple):
    """One intact record of a segment."""

    offset: int
    """Where it begins in the segment."""
    end: int
    """The offset right behind it."""
    flags: int
    value: Value

    @property
    def kind(self) -> Kind:
        """Which of the four it is."""
        return _KINDS[type(self.value)]


class Turn(NamedTuple):
    """What one write put into a segment, whole."""

    offset: int
    end: int
    """Where the next turn begins: the sector boundary behind the last record."""
    records: list[Record]


class Damage(Exception):
    """A place in a segment that no crash explains."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"offset {offset}: {reason}")
        self.offset = offset
        self.reason = reason


def encode_turn(serial: int, offset: int, values: Sequence[Value]) -> bytes:
    """Return `values` as one turn for `offset` of segment `serial`, padded to a sector boundary."""
    assert offset % SECTOR_BYTES == 0, f"a turn begins on a sector boundary, not at {offset}"
    assert values, "a turn holds at least one record"
    seed = _seed(serial)
    parts: list[bytes] = []
    start = offset
    flags = FIRST
    last = len(values) - 1
    for number, value in enumerate(values):
        if number == last:
            flags |= LAST
        if isinstance(value, Entry):  # The hot path, so spelled out.
            data = value.data
            head = _ENTRY_REST.pack(
                _ENTRY.size + len(data), 1, flags, 0, value.term, value.index, value.time_ms, value.kind
            )
        else:
            payload, data = _payload(value), b""
            head = _REST.pack(len(payload), _KINDS[type(value)], flags, 0) + payload
        crc = zlib.crc32(data, zlib.crc32(head, (seed + offset) & _U32))
        parts += (_CRC.pack(crc), head, data)
        offset += _CRC.size + len(head) + len(data)
        flags = 0
    parts.append(bytes(start + _padded(offset - start) - offset))
    return b"".join(parts)


def scan(segment: bytes, serial: int, offset: int = BLOCK_BYTES) -> Iterator[Record]:
    """Yield the intact records from `offset` on, which is where a turn begins; end at the first place without one.

    Raises
    ------
    Damage
        A record's checksum is right and its content makes no sense: no crash does that.
    """
    seed = _seed(serial)
    view = memoryview(segment)
    size = len(segment)
    while offset + RECORD_HEADER_BYTES <= size:
        crc, length, kind, flags, reserved = _HEADER.unpack_from(segment, offset)
        start = offset + RECORD_HEADER_BYTES
        end = start + length
        if end > size or zlib.crc32(view[offset + _CRC.size : end], (seed + offset) & _U32) != crc:
            return
        if reserved or flags & ~(FIRST | LAST):
            raise Damage(offset, f"a record with unknown flags ({flags}, {reserved})")
        yield Record(offset, end, flags, _value(segment, kind, offset, end))
        offset = _padded(end) if flags & LAST else end


def turns(segment: bytes, serial: int, offset: int = BLOCK_BYTES) -> Iterator[Turn]:
    """Yield the whole turns from `offset` on; end at the first place without one. Raises like `scan`."""
    records: list[Record] = []
    for record in scan(segment, serial, offset):
        if bool(record.flags & FIRST) == bool(records):
            raise Damage(record.offset, "a write begins inside another" if records else "the middle of a write")
        records.append(record)
        if record.flags & LAST:
            end = _padded(record.end)
            yield Turn(records[0].offset, end, records)
            records = []


def later_turn(segment: bytes, serial: int, offset: int) -> int | None:
    """Return where the first turn behind `offset` begins, going by its first record; None when there is none."""
    rest = segment[offset + SECTOR_BYTES :]
    if rest.count(0) == len(rest):
        return None  # The usual case by far, and settled in C: nothing but zeros.
    seed = _seed(serial)
    view = memoryview(segment)
    for start in range(offset + SECTOR_BYTES, len(segment) - RECORD_HEADER_BYTES + 1, SECTOR_BYTES):
        crc, length, kind, flags, _ = _HEADER.unpack_from(segment, start)
        end = start + RECORD_HEADER_BYTES + length
        if not flags & FIRST or not 0 < kind <= max(Kind) or end > len(segment):
            continue
        if zlib.crc32(view[start + _CRC.size : end], (seed + start) & _U32) == crc:
            return start
    return None


def _seed(serial: int) -> int:
    """Return what the checksums of a segment start from; adding the record's offset ties each to its place."""
    return zlib.crc32(serial.to_bytes(8, "little"))


def _padded(offset: int) -> int:
    return -(-offset // SECTOR_BYTES) * SECTOR_BYTES


_KINDS: dict[type, Kind] = {
    Entry: Kind.ENTRY,
    HardState: Kind.HARD_STATE,
    Truncate: Kind.TRUNCATE,
    SnapshotMark: Kind.SNAPSHOT_MARK,
}


def _payload(value: HardState | Truncate | SnapshotMark) -> bytes:
    match value:
        case HardState(term, None):
            return _VOTE.pack(term, 0)
        case HardState(term, str(voted_for)):
            return _VOTE.pack(term, 1) + voted_for.encode()
        case Truncate(index):
            return _INDEX.pack(index)
        case SnapshotMark():
            return _MARK.pack(value.last.term, value.last.index, value.time_ms) + value.membership
    raise AssertionError(f"nothing that a log holds: {value!r}")


def _value(segment: bytes, kind: int, offset: int, end: int) -> Value:
    """Decode the payload of the record at `offset`; its checksum is right, so anything odd is damage."""
    start = offset + RECORD_HEADER_BYTES
    if kind == Kind.ENTRY and end - start >= _ENTRY.size:
        term, index, time_ms, entry_kind = _ENTRY.unpack_from(segment, start)
        return Entry(term, index, entry_kind, time_ms, segment[start + _ENTRY.size : end])
    payload = segment[start:end]
    try:
        if kind == Kind.HARD_STATE:
            term, voted = _VOTE.unpack_from(payload)
            return HardState(term, payload[_VOTE.size :].decode() if voted else None)
        if kind == Kind.TRUNCATE:
            return Truncate(*_INDEX.unpack(payload))
        if kind == Kind.SNAPSHOT_MARK:
            term, index, time_ms = _MARK.unpack_from(payload)
            return SnapshotMark(EntryId(term, index), time_ms, payload[_MARK.size :])
    except (struct.error, UnicodeDecodeError) as error:
        raise Damage(offset, f"a record of kind {kind} that cannot be read ({error})") from error
    raise Damage(offset, f"a record of {end - start} bytes and kind {kind}, which format 1 does not know")
