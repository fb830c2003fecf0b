"""What a cluster metadata service in the manner of KRaft and ZooKeeper offered: a test per row, by the commands that a user types.

tests/cluster has each rule in full; here each noun is met once, on a cluster that others use too.
"""

import json

import pytest
from awaiting import eventually
from cluster_rig import Clusters
from test_cluster_catalog import applied, refused, registered, shown, sorted_parts

from zraft import Client

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def shop(app: Clusters) -> dict[str, str]:
    """Register a broker, a topic, a partition and a producer, each twice; return their uuids by noun."""
    return {
        "broker": registered(app, "broker register --broker-id 1 --host localhost --port 9092 --rack-id r1"),
        "topic": registered(app, "topic register --name orders"),
        "partition": registered(app, "partition register --topic orders --partition-id 0 --replicas 1,2 --leader 2"),
        "producer": registered(app, "producer register --broker 1 --producer-id 7"),
    }


def test_broker(app: Clusters, shop: dict[str, str]) -> None:
    """ALIVE, epoch 0; a change merges fields, raises the epoch, and is itself kept as a record."""
    uuid = registered(app, "broker register --broker-id 2 --host h --port 1 --security-protocol SSL")
    before = shown(app, "broker get 2")
    assert (before["uuid"], before["status"], before["epoch"]) == (uuid, "ALIVE", 0)
    after = before | {"rack_id": "r2", "epoch": 1}
    assert shown(app, "broker change 2 --rack-id r2") == after
    kept = [each for each in shown(app, "fetch")["registration_changes"] if each["broker_uuid"] == uuid]
    assert [(each["rack_id"], each["epoch"]) for each in kept] == [("r2", 1)]
    assert uuid != shop["broker"]


def test_topic(app: Clusters, shop: dict[str, str]) -> None:
    assert shown(app, "topic get orders") == {"name": "orders", "uuid": shop["topic"]}


def test_partition(app: Clusters, shop: dict[str, str]) -> None:
    """Its topic must exist."""
    assert shown(app, "partition get orders 0") == {
        "partition_id": 0, "topic_uuid": shop["topic"], "replicas": [1, 2], "isr": [1, 2], "removing_replicas": [],
        "adding_replicas": [], "leader": 2, "partition_epoch": 0, "uuid": shop["partition"],
    }  # fmt: skip
    assert "topic nowhere: no such topic" in refused(app, "partition register --topic nowhere --partition-id 0")


def test_producer(app: Clusters, shop: dict[str, str]) -> None:
    """Its broker must exist; the epoch is copied from the broker."""
    registered(app, "broker register --broker-id 3 --host h --port 1")
    app.run("catalog", "broker", "change", "3", "--port", "2")
    registered(app, "producer register --broker 3 --producer-id 7")
    assert shown(app, "producer get 3 7")["broker_epoch"] == shown(app, "broker get 3")["epoch"] == 1
    assert shown(app, "producer get 1 7")["broker_uuid"] == shop["broker"]
    assert "broker 77: no such broker" in refused(app, "producer register --broker 77 --producer-id 1")


def test_get_one_get_all_delete_for_each(app: Clusters) -> None:
    made = {
        "broker": ("--broker-id 4 --host h --port 1", "4"),
        "topic": ("--name brief", "brief"),
        "partition": ("--topic brief --partition-id 4", "brief 4"),
        "producer": ("--broker 4 --producer-id 4", "4 4"),
    }
    records = {}
    for noun, (flags, name) in made.items():
        registered(app, f"{noun} register {flags}")
        records[noun] = shown(app, f"{noun} get {name}")
        assert records[noun] in shown(app, f"{noun} list")
    for noun, (_, name) in reversed(made.items()):
        assert shown(app, f"{noun} delete {name}") == records[noun], "the deleted record is returned"
        app.run("catalog", noun, "get", *name.split(), code=1)


def test_a_metadata_fetch_of_everything(app: Clusters, shop: dict[str, str]) -> None:
    everything = shown(app, "fetch")
    for noun, uuid in shop.items():
        assert uuid in {record["uuid"] for record in everything[f"{noun}s"]}
        assert shown(app, f"{noun} list") == everything[f"{noun}s"]


def test_a_fetch_of_what_changed_since_a_revision(app: Clusters) -> None:
    registered(app, "topic register --name passing")
    before = shown(app, "fetch")
    app.run("catalog", "topic", "delete", "passing")
    registered(app, "topic register --name staying")
    delta = shown(app, f"fetch --since {before['revision']}")
    assert [record["name"] for record in delta["topics"]] == ["staying"]
    assert [each["record"]["name"] for each in delta["deleted"]] == ["passing"]
    assert delta["brokers"] == delta["partitions"] == delta["producers"] == []
    assert sorted_parts(applied(before, delta)) == sorted_parts(shown(app, "fetch"))


def test_deleting_a_broker_or_topic_that_others_refer_to_is_refused(app: Clusters, shop: dict[str, str]) -> None:
    for noun, name, says in (
        ("broker", "1", "1 partition and 1 producer refer to it"),
        ("topic", "orders", "1 partition refers to it"),
    ):
        assert f"{noun} {name}: {says}" in refused(app, f"{noun} delete {name}")
        assert shown(app, f"{noun} get {name}")["uuid"] == shop[noun]


def test_an_event_log_of_what_happened_by_time_and_type(app: Clusters) -> None:
    for words in ("register --name noted", "change noted --name renamed", "delete renamed"):
        app.run("catalog", "topic", *words.split())
    events = shown(app, "events --kind topic --since 1h")
    assert [event["verb"] for event in events[-3:]] == ["register", "change", "delete"]
    assert {event["kind"] for event in events} == {"topic"}
    assert [event["revision"] for event in events] == sorted(event["revision"] for event in events)
    assert shown(app, f"events --kind topic --since {events[-1]['time']}")[-1] == events[-1]


def test_a_non_leader_redirects(app: Clusters) -> None:
    """Whichever node one knows: theirs refused. `Client.catalog` is the same in Python."""
    leader = app.leader()
    rows = json.loads(app.run("status", "--json").stdout)["nodes"]
    for row in (row for row in rows if row["node"] != leader):
        with Client(endpoints=[row["endpoint"]], timeout_s=10) as client:
            topic = client.catalog.topic.register("by-a-follower")
            assert client.catalog.topic.get("by-a-follower") == topic
            assert shown(app, "topic get by-a-follower")["uuid"] == topic.uuid


def test_what_was_registered_outlives_the_leader(app: Clusters, shop: dict[str, str]) -> None:
    before = shown(app, "fetch")
    app.say("kill", "leader")
    app.leader()
    assert shown(app, "fetch") == before
    assert {noun: shown(app, f"{noun} get --uuid {uuid}")["uuid"] for noun, uuid in shop.items()} == shop
    eventually("the cluster is whole", lambda: all(row["role"] for row in app.status().values()))
