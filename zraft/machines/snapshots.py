"""How the replicated state becomes a stream of bytes, and back.

The stream is a sequence of records, each a 32-bit big-endian length and a payload::

    head
    sessions, some hundred to a record, in the order of last use; an empty record
    for each machine, by name: its name, its chunks as they are, an empty record
    an empty record

so that each machine is given the very chunks that it gave, however the stream was cut on its way. An empty chunk is not
written.
"""

from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import Annotated

import msgspec

from zraft.errors import StorageError
from zraft.machines.machine import StateMachine
from zraft.machines.table import Session
from zraft.raft.types import Index, Membership, NodeId, Term

PIECE_BYTES_MAX = 256 << 10
"""The longest piece of the stream that `write` yields."""
_LENGTH = Struct("!I")
_END = _LENGTH.pack(0)
_SESSIONS_PER_RECORD = 256


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Everything but the sessions and the machines' own state."""

    index: Index
    """The last entry that the snapshot stands for, with its term and time."""
    term: Term
    time_ms: int
    leader: NodeId | None
    membership: Membership | None
    session_ttl_ms: Annotated[int, msgspec.Meta(ge=1)]
    """How long and how many sessions live; see `table.Table`."""
    sessions_max: Annotated[int, msgspec.Meta(ge=1)]


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_sessions = msgspec.msgpack.Decoder(list[Session]).decode


def write(head: Head, sessions: list[Session], machines: list[tuple[str, Iterator[bytes]]]) -> Iterator[bytes]:
    """Return the stream in pieces of `PIECE_BYTES_MAX`, the last one shorter."""
    waiting = bytearray()
    for part in _records(head, sessions, machines):
        waiting += part
        while len(waiting) >= PIECE_BYTES_MAX:
            yield bytes(waiting[:PIECE_BYTES_MAX])
            del waiting[:PIECE_BYTES_MAX]
    yield bytes(waiting)


def _records(head: Head, sessions: list[Session], machines: list[tuple[str, Iterator[bytes]]]) -> Iterator[bytes]:
    yield from _record(_encode(head))
    for at in range(0, len(sessions), _SESSIONS_PER_RECORD):
        yield from _record(_encode(sessions[at : at + _SESSIONS_PER_RECORD]))
    yield _END
    for name, chunks in machines:
        yield from _record(name.encode())
        for chunk in chunks:
            if chunk:
                yield from _record(chunk)
        yield _END
    yield _END


def _record(payload: bytes) -> Iterator[bytes]:
    yield _LENGTH.pack(len(payload))
    yield payload


def read(chunks: Iterable[bytes], machines: Mapping[str, StateMachine]) -> tuple[Head, list[Session]]:
    """Restore every machine from the stream, and return the rest; a machine that is not in it becomes empty."""
    records = _Records(chunks)
    try:
        head = _decode_head(records.next())
        sessions = [session for record in records.section() for session in _decode_sessions(record)]
        restored = set()
        while name := records.next().decode():
            if name not in machines:
                raise StorageError(f"the snapshot holds the machine {name!r}, which is not mounted; mount it")
            section = records.section()
            machines[name].restore(section)
            for _ in section:
                raise StorageError(f"the machine {name!r} left a part of its snapshot unread; it cannot be restored")
            restored.add(name)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StorageError(f"the snapshot is damaged: {error}; restore it from another node") from error
    records.expect_end()
    for name in sorted(set(machines) - restored):
        machines[name].restore(())
    return head, sessions


class Contents(msgspec.Struct, frozen=True):
    """What a stream holds, for people."""

    head: Head
    sessions: int
    """How many clients are remembered."""
    machines: dict[str, int]
    """Bytes of each machine's state, by name."""


def contents(chunks: Iterable[bytes]) -> Contents:
    """Return what a stream holds, whatever machines it is of; raises `StorageError` as `read` does."""
    records = _Records(chunks)
    try:
        head = _decode_head(records.next())
        sessions = sum(len(_decode_sessions(record)) for record in records.section())
        machines: dict[str, int] = {}
        while name := records.next().decode():
            machines[name] = sum(map(len, records.section()))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StorageError(f"the snapshot is damaged: {error}; restore it from another node") from error
    records.expect_end()
    return Contents(head, sessions, machines)


class _Records:
    """Cuts a stream back into its records."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._waiting = bytearray()

    def next(self) -> bytes:
        """Return the next record's payload; empty for an end."""
        length = int(_LENGTH.unpack(self._take(_LENGTH.size))[0])
        return self._take(length)

    def section(self) -> Iterator[bytes]:
        """Return the records up to the next empty one."""
        while payload := self.next():
            yield payload

    def expect_end(self) -> None:
        """Raise unless the stream ends here."""
        if self._waiting or any(self._chunks):
            raise StorageError("the snapshot is damaged: bytes follow its end; restore it from another node")

    def _take(self, size: int) -> bytes:
        while len(self._waiting) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise StorageError("the snapshot is damaged: it ends too early; restore it from another node")
            self._waiting += chunk
        taken = bytes(self._waiting[:size])
        del self._waiting[:size]
        return taken
