"""The head of a snapshot file: struct to bytes and back; laid out in the package."""

import struct
import zlib

import msgspec

from zraft.raft.types import EntryId, Membership, Snapshot
from zraft.seams import File
from zraft.storage.header import SECTOR_BYTES

MAGIC = b"zraftsnp"
VERSION = 1
_HEAD = struct.Struct(
    "<8sIIQQQQQ32sI"
)  # magic, version, CRC, cluster, term, index, time_ms, size, SHA-256, membership's length
_CRC_AT = 12
_MEMBERSHIP_BYTES_MAX = 1 << 24
encode_membership = msgspec.msgpack.Encoder(order="sorted").encode
"""The membership as heads and marks have it: equal ones give equal bytes."""
decode_membership = msgspec.msgpack.Decoder(Membership).decode


def data_offset(membership: Membership) -> int:
    """Return where the data begins: a sector boundary behind the membership."""
    return SECTOR_BYTES + -(-len(encode_membership(membership)) // SECTOR_BYTES) * SECTOR_BYTES


def encode(cluster_id: int, snapshot: Snapshot) -> bytes:
    """Return all that stands before the data."""
    membership = encode_membership(snapshot.membership)
    (term, index), size = snapshot.last, snapshot.size
    parts = (cluster_id, term, index, snapshot.time_ms, size, snapshot.sha256, len(membership))
    head = bytearray(data_offset(snapshot.membership))
    head[SECTOR_BYTES : SECTOR_BYTES + len(membership)] = membership
    _HEAD.pack_into(head, 0, MAGIC, VERSION, 0, *parts)
    struct.pack_into("<I", head, _CRC_AT, zlib.crc32(head))
    return bytes(head)


def read(file: File) -> tuple[int, Snapshot]:
    """Return the cluster id, and which snapshot `file` holds; raises ValueError for what is damaged, or too short."""
    first = file.pread(SECTOR_BYTES, 0)
    if len(first) < SECTOR_BYTES:
        raise ValueError("too short for a snapshot")
    magic, version, crc, cluster_id, term, index, time_ms, size, sha256, length = _HEAD.unpack_from(first)
    if magic != MAGIC or version != VERSION:
        raise ValueError(f"no snapshot of format {VERSION}")
    if length > _MEMBERSHIP_BYTES_MAX:
        raise ValueError(f"a membership of {length} bytes")
    head = bytearray(file.pread(SECTOR_BYTES + -(-length // SECTOR_BYTES) * SECTOR_BYTES, 0))
    head[_CRC_AT : _CRC_AT + 4] = bytes(4)
    if zlib.crc32(head) != crc:
        raise ValueError("the checksum of its head does not match")
    if file.size() != len(head) + size:
        raise ValueError(f"{file.size()} bytes where {len(head) + size} belong")
    try:
        membership = decode_membership(bytes(head[SECTOR_BYTES : SECTOR_BYTES + length]))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"a membership that can't be read: {error}") from error
    return cluster_id, Snapshot(EntryId(term, index), time_ms, membership, size, sha256)
