"""How a record gets its uuid: from the log alone, so that it is the same on every node."""

import hashlib

import msgspec

from zraft.machines.machine import Applied

_encode = msgspec.msgpack.Encoder().encode


def draw_uuid(revision: int, at: Applied) -> str:
    """Return the uuid of the one record that comes to be at `revision` of the catalog.

    The revision makes it unique in the catalog. The disk ids, which are drawn when the nodes' directories are made,
    keep it apart from those of other clusters.
    """
    disk_ids = sorted(at.membership.disk_ids.items()) if at.membership is not None else []
    drawn = bytearray(hashlib.sha256(_encode([revision, at.index, at.term, disk_ids])).digest()[:16])
    # Version 8 and the variant of RFC 9562, section 5.8: made in a way of one's own.
    drawn[6] = drawn[6] & 0x0F | 0x80
    drawn[8] = drawn[8] & 0x3F | 0x80
    text = drawn.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
