"""The catalog on real nodes: each thing that its predecessor promised, from the shell, and each that it got wrong.

One detached cluster of three serves all tests; each keeps to names of its own.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from awaiting import eventually
from cluster_rig import Clusters

from zraft.client.client import Client

pytestmark = pytest.mark.processes

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def shown(shared: Clusters, line: str) -> Any:
    """Return what ``zraft catalog LINE --json`` prints."""
    return json.loads(shared.run("catalog", *line.split(), "--json").stdout)


def registered(shared: Clusters, line: str) -> str:
    """Return the uuid that ``zraft catalog LINE`` prints; the second time it prints the same."""
    first, second = (shared.run("catalog", *line.split()).stdout for _ in range(2))
    assert first == second
    assert UUID.fullmatch(first.strip())
    return first.strip()


def refused(shared: Clusters, line: str) -> str:
    done = shared.run("catalog", *line.split(), code=2)
    assert done.stdout == ""
    return done.stderr


def applied(data: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    """Apply a delta as a program in any language would: by uuid."""
    gone = {each["uuid"] for each in delta["deleted"]}
    made: dict[str, Any] = {"revision": delta["revision"], "deleted": []}
    for part in data.keys() - made.keys():
        merged = {each["uuid"]: each for each in data[part] + delta[part]}
        made[part] = [each for uuid, each in merged.items() if uuid not in gone]
    return made


def sorted_parts(data: dict[str, Any]) -> dict[str, Any]:
    return {
        part: sorted(rows, key=lambda row: str(row["uuid"])) if isinstance(rows, list) else rows
        for part, rows in data.items()
    }


def test_broker_registers_once_and_a_change_merges_raises_the_epoch_and_is_kept(shared: Clusters):
    uuid = registered(
        shared, "broker register --broker-id 10 --host h --port 9092 --security-protocol SSL --rack-id r1"
    )
    broker = shown(shared, "broker get 10")
    assert broker == {
        "broker_id": 10, "host": "h", "port": 9092, "security_protocol": "SSL", "rack_id": "r1", "status": "ALIVE",
        "epoch": 0, "uuid": uuid,
    }  # fmt: skip
    changed = shown(shared, "broker change 10 --status FENCED")
    assert changed == broker | {"status": "FENCED", "epoch": 1}
    (kept,) = [each for each in shown(shared, "fetch")["registration_changes"] if each["broker_uuid"] == uuid]
    assert (kept["status"], kept["epoch"]) == ("FENCED", 1)


def test_topic_registers_once(shared: Clusters):
    uuid = registered(shared, "topic register --name once")
    assert shown(shared, f"topic get {uuid}") == {"name": "once", "uuid": uuid}


def test_partition_needs_its_topic_and_its_leader_is_in_sync(shared: Clusters):
    assert "topic parted: no such topic" in refused(shared, "partition register --topic parted --partition-id 0")
    topic = registered(shared, "topic register --name parted")
    registered(shared, "partition register --topic parted --partition-id 0 --replicas 1,2,3 --isr 1,2 --leader 2")
    partition = shown(shared, "partition get parted 0")
    assert partition["topic_uuid"] == topic
    assert (partition["replicas"], partition["isr"], partition["leader"]) == ([1, 2, 3], [1, 2], 2)
    assert "leader 3 is not in isr (1,2)" in refused(shared, "partition change parted 0 --leader 3")
    line = "partition change parted 0 --replicas 2,3,4 --isr 3 --adding-replicas 4 --removing-replicas 1 --leader 3"
    changed = shown(shared, line)
    assert (changed["isr"], changed["adding_replicas"], changed["removing_replicas"]) == ([3], [4], [1])
    assert (changed["leader"], changed["partition_epoch"]) == (3, 1)


def test_producer_needs_its_broker_and_copies_its_epoch(shared: Clusters):
    assert "broker 20: no such broker" in refused(shared, "producer register --broker 20 --producer-id 1")
    broker = registered(shared, "broker register --broker-id 20 --host h --port 1")
    shared.run("catalog", "broker", "change", "20", "--port", "2")
    registered(shared, "producer register --broker 20 --producer-id 1")
    producer = shown(shared, "producer get 20 1")
    assert (producer["broker_uuid"], producer["broker_epoch"]) == (broker, 1)
    shared.run("catalog", "broker", "change", "20", "--port", "3")
    assert shown(shared, "producer change 20 1")["broker_epoch"] == 2


def test_get_one_get_all_and_delete_for_each(shared: Clusters):
    made = {
        "broker": ("--broker-id 30 --host h --port 1", "30"),
        "topic": ("--name each", "each"),
        "partition": ("--topic each --partition-id 4", "each 4"),
        "producer": ("--broker 30 --producer-id 4", "30 4"),
    }
    uuids = {noun: registered(shared, f"{noun} register {flags}") for noun, (flags, _) in made.items()}
    for noun, (_, key) in reversed(made.items()):
        record = shown(shared, f"{noun} get {key}")
        assert record["uuid"] == uuids[noun]
        assert record in shown(shared, f"{noun} list")
        assert shown(shared, f"{noun} delete {key}") == record
        gone = shared.run("catalog", noun, "get", *key.split(), code=1)
        assert f"no such {noun}" in gone.stderr


def test_deleting_what_others_refer_to_is_refused(shared: Clusters):
    registered(shared, "broker register --broker-id 40 --host h --port 1")
    registered(shared, "topic register --name held")
    registered(shared, "partition register --topic held --partition-id 0 --replicas 40")
    registered(shared, "producer register --broker 40 --producer-id 1")
    assert "broker 40: 1 partition and 1 producer refer to it" in refused(shared, "broker delete 40")
    assert "topic held: 1 partition refers to it" in refused(shared, "topic delete held")
    for line in ("partition delete held 0", "producer delete 40 1", "topic delete held", "broker delete 40"):
        shared.run("catalog", *line.split())


def test_a_fetch_of_what_changed_since_a_revision_was_never_finished_by_theirs(shared: Clusters):
    registered(shared, "broker register --broker-id 50 --host h --port 1")
    registered(shared, "topic register --name fleeting")
    before = shown(shared, "fetch")
    assert list(before) == [
        "revision", "brokers", "topics", "partitions", "producers", "registration_changes", "deleted",
    ]  # fmt: skip
    assert before["deleted"] == []
    shared.run("catalog", "broker", "change", "50", "--port", "2")
    shared.run("catalog", "topic", "delete", "fleeting")
    registered(shared, "topic register --name lasting")
    delta = shown(shared, f"fetch --since {before['revision']}")
    assert [len(delta[part]) for part in ("brokers", "topics", "partitions", "producers", "deleted")] == [1, 1, 0, 0, 1]
    assert sorted_parts(applied(before, delta)) == sorted_parts(shown(shared, "fetch"))


def test_what_happened_is_there_by_time_and_type(shared: Clusters):
    registered(shared, "broker register --broker-id 60 --host h --port 1")
    revision = shown(shared, "fetch")["revision"]
    shared.run("catalog", "broker", "change", "60", "--status", "FENCED")
    shared.run("catalog", "broker", "change", "60", "--status", "ALIVE")
    shared.run("catalog", "broker", "delete", "60")
    delta = shown(shared, f"fetch --since {revision}")
    assert [change["status"] for change in delta["registration_changes"]] == ["FENCED", "ALIVE"]
    (deleted,) = delta["deleted"]
    assert (deleted["kind"], deleted["record"]["broker_id"]) == ("broker", 60)
    times = [each["time_ms"] for each in (*delta["registration_changes"], deleted)]
    assert times == sorted(times)
    assert 0 < times[0]
    log = shared.run("status", shared.leader(), "--log", "20").stdout
    for text in ("change broker 60: status=FENCED", "change broker 60: status=ALIVE", "delete broker 60"):
        assert f"catalog {text}" in log


def test_an_event_log_by_time_and_type_that_outlives_the_leader(shared: Clusters):
    began = datetime.now(UTC)
    registered(shared, "topic register --name happened")
    shared.run("catalog", "topic", "delete", "happened")
    found = shown(shared, "events --kind topic --since 1h")[-2:]
    assert [(event["verb"], event["key"]) for event in found] == [("register", "happened"), ("delete", "happened")]
    assert [event["revision"] for event in found] == sorted(event["revision"] for event in found)
    for event in found:
        assert abs(datetime.fromisoformat(event["time"]) - began) < timedelta(minutes=1)
    shared.say("kill", "leader")
    shared.leader()
    assert shown(shared, "events --kind topic --since 1h")[-2:] == found


def test_a_non_leader_redirects_where_theirs_refused(shared: Clusters):
    leader = shared.leader()
    rows = json.loads(shared.run("status", "--json").stdout)["nodes"]
    (follower, *_) = [row["endpoint"] for row in rows if row["node"] != leader]
    with Client(endpoints=[follower], timeout_s=10) as client:
        topic = client.catalog.topic.register("by-way-of-a-follower")
        assert client.catalog.topic.get(topic.uuid) == topic


def test_what_was_registered_outlives_the_leader_and_a_restart_of_all(shared: Clusters):
    uuid = registered(shared, "broker register --broker-id 70 --host h --port 1")
    before = shown(shared, "fetch")
    shared.say("kill", "leader")
    shared.leader()
    assert shown(shared, "fetch") == before
    for node in ("n1", "n2", "n3"):
        shared.say("stop", node)
    for node in ("n1", "n2", "n3"):
        shared.say("start", node)
    shared.leader()
    assert shown(shared, "fetch") == before
    assert registered(shared, "broker register --broker-id 70 --host h --port 1") == uuid
    eventually("the cluster is whole", lambda: all(row["role"] for row in shared.status().values()))
