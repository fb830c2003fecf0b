"""`client.catalog`: what each call returns, what is refused before it is sent, and who is asked."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from fake_cluster import FakeCluster

from zraft import requests
from zraft.client.catalog.metadata import Metadata, apply_delta
from zraft.client.client import Client
from zraft.errors import InvalidRequest, NotFound, OutcomeUnknown
from zraft.machines.catalog import journal, ledger
from zraft.machines.catalog.records import Broker, Kind, Partition, Producer, Topic
from zraft.machines.catalog.store import Catalog
from zraft.machines.sessions import Machines

Connect = Callable[..., Client]
replace = msgspec.structs.replace


@pytest.fixture
def cluster(cluster: FakeCluster) -> FakeCluster:
    """Three fake nodes that mount a catalog."""
    cluster.machines = Machines({"kv": cluster.store, "catalog": Catalog()})
    cluster.start()
    return cluster


def test_each_call_returns_what_it_promises(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    broker = catalog.broker.register(1, "h", 9092)
    assert broker == Broker(1, "h", 9092, "PLAINTEXT", "", "ALIVE", 0, broker.uuid)
    assert catalog.broker.register(1, "other", 1, "SSL", "r") == broker
    fenced = catalog.broker.change(1, status="FENCED", rack_id="r1")
    assert fenced == replace(broker, status="FENCED", rack_id="r1", epoch=1)
    topic = catalog.topic.register("t")
    assert catalog.topic.change("t", "orders") == Topic("orders", topic.uuid)
    partition = catalog.partition.register("orders", 0, [1, 2], isr=[1], adding_replicas=[3], removing_replicas=[4])
    assert partition == Partition(0, topic.uuid, (1, 2), (1,), (4,), (3,), 1, 0, partition.uuid)
    changed = catalog.partition.change(("orders", 0), isr=[2, 1], leader=2, adding_replicas=[], removing_replicas=[])
    lists = {"isr": (2, 1), "adding_replicas": (), "removing_replicas": ()}
    assert changed == replace(partition, **lists, leader=2, partition_epoch=1)
    producer = catalog.producer.register(1, 5)
    assert producer == Producer(5, broker.uuid, 1, producer.uuid)
    catalog.broker.change(broker.uuid, port=1)
    assert catalog.producer.change((1, 5)).broker_epoch == 2
    assert catalog.broker.get(1) == catalog.broker.get(broker.uuid) == replace(fenced, port=1, epoch=2)
    assert catalog.topic.get("orders") == catalog.topic.get(topic.uuid)
    assert catalog.partition.get((topic.uuid, 0)) == catalog.partition.get(partition.uuid) == changed
    assert catalog.producer.get((broker.uuid, 5)) == catalog.producer.get(producer.uuid)
    assert catalog.partition.delete(partition.uuid) == changed
    for act in (catalog.partition.delete, catalog.partition.change):
        with pytest.raises(
            NotFound, match="partition 0 of topic orders: no such partition; zraft catalog partition list"
        ):
            act(("orders", 0), **({"leader": 1} if act == catalog.partition.change else {}))  # type: ignore[operator]
    assert catalog.partition.get(("orders", 0)) is None


def test_every_call_has_a_twin_that_returns_a_future(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    futures: list[Future[Any]] = [
        catalog.broker.submit_register(1, "h", 1),
        catalog.broker.submit_change(1, port=2),
        catalog.topic.submit_register("t"),
        catalog.topic.submit_change("t", "u"),
        catalog.partition.submit_register("u", 0, [1]),
        catalog.partition.submit_change(("u", 0), isr=[]),
        catalog.producer.submit_register(1, 5),
        catalog.producer.submit_change((1, 5)),
        catalog.producer.submit_delete((1, 5)),
    ]
    kinds = [type(future.result()).__name__ for future in futures]
    assert kinds == ["Broker"] * 2 + ["Topic"] * 2 + ["Partition"] * 2 + ["Producer"] * 3
    lists: list[Future[Any]] = [
        catalog.broker.submit_list(),
        catalog.topic.submit_list(),
        catalog.partition.submit_list(topic="u"),
        catalog.producer.submit_list(broker=1),
    ]
    assert [len(future.result()) for future in lists] == [1, 1, 1, 0]
    assert catalog.topic.submit_get("u").result() == Topic("u", futures[2].result().uuid)
    assert catalog.submit_fetch(5).result().revision == 8


def test_lists_and_fetches_come_in_pages_in_the_order_of_keys(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    for number in (3, 1, 2):
        catalog.broker.register(number, "h", 1)
        catalog.topic.register(f"t{number}")
        for partition in (1, 0):
            catalog.partition.register(f"t{number}", partition, [number])
            catalog.producer.register(number, partition)
    with patch.object(ledger, "PAGE_RECORDS_MAX", 2):
        assert [broker.broker_id for broker in catalog.broker.list()] == [1, 2, 3]
        assert [topic.name for topic in catalog.topic.list()] == ["t1", "t2", "t3"]
        assert [each.partition_id for each in catalog.partition.list("t2")] == [0, 1]
        assert {each.replicas for each in catalog.partition.list("t2")} == {(2,)}
        assert len(catalog.partition.list()) == len(catalog.producer.list()) == 6
        assert [each.producer_id for each in catalog.producer.list(broker=3)] == [0, 1]
        before = len(cluster.of(requests.Queries))
        whole = catalog.fetch()
        assert len(cluster.of(requests.Queries)) - before == 9
    assert whole == catalog.fetch()


def test_a_delta_brings_an_earlier_fetch_up_to_date(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    catalog.broker.register(1, "h", 1)
    gone = catalog.topic.register("gone")
    held = catalog.fetch()
    catalog.broker.change(1, status="FENCED")
    catalog.topic.delete("gone")
    delta = catalog.fetch(since=held.revision)
    assert [(each.kind, each.record) for each in delta.deleted] == [(Kind.TOPIC, gone)]
    assert apply_delta(held, delta) == catalog.fetch()
    assert catalog.fetch(delta.revision) == Metadata(delta.revision, [], [], [], [], [], [])


def test_a_change_of_what_is_not_there_raises_not_found(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    changes: list[tuple[str, Callable[[], Any]]] = [
        ("broker 7: no such broker; zraft catalog broker list", lambda: catalog.broker.change(7, port=1)),
        ("topic t: no such topic", lambda: catalog.topic.change("t", "u")),
        ("partition 0 of topic t: no such partition", lambda: catalog.partition.change(("t", 0), isr=[])),
        ("producer 5 of broker 1: no such producer", lambda: catalog.producer.change((1, 5))),
    ]
    for says, change in changes:
        with pytest.raises(NotFound, match=says):
            change()


def test_what_the_catalog_says_no_to_raises_what_it_says(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    catalog.topic.register("t")
    catalog.partition.register("t", 0)
    with pytest.raises(InvalidRequest, match="topic t: 1 partition refers to it; delete or change those first"):
        catalog.topic.delete("t")
    with pytest.raises(InvalidRequest, match="broker 1: no such broker; register it first"):
        catalog.producer.register(1, 5)
    with pytest.raises(InvalidRequest, match="revision 99 is not one that was"):
        catalog.fetch(99)


def test_what_can_never_succeed_is_refused_before_it_is_sent(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("port is 0", lambda: catalog.broker.register(1, "h", 0)),
        ("host must be", lambda: catalog.broker.register(1, "é", 1)),
        ("not what the catalog takes", lambda: catalog.broker.register(1, "\udcff", 1)),
        ("names what changes", lambda: catalog.broker.change(1)),
        ("the name of a topic is", lambda: catalog.topic.register("a b")),
        ("replicas names 1 more than once", lambda: catalog.partition.register("t", 0, [1, 1])),
        ("Expected `str`, got `int` - at `name`$", lambda: catalog.topic.register(5)),  # type: ignore[arg-type]
        ("not what the catalog takes", lambda: catalog.topic.get("\udcff")),
        ("broker is out of range: a number of more than 63 bits", lambda: catalog.broker.get(1 << 70)),
        ("broker_id is out of range", lambda: catalog.broker.register(1 << 70, "h", 1)),
        ("broker_id is 1099511627776; it must be 0 to", lambda: catalog.broker.register(1 << 40, "h", 1)),
        ("isr is out of range", lambda: catalog.partition.change(("t", 0), isr=[1, 1 << 70])),
        ("partition is out of range", lambda: catalog.partition.get(("t", -(1 << 70)))),
        ("since is out of range", lambda: catalog.fetch(1 << 70)),
        ("since_ms is out of range", lambda: catalog.events(1 << 70)),
        ("got `str` - at `key.partition.1`$", lambda: catalog.partition.get(("t", "0"))),  # type: ignore[arg-type]
        ("got `str` - at `isr.1`$", lambda: catalog.partition.change(("t", 0), isr=[1, "2"])),  # type: ignore[list-item]
        ("got `int` - at `host`$", lambda: catalog.broker.register(1, 5, 1)),  # type: ignore[arg-type]
        ("not what the catalog takes", lambda: catalog.broker.delete(object())),  # type: ignore[arg-type]
        ("not what the catalog takes", lambda: catalog.fetch("1")),  # type: ignore[arg-type]
    ]
    for says, act in wrong:
        with pytest.raises(InvalidRequest, match=says):
            act()
    assert cluster.of(requests.Commands) == []
    assert cluster.of(requests.Queries) == []


def test_their_non_leader_refused_and_ours_redirects(cluster: FakeCluster, connect: Connect) -> None:
    cluster.leader = "n3"
    follower = cluster.config.node("n1").client
    catalog = connect(endpoints=[follower]).catalog
    catalog.topic.register("t")
    assert [topic.name for topic in catalog.topic.list()] == ["t"]
    cluster.leader = "n2"
    assert catalog.topic.delete("t") is not None
    assert {seen.node for seen in cluster.of(requests.Commands)} >= {"n2", "n3"}


def test_a_retry_after_a_lost_answer_registers_once(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    catalog.topic.register("first")
    lost: list[object] = []

    def lose_one(_node: str, _request: object, batch: requests.Batch | None) -> str:
        if batch is None or lost:
            return "serve"
        lost.append(batch)
        return "mute"

    cluster.behaviour = lose_one
    catalog.broker.register(1, "h", 1)
    assert catalog.broker.change(1, port=2).epoch == 1
    assert lost
    assert catalog.fetch().revision == 3


def test_an_answer_that_is_no_record_is_an_unknown_outcome(cluster: FakeCluster, connect: Connect) -> None:
    catalog = connect().catalog
    cluster.behaviour = lambda _, __, batch: (
        "serve" if batch is None else requests.Reply(0, requests.Outcome.DONE, [b"\x00\x05"])
    )
    for act in (lambda: catalog.topic.register("t"), lambda: catalog.topic.change("t", "u")):
        with pytest.raises(OutcomeUnknown):
            act()


def test_events_of_many_pages_and_of_one_kind(
    cluster: FakeCluster, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "EVENTS_PER_PAGE_MAX", 2)
    catalog = connect().catalog
    assert catalog.events() == []
    for number in range(5):
        catalog.topic.register(f"t{number}")
    broker = catalog.broker.register(1, "h", 1)
    found = catalog.events()
    assert [(each.verb, each.kind, each.key) for each in found] == [
        *(("register", "topic", f"t{number}") for number in range(5)),
        ("register", "broker", "1"),
    ]
    assert [each.uuid for each in catalog.events(kind="broker")] == [broker.uuid]
    assert catalog.events(found[-1].wall_ms + 1) == []
    with pytest.raises(InvalidRequest, match="nothing happens to records of the kind 'registration_change'; there are"):
        catalog.events(kind="registration_change")
    with pytest.raises(InvalidRequest):
        catalog.events(1 << 70)
