"""Each rule of the catalog, and in which words it is refused."""

import msgspec
import pytest
from catalog_rig import Book, change_broker, change_partition, change_producer, change_topic, register_partition

from zraft.machines.catalog import commands
from zraft.machines.catalog.commands import (
    BrokerKey,
    Command,
    Delete,
    PartitionKey,
    ProducerKey,
    RegisterBroker,
    RegisterProducer,
    RegisterTopic,
    TopicKey,
)
from zraft.machines.catalog.records import Broker, Partition, Producer, RegistrationChange, Topic
from zraft.machines.catalog.store import Catalog
from zraft.machines.machine import Applied
from zraft.raft.types import Membership

AT = Applied(1, 1, 0, 1, "n1", None)


def test_a_broker_begins_alive_with_epoch_0_and_keeps_its_uuid() -> None:
    book = Book()
    broker = book.send(RegisterBroker(1, "host", 9092, "SASL_SSL", "r1"))
    assert broker == Broker(1, "host", 9092, "SASL_SSL", "r1", "ALIVE", 0, broker.uuid)
    again = book.send(RegisterBroker(1, "elsewhere", 1, "PLAINTEXT", ""))
    assert again == broker, "registering does not undo what stands"
    assert book.revision == 1


def test_a_change_of_a_broker_merges_raises_the_epoch_and_is_kept() -> None:
    book = Book()
    before = book.broker(1)
    changed = book.change_broker(1, port=9093, rack_id="r2")
    assert changed == msgspec.structs.replace(before, port=9093, rack_id="r2", epoch=1)
    fenced = book.change_broker(before.uuid, status="FENCED", rack_id="")
    assert fenced == msgspec.structs.replace(changed, status="FENCED", rack_id="", epoch=2)
    assert book.get(BrokerKey(1)) == fenced
    first, second = book.fetch().registration_changes
    assert first == RegistrationChange(1, "h", 9093, "PLAINTEXT", "r2", "ALIVE", 1, before.uuid, first.uuid, 2, 200)
    assert (second.epoch, second.status, second.revision, second.time_ms) == (2, "FENCED", 3, 300)
    assert len({before.uuid, first.uuid, second.uuid}) == 3
    book.delete(BrokerKey(1))
    assert book.fetch().registration_changes == [first, second], "they are history, and outlive the broker"


def test_a_change_to_what_is_so_already_counts_as_one() -> None:
    book = Book()
    book.broker(1)
    book.topic("t")
    book.partition("t", 0, [1])
    assert book.change_broker(1, status="ALIVE").epoch == 1
    assert book.change_partition(("t", 0), leader=1).partition_epoch == 1


def test_a_topic_is_renamed_and_keeps_its_partitions() -> None:
    book = Book()
    topic = book.topic("old")
    assert book.topic("old") == topic
    partition = book.partition("old", 0)
    assert book.send(change_topic("old", "new")) == Topic("new", topic.uuid)
    assert book.send(change_topic(topic.uuid, "new")) == Topic("new", topic.uuid)
    assert book.revision == 3, "a name that it has already changes nothing"
    assert book.get(PartitionKey(("new", 0))) == partition
    assert book.get(TopicKey("old")) is None
    assert book.topic("old").uuid != topic.uuid
    assert "topic new exists already" in book.refusal(change_topic("old", "new"))


def test_a_partition_needs_its_topic() -> None:
    book = Book()
    assert "topic orders: no such topic; register it first" in book.refusal(register_partition("orders", 0))
    topic = book.topic("orders")
    partition = book.partition(topic.uuid.upper(), 0, [3, 1, 2])
    assert partition == Partition(0, topic.uuid, (3, 1, 2), (3, 1, 2), (), (), 3, 0, partition.uuid)
    assert book.partition("orders", 0, [9]) == partition
    assert book.partition("orders", 1, [1, 2], isr=[2]).leader == 2
    assert book.partition("orders", 2).leader is None
    assert book.partition("orders", 3, [1, 2], leader=2).leader == 2


def test_a_change_of_a_partition_replaces_and_raises_the_epoch() -> None:
    book = Book()
    book.topic("t")
    before = book.partition("t", 0, [1, 2, 3])
    lists = {"replicas": (2, 3, 4), "isr": (2, 3), "adding_replicas": (4,), "removing_replicas": (1,)}
    changed = book.change_partition(("t", 0), leader=3, **lists)
    assert changed == msgspec.structs.replace(before, leader=3, partition_epoch=1, **lists)
    assert book.change_partition(before.uuid, adding_replicas=()).adding_replicas == ()
    assert book.change_partition(("t", 0), isr=(4, 3)).leader == 3, "who leads stays, unless another is named"


def test_a_partition_that_nobody_is_in_sync_with_has_no_leader() -> None:
    book = Book()
    book.topic("t")
    book.partition("t", 0, [1, 2])
    assert book.change_partition(("t", 0), isr=()).leader is None
    assert book.change_partition(("t", 0), isr=(2, 1)).leader == 2


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"leader": 3}, "leader 3 is not in isr (1,2)"),
        ({"leader": 9}, "leader 9 is not in isr (1,2)"),
        ({"isr": (2,)}, "leader 1 is not in isr (2)"),
        ({"isr": (), "leader": 1}, "leader 1 is not in isr (empty)"),
        ({"isr": (1, 4)}, "isr names 4, which replicas (1,2,3) do not"),
        ({"replicas": (2, 3)}, "isr names 1, which replicas (2,3) do not"),
        ({"adding_replicas": (4, 5), "removing_replicas": (5,)}, "5 cannot be both in adding_replicas and in removing"),
        ({"replicas": (1, 2, 1)}, "replicas names 1 more than once"),
        ({"adding_replicas": (-1,)}, "a broker_id in adding_replicas is -1; it must be 0 to 2147483647"),
        ({"removing_replicas": (1 << 31,)}, "removing_replicas is 2147483648"),
        ({"replicas": tuple(range(65))}, "replicas names 65 brokers; 64 at most"),
        ({"leader": -1}, "leader is -1"),
        ({}, "names what changes: replicas, isr, removing_replicas, adding_replicas, leader"),
    ],
)
def test_a_partition_that_contradicts_itself_is_refused(fields: dict[str, object], says: str) -> None:
    book = Book()
    book.topic("t")
    book.partition("t", 0, [1, 2, 3], isr=[1, 2])
    assert says in book.refusal(change_partition(("t", 0), **fields))
    if fields:
        registered = {"replicas": (1, 2, 3), "isr": (1, 2), "leader": 1} | fields
        assert says in book.refusal(register_partition("t", 1, **registered))  # type: ignore[arg-type]


def test_a_producer_needs_its_broker_and_copies_its_epoch() -> None:
    book = Book()
    assert "broker 1: no such broker; register it first" in book.refusal(RegisterProducer(BrokerKey(1), 5))
    broker = book.broker(1)
    book.change_broker(1, status="FENCED")
    producer = book.producer(1, 5)
    assert producer == Producer(5, broker.uuid, 1, producer.uuid)
    book.change_broker(1, status="ALIVE")
    assert book.producer(broker.uuid, 5) == producer, "registering again is no change"
    assert book.send(change_producer((1, 5))) == msgspec.structs.replace(producer, broker_epoch=2)
    revision = book.revision
    assert book.send(change_producer(producer.uuid)).broker_epoch == 2
    assert book.revision == revision, "it had that epoch already"


def test_delete_returns_the_record_and_frees_its_key() -> None:
    book = Book()
    broker, topic = book.broker(1), book.topic("t")
    partition, producer = book.partition("t", 0), book.producer(1, 5)
    for key, record in (
        (PartitionKey(("t", 0)), partition),
        (ProducerKey((1, 5)), producer),
        (TopicKey(topic.uuid), topic),
        (BrokerKey(broker.uuid), broker),
    ):
        assert book.delete(key) == record
        assert book.get(key) is None
        revision = book.revision
        assert book.delete(key) is None
        assert book.revision == revision
    again = book.broker(1)
    assert (again.epoch, again.uuid != broker.uuid) == (0, True)


def test_what_others_refer_to_is_not_deleted() -> None:
    book = Book()
    for number in range(6):
        book.broker(number)
    topic = book.topic("t")
    book.send(register_partition("t", 0, [0, 1], [0], 0, adding_replicas=[2], removing_replicas=[3]))
    book.partition("t", 1, [1])
    book.producer(4, 7)
    book.producer(4, 8)
    book.producer(1, 7)
    said = book.refusal(Delete(TopicKey("t")))
    assert said == (
        "topic t: 2 partitions refer to it; delete or change those first (zraft catalog partition list --topic t)"
    )
    assert "--topic t)" in book.refusal(Delete(TopicKey(topic.uuid)))
    for number in (0, 2, 3):
        assert f"broker {number}: 1 partition refers to it" in book.refusal(Delete(BrokerKey(number)))
    assert book.refusal(Delete(BrokerKey(1))) == (
        "broker 1: 2 partitions and 1 producer refer to it; delete or change those first "
        "(zraft catalog partition list --broker-id 1, zraft catalog producer list --broker 1)"
    )
    assert "broker 4: 2 producers refer to it" in book.refusal(Delete(BrokerKey(4)))
    assert book.delete(BrokerKey(5)).broker_id == 5
    book.change_partition(("t", 0), adding_replicas=())
    assert book.delete(BrokerKey(2)).broker_id == 2, "nothing names it any more"
    book.delete(PartitionKey(("t", 0)))
    assert "topic t: 1 partition refers to it" in book.refusal(Delete(TopicKey("t")))
    assert "broker 1: 1 partition and 1 producer refer to it" in book.refusal(Delete(BrokerKey(1)))


def test_a_replica_may_be_named_before_it_registers_and_then_it_stays() -> None:
    book = Book()
    book.topic("t")
    book.partition("t", 0, [1])
    book.broker(1)
    assert "1 partition refers" in book.refusal(Delete(BrokerKey(1)))


def test_names_and_uuids_find_only_their_own_kind() -> None:
    book = Book()
    broker, topic = book.broker(1), book.topic("t")
    partition, producer = book.partition("t", 0), book.producer(1, 5)
    makers = (BrokerKey, TopicKey, PartitionKey, ProducerKey)
    for made, record in zip(makers, (broker, topic, partition, producer), strict=True):
        for other in makers:
            assert book.get(other(record.uuid)) == (record if other is made else None)
            assert book.get(other(record.uuid.upper())) == (record if other is made else None)
    book.change_broker(1, port=1)
    (kept,) = book.fetch().registration_changes
    assert [book.get(made(kept.uuid)) for made in makers] == [None] * 4
    assert book.delete(BrokerKey(kept.uuid)) is None
    for key in (PartitionKey(("x", 0)), PartitionKey(("t", 9)), ProducerKey((9, 5)), ProducerKey((1, 9))):
        assert book.get(key) is None


@pytest.mark.parametrize(
    "command",
    [
        change_broker(1, port=5),
        change_topic("t", "u"),
        change_partition(("t", 0), leader=1),
        change_partition("11111111-2222-3333-4444-555555555555", isr=()),
        change_producer((1, 5)),
    ],
)
def test_a_change_of_what_is_not_there_says_so_and_changes_nothing(command: Command) -> None:
    book = Book()
    assert book.send(command) is None
    assert book.revision == 0


def test_a_uuid_depends_on_the_log_alone_and_tells_clusters_apart() -> None:
    command = commands.encode(RegisterTopic("t"))

    def uuid(at: Applied) -> str:
        record = commands.decode_record(Catalog().apply(command, at))
        assert type(record) is Topic
        return record.uuid

    here = Membership(("n1", "n2"), disk_ids={"n1": "a", "n2": "b"})
    elsewhere = Membership(("n1", "n2"), disk_ids={"n1": "a", "n2": "c"})
    other_order = Membership(("n1", "n2"), disk_ids={"n2": "b", "n1": "a"})
    base = Applied(7, 2, 500, 3, "n1", here)
    assert uuid(base) == uuid(Applied(7, 2, 900, 4, "n2", other_order))
    others = [
        Applied(8, 2, 500, 3, "n1", here),
        Applied(7, 3, 500, 3, "n1", here),
        Applied(7, 2, 0, 3, "n1", elsewhere),
    ]
    assert len({uuid(at) for at in (base, AT, *others)}) == 5
