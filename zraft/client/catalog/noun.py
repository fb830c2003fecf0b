"""What brokers, topics, partitions and producers have in common: get, list and delete, and how commands are sent."""

import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from zraft.client.calls import Again
from zraft.client.catalog.absence import missing
from zraft.client.catalog.metadata import Pages
from zraft.errors import InvalidRequest
from zraft.machines.catalog import commands, rules
from zraft.machines.catalog.commands import BrokerKey, Change, Command, Delete, Fetch, Get, Query, TopicKey
from zraft.machines.catalog.records import Broker, Kind, Partition, Producer, Topic

if TYPE_CHECKING:
    from zraft.client.client import Client

Record = TypeVar("Record", Broker, Topic, Partition, Producer)
Records = list[Record]
Named = TypeVar("Named")
"""What names a record of the kind."""
BrokerName = int | str
"""A broker_id, or a uuid."""
Asked = tuple[str, bytes, Callable[[bytes], Any]]
"""The machine, what it is to do, and who reads the result."""


class Noun(Generic[Named, Record]):
    """What can be done with records of each kind."""

    _kind: Kind
    _key: Callable[[Any], commands.Key]

    def __init__(self, client: "Client") -> None:
        self._client = client

    def get(self, name: Named) -> Record | None:
        """Return a record, or None."""
        record: Record | None = self._client.query(*self._get(name))
        return record

    def submit_get(self, name: Named) -> "Future[Record | None]":
        """Do what `get` does, without waiting."""
        return self._client.submit_query(*self._get(name))

    def list(self) -> Records[Record]:
        """Return all records, as of one moment, in the order of their keys."""
        return self._fetch(None)

    def submit_list(self) -> "Future[Records[Record]]":
        """Do what `list` does, without waiting."""
        return self._send_fetch(None)

    def _get(self, name: Named) -> Asked:
        return commands.MACHINE, encoded(Get(type(self)._key(name))), commands.decode_record

    def _fetch(self, owner: BrokerKey | TopicKey | None) -> Records[Record]:
        records: Records[Record] = self._client.query(*self._listing(owner))
        return records

    def _send_fetch(self, owner: BrokerKey | TopicKey | None) -> "Future[Records[Record]]":
        return self._client.submit_query(*self._listing(owner))

    def _listing(self, owner: BrokerKey | TopicKey | None) -> Asked:
        fetch = Fetch(kind=self._kind, owner=owner)
        pages = Pages(fetch)

        def read(result: bytes) -> Any:
            whole = pages.read(result)
            return whole if isinstance(whole, Again) else getattr(whole, f"{self._kind}s")

        return commands.MACHINE, encoded(fetch), read

    def delete(self, name: Named) -> Record:
        """Remove a record and return it as it was.

        Raises
        ------
        NotFound
            There is no such record.
        InvalidRequest
            Others refer to it: partitions to their topic and brokers, producers to their broker.
        """
        return self._carry_out(Delete(type(self)._key(name)))

    def submit_delete(self, name: Named) -> "Future[Record]":
        """Do what `delete` does, without waiting."""
        return self._send(Delete(type(self)._key(name)))

    def _carry_out(self, command: Command) -> Record:
        record: Record = self._client.command(*_asked(command))
        return record

    def _send(self, command: Command) -> "Future[Record]":
        return self._client.submit_command(*_asked(command))


def _asked(command: Command) -> Asked:
    """Return a command with the reader of its result, which is the record; or there is none, and that is an error."""

    def read(result: bytes) -> Any:
        record = commands.decode_record(result)
        if record is None and isinstance(command, Change | Delete):
            raise missing(command.key)
        return record

    return commands.MACHINE, encoded(command), read


def encoded(request: Command | Query) -> bytes:
    """Return a request as bytes; raise InvalidRequest for what the catalog would refuse whatever is in it."""
    _check_numbers(request)
    try:
        encoded = commands.encode(request)
        if isinstance(request, Query):
            commands.decode_query(encoded)
        else:
            rules.check(commands.decode_command(encoded))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"not what the catalog takes: {_by_names(request, str(error))}") from error
    return encoded


def _check_numbers(request: Any, name: str = "") -> None:
    """Refuse numbers that no message can hold, by the name of their field."""
    if isinstance(request, int) and not -(1 << 63) <= request < 1 << 63:
        raise InvalidRequest(f"{name} is out of range: a number of more than 63 bits names nothing in any catalog")
    if isinstance(request, msgspec.Struct):
        for field in request.__struct_fields__:
            _check_numbers(getattr(request, field), field)
    elif isinstance(request, tuple):
        for each in request:
            _check_numbers(each, name)


def _by_names(request: Any, text: str) -> str:
    """Return a complaint of msgspec's with the names of fields in the place of their positions in the message."""
    return _PATH.sub(lambda found: f"`{_path(request, [int(each) for each in _STEP.findall(found[0])])}`", text)


def _path(value: Any, steps: list[int]) -> str:
    names = []
    for step in steps:
        if isinstance(value, msgspec.Struct):
            field = value.__struct_fields__[step - 1]  # In the message, the tag comes first.
            names.append(field)
            value = getattr(value, field)
        else:
            names.append(str(step))
            value = value[step] if isinstance(value, tuple | list) and step < len(value) else None
    return ".".join(names)


_PATH = re.compile(r"`\$((?:\[\d+\])+)`")
_STEP = re.compile(r"\[(\d+)\]")
