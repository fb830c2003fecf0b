"""Reads the slots of a segment; see the package for their layout."""

import struct
import zlib

from zraft.raft.types import EntryId
from zraft.storage.findings import Tally
from zraft.storage.header import SECTOR_BYTES

SLOT_OFFSETS = (SECTOR_BYTES, 2 * SECTOR_BYTES)
_FIELDS = struct.Struct("<IIQQQQBB64s")
_CRC_BYTES = 4
_NAME_BYTES_MAX = 64
_U32 = 0xFFFFFFFF


def read(block: bytes, serial: int, offset: int) -> Tally | None:
    """Return what the slot at `offset` of segment `serial` says; None when it was never written.

    Raises
    ------
    ValueError
        It is damaged.
    """
    sector = block[offset : offset + SECTOR_BYTES]
    if sector.count(0) == len(sector):
        return None
    if len(sector) < SECTOR_BYTES:
        raise ValueError("a slot that is cut off")
    crc, reserved, sequence, term, last_term, last_index, voted, length, name = _FIELDS.unpack_from(sector)
    seed = (zlib.crc32(serial.to_bytes(8, "little")) + offset) & _U32
    if zlib.crc32(sector[_CRC_BYTES:], seed) != crc:
        raise ValueError("a slot whose checksum does not match")
    if reserved or not sequence or voted > 1 or length > _NAME_BYTES_MAX:
        raise ValueError("a slot with a right checksum that makes no sense")
    return Tally(sequence, term, EntryId(last_term, last_index), name[:length].decode() if voted else None)
