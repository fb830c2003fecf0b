"""Where a record is by its key, and how many others refer to it."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from zraft.machines.catalog.commands import BrokerKey, Key, PartitionKey, ProducerKey, TopicKey
from zraft.machines.catalog.records import Broker, Kind, Partition, Producer, Record, Topic

Name = TypeVar("Name")


class Index:
    """The uuids of all records by key, and the counts of what refers to them."""

    def __init__(self) -> None:
        self._brokers: dict[int, str] = {}
        self._topics: dict[str, str] = {}
        self._partitions: dict[tuple[str, int], str] = {}
        """By topic's uuid and partition_id."""
        self._producers: dict[tuple[str, int], str] = {}
        """By broker's uuid and producer_id."""
        self._partitions_of: Counter[str] = Counter()
        """How many partitions a topic has, by its uuid."""
        self._partitions_on: Counter[int] = Counter()
        """How many partitions name a broker_id, in whichever list."""
        self._producers_of: Counter[str] = Counter()
        """How many producers a broker has, by its uuid."""

    def find(self, key: Key) -> str | None:
        """Return the uuid of the record that `key` names; a uuid is taken at its word."""
        match key:
            case BrokerKey(broker):
                return self._broker(broker)
            case TopicKey(topic):
                return self._topic(topic)
            case PartitionKey(str(uuid)) | ProducerKey(str(uuid)):
                return uuid.lower()
            case PartitionKey((topic, number)):
                return self._partitions.get((self._topic(topic), number))
            case ProducerKey((broker, number)):
                return self._producers.get((self._broker(broker) or "", number))
        raise AssertionError(f"no key: {key}")

    def _broker(self, broker: int | str) -> str | None:
        return broker.lower() if isinstance(broker, str) else self._brokers.get(broker)

    def _topic(self, topic: str) -> str:
        # No name looks like a uuid, so what is no name may be one.
        return self._topics.get(topic) or topic.lower()

    def count(self, kind: Kind) -> int:
        """Return how many records of a kind there are that have a key."""
        match kind:
            case Kind.BROKER:
                return len(self._brokers)
            case Kind.TOPIC:
                return len(self._topics)
            case Kind.PARTITION:
                return len(self._partitions)
            case Kind.PRODUCER:
                return len(self._producers)
        raise AssertionError(f"a {kind} has no key")

    def references(self, record: Record) -> tuple[int, int]:
        """Return how many partitions and how many producers refer to a record."""
        if type(record) is Broker:
            return self._partitions_on[record.broker_id], self._producers_of[record.uuid]
        if type(record) is Topic:
            return self._partitions_of[record.uuid], 0
        return 0, 0

    def add(self, record: Record) -> None:
        """Take in a record that is new, or has changed and was removed before."""
        match record:
            case Broker():
                self._brokers[record.broker_id] = record.uuid
            case Topic():
                self._topics[record.name] = record.uuid
            case Partition():
                self._partitions[record.topic_uuid, record.partition_id] = record.uuid
                self._partitions_of[record.topic_uuid] += 1
                self._partitions_on.update(_brokers_named(record))
            case Producer():
                self._producers[record.broker_uuid, record.producer_id] = record.uuid
                self._producers_of[record.broker_uuid] += 1

    def remove(self, record: Record) -> None:
        """Forget a record as it was."""
        match record:
            case Broker():
                del self._brokers[record.broker_id]
            case Topic():
                del self._topics[record.name]
            case Partition():
                del self._partitions[record.topic_uuid, record.partition_id]
                _less(self._partitions_of, [record.topic_uuid])
                _less(self._partitions_on, _brokers_named(record))
            case Producer():
                del self._producers[record.broker_uuid, record.producer_id]
                _less(self._producers_of, [record.broker_uuid])


def _brokers_named(partition: Partition) -> set[int]:
    """Return the broker_ids in a partition; isr and leader are among the replicas."""
    return {*partition.replicas, *partition.removing_replicas, *partition.adding_replicas}


def _less(counts: Counter[Name], names: Iterable[Name]) -> None:
    """Count one reference less to each; what nothing refers to takes no room."""
    for name in names:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]
