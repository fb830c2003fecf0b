"""Messages that mean nothing, at every depth: noise, damage behind a checksum, garbage under a true one, and absurd requests."""

from collections.abc import Iterator
from random import Random
from struct import pack
from typing import Any
from zlib import crc32

import msgspec

from zraft.codec import PEER_KINDS, REQUEST_KINDS, Codec
from zraft.errors import ProtocolError
from zraft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    InstallSnapshotResponse,
    PreVote,
    PreVoteResponse,
    ReadIndex,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from zraft.raft.types import Entry, EntryId, EntryKind, Membership, Snapshot
from zraft.requests import (
    CALLS_MAX,
    CloseSession,
    Commands,
    CutLinks,
    Hello,
    MembershipChange,
    MembersRequest,
    OpenSession,
    PastEvents,
    Queries,
    RecentEvents,
    StatusRequest,
    TransferRequest,
)
from zraft.statepieces import CopyState

NODE_BOOT = 7
ABSURD = (0, 1, -1, (1 << 31) - 1, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1)


def noise(random: Random, count: int) -> Iterator[list[bytes]]:
    """Yield messages of random frames, most of them small, some of 64 KiB."""
    for _ in range(count):
        frames = random.choice((1, 1, 2, 2, 2, 3, 4, 50))
        yield [random.randbytes(_size(random)) for _ in range(frames)]


def _size(random: Random) -> int:
    return 1 << 16 if random.random() < 0.002 else int(random.expovariate(1 / 60))


def damaged(random: Random, count: int, proper: list[list[bytes]], codec: Codec) -> Iterator[list[bytes]]:
    """Yield proper messages that something happened to after their checksum was made."""
    kinds = PEER_KINDS | REQUEST_KINDS
    while count:
        frames = list(random.choice(proper))
        for _ in range(random.choice((1, 1, 1, 3))):
            _damage(random, frames)
        if frames and not _is_understood(codec, frames, kinds):
            count -= 1
            yield frames


def _damage(random: Random, frames: list[bytes]) -> None:
    if not frames:
        return
    at = random.randrange(len(frames))
    part = frames[at]
    spot = random.randrange(len(part)) if part else 0
    what = random.randrange(6)
    if what <= 1 and part:
        frames[at] = part[:spot] + bytes([part[spot] ^ (1 << random.randrange(8))]) + part[spot + 1 :]
    elif what == 2:
        frames[at] = part[:spot]
    elif what == 3:
        frames[at] = part[:spot] + random.randbytes(random.randrange(1, 40)) + part[spot:]
    elif what == 4:
        frames.insert(at, part)
    else:
        del frames[at]


def garbage(random: Random, count: int, codec: Codec, kinds: dict[int, Any], source: str) -> Iterator[list[bytes]]:
    """Yield messages whose checksum is true and whose body is not what their kind says."""
    while count:
        body = random.choice((b"", b"\x91", b"\x93", b"\x94\x01", b"\xdc", b"\x80")) + random.randbytes(_size(random))
        more = [random.randbytes(_size(random))] if random.random() < 0.3 else []
        frames = seal(codec.cluster_id, random.choice(sorted(kinds)), source.encode(), body, *more)
        if not _is_understood(codec, frames, kinds):
            count -= 1
            yield frames


def seal(cluster_id: int, kind: int, source: bytes, body: bytes, *more: bytes) -> list[bytes]:
    """Return the frames of a message by hand, with a checksum that is true."""
    head = pack("!2sBBQQ", b"zR", 1, kind, cluster_id, NODE_BOOT)
    return [head + pack("!I", crc32(b"".join([head, source, body, *more]))) + source, body, *more]


def _is_understood(codec: Codec, frames: list[bytes], kinds: dict[int, Any]) -> bool:
    try:
        codec.decode(frames, kinds)
    except ProtocolError:
        return False
    return True


def peer_messages(cluster_id: int, source: str) -> list[list[bytes]]:
    """Return a proper message of every kind, of a term that would unseat any leader."""
    entry = Entry(900, 901, EntryKind.COMMAND, 5, b"data" * 20)
    messages = [
        PreVote(1_000, EntryId(900, 901), "disk"),
        PreVoteResponse(1_000, True, "", "disk"),
        RequestVote(1_000, EntryId(900, 901), True, "disk"),
        RequestVoteResponse(1_000, True, "", "disk"),
        AppendEntries(1_000, EntryId(900, 900), 900, [entry] * 3),
        AppendEntriesResponse(1_000, True, 900, EntryId(900, 901), "disk"),
        Heartbeat(1_000, 900, 3),
        HeartbeatResponse(1_000, 3, "disk"),
        TimeoutNow(1_000),
        ReadIndex(1_000, 77),
        ReadIndexResponse(1_000, 77, 900),
        InstallSnapshot(1_000, Snapshot(EntryId(900, 900), 5, Membership(("n1",)), 9, b"sum"), 0, b"data"),
        InstallSnapshotResponse(1_000, EntryId(900, 900), 4, "disk"),
    ]
    assert {type(message) for message in messages} == set(PEER_KINDS.values())
    return [Codec(cluster_id, source, NODE_BOOT).encode(message) for message in messages]


def client_messages(cluster_id: int) -> list[list[bytes]]:
    """Return a proper request of every kind."""
    codec = Codec(cluster_id, "client", NODE_BOOT)
    batch = msgspec.msgpack.encode([1, 1, "kv", [b"x" * 30]])
    requests = [
        Hello(1),
        OpenSession(1),
        CloseSession(1, 5),
        Queries(1, "kv", [b"q"]),
        StatusRequest(1, 5),
        TransferRequest(1),
        RecentEvents(1, 5),
        PastEvents(1, kinds=("role",)),
        CutLinks(1, ("n9",)),
        CopyState(1, 7),
        MembersRequest(1),
        MembershipChange(1, promote=("n9",)),
    ]
    assert {Commands, *map(type, requests)} == set(REQUEST_KINDS.values())
    return [codec.encode(Commands(1), batch), *map(codec.encode, requests)]


def absurd_requests(random: Random, count: int) -> Iterator[tuple[Any, bytes | None]]:
    """Yield requests that are well formed and make no sense; one that asks for a handover to somebody real is not."""
    for _ in range(count):
        number = random.choice(ABSURD)
        choice = random.randrange(9)
        if choice == 0:
            yield Commands(0), _absurd_batch(random)
        elif choice == 1:
            queries = [random.randbytes(random.randrange(4)) for _ in range(random.choice((0, 1, 100, CALLS_MAX)))]
            yield Queries(0, random.choice(("kv", "", "other", "\0" * 64)), queries), None
        else:
            yield (
                (
                    CloseSession(0, number or 1),
                    StatusRequest(0, number),
                    RecentEvents(0, number),
                    TransferRequest(0, random.choice(("", "n9", "\x1b[2J", "é" * 32))),
                    Hello(0),
                    OpenSession(0),
                    _absurd_question(random),
                )[choice - 2],
                None,
            )


def _absurd_question(random: Random) -> PastEvents:
    since_ms, serial, offset = (random.choice(ABSURD) % (1 << 63) for _ in range(3))
    return PastEvents(0, random.random() < 0.5, random.choice(((), ("role",), ("x",) * 64)), since_ms, serial, offset)


def _absurd_batch(random: Random) -> bytes:
    commands = random.choice(([], [b""] * 1_000, [random.randbytes(30)] * 10, [b"\x93\x00\xa0\xa0"], [b"\x91" * 5_000]))
    batch = [random.choice(ABSURD), random.choice(ABSURD), random.choice(("kv", "", "\n")), commands]
    return random.choice((msgspec.msgpack.encode(batch), b"", b"\x91" * 1_000, msgspec.msgpack.encode(batch) + b"\0"))
