"""What no catalog takes: fields and counts out of bounds, and bytes that are no command; and how commands are shown."""

import msgspec
import pytest
from catalog_rig import Book, change_broker, change_partition, change_producer, change_topic, register_partition
from hypothesis import given
from hypothesis import strategies as st

from zraft.errors import InvalidRequest
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
from zraft.machines.catalog.rules import Bounds
from zraft.machines.catalog.store import Catalog
from zraft.machines.machine import Applied

AT = Applied(1, 1, 0, 1, "n1", None)


def long(field: str, length: int) -> str:
    return f"{field} must be 1 to {length} visible ASCII"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (RegisterBroker(-1, "h", 1, "P", ""), "broker_id is -1; it must be 0 to 2147483647"),
        (RegisterBroker(1 << 31, "h", 1, "P", ""), "broker_id is 2147483648"),
        (RegisterBroker(1, "", 1, "P", ""), long("host", 255)),
        (RegisterBroker(1, "h" * 256, 1, "P", ""), long("host", 255)),
        (RegisterBroker(1, "two words", 1, "P", ""), long("host", 255)),
        (RegisterBroker(1, "h\n", 1, "P", ""), long("host", 255)),
        (RegisterBroker(1, "ñ", 1, "P", ""), long("host", 255)),
        (RegisterBroker(1, "h", 0, "P", ""), "port is 0; it must be 1 to 65535"),
        (RegisterBroker(1, "h", 65_536, "P", ""), "port is 65536"),
        (RegisterBroker(1, "h", 1, "", ""), long("security_protocol", 64)),
        (RegisterBroker(1, "h", 1, "P" * 65, ""), long("security_protocol", 64)),
        (RegisterBroker(1, "h", 1, "P", "r" * 256), "a rack_id has at most 255 characters"),
        (RegisterBroker(1, "h", 1, "P", "\x1b[2J"), "none of them for control"),
        (change_broker(1, status=""), long("status", 64)),
        (change_broker(1, status="S" * 65), long("status", 64)),
        (change_broker(1, port=-1), "port is -1"),
        (change_broker(1), "a change of broker 1 names what changes: host, port, security_protocol, rack_id, status"),
        (RegisterTopic(""), "1 to 249 of A-Z a-z 0-9"),
        (RegisterTopic("t" * 250), "1 to 249"),
        (RegisterTopic(".."), "neither . nor .."),
        (RegisterTopic("a/b"), "of A-Z a-z 0-9"),
        (RegisterTopic("a\n"), "of A-Z a-z 0-9"),
        (RegisterTopic("0A3B5c7d-0000-8000-8000-00000000000f"), "must not look like a uuid"),
        (change_topic("t", "a b"), "of A-Z a-z 0-9"),
        (register_partition("t", -1), "partition_id is -1"),
        (register_partition("t", 1 << 31), "partition_id is 2147483648"),
        (RegisterProducer(BrokerKey(1), -1), "producer_id is -1"),
        (RegisterProducer(BrokerKey(1), 1 << 63), "producer_id is 9223372036854775808"),
    ],
)
def test_a_field_out_of_bounds_is_refused(command: Command, says: str) -> None:
    book = Book()
    book.broker(1)
    book.topic("t")
    assert says in book.refusal(command)


def test_the_longest_fields_are_taken() -> None:
    book = Book()
    assert book.send(RegisterBroker((1 << 31) - 1, "h" * 255, 65_535, "P" * 64, "é" * 255)).epoch == 0
    assert book.change_broker((1 << 31) - 1, status="S" * 64).epoch == 1
    assert book.topic("t" * 249).name == "t" * 249
    assert len(book.partition("t" * 249, (1 << 31) - 1, range(64)).isr) == 64
    assert book.producer((1 << 31) - 1, (1 << 63) - 1).broker_epoch == 1


def test_a_catalog_that_is_full_takes_no_more_until_something_is_deleted() -> None:
    book = Book(Bounds(brokers_max=1, topics_max=1, partitions_max=1, producers_max=1))
    book.broker(1)
    book.topic("t")
    book.partition("t", 0)
    book.producer(1, 5)
    for command, noun in (
        (RegisterBroker(2, "h", 1, "P", ""), "brokers"),
        (RegisterTopic("u"), "topics"),
        (register_partition("t", 1), "partitions"),
        (RegisterProducer(BrokerKey(1), 6), "producers"),
    ):
        assert book.refusal(command) == f"there are 1 {noun}, and no room for more; delete some"
    assert book.producer(1, 5).broker_epoch == 0, "what is there already needs no room"
    book.delete(ProducerKey((1, 5)))
    assert book.producer(1, 6).broker_epoch == 0


@given(st.binary())
def test_bytes_that_are_no_command_are_refused(junk: bytes) -> None:
    for act in (lambda: Catalog().apply(junk, AT), lambda: Catalog().query(junk)):
        try:
            act()
        except InvalidRequest:
            continue
        decoded = msgspec.msgpack.decode(junk)
        assert decoded[0] in range(9), f"taken for a command: {junk!r}"


@pytest.mark.parametrize(
    "strange",
    [
        [2, "t", "more"],
        [8, [0, 1, 2]],
        [8, [4, 1]],
        [8, [2, ["t"]]],
        [2, 5],
        [0, 1, "h", "port", "P", ""],
        [4, [1, "t"], 0, [1, None], None, [], [], None],
    ],
)
def test_a_command_of_another_shape_is_refused_rather_than_understood_differently(strange: list[object]) -> None:
    with pytest.raises(InvalidRequest, match="not a command of catalog"):
        Catalog().apply(msgspec.msgpack.encode(strange), AT)


@pytest.mark.parametrize("before", [b"\x93\x02\xa1t", b"\x92\x08\x92\x02", b"\x92\x08\x92\x00", b"\x92\x08", b""])
def test_nesting_without_end_is_refused_and_stops_no_node(before: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not a command of catalog"):
        Catalog().apply(before + b"\x91" * 100_000, AT)
    with pytest.raises(InvalidRequest, match="not a query of catalog"):
        Catalog().query(before.replace(b"\x08", b"\x00") + b"\x91" * 100_000)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (RegisterBroker(1, "h", 9, "P", ""), "register broker 1: host=h port=9 security_protocol=P"),
        (change_broker(1, status="FENCED", rack_id=""), "change broker 1: rack_id= status=FENCED"),
        (RegisterTopic("orders"), "register topic orders"),
        (change_topic("orders", "sales"), "change topic orders: name=sales"),
        (register_partition("t", 0, [1, 2], leader=2), "register partition 0 of topic t: replicas=1,2 leader=2"),
        (
            change_partition(("t", 0), isr=range(9), adding_replicas=()),
            "change partition 0 of topic t: isr=0,1,2,3,4,5,6,7.. adding_replicas=",
        ),
        (RegisterProducer(BrokerKey(1), 5), "register producer 5 of broker 1"),
        (change_producer("u"), "change producer u"),
        (Delete(PartitionKey("u")), "delete partition u"),
        (Delete(TopicKey("a\n\x1b" + "b" * 99)), r"delete topic a\n\x1b" + "b" * 61 + ".."),
    ],
)
def test_describe_shows_commands_to_people(command: Command, text: str) -> None:
    encodable = msgspec.structs.replace(command, isr=tuple(command.isr)) if getattr(command, "isr", None) else command
    assert commands.describe(commands.encode(encodable)) == text


@given(st.binary())
def test_describe_never_raises(junk: bytes) -> None:
    assert commands.describe(junk).isprintable()
