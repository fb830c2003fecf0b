"""What is left of a file's unsynced changes when the power is lost."""

from collections.abc import Iterable
from random import Random
from typing import Final

SECTOR: Final = 512
Changes = list[tuple[int, bytes | None]]
"""Writes as (offset, data), and cuts or extensions as (size, None), oldest first."""


def take_in(content: bytearray, offset: int, data: bytes | None) -> None:
    """Write `data` at `offset`; None cuts or extends to there."""
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def left(durable: bytes | bytearray, size: int, changes: Changes, kind: str, random: Random) -> bytes:
    """Return the content that lasts, by one of `plan.POWER_FAULTS`.

    Parameters
    ----------
    durable
        What was synced.
    size
        How large the file was to whoever looked.
    changes
        What was not synced.
    """
    content = bytearray(durable)
    if kind in ("lose_all", "names_kept") or not changes:
        return bytes(content)
    if kind in ("keep_all", "keep_prefix"):
        kept = len(changes) if kind == "keep_all" else random.randint(0, len(changes))
        for change in changes[:kept]:
            take_in(content, *change)
        return bytes(content)
    if kind == "zeros":
        return bytes(content[:size].ljust(size, b"\0"))
    sectors = [(offset, data) for change in changes for offset, data in _sectors(*change)]
    if kind == "torn":
        kept = random.randint(0, len(sectors) - 1) if sectors else 0
        for sector in sectors[:kept]:
            take_in(content, *sector)
        if sectors and sectors[kept][1] is not None:
            offset, data = sectors[kept]
            take_in(content, offset, random.randbytes(len(data or b"")))
        return bytes(content)
    for sector in sectors:
        if random.random() < 0.5:  # noqa: PLR2004 - each sector by itself
            take_in(content, *sector)
    return bytes(content)


def _sectors(offset: int, data: bytes | None) -> Iterable[tuple[int, bytes | None]]:
    """Cut a write into what lies within one sector each."""
    if data is None:
        yield offset, None
        return
    at = 0
    while at < len(data):
        size = SECTOR - (offset + at) % SECTOR
        yield offset + at, data[at : at + size]
        at += size
