"""The key-value store as a client sees it."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from zraft.client.calls import Again
from zraft.errors import InvalidRequest
from zraft.machines.kv import commands
from zraft.machines.kv.commands import KeyValue
from zraft.requests import From

if TYPE_CHECKING:
    from zraft.client.client import Client

Entries = list[KeyValue]
_MACHINE = commands.MACHINE
_encode = commands.encode


class KeyValueClient:
    """The store; `Client.kv` is the one to use.

    Keys are text, stored as UTF-8, or bytes; values are bytes. Each call has a twin that starts with ``submit_``, which
    returns a future at once: thousands may be under way. Calls that are under way at the same time may be carried out
    in any order, save that commands of one client are applied in the order in which they were submitted.

    Every call raises `zraft.errors.InvalidRequest` for a key or value that the cluster would never take, `Unavailable`
    when nothing happened, and, the commands alone, `OutcomeUnknown` and `SessionExpired`. A future holds them, but for an
    InvalidRequest that is seen before anything is sent: that is raised at once. Limits concern what is put: what was put under
    larger ones is still read and removed.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    def put(self, key: str | bytes, value: bytes) -> int:
        """Set `key` to `value`; return the store's revision, which counts the commands that changed something."""
        revision: int = self._client.command(_MACHINE, self._put(key, value), commands.decode_revision)
        return revision

    def submit_put(self, key: str | bytes, value: bytes) -> "Future[int]":
        """Do what `put` does, without waiting."""
        return self._client.submit_command(_MACHINE, self._put(key, value), commands.decode_revision)

    def submit_puts(self, entries: Iterable[tuple[str | bytes, bytes]]) -> "list[Future[int]]":
        """Submit many puts, in order; none of them if one makes no sense."""
        puts = [self._put(key, value) for key, value in entries]
        return [self._client.submit_command(_MACHINE, put, commands.decode_revision) for put in puts]

    def get(self, key: str | bytes, *, from_follower: bool = False, stale: bool = False) -> bytes | None:
        """Return the value of `key`, or None; linearizable, unless `stale`.

        Parameters
        ----------
        from_follower
            Any node may answer, and rather one that does not lead; it asks its leader how far it must have come, so the
            answer is linearizable still (thesis §6.4), and the leader has less to do.
        stale
            Any node may answer from what it has: nobody is asked, and the answer may be any time behind.
        """
        value: bytes | None = self._client.query(_MACHINE, self._get(key), _read_value, _source(from_follower, stale))
        return value

    def submit_get(
        self, key: str | bytes, *, from_follower: bool = False, stale: bool = False
    ) -> "Future[bytes | None]":
        """Do what `get` does, without waiting."""
        return self._client.submit_query(_MACHINE, self._get(key), _read_value, _source(from_follower, stale))

    def entry(self, key: str | bytes, *, from_follower: bool = False, stale: bool = False) -> KeyValue | None:
        """Return the whole entry of `key`, with its revisions, or None; read as `get` does."""
        source = _source(from_follower, stale)
        entry: KeyValue | None = self._client.query(_MACHINE, self._get(key), commands.decode_entry, source)
        return entry

    def submit_entry(
        self, key: str | bytes, *, from_follower: bool = False, stale: bool = False
    ) -> "Future[KeyValue | None]":
        """Do what `entry` does, without waiting."""
        source = _source(from_follower, stale)
        return self._client.submit_query(_MACHINE, self._get(key), commands.decode_entry, source)

    def delete(self, key: str | bytes) -> bool:
        """Remove `key`; return whether it existed."""
        existed: bool = self._client.command(_MACHINE, self._delete(key), _read_existed)
        return existed

    def submit_delete(self, key: str | bytes) -> "Future[bool]":
        """Do what `delete` does, without waiting."""
        return self._client.submit_command(_MACHINE, self._delete(key), _read_existed)

    def compare_and_set(self, key: str | bytes, expected: bytes | int | None, value: bytes | None) -> int | None:
        """Set `key` to `value` if it is as expected, in one step.

        Parameters
        ----------
        expected
            Bytes: what the value must be. A number: what the entry's `mod_revision` must be, so that not even a change
            there and back goes unnoticed. None: the key must not exist.
        value
            None removes the key.

        Returns
        -------
        int | None
            The store's revision, which is the `mod_revision` of what was set; None when the key was not as expected, and
            nothing has changed.
        """
        command = self._compare_and_set(key, expected, value)
        revision: int | None = self._client.command(_MACHINE, command, commands.decode_swapped)
        return revision

    def submit_compare_and_set(
        self, key: str | bytes, expected: bytes | int | None, value: bytes | None
    ) -> "Future[int | None]":
        """Do what `compare_and_set` does, without waiting."""
        command = self._compare_and_set(key, expected, value)
        return self._client.submit_command(_MACHINE, command, commands.decode_swapped)

    def list(
        self, prefix: str | bytes = b"", limit: int = 0, *, from_follower: bool = False, stale: bool = False
    ) -> Entries:
        """Return the entries whose keys begin with `prefix`, in the order of their keys: all, or the first `limit`.

        Read as `get` does.

        Up to 1 MiB of them are as of one moment. More come in pages: each is linearizable, and what changes between two
        pages shows in the later one alone.
        """
        source = _source(from_follower, stale)
        entries: Entries = self._client.query(_MACHINE, *self._list(prefix, limit), source)
        return entries

    def submit_list(
        self, prefix: str | bytes = b"", limit: int = 0, *, from_follower: bool = False, stale: bool = False
    ) -> "Future[Entries]":
        """Do what `list` does, without waiting."""
        return self._client.submit_query(_MACHINE, *self._list(prefix, limit), _source(from_follower, stale))

    def _put(self, key: str | bytes, value: bytes) -> bytes:
        _check_value(value)
        return _encode(commands.Put(self._written(key, value), value))

    def _get(self, key: str | bytes) -> bytes:
        return _encode(commands.Get(_bytes(key)))

    def _delete(self, key: str | bytes) -> bytes:
        return _encode(commands.Delete(_bytes(key)))

    def _compare_and_set(self, key: str | bytes, expected: bytes | int | None, value: bytes | None) -> bytes:
        if expected is None and value is None:
            raise InvalidRequest(commands.ABOUT_NOTHING)
        if isinstance(expected, int) and (isinstance(expected, bool) or expected < 1):
            raise InvalidRequest(f"a revision is a number from 1 on, not {expected}")
        if expected is not None and not isinstance(expected, int):
            _check_value(expected)
        if value is None:
            return _encode(commands.CompareAndSet(_bytes(key), expected, None))
        _check_value(value)
        return _encode(commands.CompareAndSet(self._written(key, value), expected, value))

    def _list(self, prefix: str | bytes, limit: int) -> tuple[bytes, Callable[[bytes], Entries | Again]]:
        raw = _bytes(prefix)
        return _encode(commands.List(raw, limit=limit)), _pages(raw, limit)

    def _written(self, key: str | bytes, value: bytes) -> bytes:
        """Return the key as bytes; refuse what the cluster would refuse, as far as its limits are known here."""
        raw = _bytes(key)
        limits = self._client.limits
        if limits is not None and not (0 < len(raw) <= limits.key_bytes_max and len(value) <= limits.value_bytes_max):
            raise InvalidRequest(commands.why_invalid(raw, value, limits.key_bytes_max, limits.value_bytes_max))
        return raw


def _bytes(key: str | bytes) -> bytes:
    if isinstance(key, str):
        try:
            # A key that is not text, listed and shown as text, comes back as the bytes that it was.
            return key.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"a key that UTF-8 cannot hold: {error}; client.kv takes it as bytes") from error
    if isinstance(key, bytes):
        return key
    raise InvalidRequest(f"a key is str or bytes, not {type(key).__name__}")


def _check_value(value: object) -> None:
    if not isinstance(value, bytes):
        raise InvalidRequest(f"a value is bytes, not {type(value).__name__}; encode it, or use DistDict")


def _read_value(result: bytes) -> bytes | None:
    entry = commands.decode_entry(result)
    return None if entry is None else entry.value


def _read_existed(result: bytes) -> bool:
    return commands.decode_deleted(result).existed


def _pages(prefix: bytes, limit: int) -> Callable[[bytes], Entries | Again]:
    """Return a reader that collects the pages of one listing."""
    entries: Entries = []

    def read(result: bytes) -> Entries | Again:
        page = commands.decode_page(result)
        entries.extend(page.entries)
        missing = limit - len(entries)
        if not page.more or (limit and missing <= 0):
            return entries
        return Again(_encode(commands.List(prefix, page.entries[-1].key, max(0, missing))))

    return read


def _source(from_follower: bool, stale: bool) -> From:
    if from_follower and stale:
        raise InvalidRequest("a read is from_follower, which is linearizable, or stale; not both")
    return From.ANY if from_follower else From.STALE if stale else From.LEADER
