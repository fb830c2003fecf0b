"""``client.members`` against fake nodes, and nodes that joined after a client knew the cluster."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fake_cluster import SERVE, SWALLOW, FakeCluster, FakeNode

from zraft import requests
from zraft.client import wire
from zraft.client.client import Client
from zraft.config import Node
from zraft.errors import InvalidRequest, OutcomeUnknown, Unavailable
from zraft.raft.types import Endpoints
from zraft.requests import Joining, Member, Members, MembershipChange, MembersRequest, Outcome, Reply

Connect = Callable[..., Client]
AT = Endpoints("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3")
KNOWN = Members("n1", 1, 7, False, (Member("n1", "voter", True, None, None, 7, True, False, AT),))
DONE = Reply(0, Outcome.DONE, msgspec.to_builtins(KNOWN))


class Script:
    """What the leader answers to requests about the membership, one after the other; the last one for ever."""

    def __init__(self, cluster: FakeCluster, *answers: Reply | str) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        cluster.behaviour = self

    def __call__(self, name: str, request: Any, batch: requests.Batch | None) -> str | Reply:
        if not isinstance(request, MembersRequest | MembershipChange):
            return SERVE
        self.asked.append(msgspec.structs.replace(request, id=0))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def client(cluster: FakeCluster, brisk: None, connect: Connect) -> Client:
    cluster.start()
    return connect()


def test_each_call_asks_for_what_it_says(cluster: FakeCluster, client: Client) -> None:
    script = Script(cluster, DONE)
    members = client.members
    calls = {
        MembersRequest(0): members.list(),
        MembershipChange(0, (Joining("n4", AT),)): members.add("n4", AT),
        MembershipChange(0, (Joining("n4", AT, "n1"),), True): members.add("n4", AT, manual=True, replaces="n1"),
        MembershipChange(0, promote=("n4", "n5")): members.promote("n4", "n5"),
        MembershipChange(0, renew=("n2",)): members.renew("n2"),
        MembershipChange(0, remove=("n1",)): members.remove("n1"),
    }
    assert all(known == KNOWN for known in calls.values())
    assert script.asked == list(calls)


def test_whoever_leads_is_found_whoever_is_asked(cluster: FakeCluster, client: Client) -> None:
    for name in cluster.nodes:
        cluster.leader = name
        Script(cluster, DONE)
        assert client.members.list() == KNOWN


@pytest.mark.parametrize(
    "first",
    [
        Reply(0, Outcome.REFUSED, None, None, "another change of membership is under way"),
        Reply(0, Outcome.UNKNOWN, None, None, "leadership moved while it was under way"),
        SWALLOW,
    ],
)
def test_what_was_not_answered_is_asked_again(cluster: FakeCluster, client: Client, first: Reply | str) -> None:
    script = Script(cluster, first, DONE)
    assert client.members.remove("n3") == KNOWN
    assert script.asked == [MembershipChange(0, remove=("n3",))] * 2


def test_a_refusal_for_good_is_told_in_the_words_of_the_leader(cluster: FakeCluster, client: Client) -> None:
    script = Script(cluster, Reply(0, Outcome.INVALID, None, None, "of the 2 voters that it would leave"))
    with pytest.raises(InvalidRequest, match="of the 2 voters that it would leave"):
        client.members.remove("n3")
    assert len(script.asked) == 1


def test_without_an_answer_a_change_is_unknown_and_a_read_did_not_happen(
    cluster: FakeCluster, brisk: None, connect: Connect
) -> None:
    cluster.start()
    client = connect(timeout_s=0.5)
    Script(cluster, SWALLOW)
    with pytest.raises(OutcomeUnknown, match=r"n1 silent.*zraft member list"):
        client.members.remove("n3")
    with pytest.raises(Unavailable, match="n1 silent"):
        client.members.list()


def test_with_nobody_there_nothing_happened(cluster: FakeCluster, connect: Connect) -> None:
    with pytest.raises(Unavailable, match="n1 not connected, n2 not connected, n3 not connected"):
        connect(timeout_s=0.2).members.remove("n3")


def test_all_refusals_are_told_when_time_is_up(cluster: FakeCluster, brisk: None, connect: Connect) -> None:
    cluster.start()
    Script(cluster, Reply(0, Outcome.REFUSED, None, None, "another change is under way"))
    with pytest.raises(Unavailable, match="n1 another change is under way"):
        connect(timeout_s=0.4).members.remove("n3")


@pytest.mark.parametrize("bad", ["127.0.0.1:1", "tcp://*:1", ""])
def test_what_is_no_endpoint_is_refused_before_anything_is_sent(cluster: FakeCluster, client: Client, bad: str) -> None:
    with pytest.raises(InvalidRequest, match="an endpoint must"):
        client.members.add("n4", Endpoints(AT.peer, bad, AT.events))
    assert not cluster.of(MembershipChange)


def test_an_answer_of_another_version_is_told(cluster: FakeCluster, client: Client) -> None:
    Script(cluster, Reply(0, Outcome.DONE, {"strange": 1}))
    with pytest.raises(Unavailable, match="another version"):
        client.members.list()


# -- those who joined later --------------------------------------------------------------------------------------------


@pytest.fixture
def grown(cluster: FakeCluster) -> FakeCluster:
    """Add n4 to the running nodes; the configuration that clients were given names three."""
    known = cluster.config
    new = Node("n4", *(f"ipc://{cluster.directory}/n4.{role}" for role in "pce"))
    cluster.config = msgspec.structs.replace(known, nodes=(*known.nodes, new))
    cluster.nodes["n4"] = FakeNode(cluster, "n4")
    cluster.start()
    cluster.leader = "n4"
    return cluster


def old(cluster: FakeCluster) -> Any:
    return msgspec.structs.replace(cluster.config, nodes=cluster.config.nodes[:3])


def test_a_leader_that_joined_later_is_found(grown: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LEARN_EVERY_S", 1_000)  # Its name alone must do.
    client = Client(old(grown))
    assert client.kv.put("key", b"value") == 1
    assert client.kv.get("key") == b"value"
    assert set(client.topology().endpoints) == {"n1", "n2", "n3", "n4"}
    asked = grown.of(requests.Hello)
    assert 1 <= len(asked) <= 3, "once of each node that named it"
    client.close()


def test_a_leader_that_is_somewhere_else_by_now_is_found(grown: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LEARN_EVERY_S", 1_000)
    nodes = (
        *grown.config.nodes[:3],
        msgspec.structs.replace(grown.config.nodes[3], client=f"ipc://{grown.directory}/old"),
    )
    with Client(msgspec.structs.replace(grown.config, nodes=nodes)) as client:
        assert client.kv.put("key", b"value") == 1
        assert client.topology().endpoints["n4"] == grown.config.nodes[3].client
        grown.stop("n4")
        grown.leader = "n1"
        assert client.kv.put("key", b"again") == 2


def test_a_leader_that_joined_later_is_asked_about_the_membership(grown: FakeCluster) -> None:
    Script(grown, DONE)
    client = Client(old(grown))
    assert client.members.list() == KNOWN
    client.close()


def test_nodes_that_join_are_known_before_those_that_were_known_are_gone(
    grown: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown.leader = "n1"
    client = Client(old(grown))
    client.kv.put("key", b"1")
    assert set(client.topology().endpoints) == {"n1", "n2", "n3"}
    monkeypatch.setattr(wire, "LEARN_EVERY_S", 0.0)
    client._connection._wire._learn_at = 0.0
    client.kv.put("key", b"2")
    client.kv.put("key", b"3")
    assert set(client.topology().endpoints) == {"n1", "n2", "n3", "n4"}
    grown.stop("n1", "n2", "n3")
    grown.leader = "n4"
    assert client.kv.get("key") == b"3"
    client.close()


def test_who_asks_about_the_membership_remembers_where_everybody_is(grown: FakeCluster) -> None:
    n4 = grown.config.node("n4")
    members = (Member("n4", "voter", True, None, None, 7, True, False, Endpoints(n4.peer, n4.client, n4.events)),)
    Script(grown, Reply(0, Outcome.DONE, msgspec.to_builtins(Members("n4", 1, 7, False, members))))
    client = Client(old(grown))
    assert client.members.list().leader == "n4"
    grown.stop("n1", "n2", "n3")
    assert client.members.list().leader == "n4"
    client.close()


def test_whoever_tells_of_it_may_fall_silent(grown: FakeCluster) -> None:
    """Its connection breaks before it has said where the leader is: another one says so."""
    client = Client(old(grown))
    grown.nodes["n1"].hold = True
    write = client.kv.submit_put("key", b"value")
    grown.wait_for(lambda: grown.nodes["n1"].kept or grown.store.revision)
    grown.stop("n1")
    assert client.wait(write) == 1
    client.close()
