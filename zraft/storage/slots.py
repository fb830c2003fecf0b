"""The slots in a segment's first block: what the node had acknowledged, told apart from the log that holds it.

A log that was torn by a crash and one whose end is damaged look alike: a turn that is not intact, and nothing behind it. The
slots tell them apart. A slot tells of one turn: where it ended, and what was in force behind it. It is written in the
write of the *next* turn, when that turn has long been synced, or by itself when no other comes (`SETTLE_MS`): so
whatever a slot tells of was durable once, whichever of the two sectors power leaves behind. A log that ends before it is
damaged, and it says what is missing: the vote that was given, and how far the log went.
"""

import struct
import zlib

import msgspec

from zraft.raft.types import EntryId, HardState
from zraft.storage.header import BLOCK_BYTES, SECTOR_BYTES

SLOT_OFFSETS = (SECTOR_BYTES, 2 * SECTOR_BYTES)
"""Where the two stand; they are written in turn."""
SETTLE_MS = 50.0
"""When no turn follows for so long, the last one's slot is written by itself."""

_FIELDS = struct.Struct("<IIQQQQBB64s")  # CRC, reserved, sequence, term, entry's term and index, vote, length, name
_CRC = struct.Struct("<I")


class Slot(msgspec.Struct, frozen=True):
    """What was in force behind a turn that was durable when this was written."""

    sequence: int
    """Which turn: see `sequence`."""
    hard_state: HardState
    last: EntryId
    """The last entry that the node may have acknowledged; (0, 0) for none."""


def sequence(serial: int, end: int) -> int:
    """Return the number of the turn that ends at `end` of segment `serial`; later turns have higher ones."""
    return serial << 32 | end // SECTOR_BYTES


def serial_of(slot: Slot) -> int:
    """Return the segment of the turn that `slot` tells of."""
    return slot.sequence >> 32


def end_of(slot: Slot) -> int:
    """Return where that turn ends in its segment."""
    return (slot.sequence & 0xFFFFFFFF) * SECTOR_BYTES


def encode(slot: Slot, serial: int, offset: int) -> bytes:
    """Return the sector for `offset` of segment `serial`."""
    name = (slot.hard_state.voted_for or "").encode()
    fields = _FIELDS.pack(
        0,
        0,
        slot.sequence,
        slot.hard_state.term,
        slot.last.term,
        slot.last.index,
        slot.hard_state.voted_for is not None,
        len(name),
        name,
    )
    sector = bytearray(fields.ljust(SECTOR_BYTES, b"\0"))
    _CRC.pack_into(sector, 0, _crc(sector, serial, offset))
    return bytes(sector)


def decode(sector: bytes, serial: int, offset: int) -> Slot | None:
    """Read the sector at `offset` of segment `serial`; None when there is no intact slot in it."""
    if len(sector) < SECTOR_BYTES:
        return None
    crc, _, number, term, last_term, last_index, voted, length, name = _FIELDS.unpack_from(sector)
    if crc != _crc(sector, serial, offset) or not number:
        return None
    voted_for = name[:length].decode() if voted else None
    return Slot(number, HardState(term, voted_for), EntryId(last_term, last_index))


def newest(block: bytes, serial: int) -> Slot | None:
    """Return what the slots of a segment's first block tell last; None when neither is intact."""
    found = [decode(block[offset : offset + SECTOR_BYTES], serial, offset) for offset in SLOT_OFFSETS]
    return max((slot for slot in found if slot is not None), key=lambda slot: slot.sequence, default=None)


def placed(block: bytes, slot: Slot, serial: int) -> bytes:
    """Return a segment's first block, as its header makes it, with `slot` in the first place."""
    assert len(block) == BLOCK_BYTES, f"a block of {len(block)} bytes"
    start, end = SLOT_OFFSETS[0], SLOT_OFFSETS[1]
    return block[:start] + encode(slot, serial, start) + block[end:]


def _crc(sector: bytes | bytearray, serial: int, offset: int) -> int:
    seed = zlib.crc32(serial.to_bytes(8, "little")) + offset & 0xFFFFFFFF
    return zlib.crc32(memoryview(sector)[_CRC.size :], seed)
