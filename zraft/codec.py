"""Messages to frames and back. Bad input raises `ProtocolError` and nothing else.

Every message on every socket of ours is ``[header, body]``, or ``[header, body, batch]`` for client commands::

    header   magic "zR" | version u8 | kind u8 | cluster u64 | boot u64 | crc u32 | source (utf-8, 1 to 64 bytes)
    body     msgpack of the kind's struct
    batch    msgpack of a `requests.Batch`, opaque to everybody but its client and whoever applies it

All integers are big-endian. The CRC-32 covers the header without the CRC itself and then every further frame. It is
checked, as are magic, version, cluster, the count of frames and the size of the whole, before anything is decoded.
"""

import zlib
from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

import msgspec

from zraft import requests, statepieces
from zraft.errors import ProtocolError
from zraft.raft import messages

VERSION = 1
FRAME_BYTES_MAX = 16 << 20
"""What one frame, and one whole message, may hold."""

PEER_KINDS: dict[int, type[msgspec.Struct]] = {
    1: messages.PreVote,
    2: messages.PreVoteResponse,
    3: messages.RequestVote,
    4: messages.RequestVoteResponse,
    5: messages.AppendEntries,
    6: messages.AppendEntriesResponse,
    7: messages.Heartbeat,
    8: messages.HeartbeatResponse,
    9: messages.TimeoutNow,
    10: messages.ReadIndex,
    11: messages.ReadIndexResponse,
    12: messages.InstallSnapshot,
    13: messages.InstallSnapshotResponse,
}
REQUEST_KINDS: dict[int, type[msgspec.Struct]] = {
    32: requests.Hello,
    33: requests.OpenSession,
    34: requests.CloseSession,
    35: requests.Commands,
    36: requests.Queries,
    37: requests.StatusRequest,
    38: requests.TransferRequest,
    39: requests.RecentEvents,
    40: requests.PastEvents,
    41: requests.MembersRequest,
    42: requests.MembershipChange,
    43: requests.CutLinks,
    44: statepieces.CopyState,
}
REPLY_KINDS: dict[int, type[msgspec.Struct]] = {64: requests.Reply}

_MAGIC = b"zR"
_PREFIX = Struct("!2sBBQQ")
_CRC = Struct("!I")
_SOURCE_AT = _PREFIX.size + _CRC.size
_SOURCE_BYTES_MAX = 64
_KNOWN_MAX = 4_096
"""Headers kept; four or so for each client that is about."""
_HELLO = 32
_ANY_CLUSTER = 0
_CODES = {struct: code for kinds in (PEER_KINDS, REQUEST_KINDS, REPLY_KINDS) for code, struct in kinds.items()}
_DECODERS = {code: msgspec.msgpack.Decoder(struct) for struct, code in _CODES.items()}
_encode_body = msgspec.msgpack.Encoder().encode


class Received(NamedTuple):
    """A message that passed every check."""

    source: str
    """The name that the sender gives itself: a node's, or a client's own."""
    boot_id: int
    """Changes whenever the sender's process starts."""
    message: Any
    """An instance of one of the kinds asked for."""
    batch: bytes | None
    """The third frame, for commands."""


def cluster_of(frames: Sequence[bytes]) -> int | None:
    """Return the cluster id that a message claims; None when it is too short to have one. Nothing else is checked.

    For a client that knows endpoints alone and learns the cluster's id from the answer to its `Hello`.
    """
    if not frames or len(frames[0]) < _PREFIX.size:
        return None
    return int(_PREFIX.unpack_from(frames[0])[3])


class _Header(NamedTuple):
    """What the header of a message says, checked."""

    source: str
    boot_id: int
    kind: int
    crc: int
    """The header's share of the checksum."""


class Codec:
    """Encodes and decodes for one sender in one cluster.

    Parameters
    ----------
    cluster_id
        64-bit number of the cluster; 0, for a client that does not know it yet, is accepted for `Hello` alone.
    source
        Name of this sender, 1 to 64 bytes of UTF-8.
    boot_id
        64-bit number of this process start.
    """

    def __init__(self, cluster_id: int, source: str, boot_id: int) -> None:
        name = source.encode()
        assert 1 <= len(name) <= _SOURCE_BYTES_MAX, f"a source name has 1 to 64 bytes: {source!r}"
        self.cluster_id = cluster_id
        self._source = name
        heads = {code: _PREFIX.pack(_MAGIC, VERSION, code, cluster_id, boot_id) for code in _CODES.values()}
        self._heads = {code: (head, zlib.crc32(name, zlib.crc32(head))) for code, head in heads.items()}
        """By kind: what every header of ours begins with, and its share of the checksum."""
        self._known: dict[tuple[bytes, bytes], _Header] = {}
        """Headers met before, without their checksums: a sender's are all alike."""

    def encode(self, message: msgspec.Struct, batch: bytes | None = None) -> list[bytes]:
        """Return the frames of `message`; `batch` is the already encoded third frame of `Commands`."""
        head, crc = self._heads[_CODES[type(message)]]
        body = _encode_body(message)
        crc = zlib.crc32(body, crc)
        if batch is None:
            return [head + _CRC.pack(crc) + self._source, body]
        return [head + _CRC.pack(zlib.crc32(batch, crc)) + self._source, body, batch]

    def decode(self, frames: Sequence[bytes], kinds: dict[int, type[msgspec.Struct]]) -> Received:
        """Check and decode `frames` as one of `kinds`.

        Raises
        ------
        ProtocolError
            Whatever is wrong with them; the message says what.
        """
        if not 2 <= len(frames) <= 3:  # noqa: PLR2004
            raise ProtocolError(f"{len(frames)} frames where 2 or 3 belong")
        if sum(map(len, frames)) > FRAME_BYTES_MAX:
            raise ProtocolError("a message over 16 MiB")
        raw = frames[0]
        parts = (raw[: _PREFIX.size], raw[_SOURCE_AT:])
        header = self._known.get(parts) or self._read_header(*parts)
        kind = kinds.get(header.kind)
        if kind is None:
            raise ProtocolError(f"kind {header.kind} does not belong on this socket")
        batch = frames[2] if len(frames) == 3 else None  # noqa: PLR2004
        if (batch is not None) != (kind is requests.Commands):
            raise ProtocolError(f"kind {header.kind} does not have {len(frames)} frames")
        crc = zlib.crc32(frames[1], header.crc)
        if batch is not None:
            crc = zlib.crc32(batch, crc)
        if crc != _CRC.unpack_from(raw, _PREFIX.size)[0]:
            raise ProtocolError("checksum does not match")
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[parts] = header  # Only now: what is kept has been proven by a checksum.
        try:
            message = _DECODERS[header.kind].decode(frames[1])
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
            raise ProtocolError(f"kind {header.kind}: {error}") from error
        return Received(header.source, header.boot_id, message, batch)

    def _read_header(self, prefix: bytes, source: bytes) -> _Header:
        if len(prefix) != _PREFIX.size or not 1 <= len(source) <= _SOURCE_BYTES_MAX:
            raise ProtocolError(f"a header with {len(prefix)} bytes and {len(source)} bytes of source")
        magic, version, kind, cluster, boot_id = _PREFIX.unpack(prefix)
        if magic != _MAGIC or version != VERSION:
            raise ProtocolError(f"magic {magic!r}, version {version}: not zraft, or another version of it")
        if cluster != self.cluster_id and not (kind == _HELLO and cluster == _ANY_CLUSTER):
            raise ProtocolError(f"a message of cluster {cluster:016x}; this is {self.cluster_id:016x}")
        try:
            name = source.decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"a source that is not UTF-8: {error}") from error
        return _Header(name, boot_id, kind, zlib.crc32(source, zlib.crc32(prefix)))
