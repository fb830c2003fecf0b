"""How a client finds the leader, and how its commands happen once, whatever is lost on the way."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_cluster import MUTE, SERVE, FakeCluster

from zraft import requests
from zraft.client.client import Client
from zraft.errors import Unavailable
from zraft.requests import Outcome, Reply

Connect = Callable[..., Client]
SHORT_S = 0.3
PATIENT_S = 6.0


@pytest.fixture
def patient() -> Iterator[FakeCluster]:
    """Make a cluster whose election timeout is long, so that a client waits long for an answer."""
    cluster = FakeCluster(patience_ms=int(PATIENT_S * 1_000))
    yield cluster
    cluster.close()


def first_times(kind: type, count: int, wish: Any) -> Callable[..., Any]:
    """Behave like `wish` for the first `count` requests of a kind, then well."""
    left = itertools.repeat(wish, count)
    return lambda _, request, __: next(left, SERVE) if isinstance(request, kind) else SERVE


def batches(cluster: FakeCluster) -> list[tuple[int, int]]:
    """Return session and sequence of each batch that reached a node."""
    return [(seen.batch.session, seen.batch.sequence) for seen in cluster.of(requests.Commands) if seen.batch]


def test_a_hint_is_followed_at_once_and_remembered(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    cluster.leader = "n3"
    kv = connect().kv
    assert [kv.put("a", b"1"), kv.put("a", b"2"), kv.put("a", b"3")] == [1, 2, 3]
    asked = [seen.node for seen in cluster.seen]
    assert len([node for node in asked if node != "n3"]) <= 2
    assert asked[-3:] == ["n3"] * 3


def test_a_change_of_leader_is_followed(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("a", b"1")
    cluster.leader = "n2"
    assert kv.put("a", b"2") == 2
    assert kv.get("a") == b"2"


def test_two_nodes_that_name_each_other_are_not_asked_in_a_frenzy(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    cluster.leader = "nobody"
    kv = connect(timeout_s=SHORT_S).kv
    for name, other in (("n1", "n2"), ("n2", "n1"), ("n3", "n1")):
        mislead(cluster, name, other)
    with pytest.raises(Unavailable):
        kv.put("a", b"1")
    assert 5 < len(cluster.seen) < 100


def mislead(cluster: FakeCluster, name: str, hint: str) -> None:
    """Let a node refuse everything and name another one."""
    answer = cluster.answer

    def refuse(node: str, request: Any, data: bytes | None) -> Reply | None:
        reply = answer(node, request, data)
        return Reply(0, Outcome.REFUSED, None, hint) if node == name else reply

    cluster.answer = refuse  # type: ignore[method-assign]


def test_a_cluster_without_a_leader_is_asked_again_until_it_has_one(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    cluster.leader = None
    kv = connect().kv
    future = kv.submit_put("a", b"1")
    cluster.wait_for(lambda: len(cluster.seen) > 5)
    cluster.leader = "n2"
    assert future.result() == 1


@pytest.mark.usefixtures("brisk")
def test_a_lost_answer_is_asked_for_again_under_the_same_sequence(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    cluster.behaviour = first_times(requests.Commands, 1, MUTE)
    kv = connect().kv
    assert kv.put("a", b"1") == 1
    assert kv.put("a", b"2") == 2
    leaders = [seen.batch for seen in cluster.of(requests.Commands) if seen.node == "n1" and seen.batch]
    assert [(batch.session, batch.sequence) for batch in leaders] == [(1, 1), (1, 1), (1, 2)]
    assert leaders[0] == leaders[1]
    assert cluster.store.revision == 2


def test_an_unknown_outcome_from_the_node_is_settled_by_asking_again(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    cluster.behaviour = first_times(requests.Commands, 2, Reply(0, Outcome.UNKNOWN, None, None, "leadership moved"))
    kv = connect().kv
    assert kv.put("a", b"1") == 1
    assert set(batches(cluster)) == {(1, 1)}


@pytest.mark.usefixtures("brisk")
def test_a_late_answer_to_an_earlier_attempt_counts(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect(timeout_s=10).kv
    kv.put("a", b"1")
    leader = cluster.nodes["n1"]
    leader.hold = True
    future = kv.submit_put("a", b"2")
    cluster.wait_for(lambda: {"n2", "n3"} & {seen.node for seen in cluster.of(requests.Commands)})
    leader.hold = False
    assert future.result() == 2


def test_a_leader_that_dies_is_left_at_once(patient: FakeCluster) -> None:
    patient.start()
    with Client(patient.config, timeout_s=20) as client:
        client.kv.put("a", b"1")
        patient.nodes["n1"].hold = True
        future = client.kv.submit_put("a", b"2")
        patient.wait_for(lambda: patient.nodes["n1"].kept)
        patient.leader = "n2"
        started = time.monotonic()
        patient.stop("n1")
        assert future.result() == 2
        assert time.monotonic() - started < PATIENT_S / 2, "it waited out the attempt though the connection broke"


@pytest.mark.usefixtures("brisk")
def test_a_leader_that_is_paused_is_left_though_others_still_name_it(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect(timeout_s=10).kv
    kv.put("a", b"1")
    cluster.nodes["n1"].hold = True
    future = kv.submit_put("a", b"2")
    cluster.wait_for(lambda: len({seen.node for seen in cluster.of(requests.Commands)} & {"n2", "n3"}) > 1)
    cluster.leader = "n3"
    assert future.result() == 2
    assert len(cluster.nodes["n1"].kept) < 4, "it went on asking the silent node"


def test_a_cluster_that_goes_and_comes_back_is_found_again(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect(timeout_s=10).kv
    kv.put("a", b"1")
    cluster.stop()
    future = kv.submit_put("a", b"2")
    cluster.start()
    assert future.result() == 2
