"""``zraft catalog`` as a user types it: every verb of every noun, in all the ways in which a record can be named.

The commands run in this process; tests/cluster runs some as processes, on real nodes.
"""

import re
from itertools import pairwise

import pytest
from fake_cluster import FakeCluster
from typed_commands import TypedCommands

from zraft.machines.catalog.store import Catalog
from zraft.machines.sessions import Machines

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Shell(TypedCommands):
    """Runs ``zraft catalog`` against three fake nodes."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__(cluster, "catalog")

    def uuid(self, line: str) -> str:
        """Return the uuid that a registration prints, and nothing else."""
        printed = self.run(line)
        assert printed.endswith("\n")
        assert UUID.fullmatch(printed[:-1]), printed
        return printed[:-1]


@pytest.fixture
def shell(cluster: FakeCluster) -> Shell:
    """Return a shell beside three fake nodes that mount a catalog."""
    cluster.machines = Machines({"kv": cluster.store, "catalog": Catalog()})
    cluster.start()
    return Shell(cluster)


def test_broker_every_verb(shell: Shell) -> None:
    uuid = shell.uuid(
        "broker register --broker-id 1 --host localhost --port 9092 --security-protocol SASL_SSL --rack-id r1"
    )
    broker = {"broker_id": 1, "host": "localhost", "port": 9092, "security_protocol": "SASL_SSL", "rack_id": "r1"}
    broker |= {"status": "ALIVE", "epoch": 0, "uuid": uuid}
    assert shell.uuid("broker register --broker-id 1 --host elsewhere --port 9092") == uuid
    assert shell.said == (
        "zraft: note: this broker was registered before, and its host stays as it is; "
        "zraft catalog broker change changes it\n"
    )
    assert shell.json("broker register --broker-id 1 --host localhost --port 9092") == broker
    assert shell.said == ""
    for way in ("1", uuid, "--broker-id 1", f"--uuid {uuid}"):
        assert shell.json(f"broker get {way}") == broker
    changed = shell.json("broker change 1 --status FENCED --port 9093")
    assert changed == broker | {"status": "FENCED", "port": 9093, "epoch": 1}
    changed = shell.json("broker change --broker-id 1 --host h --security-protocol P --rack-id ''")
    assert changed["epoch"] == 2
    shown = shell.run("broker get 1").splitlines()
    assert [line.split()[0] for line in shown] == list(broker)
    assert shown[4].split() == ["rack_id", "-"]
    assert shell.json("broker list") == [changed]
    table = shell.run("broker list").splitlines()
    assert table[0].split() == [name.upper() for name in broker]
    assert table[1].split() == ["1", "h", "9093", "P", "-", "FENCED", "2", uuid]
    assert shell.json(f"broker delete {uuid}") == changed
    assert shell.json("broker list") == []
    assert shell.run("broker list") == ""


def test_events(shell: Shell) -> None:
    assert (shell.json("events"), shell.run("events")) == ([], "")
    uuid = shell.uuid("topic register --name orders")
    shell.uuid("broker register --broker-id 1 --host h --port 9092")
    shell.run("topic delete orders")
    found = shell.json("events --kind topic")
    names = ["revision", "kind", "verb", "key", "uuid", "term", "time_ms", "time"]
    assert [list(event) for event in found] == [names] * 2
    assert [(event["revision"], event["verb"], event["key"], event["uuid"]) for event in found] == [
        (1, "register", "orders", uuid),
        (3, "delete", "orders", uuid),
    ]
    assert found[0]["time"].startswith("1970-01-01T00:00:00"), (
        "nobody was elected here, whose clock would tell the time"
    )
    assert shell.json("events --since 1h") == []
    assert len(shell.json("events --since 1970-01-01T00:00Z")) == 3
    lines = shell.run("events").splitlines()
    assert lines[0].split() == ["REVISION", "TIME", "TERM", "VERB", "KIND", "KEY"]
    assert lines[2].split() == ["2", found[0]["time"], "1", "register", "broker", "1"]
    shell.run("events --kind dog", code=2)
    shell.run("events --since yesterday", code=2)
    assert shell.said.startswith("--since: 'yesterday' is no time")


def test_topic_every_verb(shell: Shell) -> None:
    uuid = shell.uuid("topic register --name orders")
    assert shell.uuid("topic register --name orders") == uuid
    topic = {"name": "orders", "uuid": uuid}
    for way in ("orders", uuid, "--name orders", f"--uuid {uuid}"):
        assert shell.json(f"topic get {way}") == topic
    assert shell.json("topic change orders --name sales") == topic | {"name": "sales"}
    assert shell.json(f"topic change --uuid {uuid} --name orders") == topic
    assert shell.json("topic list") == [topic]
    assert shell.run("topic delete orders") == f"name  orders\nuuid  {uuid}\n"


def test_partition_every_verb(shell: Shell) -> None:
    topic = shell.uuid("topic register --name orders")
    uuid = shell.uuid("partition register --topic orders --partition-id 0 --replicas 1,2,3")
    partition = {"partition_id": 0, "topic_uuid": topic, "replicas": [1, 2, 3], "isr": [1, 2, 3]}
    partition |= {"removing_replicas": [], "adding_replicas": [], "leader": 1, "partition_epoch": 0, "uuid": uuid}
    assert shell.json(f"partition register --topic-uuid {topic} --partition-id 0 --isr 1") == partition
    assert "its isr stays as it is" in shell.said
    for way in ("orders 0", f"{topic} 0", uuid, "--topic orders --partition-id 0", f"--uuid {uuid}"):
        assert shell.json(f"partition get {way}") == partition
    flags = "--replicas 2,3,4 --isr 2,3 --adding-replicas 4 --removing-replicas 1 --leader 3"
    changed = shell.json(f"partition change orders 0 {flags}")
    lists = {"replicas": [2, 3, 4], "isr": [2, 3], "adding_replicas": [4], "removing_replicas": [1]}
    assert changed == partition | lists | {"leader": 3, "partition_epoch": 1}
    changed = shell.json("partition change --topic orders --partition-id 0 --removing-replicas ''")
    assert (changed["removing_replicas"], changed["partition_epoch"]) == ([], 2)
    shell.run("partition change orders 0 --leader 4", code=2)
    assert "leader 4 is not in isr (2,3)" in shell.said
    shell.uuid("topic register --name other")
    second = shell.json(f"partition register --topic other --partition-id 7 {flags}")
    assert (second["leader"], second["isr"]) == (3, [2, 3])
    assert {each["partition_id"] for each in shell.json("partition list")} == {0, 7}
    assert [each["partition_id"] for each in shell.json("partition list --topic other")] == [7]
    assert [each["partition_id"] for each in shell.json("partition list --broker-id 1")] == [7]
    row = shell.run("partition list --topic orders").splitlines()[1]
    assert row.split() == ["0", "orders", "2,3,4", "2,3", "-", "4", "3", "2", uuid]
    assert shell.json("partition delete orders 0") == changed


def test_producer_every_verb(shell: Shell) -> None:
    broker = shell.uuid("broker register --broker-id 1 --host h --port 1")
    uuid = shell.uuid("producer register --broker 1 --producer-id 5")
    assert shell.uuid(f"producer register --broker-uuid {broker} --producer-id 5") == uuid
    producer = {"producer_id": 5, "broker_uuid": broker, "broker_epoch": 0, "uuid": uuid}
    for way in ("1 5", f"{broker} 5", uuid, "--broker 1 --producer-id 5", f"--uuid {uuid}"):
        assert shell.json(f"producer get {way}") == producer
    shell.run("broker change 1 --status FENCED")
    assert shell.json("producer get 1 5") == producer
    assert shell.json("producer change 1 5") == producer | {"broker_epoch": 1}
    assert len(shell.json("producer list")) == len(shell.json("producer list --broker 1")) == 1
    assert shell.run("producer list").splitlines()[1].split() == ["5", "1", "1", uuid]
    for flag in ("--broker", "--broker-id", "--broker-uuid"):
        shell.run(f"producer list {flag} 2", code=1)
        assert shell.said == "broker 2: no such broker; zraft catalog broker list shows those that there are"
    shell.run("partition list --topic nope", code=1)
    assert shell.said == "topic nope: no such topic; zraft catalog topic list shows those that there are"
    assert shell.json("producer delete --broker-id 1 --producer-id 5")["broker_epoch"] == 1


def test_fetch_everything_and_since(shell: Shell) -> None:
    shell.run("broker register --broker-id 1 --host h --port 1")
    shell.run("topic register --name orders")
    shell.run("partition register --topic orders --partition-id 0 --replicas 1")
    shell.run("producer register --broker 1 --producer-id 5")
    parts = ["brokers", "topics", "partitions", "producers", "registration_changes", "deleted"]
    whole = shell.json("fetch")
    assert list(whole) == ["revision", *parts]
    assert whole["revision"] == 4
    assert [len(whole[part]) for part in parts] == [1, 1, 1, 1, 0, 0]
    shell.run("broker change 1 --status FENCED")
    shell.run("producer delete 1 5")
    delta = shell.json("fetch --since 4")
    assert delta["revision"] == 6
    assert [len(delta[part]) for part in parts] == [1, 0, 0, 0, 1, 1]
    (change,), (deleted,) = delta["registration_changes"], delta["deleted"]
    assert (change["broker_id"], change["status"], change["epoch"], change["revision"]) == (1, "FENCED", 1, 5)
    assert deleted == {
        "kind": "producer",
        "uuid": whole["producers"][0]["uuid"],
        "revision": 6,
        "time_ms": deleted["time_ms"],
        "record": whole["producers"][0],
    }
    shown = shell.run("fetch --since 4").splitlines()
    assert shown[:3] == ["revision 6", "", "brokers"]
    assert shown[3].split()[0] == "BROKER_ID"
    titles = [line for before, line in pairwise(shown) if not before]
    assert titles == ["brokers", "registration changes", "deleted"]
    assert "producer_id=5 broker=1 broker_epoch=0" in shown[-1]
    shell.run("fetch --since 7", code=2)
    assert "revision 7 is not one that was: the catalog is at 6" in shell.said


def test_what_is_not_there_is_exit_code_1(shell: Shell) -> None:
    ways = {
        "broker": ("7", "broker 7"),
        "topic": ("orders", "topic orders"),
        "partition": ("orders 0", "partition 0 of topic orders"),
        "producer": ("7 5", "producer 5 of broker 7"),
    }
    changes = {"broker": " --port 1", "topic": " --name x", "partition": " --isr 1", "producer": ""}
    for noun, (way, named) in ways.items():
        for line in (f"{noun} get {way}", f"{noun} delete {way}", f"{noun} change {way}{changes[noun]}"):
            assert shell.run(line, code=1) == ""
            assert shell.said == f"{named}: no such {noun}; zraft catalog {noun} list shows those that there are"


def test_what_others_refer_to_is_not_deleted(shell: Shell) -> None:
    shell.run("broker register --broker-id 1 --host h --port 1")
    shell.run("topic register --name orders")
    shell.run("partition register --topic orders --partition-id 0 --replicas 1")
    assert shell.run("broker delete 1", code=2) == ""
    assert shell.said == (
        "broker 1: 1 partition refers to it; delete or change those first (zraft catalog partition list --broker-id 1)"
    )
    shell.run("topic delete orders", code=2)
    assert "zraft catalog partition list --topic orders" in shell.said
    shell.run("partition delete orders 0")
    shell.run("topic delete orders")
    shell.run("broker delete 1")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("broker get", "name one broker: by BROKER"),
        ("broker get 1 --broker-id 1", "name one broker"),
        ("topic delete", "name one topic: by TOPIC"),
        ("topic delete a --uuid b", "name one topic"),
        ("partition get", "name one partition: by TOPIC PARTITION_ID"),
        ("partition get orders --partition-id 0", "name one partition"),
        ("partition get orders 0 1", "name one partition"),
        ("partition get orders zero", "PARTITION_ID is a number, not 'zero'"),
        ("partition get --topic orders", "name one partition"),
        ("partition get orders 0 --uuid x", "name one partition"),
        ("producer get 1 5 --producer-id 5", "name one producer"),
        ("producer change --producer-id 5", "name one producer"),
        (
            "partition register --topic t --partition-id 0 --replicas '1;2'",
            "--replicas is a list of broker_ids like 1,2,3",
        ),
        ("partition change t 0 --isr 1,,2", "--isr is a list"),
        ("broker change 1", "a change of broker 1 names what changes: host, port"),
        ("broker register --broker-id 1 --host h --port 0", "port is 0; it must be 1 to 65535"),
        ("broker register --broker-id x --host h --port 1", "'--broker-id'"),
        ("broker register --host h --port 1", "'--broker-id'"),
        ("topic change orders", "'--name'"),
        ("partition register --topic t --partition-id 0", "topic t: no such topic; register it first"),
        ("producer register --broker 1 --producer-id 5", "broker 1: no such broker; register it first"),
        ("fetch --since -1", "'--since'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(shell: Shell, line: str, says: str) -> None:
    assert shell.run(line, code=2) == ""
    assert says in shell.said


def test_no_cluster_is_exit_code_3(cluster: FakeCluster, shell: Shell) -> None:
    cluster.stop()
    shell.run("topic list --timeout 0.3", code=3)
    assert "served it in time" in shell.said


def test_an_unanswered_registration_is_exit_code_4(cluster: FakeCluster, shell: Shell) -> None:
    cluster.behaviour = lambda _, __, batch: "mute" if batch else "serve"
    shell.run("topic register --name orders --timeout 0.5", code=4)
    assert "once or never" in shell.said
