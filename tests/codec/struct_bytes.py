"""Messages made by hand: bodies that no encoder would give, under a checksum that is right."""

from struct import pack
from typing import Any
from zlib import crc32

import msgspec
from shapes import CLUSTER_ID, KINDS

from zraft.requests import Commands

_CODES = {kind: code for code, kind in KINDS.items()}


def seal(code: int, body: bytes, *more: bytes, source: bytes = b"n2") -> list[bytes]:
    """Return the frames of a message of that kind with that body."""
    head = pack("!2sBBQQ", b"zR", 1, code, CLUSTER_ID, 7)
    return [head + pack("!I", crc32(b"".join([head, source, body, *more]))) + source, body, *more]


def reseal(kind: type[msgspec.Struct], fields: list[Any]) -> list[bytes]:
    """Return the frames of a message with just these fields."""
    more = [b"batch"] if kind is Commands else []
    return seal(_CODES[kind], msgspec.msgpack.encode(fields), *more)


def recheck(frames: list[bytes]) -> list[bytes]:
    """Return `frames` with the checksum that they should have; as they are when the first is too short for one."""
    if not frames or len(frames[0]) < 24:
        return frames
    head, source = frames[0][:20], frames[0][24:]
    return [head + pack("!I", crc32(b"".join([head, source, *frames[1:]]))) + source, *frames[1:]]
