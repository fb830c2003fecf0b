"""The key-value store: bytes to bytes, with revisions.

The store counts its own revisions, one per command that changed something. Entries are immutable, so that a snapshot is a
list of references and costs no copy of the data.

How long keys and values may be is part of the state, not of a node's configuration: the log is replayed under whatever
configuration there is by then, and on nodes that have different ones, and must say the same each time. So configured limits
take effect as a command of the leader's own.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from random import Random

import msgspec

from zraft.errors import InvalidRequest
from zraft.machines.kv import commands
from zraft.machines.kv.commands import CompareAndSet, Delete, Deleted, Get, KeyValue, List, Page, Put, SetLimits
from zraft.machines.machine import Applied, Errand

_CHUNK_BYTES = 128 << 10
_ENTRY_BYTES = 32
"""What an entry adds to a page or chunk besides its key and value: four lengths and three revisions."""
_BY_DEFAULT = SetLimits(commands.KEY_BYTES_MAX, commands.VALUE_BYTES_MAX)
_encode = commands.encode
_decode_command = commands.decode_command


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """Everything but the entries."""

    revision: int = 0
    limits: SetLimits = _BY_DEFAULT
    compacted: int = 0


class KeyValueStore:
    """The machine ``kv``; also `Proactive`, and `Numbering`.

    Parameters
    ----------
    key_bytes_max, value_bytes_max
        The limits that this node wants. It proposes them while it leads; those in force are the log's.
    """

    def __init__(
        self, *, key_bytes_max: int = commands.KEY_BYTES_MAX, value_bytes_max: int = commands.VALUE_BYTES_MAX
    ) -> None:
        self._wanted = SetLimits(key_bytes_max, value_bytes_max)
        self.limits = _BY_DEFAULT
        """In force; set by the command of that name."""
        self.revision = 0
        """Rises by one with each command that changed something; by more in a `leap`."""
        self.compacted = 0
        """Nothing is known of how the store was at this revision and before, nor what changed: set by `leap`."""
        self._entries: dict[bytes, KeyValue] = {}
        self._sorted: list[bytes] | None = None
        """All keys in order, or None since a key came or went; made by the next listing."""

    def errand(self, random: Random) -> Errand | None:
        """Return what puts the configured limits into force, where others are."""
        return None if self.limits == self._wanted else Errand(0, _encode(self._wanted))

    def apply(self, command: bytes, at: Applied) -> bytes:
        """Carry out a `commands.Command`."""
        try:
            decoded = _decode_command(command)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a command of kv") from error
        if type(decoded) is Put:
            return self._put(decoded.key, decoded.value)
        if type(decoded) is Delete:
            return self._delete(decoded.key)
        if type(decoded) is CompareAndSet:
            return self._compare_and_set(decoded)
        assert type(decoded) is SetLimits, "a command that the decoder knows and the store does not"
        if at.session:
            raise InvalidRequest("limits are the leader's to propose; set them in its configuration (limits)")
        self.limits = decoded
        return _encode(None)

    def _put(self, key: bytes, value: bytes) -> bytes:
        limits = self.limits
        if not 0 < len(key) <= limits.key_bytes_max or len(value) > limits.value_bytes_max:
            raise InvalidRequest(commands.why_invalid(key, value, limits.key_bytes_max, limits.value_bytes_max))
        self.revision = revision = self.revision + 1
        old = self._entries.get(key)
        if old is None:
            self._sorted = None
            self._entries[key] = KeyValue(key, value, revision, revision, 1)
        else:
            # The old key object, so that a key is in memory once.
            self._entries[key] = KeyValue(old.key, value, old.create_revision, revision, old.version + 1)
        return _encode(revision)

    def _delete(self, key: bytes) -> bytes:
        existed = self._entries.pop(key, None) is not None
        if existed:
            self.revision += 1
            self._sorted = None
        return _encode(Deleted(existed, self.revision))

    def _compare_and_set(self, command: CompareAndSet) -> bytes:
        key, value = command.key, command.value
        if value is None and command.expected is None:
            raise InvalidRequest(commands.ABOUT_NOTHING)
        limits = self.limits
        why = None if value is None else commands.why_invalid(key, value, limits.key_bytes_max, limits.value_bytes_max)
        if why is not None:
            raise InvalidRequest(why)
        if not _is_as_expected(self._entries.get(key), command.expected):
            return _encode(None)
        if value is not None:
            return self._put(key, value)
        self._delete(key)
        return _encode(self.revision)

    def query(self, query: bytes) -> bytes:
        """Answer a `commands.Query`."""
        try:
            decoded = commands.decode_query(query)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a query of kv") from error
        if type(decoded) is Get:
            return _encode(self._entries.get(decoded.key))
        assert type(decoded) is List, "a query that the decoder knows and the store does not"
        return _encode(self._page(decoded))

    def _page(self, query: List) -> Page:
        prefix, after, limit = query.prefix, query.after, query.limit
        if self._sorted is None:
            self._sorted = sorted(self._entries)
        keys = self._sorted
        at = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
        entries: list[KeyValue] = []
        size = 0
        while at < len(keys) and keys[at].startswith(prefix):
            if size >= commands.PAGE_BYTES_MAX or (limit and len(entries) == limit):
                return Page(entries, self.revision, True)
            entry = self._entries[keys[at]]
            entries.append(entry)
            size += len(entry.key) + len(entry.value) + _ENTRY_BYTES
            at += 1
        return Page(entries, self.revision, False)

    def leap(self, by: int) -> None:
        """Go on `by` revisions further; entries keep theirs, so a condition on one that clients saw last still holds."""
        self.revision += by
        self.compacted = self.revision

    def snapshot(self) -> Iterator[bytes]:
        """Return the state as of this call: a chunk with revision and limits, then chunks of entries.

        Entries come in the order of the dict. That order follows from the commands applied, and `restore` brings it
        back, so nodes with equal histories give equal chunks.
        """
        return _chunks(_Head(self.revision, self.limits, self.compacted), list(self._entries.values()))

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by that of a snapshot."""
        remaining = iter(chunks)
        first = next(remaining, None)
        head = _Head() if first is None else _decode_head(first)
        entries: dict[bytes, KeyValue] = {}
        for chunk in remaining:
            entries.update((entry.key, entry) for entry in _decode_entries(chunk))
        self.revision, self.limits, self.compacted = head.revision, head.limits, head.compacted
        self._entries, self._sorted = entries, None


def _is_as_expected(entry: KeyValue | None, expected: bytes | int | None) -> bool:
    if entry is None or expected is None:
        return entry is None and expected is None
    return entry.mod_revision == expected if isinstance(expected, int) else entry.value == expected


_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_entries = msgspec.msgpack.Decoder(list[KeyValue]).decode


def _chunks(head: _Head, entries: list[KeyValue]) -> Iterator[bytes]:
    yield _encode(head)
    chunk: list[KeyValue] = []
    size = 0
    for entry in entries:
        entry_size = len(entry.key) + len(entry.value) + _ENTRY_BYTES
        if chunk and size + entry_size > _CHUNK_BYTES:
            yield _encode(chunk)
            chunk, size = [], 0
        chunk.append(entry)
        size += entry_size
    if chunk:
        yield _encode(chunk)
