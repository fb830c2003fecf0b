"""A dict that lives in the cluster."""

from collections.abc import ItemsView, Iterable, Iterator, MutableMapping, ValuesView
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from zraft.client.client import Client
from zraft.config import Config
from zraft.errors import InvalidRequest

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class DistDict(MutableMapping[str, Any]):
    """A mapping of text to anything that msgpack can hold, kept in the cluster's key-value store.

    Each operation on one key is linearizable, so all who share the dict see one order of changes. Those made of several
    (`pop`, `setdefault`, `update`, `clear`) are not one step: others may come between. Values are copies: changing a list
    that was read changes nothing in the cluster until it is assigned again. What comes back is what msgpack makes of it:
    a tuple becomes a list.

    Parameters
    ----------
    client
        A client, which stays open when the dict is closed; or a configuration, its path, or endpoints to make one from.
    prefix
        Put before every key, so that several dicts live in one store.
    timeout_s
        Of the client, when one is made.
    """

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
        value = self._kv.get(self._name(key))
        if value is None:
            raise KeyError(key)
        return _decode(value)

    def __setitem__(self, key: str, value: Any) -> None:
        self._kv.put(self._name(key), _encoded(value))

    def __delitem__(self, key: str) -> None:
        if not self._kv.delete(self._name(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._kv.get(self._name(key)) is not None

    def __iter__(self) -> Iterator[str]:
        return iter([key for key, _ in self._entries()])

    def __len__(self) -> int:
        return len(self._entries())

    def __repr__(self) -> str:
        return f"DistDict(prefix={self._prefix!r})"

    def items(self) -> ItemsView[str, Any]:
        """Return a view that asks the cluster once each time it is gone through, not once per key."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Return a view like `items`."""
        return _Values(self)

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set many keys, all under way together."""
        futures = [self._kv.submit_put(self._name(key), _encoded(value)) for key, value in dict(other, **more).items()]
        for future in futures:
            self._client.wait(future)

    def clear(self) -> None:
        """Remove every key of this prefix, all under way together."""
        for future in [self._kv.submit_delete(self._name(key)) for key in self]:
            self._client.wait(future)

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

    def _entries(self) -> list[tuple[str, bytes]]:
        """Return all keys, without the prefix, and encoded values, in the order of the keys."""
        start = len(self._prefix.encode("utf-8", "surrogateescape"))
        listed = self._kv.list(self._prefix)
        return [(entry.key[start:].decode("utf-8", "surrogateescape"), entry.value) for entry in listed]


class _Items(ItemsView[str, Any]):
    """All pairs, by one listing."""

    _mapping: DistDict

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter([(key, _decode(value)) for key, value in self._mapping._entries()])


class _Values(ValuesView[Any]):
    """All values, by one listing."""

    _mapping: DistDict

    def __iter__(self) -> Iterator[Any]:
        return iter([_decode(value) for _, value in self._mapping._entries()])


def _open(where: Config | str | Path | Iterable[str], timeout_s: float) -> Client:
    if isinstance(where, str) and where.startswith(("tcp://", "ipc://")):
        return Client(endpoints=[where], timeout_s=timeout_s)
    if isinstance(where, Config | str | Path):
        return Client(where, timeout_s=timeout_s)
    return Client(endpoints=where, timeout_s=timeout_s)


def _encoded(value: Any) -> bytes:
    try:
        return _encode(value)
    except (TypeError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"msgpack cannot hold this value: {error}") from error
