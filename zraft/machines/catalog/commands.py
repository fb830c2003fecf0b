"""What client and machine of the catalog say to each other, as msgpack.

===================  ==========================================================
register, any        the record, whether it is new or not
change, any          the record afterwards, or nil when there is none
delete               the record that was, or nil when there is none
get                  the record, or nil
fetch                a `Page`, or nil when there is no such owner
events               an `EventsPage`
===================  ==========================================================

As for every machine, a field that is not known makes a command invalid.
"""

import msgspec

from zraft.machines.catalog.records import Deleted, Happened, Kind, Record

MACHINE = "catalog"
"""The name under which the catalog is mounted."""
PAGE_RECORDS_MAX = 1_000
"""A page ends with the revision that reaches this many records; the largest have some 1.3 KiB."""

EVENTS_PER_PAGE_MAX = 1_000
"""Of some 150 bytes each."""

# Which record


class BrokerKey(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0, forbid_unknown_fields=True):
    """Names a broker, by broker_id or uuid."""

    broker: int | str


class TopicKey(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Names a topic, by name or uuid."""

    topic: str


class PartitionKey(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2, forbid_unknown_fields=True):
    """Names a partition, by topic (name or uuid) and partition_id, or by uuid."""

    partition: str | tuple[str, int]


class ProducerKey(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3, forbid_unknown_fields=True):
    """Names a producer, by broker (broker_id or uuid) and producer_id, or by uuid."""

    producer: str | tuple[int | str, int]


Key = BrokerKey | TopicKey | PartitionKey | ProducerKey

# Commands; of a change, a field that is None stays as it is


class RegisterBroker(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0, forbid_unknown_fields=True):
    """Adds a broker."""

    broker_id: int
    host: str
    port: int
    security_protocol: str
    rack_id: str


class ChangeBroker(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Merges fields into a broker's registration and raises its epoch, also when they are so already."""

    key: BrokerKey
    host: str | None
    port: int | None
    security_protocol: str | None
    rack_id: str | None
    status: str | None


class RegisterTopic(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2, forbid_unknown_fields=True):
    """Adds a topic."""

    name: str


class ChangeTopic(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3, forbid_unknown_fields=True):
    """Gives a topic another name; its uuid, and with it its partitions, stay."""

    key: TopicKey
    name: str


class RegisterPartition(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4, forbid_unknown_fields=True):
    """Adds a partition to a topic."""

    topic: TopicKey
    partition_id: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...] | None
    """None means all replicas."""
    removing_replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...]
    leader: int | None
    """None means the first of isr."""


class ChangePartition(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5, forbid_unknown_fields=True):
    """Replaces fields of a partition and raises its partition_epoch, also when they are so already.

    A leader that is not named stays; where there is none, it becomes the first of isr, and none when isr is empty.
    """

    key: PartitionKey
    replicas: tuple[int, ...] | None
    isr: tuple[int, ...] | None
    removing_replicas: tuple[int, ...] | None
    adding_replicas: tuple[int, ...] | None
    leader: int | None


class RegisterProducer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6, forbid_unknown_fields=True):
    """Adds a producer, with the epoch that its broker has."""

    broker: BrokerKey
    producer_id: int


class ChangeProducer(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7, forbid_unknown_fields=True):
    """Gives a producer the epoch that its broker has by now."""

    key: ProducerKey


class Delete(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8, forbid_unknown_fields=True):
    """Removes a record that nothing refers to."""

    key: Key


# Queries


class Get(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0, forbid_unknown_fields=True):
    """Asks for one record."""

    key: Key


class Fetch(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Asks for records in the order of their last change, a page at a time.

    What changes between two pages comes once more in a later one, so the pages together are the state at the revision
    of the last.
    """

    since: int = 0
    """Only what changed behind this revision, deletions included; 0 for everything."""
    after: int = 0
    """Only what changed behind this revision: the `until` of the page before; 0 for the first."""
    kind: Kind | None = None
    """Only this kind."""
    owner: TopicKey | BrokerKey | None = None
    """Only partitions of this topic, or producers and registration changes of this broker."""


class Events(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2, forbid_unknown_fields=True):
    """Asks what happened, oldest first, a page at a time."""

    after: int = 0
    """Only behind this revision: that of the last event of the page before."""
    kind: Kind | None = None
    """Only to records of this kind."""
    since_ms: int = 0
    """Only what is not older than this, by `Happened.wall_ms`."""


class EventsPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of what happened."""

    events: list[Happened]
    more: bool
    """Whether the next page may have any."""


class Page(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of what was fetched."""

    revision: int
    """The catalog's."""
    until: int
    """Up to which revision the page reaches; up to the catalog's if it is the last."""
    forgotten: int
    """Deletions up to this revision are not known any more."""
    records: list[Record]
    deleted: list[Deleted]


Change = ChangeBroker | ChangeTopic | ChangePartition | ChangeProducer
Register = RegisterBroker | RegisterTopic | RegisterPartition | RegisterProducer
Command = Register | Change | Delete
Query = Get | Fetch | Events

encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_query = msgspec.msgpack.Decoder(Query).decode
decode_record = msgspec.msgpack.Decoder(Record | None).decode
decode_events = msgspec.msgpack.Decoder(EventsPage).decode
decode_page = msgspec.msgpack.Decoder(Page | None).decode

_TEXT_SHOWN_MAX = 64
_LIST_SHOWN_MAX = 8
_NOUNS = {
    BrokerKey: Kind.BROKER,
    TopicKey: Kind.TOPIC,
    PartitionKey: Kind.PARTITION,
    ProducerKey: Kind.PRODUCER,
}


def kind_of(key: Key) -> Kind:
    """Return the kind of record that a key names."""
    return _NOUNS[type(key)]


def named(key: Key) -> str:
    """Return a key for people, on one line: ``broker 1``, ``partition 0 of topic orders``."""
    match key:
        case BrokerKey(broker):
            return f"broker {_shown(broker)}"
        case TopicKey(topic):
            return f"topic {_shown(topic)}"
        case PartitionKey(str(uuid)):
            return f"partition {_shown(uuid)}"
        case ProducerKey(str(uuid)):
            return f"producer {_shown(uuid)}"
        case PartitionKey((topic, number)):
            return f"partition {number} of topic {_shown(topic)}"
        case ProducerKey((broker, number)):
            return f"producer {number} of broker {_shown(broker)}"
    raise AssertionError(f"no key: {key}")


def describe(command: bytes) -> str:
    """Return a command for people, ``change broker 1: status=FENCED``; never raises, whatever the bytes."""
    try:
        decoded = decode_command(command)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return f"not a command of catalog ({len(command)} B)"
    match decoded:
        case RegisterBroker():
            key: Key = BrokerKey(decoded.broker_id)
        case RegisterTopic():
            return f"register {named(TopicKey(decoded.name))}"
        case RegisterPartition():
            key = PartitionKey((decoded.topic.topic, decoded.partition_id))
        case RegisterProducer():
            key = ProducerKey((decoded.broker.broker, decoded.producer_id))
        case _:
            key = decoded.key
    verb = "delete" if type(decoded) is Delete else "register" if isinstance(decoded, Register) else "change"
    fields = [f"{name}={_shown(value)}" for name, value in _given(decoded)]
    return f"{verb} {named(key)}" + (f": {' '.join(fields)}" if fields else "")


def _given(command: Command) -> list[tuple[str, int | str | tuple[int, ...]]]:
    """Return the fields that a command gives a value, besides its key; of a change, also an empty value."""
    keys = ("key", "topic", "broker", "broker_id", "partition_id", "producer_id")
    left_out = (None, "", ()) if isinstance(command, Register) else (None,)
    fields = msgspec.structs.asdict(command).items()
    return [(name, value) for name, value in fields if name not in keys and value not in left_out]


def _shown(value: int | str | tuple[int, ...]) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value[:_LIST_SHOWN_MAX])) + (".." if len(value) > _LIST_SHOWN_MAX else "")
    text = str(value)
    cut = text[:_TEXT_SHOWN_MAX] + (".." if len(text) > _TEXT_SHOWN_MAX else "")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
