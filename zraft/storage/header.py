"""The first block of a segment: who wrote it, and how it joins the one before."""

import struct
import zlib
from enum import Enum

import msgspec

from zraft.raft.types import Index, NodeId

SECTOR_BYTES = 512
"""What a disk writes as one; a turn begins on such a boundary."""
BLOCK_BYTES = 4_096
"""The header, the slots and the reserve; the first turn stands behind them."""
VERSION = 1

_MAGIC = b"zraftwal"
_FIELDS = struct.Struct("<8sIIQQ16sQQQBB64s")
_CRC = struct.Struct("<I")
_CRC_OFFSET = 12


class Header(msgspec.Struct, frozen=True):
    """What a segment's first sector says."""

    serial: int
    """The segment's number, never used twice; from 1."""
    cluster_id: int
    node: NodeId
    disk_id: str
    """The data directory, as 32 hexadecimal digits."""
    previous_serial: int = 0
    """The segment before this one; 0 when there never was one."""
    previous_end: int = 0
    """Where that one ends; what it holds from there on does not count."""
    first_index: Index = 1
    """The index that the next entry had when this segment was begun."""
    recycled: bool = False
    """The file was in use under another serial number before."""


class NoHeader(Enum):
    """Why a file's first sector is no header of format 1."""

    UNREADABLE = "no intact header"
    """Zeros, something else, or a header whose checksum is wrong."""
    VERSION = "another format version"
    """A zraft segment of a version that this program does not know."""


def encode(header: Header) -> bytes:
    """Return the whole first block, slots and reserve being zero."""
    assert 0 < header.serial < 1 << 64, f"a serial number out of range: {header.serial}"
    name = header.node.encode()
    fields = _FIELDS.pack(
        _MAGIC,
        VERSION,
        0,
        header.serial,
        header.cluster_id,
        bytes.fromhex(header.disk_id),
        header.previous_serial,
        header.previous_end,
        header.first_index,
        header.recycled,
        len(name),
        name,
    )
    sector = bytearray(fields.ljust(SECTOR_BYTES, b"\0"))
    _CRC.pack_into(sector, _CRC_OFFSET, zlib.crc32(sector))
    return bytes(sector).ljust(BLOCK_BYTES, b"\0")


def decode(block: bytes) -> Header | NoHeader:
    """Read a first block, of which the first sector is enough, or say why it is no header."""
    sector = bytearray(block[:SECTOR_BYTES])
    if len(sector) < SECTOR_BYTES or not sector.startswith(_MAGIC):
        return NoHeader.UNREADABLE
    _, version, crc, serial, cluster_id, disk_id, previous, end, first, recycled, length, name = _FIELDS.unpack_from(
        sector
    )
    if version not in (0, VERSION):
        return NoHeader.VERSION
    _CRC.pack_into(sector, _CRC_OFFSET, 0)
    if zlib.crc32(sector) != crc:
        return NoHeader.UNREADABLE
    return Header(serial, cluster_id, name[:length].decode(), disk_id.hex(), previous, end, first, bool(recycled))
