"""Node processes that join a cluster whose configuration does not name them, lead it, and leave it."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from awaiting import eventually
from node_rig import ENDS, NodeProcess, NodeRig

from zraft import config
from zraft.client.client import Client
from zraft.raft.types import Endpoints
from zraft.requests import Hello, TransferRequest

pytestmark = pytest.mark.processes
Make = Callable[..., NodeRig]


def newcomer(rig: NodeRig, id: str, *options: str) -> NodeProcess:
    """Start a node with a configuration of its own: that of the cluster, and itself."""
    place = {end: f"ipc://{id}.{end}" for end in ENDS}
    document = {**rig.document, "nodes": [*rig.document["nodes"], {"id": id, **place}]}
    file = rig.place / f"{id}.yaml"
    file.write_text(json.dumps(document))
    rig.config = config.load(file, env={})
    return rig.start(id, "--config", str(file), *options)


def endpoints(place: Path, id: str) -> Endpoints:
    return Endpoints(*(f"ipc://{place}/{id}.{end}" for end in ENDS))


def until_voting(client: Client, *nodes: str) -> None:
    def voting() -> bool:
        known = client.members.list()
        return not known.changing and {each.node: each.role for each in known.members} == dict.fromkeys(nodes, "voter")

    eventually(f"{nodes} vote", voting)


def lead(rig: NodeRig, id: str) -> None:
    """Have a node lead."""

    def leads() -> bool:
        status = rig.status(id)
        assert status is not None
        if status["leader"] not in (id, None):
            rig.ask(status["leader"], TransferRequest(0, id))
        return status["role"] == "leader" and rig.settled() == id

    eventually(f"{id} leads", leads)


@pytest.fixture
def three(rig: Make) -> NodeRig:
    made = rig()
    made.up()
    return made


@pytest.fixture
def client(three: NodeRig) -> Client:
    made = Client(config.load(three.file, env={}), timeout_s=10)
    yield made
    made.close()


def test_a_node_joins_and_is_found_again_by_all_though_no_file_names_it(three: NodeRig, client: Client) -> None:
    four = newcomer(three, "n4", "--join")
    four.printed("waits to be added, with zraft member add n4")
    client.kv.put("before", b"1")
    client.members.add("n4", endpoints(three.place, "n4"))
    until_voting(client, "n1", "n2", "n3", "n4")
    four.printed("is a member of the cluster now")
    for id, node in three.nodes.items():
        node.signal(signal.SIGKILL)
        node.ended()
        three.start(id, *(("--config", str(three.place / "n4.yaml")) if id == "n4" else ()))
    three.settled()
    lead(three, "n4")
    client.kv.put("after", b"2")
    nodes = {**dict.fromkeys(three.ids), "n4": None}
    for id in nodes:
        hello = three.ask(id, Hello(0))
        assert hello is not None
        assert hello.result["nodes"] == {node.id: node.client for node in three.config.nodes}
        status = three.status(id)
        assert status is not None
        assert set(status["members"]) == set(nodes)
    assert client.kv.get("before") == b"1"


def test_who_was_away_takes_up_with_a_leader_that_it_has_never_heard_of(three: NodeRig, client: Client) -> None:
    leader = three.settled()
    away = next(id for id in three.ids if id != leader)
    newcomer(three, "n4", "--join").printed("waits to be added")
    three.nodes[away].signal(signal.SIGKILL)
    three.nodes[away].ended()
    client.members.add("n4", endpoints(three.place, "n4"))
    until_voting(client, "n1", "n2", "n3", "n4")
    lead(three, "n4")
    client.kv.put("key", b"value")
    three.start(away)
    assert three.settled() == "n4"
    assert client.members.list().leader == "n4"


def test_who_is_removed_says_so_and_disturbs_nobody(three: NodeRig, client: Client) -> None:
    gone = three.settled()
    client.members.remove(gone)
    three.nodes[gone].printed("no member of the cluster any more")
    left = [id for id in three.ids if id != gone]
    until_voting(client, *left)
    leader = client.members.list()
    for round in range(20):
        client.kv.put("key", str(round).encode())
    restarted = three.nodes[gone]
    restarted.signal(signal.SIGTERM)
    assert restarted.ended() == 0
    three.start(gone).printed("no member of the cluster any more")
    for round in range(20):
        client.kv.put("key", str(round).encode())
    now = client.members.list()
    assert (now.leader, now.term) == (leader.leader, leader.term)
    status = three.status(gone)
    assert status is not None
    assert status["role"] == "learner"
    client.members.add(gone, endpoints(three.place, gone))
    until_voting(client, *left, gone)


def test_a_node_is_replaced_in_one_change(three: NodeRig, client: Client) -> None:
    newcomer(three, "n4", "--join").printed("waits to be added")
    client.members.add("n4", endpoints(three.place, "n4"), replaces="n2")
    until_voting(client, "n1", "n3", "n4")
    three.nodes["n2"].printed("no member of the cluster any more")


def test_a_node_that_should_lead_does_and_one_that_should_not_does_not(rig: Make) -> None:
    made = rig()
    made.start("n1", ZRAFT_PRIORITY="0")
    made.start("n2")
    made.start("n3", ZRAFT_PRIORITY="5")
    eventually("n3 leads", lambda: made.settled() == "n3", within_s=10)
    made.nodes["n3"].signal(signal.SIGTERM)
    assert made.nodes["n3"].ended() == 0
    assert made.settled() == "n2"
