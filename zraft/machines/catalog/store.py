"""The machine ``catalog``: brokers, topics, partitions and producers, what they may refer to, and what changed when."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import msgspec

from zraft.errors import InvalidRequest
from zraft.machines.catalog import commands
from zraft.machines.catalog.commands import (
    BrokerKey,
    ChangeBroker,
    ChangePartition,
    ChangeProducer,
    ChangeTopic,
    Delete,
    Events,
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
    named,
)
from zraft.machines.catalog.identity import draw_uuid
from zraft.machines.catalog.index import Index
from zraft.machines.catalog.journal import Journal, words
from zraft.machines.catalog.ledger import Ledger
from zraft.machines.catalog.records import (
    ALIVE,
    KINDS,
    Broker,
    Partition,
    Producer,
    Record,
    RegistrationChange,
    Topic,
)
from zraft.machines.catalog.rules import Bounds, check, check_partition
from zraft.machines.machine import Applied
from zraft.raft.types import Ballot, Membership

_BY_DEFAULT = Bounds()
_encode = commands.encode
_replace = msgspec.structs.replace


class Catalog:
    """The catalog of a cluster; also an `Observer`, and `Numbering`.

    Parameters
    ----------
    bounds
        How much it holds; the same on every node.
    """

    def __init__(self, bounds: Bounds = _BY_DEFAULT) -> None:
        self._bounds = bounds
        self._ledger = Ledger(bounds)
        self._index = Index()
        self._journal = Journal(bounds.events_max)
        self._verbs: dict[type, Callable[..., Record | None]] = {
            RegisterBroker: self._register_broker,
            RegisterTopic: self._register_topic,
            RegisterPartition: self._register_partition,
            RegisterProducer: self._register_producer,
            ChangeBroker: self._change_broker,
            ChangeTopic: self._change_topic,
            ChangePartition: self._change_partition,
            ChangeProducer: self._change_producer,
            Delete: self._delete,
        }

    @property
    def revision(self) -> int:
        """Rises by one with each command that changed something."""
        return self._ledger.revision

    def leader_elected(self, ballot: Ballot, at: Applied) -> None:
        """Tell the time by the new leader's clock."""
        self._journal.elected(ballot.wall_ms, at.time_ms)

    def membership_changed(self, membership: Membership, at: Applied) -> None:
        """Nothing: brokers are not nodes."""

    def apply(self, command: bytes, at: Applied) -> bytes:
        """Carry out a `commands.Command`."""
        try:
            decoded = commands.decode_command(command)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a command of catalog") from error
        check(decoded)
        return _encode(self._verbs[type(decoded)](decoded, at))

    # Register: the record that has the key, or a new one

    def _register_broker(self, command: RegisterBroker, at: Applied) -> Record:
        def new(uuid: str) -> Broker:
            return Broker(
                command.broker_id,
                command.host,
                command.port,
                command.security_protocol,
                command.rack_id,
                ALIVE,
                0,
                uuid,
            )

        return self._register(BrokerKey(command.broker_id), new, self._bounds.brokers_max, at)

    def _register_topic(self, command: RegisterTopic, at: Applied) -> Record:
        return self._register(
            TopicKey(command.name), lambda uuid: Topic(command.name, uuid), self._bounds.topics_max, at
        )

    def _register_partition(self, command: RegisterPartition, at: Applied) -> Record:
        topic = self._referred(command.topic)
        isr = command.replicas if command.isr is None else command.isr

        def new(uuid: str) -> Partition:
            partition = Partition(
                command.partition_id,
                topic.uuid,
                command.replicas,
                isr,
                command.removing_replicas,
                command.adding_replicas,
                _leader(command.leader, None, isr),
                0,
                uuid,
            )
            check_partition(partition)
            return partition

        key = PartitionKey((topic.uuid, command.partition_id))
        return self._register(key, new, self._bounds.partitions_max, at)

    def _register_producer(self, command: RegisterProducer, at: Applied) -> Record:
        broker = self._referred(command.broker)
        assert type(broker) is Broker, "a BrokerKey names a broker"

        def new(uuid: str) -> Producer:
            return Producer(command.producer_id, broker.uuid, broker.epoch, uuid)

        key = ProducerKey((broker.uuid, command.producer_id))
        return self._register(key, new, self._bounds.producers_max, at)

    def _register(self, key: Key, new: Callable[[str], Record], count_max: int, at: Applied) -> Record:
        found = self._find(key)
        if found is not None:
            return found
        kind = commands.kind_of(key)
        if self._index.count(kind) >= count_max:
            raise InvalidRequest(f"there are {count_max:,} {kind}s, and no room for more; delete some")
        record = new(draw_uuid(self._ledger.revision + 1, at))
        self._ledger.revision += 1
        self._ledger.put(record, at.time_ms)
        self._index.add(record)
        self._note("register", record, at)
        return record

    def _note(self, verb: str, record: Record, at: Applied) -> None:
        """Note what this revision is."""
        self._journal.note(self._ledger.revision, verb, record, words(record, self._ledger.get), at)

    def _referred(self, key: Key) -> Record:
        record = self._find(key)
        if record is None:
            kind = commands.kind_of(key)
            raise InvalidRequest(f"{named(key)}: no such {kind}; register it first: zraft catalog {kind} register")
        return record

    # Change: the record afterwards, or None when there is none

    def _change_broker(self, command: ChangeBroker, at: Applied) -> Record | None:
        broker = self._find(command.key)
        if type(broker) is not Broker:
            return None
        changed = _replace(broker, **_given(command), epoch=broker.epoch + 1)
        change = RegistrationChange(
            changed.broker_id,
            changed.host,
            changed.port,
            changed.security_protocol,
            changed.rack_id,
            changed.status,
            changed.epoch,
            changed.uuid,
            draw_uuid(self._ledger.revision + 1, at),
            self._ledger.revision + 1,
            at.time_ms,
        )
        self._change(broker, changed, at)
        self._ledger.put(change, at.time_ms)
        return changed

    def _change_topic(self, command: ChangeTopic, at: Applied) -> Record | None:
        topic = self._find(command.key)
        if type(topic) is not Topic or topic.name == command.name:
            return topic
        if self._find(TopicKey(command.name)) is not None:
            raise InvalidRequest(f"{named(TopicKey(command.name))} exists already; choose another name, or delete it")
        return self._change(topic, _replace(topic, name=command.name), at)

    def _change_partition(self, command: ChangePartition, at: Applied) -> Record | None:
        partition = self._find(command.key)
        if type(partition) is not Partition:
            return None
        changed = _replace(partition, **_given(command), partition_epoch=partition.partition_epoch + 1)
        changed = _replace(changed, leader=_leader(command.leader, partition.leader, changed.isr))
        check_partition(changed)
        return self._change(partition, changed, at)

    def _change_producer(self, command: ChangeProducer, at: Applied) -> Record | None:
        producer = self._find(command.key)
        if type(producer) is not Producer:
            return None
        broker = self._ledger.get(producer.broker_uuid)
        assert type(broker) is Broker, "a broker that a producer refers to is not deleted"
        if producer.broker_epoch == broker.epoch:
            return producer
        return self._change(producer, _replace(producer, broker_epoch=broker.epoch), at)

    def _change(self, before: Record, after: Record, at: Applied) -> Record:
        self._ledger.revision += 1
        self._index.remove(before)
        self._ledger.put(after, at.time_ms)
        self._index.add(after)
        self._note("change", after, at)
        return after

    def _delete(self, command: Delete, at: Applied) -> Record | None:
        record = self._find(command.key)
        if record is None:
            return None
        self._refuse_while_referred_to(command.key, record)
        self._ledger.revision += 1
        self._index.remove(record)
        self._ledger.delete(record, at.time_ms)
        self._note("delete", record, at)
        return record

    def _refuse_while_referred_to(self, key: Key, record: Record) -> None:
        partitions, producers = self._index.references(record)
        told, lists = [], []
        if partitions:
            told.append(f"{partitions:,} partition{'s' if partitions > 1 else ''}")
            flag = f"--topic {record.name}" if type(record) is Topic else f"--broker-id {_broker_id(record)}"
            lists.append(f"zraft catalog partition list {flag}")
        if producers:
            told.append(f"{producers:,} producer{'s' if producers > 1 else ''}")
            lists.append(f"zraft catalog producer list --broker {_broker_id(record)}")
        if told:
            verb = "refers" if partitions + producers == 1 else "refer"
            raise InvalidRequest(
                f"{named(key)}: {' and '.join(told)} {verb} to it; delete or change those first ({', '.join(lists)})"
            )

    # Queries

    def query(self, query: bytes) -> bytes:
        """Answer a `commands.Query`."""
        try:
            decoded = commands.decode_query(query)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a query of catalog") from error
        if type(decoded) is Get:
            return _encode(self._find(decoded.key))
        if type(decoded) is Events:
            return _encode(self._journal.page(decoded))
        assert type(decoded) is Fetch, "a query that the decoder knows and the catalog does not"
        return _encode(self._page(decoded))

    def _page(self, fetch: Fetch) -> commands.Page | None:
        ledger = self._ledger
        after = max(fetch.since, fetch.after)
        for revision in (fetch.since, fetch.after):
            if not 0 <= revision <= ledger.revision:
                raise InvalidRequest(f"revision {revision} is not one that was: the catalog is at {ledger.revision}")
        if 0 < fetch.since < ledger.forgotten:
            raise InvalidRequest(
                f"revision {fetch.since} is too old: deletions up to revision {ledger.forgotten} are forgotten; "
                "fetch everything, and go on from there"
            )
        found = None if fetch.owner is None else self._find(fetch.owner)
        if fetch.owner is not None and found is None:
            return None
        owner = None if found is None else found.uuid
        kind = fetch.kind

        def wanted(record: Record) -> bool:
            return (kind is None or KINDS[type(record)] == kind) and (owner is None or _owner(record) == owner)

        return ledger.page(after, wanted)

    def _find(self, key: Key) -> Record | None:
        uuid = self._index.find(key)
        found = None if uuid is None else self._ledger.get(uuid)
        return found if found is not None and KINDS[type(found)] == commands.kind_of(key) else None

    # Snapshots

    def leap(self, by: int) -> None:
        """Go on `by` revisions further; whoever fetches since one before that is told to fetch everything."""
        self._ledger.leap(by)

    def snapshot(self) -> Iterator[bytes]:
        """Return the state as of this call: events, then records in the order of the last changes, as on every node."""
        return chain(self._journal.snapshot(), self._ledger.snapshot())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by that of a snapshot."""
        remaining = iter(chunks)
        self._journal.restore(remaining)
        self._ledger.restore(remaining)
        self._index = Index()
        for record in self._ledger.records():
            self._index.add(record)


def _given(change: ChangeBroker | ChangePartition) -> dict[str, object]:
    fields = msgspec.structs.asdict(change).items()
    return {name: value for name, value in fields if name != "key" and value is not None}


def _leader(wanted: int | None, before: int | None, isr: tuple[int, ...]) -> int | None:
    """Return who leads: the one that is wanted, else who did, else the first in sync; nobody while none is in sync."""
    if wanted is not None or not isr:
        return wanted
    return isr[0] if before is None else before


def _broker_id(record: Record) -> int:
    assert type(record) is Broker, "partitions and producers refer to topics and brokers alone"
    return record.broker_id


def _owner(record: Record) -> str | None:
    if type(record) is Partition:
        return record.topic_uuid
    if type(record) is Producer or type(record) is RegistrationChange:
        return record.broker_uuid
    return None
