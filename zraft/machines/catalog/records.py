"""What the catalog keeps: the records, whose fields are the keys of their JSON."""

from enum import StrEnum
from typing import Any

import msgspec

ALIVE = "ALIVE"
"""The status of a broker that has just registered."""


class Kind(StrEnum):
    """Which sort of record."""

    BROKER = "broker"
    TOPIC = "topic"
    PARTITION = "partition"
    PRODUCER = "producer"
    REGISTRATION_CHANGE = "registration_change"


class Broker(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0):
    """A server that keeps partitions; its key is `broker_id`."""

    broker_id: int
    host: str
    port: int
    security_protocol: str
    rack_id: str
    """Where it stands; empty when nobody said."""
    status: str
    """`ALIVE` at first; then whatever a change says."""
    epoch: int
    """How often its registration was changed."""
    uuid: str


class Topic(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A named set of partitions; its key is `name`."""

    name: str
    uuid: str


class Partition(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """A part of a topic and the brokers that keep it, by broker_id; its key is the topic and `partition_id`."""

    partition_id: int
    topic_uuid: str
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    """The replicas that are in sync."""
    removing_replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...]
    leader: int | None
    """One of `isr`; None while that is empty."""
    partition_epoch: int
    """How often it was changed."""
    uuid: str


class Producer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """A client that writes by way of a broker; its key is the broker and `producer_id`."""

    producer_id: int
    broker_uuid: str
    broker_epoch: int
    """The broker's epoch when the producer registered, or was last changed."""
    uuid: str


class RegistrationChange(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """One change of a broker's registration: the registration as it was afterwards. Outlives the broker."""

    broker_id: int
    host: str
    port: int
    security_protocol: str
    rack_id: str
    status: str
    epoch: int
    broker_uuid: str
    uuid: str
    """Its own."""
    revision: int
    """The catalog's, from then on."""
    time_ms: int
    """Cluster time of the change: never falls, and is no wall clock."""


class Deleted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """What is left of a record that was deleted, or of a registration change that had to make room."""

    kind: Kind
    uuid: str
    revision: int
    """The catalog's, from then on."""
    time_ms: int
    """Cluster time of the deletion."""
    record: Broker | Topic | Partition | Producer | RegistrationChange
    """As it last was."""


class Happened(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one revision of the catalog was."""

    revision: int
    kind: Kind
    """Of the record that it happened to."""
    verb: str
    """register, change or delete."""
    key: str
    """The record's key, as the command line takes it: ``1``, ``orders``, ``orders 0``."""
    uuid: str
    """The record's."""
    term: int
    """In which term."""
    time_ms: int
    """Cluster time: never falls, and is no wall clock."""
    wall_ms: int
    """The same by the clock of the term's leader, in milliseconds since 1970."""


Record = Broker | Topic | Partition | Producer | RegistrationChange
"""What there is."""
Known = Record | Deleted
"""What there is and was."""

KINDS: dict[type[Record], Kind] = {
    Broker: Kind.BROKER,
    Topic: Kind.TOPIC,
    Partition: Kind.PARTITION,
    Producer: Kind.PRODUCER,
    RegistrationChange: Kind.REGISTRATION_CHANGE,
}


def plain(record: Known) -> dict[str, Any]:
    """Return a record as JSON has it, by field."""
    fields = msgspec.structs.asdict(record)
    if type(record) is Deleted:
        return fields | {"kind": str(record.kind), "record": plain(record.record)}
    return fields
