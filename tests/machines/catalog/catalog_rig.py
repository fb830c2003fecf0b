"""A catalog with a log of its own, and what the tests say to it."""

from collections.abc import Sequence
from typing import Any

from zraft.client.calls import Again
from zraft.client.catalog.metadata import Metadata, Pages
from zraft.errors import InvalidRequest
from zraft.machines.catalog import commands
from zraft.machines.catalog.commands import (
    BrokerKey,
    ChangeBroker,
    ChangePartition,
    ChangeProducer,
    ChangeTopic,
    Command,
    Delete,
    Fetch,
    Get,
    Key,
    PartitionKey,
    ProducerKey,
    RegisterBroker,
    RegisterPartition,
    RegisterProducer,
    RegisterTopic,
    TopicKey,
)
from zraft.machines.catalog.rules import Bounds
from zraft.machines.catalog.store import Catalog
from zraft.machines.machine import Applied

Ids = Sequence[int]


class Book:
    """A catalog and every command that it was given, so that it can be replayed."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.catalog = Catalog(self.bounds)
        self.log: list[tuple[bytes, Applied]] = []

    @property
    def revision(self) -> int:
        return self.catalog.revision

    def send(self, command: Command) -> Any:
        """Apply a command as the next log entry; return the record."""
        index = len(self.log) + 1
        entry = (commands.encode(command), Applied(index, 1 + index // 10, 100 * index, 1, "n1", None))
        self.log.append(entry)
        return commands.decode_record(self.catalog.apply(*entry))

    def refusal(self, command: Command) -> str:
        """Return why a command is refused; nothing of the catalog has changed by it."""
        before = self.chunks()
        try:
            self.send(command)
        except InvalidRequest as error:
            assert self.chunks() == before, "refused, and something changed"
            return str(error)
        raise AssertionError(f"not refused: {command}")

    def replayed(self) -> Catalog:
        """Return a catalog that was given the same log."""
        other = Catalog(self.bounds)
        for command, at in self.log:
            try:
                other.apply(command, at)
            except InvalidRequest:
                continue
        return other

    def restored(self) -> "Book":
        """Return a book that goes on from a snapshot of this one, and held other things before."""
        other = Book(self.bounds)
        other.broker(0)
        other.topic("a")
        other.partition("a", 0, [0, 1])
        other.producer(0, 0)
        other.catalog.restore(iter(self.chunks()))
        other.log = list(self.log)
        return other

    def chunks(self) -> list[bytes]:
        return list(self.catalog.snapshot())

    def get(self, key: Key) -> Any:
        return commands.decode_record(self.catalog.query(commands.encode(Get(key))))

    def fetch(self, since: int = 0, **narrower: Any) -> Metadata:
        """Fetch as a client does, page by page."""
        fetch = Fetch(since, **narrower)
        pages, query = Pages(fetch), commands.encode(fetch)
        while isinstance(answer := pages.read(self.catalog.query(query)), Again):
            query = answer.payload
        return answer

    # What is said most often

    def broker(self, broker_id: int, host: str = "h", port: int = 9092) -> Any:
        return self.send(RegisterBroker(broker_id, host, port, "PLAINTEXT", ""))

    def topic(self, name: str) -> Any:
        return self.send(RegisterTopic(name))

    def partition(self, topic: str, number: int, replicas: Ids = (), **more: Any) -> Any:
        return self.send(register_partition(topic, number, replicas, **more))

    def producer(self, broker: int | str, number: int) -> Any:
        return self.send(RegisterProducer(BrokerKey(broker), number))

    def change_broker(self, broker: int | str, **fields: Any) -> Any:
        return self.send(change_broker(broker, **fields))

    def change_partition(self, partition: str | tuple[str, int], **fields: Any) -> Any:
        return self.send(change_partition(partition, **fields))

    def delete(self, key: Key) -> Any:
        return self.send(Delete(key))


def register_partition(
    topic: str, number: int, replicas: Ids = (), isr: Ids | None = None, leader: int | None = None, **more: Ids
) -> RegisterPartition:
    return RegisterPartition(
        TopicKey(topic),
        number,
        tuple(replicas),
        None if isr is None else tuple(isr),
        tuple(more.get("removing_replicas", ())),
        tuple(more.get("adding_replicas", ())),
        leader,
    )


def change_broker(broker: int | str, **fields: Any) -> ChangeBroker:
    names = ("host", "port", "security_protocol", "rack_id", "status")
    return ChangeBroker(BrokerKey(broker), **{name: fields.get(name) for name in names})


def change_partition(partition: str | tuple[str, int], **fields: Any) -> ChangePartition:
    names = ("replicas", "isr", "removing_replicas", "adding_replicas", "leader")
    return ChangePartition(PartitionKey(partition), **{name: fields.get(name) for name in names})


def change_topic(topic: str, name: str) -> ChangeTopic:
    return ChangeTopic(TopicKey(topic), name)


def change_producer(producer: str | tuple[int | str, int]) -> ChangeProducer:
    return ChangeProducer(ProducerKey(producer))
