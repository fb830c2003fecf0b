"""A dict that lives in the cluster."""

import time
from collections.abc import ItemsView, Iterable, Iterator, KeysView, MappingView, MutableMapping, ValuesView
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from zraft.client.client import Client
from zraft.config import Config
from zraft.errors import InvalidRequest, Unavailable, ZraftError
from zraft.machines.kv.commands import KEY_BYTES_MOST, KeyValue, printable

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_SCALARS = (bool, int, float, str, bytes, bytearray, memoryview)


class _Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Stands for no value at all, since None is a value."""


class DistDict(MutableMapping[str, Any]):
    """A mapping of text to anything that msgpack can hold, kept in the cluster's key-value store.

    Each operation on one key is linearizable and one step: also `setdefault`, `pop`, `popitem` and `compare_and_set`, so
    of all who call one of these at once, one succeeds and the others see that. `update` and `clear` are a step per key:
    others may come between. Values are copies: changing a list that was read changes nothing in the cluster until it is
    assigned again. What comes back is what msgpack makes of it: a tuple becomes a list, a bytearray bytes. What it has no type
    for, as a set, a date or an object, is refused.

    A key that is no text is a TypeError, also where a dict would find nothing: 7 and "7" are easily confused.

    Every operation raises what the calls of `Client.kv` raise. `OutcomeUnknown` says of `pop` and `popitem` that the key may be
    gone, and its value with it.

    Parameters
    ----------
    client
        A client, which stays open when the dict is closed; or a configuration, its path, or endpoints to make one from.
    prefix
        Put before every key, so that several dicts live in one store.
    timeout_s
        Of the client, when one is made.
    """

    MISSING = MISSING
    """For `compare_and_set`."""

    def __init__(
        self, client: Client | Config | str | Path | Iterable[str], prefix: str = "", *, timeout_s: float = 5.0
    ) -> None:
        self._own: Client | None = None
        """The client made here, and closed with the dict."""
        if isinstance(client, Client):
            self._client = client
        else:
            self._client = self._own = _open(client, timeout_s)
        self._kv = self._client.kv
        self._prefix = prefix

    def __getitem__(self, key: str) -> Any:
        entry = self._entry(key)
        if entry is None:
            raise KeyError(key)
        return _value(entry)

    def __setitem__(self, key: str, value: Any) -> None:
        self._kv.put(self._name(key), _encoded(value))

    def __delitem__(self, key: str) -> None:
        if not self._may_be_there(key) or not self._kv.delete(self._name(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._entry(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __repr__(self) -> str:
        return f"DistDict(prefix={self._prefix!r})"

    def keys(self, prefix: str = "") -> KeysView[str]:
        """Return a view of the keys, in order, that asks the cluster each time it is used: of all, or of those with `prefix`."""
        return _Keys(self, prefix)

    def items(self, prefix: str = "") -> ItemsView[str, Any]:
        """Return a view like `keys`, that asks the cluster once each time it is gone through, and not once per key."""
        return _Items(self, prefix)

    def values(self, prefix: str = "") -> ValuesView[Any]:
        """Return a view like `items`."""
        return _Values(self, prefix)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, having set it to `default` if there was none: in one step."""
        for _ in self._tries():
            entry = self._entry(key)
            if entry is not None:
                return _value(entry)
            name, value = self._name(key), _encoded(default)
            revision = self._kv.compare_and_set(name, None, value)
            if revision is not None:
                return _value(KeyValue(name.encode("utf-8", "surrogateescape"), value, revision, revision, 1))

    def pop(self, key: str, default: Any = MISSING) -> Any:
        """Remove `key` and return its value, in one step; without it return `default`, or raise KeyError if none is given."""
        for _ in self._tries():
            entry = self._entry(key)
            if entry is None:
                break
            value = _value(entry)
            if self._kv.compare_and_set(entry.key, entry.mod_revision, None):
                return value
        if default is MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[str, Any]:
        """Remove the first key and return it with its value, in one step; KeyError when there is none."""
        for _ in self._tries():
            first = next(iter(self._kv.list(self._prefix, limit=1)), None)
            if first is None:
                break
            key, value = self._key(first), _value(first)
            if self._kv.compare_and_set(first.key, first.mod_revision, None):
                return key, value
        raise KeyError("the dict is empty")

    def compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        """Set `key` to `value` if its value is `expected`, in one step; return whether it was.

        Parameters
        ----------
        expected
            Compared as Python compares what was read, not byte by byte: two dicts are equal in whatever order. `MISSING`:
            there must be no such key.
        value
            `MISSING` removes the key.
        """
        name = self._name(key)
        becomes = None if value is MISSING else _encoded(value)
        if expected is MISSING:
            return self._kv.compare_and_set(name, None, becomes) is not None
        wanted = _decode(_encoded(expected))
        for _ in self._tries():
            entry = self._kv.entry(name)
            if entry is None or _value(entry) != wanted:
                break
            if self._kv.compare_and_set(name, entry.mod_revision, becomes):
                return True
        return False

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set many keys, all under way together; none if one of them or of the values makes no sense.

        When one fails all the same, the others are waited for, and then the first failure is raised.
        """
        entries = [(self._name(key), _encoded(value)) for key, value in dict(other, **more).items()]
        self._wait_for_all(self._kv.submit_puts(entries))

    def clear(self) -> None:
        """Remove every key of this dict, all under way together; failures as with `update`."""
        self._wait_for_all([self._kv.submit_delete(self._name(key)) for key in self])

    def _wait_for_all(self, futures: Iterable[Future[Any]]) -> None:
        failures = []
        for future in futures:
            try:
                self._client.wait(future)
            except ZraftError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Close the client that was made for this dict; one that was given stays open."""
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _name(self, key: str) -> str:
        if not isinstance(key, str):
            raise TypeError(f"a key of a DistDict is str, not {type(key).__name__}")
        return self._prefix + key

    def _entry(self, key: str) -> KeyValue | None:
        return self._kv.entry(self._name(key)) if self._may_be_there(key) else None

    def _may_be_there(self, key: str) -> bool:
        """Whether any store could have this key; to read one that no store takes is to find nothing, as in any mapping."""
        try:
            name = self._name(key).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return False
        return 0 < len(name) <= KEY_BYTES_MOST

    def _key(self, entry: KeyValue) -> str:
        start = len(self._prefix.encode("utf-8", "surrogateescape"))
        return entry.key[start:].decode("utf-8", "surrogateescape")

    def _entries(self, prefix: str) -> list[tuple[str, KeyValue]]:
        """Return keys, without the prefix of the dict, and entries, in the order of the keys."""
        return [(self._key(entry), entry) for entry in self._kv.list(self._name(prefix))]

    def _tries(self) -> Iterator[None]:
        """Yield for each try at what fails when others change the key meanwhile, which means that one of them got on."""
        until = time.monotonic() + self._client.timeout_s
        while time.monotonic() < until:
            yield
        raise Unavailable(
            "others changed the key each time between reading and writing it; nothing happened; try again"
        )


class _Part(MappingView):
    """What the views have in common: those keys of a dict that begin with `prefix`, by one listing."""

    _mapping: DistDict

    def __init__(self, mapping: DistDict, prefix: str) -> None:
        super().__init__(mapping)
        self._prefix = prefix

    def __len__(self) -> int:
        return len(self._entries())

    def _entries(self) -> list[tuple[str, KeyValue]]:
        return self._mapping._entries(self._prefix)


class _Keys(_Part, KeysView[str]):
    """The keys."""

    def __iter__(self) -> Iterator[str]:
        return iter([key for key, _ in self._entries()])

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.startswith(self._prefix) and super().__contains__(key)


class _Items(_Part, ItemsView[str, Any]):
    """The pairs."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter([(key, _value(entry)) for key, entry in self._entries()])

    def __contains__(self, item: object) -> bool:
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)):  # noqa: PLR2004 - a pair
            return False
        return item[0].startswith(self._prefix) and super().__contains__(item)


class _Values(_Part, ValuesView[Any]):
    """The values."""

    def __iter__(self) -> Iterator[Any]:
        return iter([_value(entry) for _, entry in self._entries()])

    def __contains__(self, value: object) -> bool:
        return any(each == value for each in self)


def _open(where: Config | str | Path | Iterable[str], timeout_s: float) -> Client:
    if isinstance(where, str) and where.startswith(("tcp://", "ipc://")):
        return Client(endpoints=[where], timeout_s=timeout_s)
    if isinstance(where, Config | str | Path):
        return Client(where, timeout_s=timeout_s)
    return Client(endpoints=where, timeout_s=timeout_s)


def _encoded(value: Any) -> bytes:
    try:
        data = _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"msgpack cannot hold this value: {error}") from error
    _check_types(value)
    return data


def _check_types(value: Any) -> None:
    """Refuse what would come back as something else: a set as a list in the order of the day, a Decimal as text."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += each.keys()
            left += each.values()
        elif isinstance(each, list | tuple):
            left += each
        elif each is not None and not isinstance(each, _SCALARS):
            raise InvalidRequest(
                f"msgpack cannot hold this value: it has no type for {type(each).__name__}; make it a list, dict, text or number"
            )


def _value(entry: KeyValue) -> Any:
    try:
        return _decode(entry.value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the value of {printable(entry.key)} is not msgpack: it was not put by a DistDict; read it with client.kv"
        ) from error
