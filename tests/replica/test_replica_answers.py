"""What a node says of itself when it is asked."""

import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft import excerpt
from zraft.requests import (
    Hello,
    Outcome,
    RecentEvents,
    StatusRequest,
)


def test_hello_says_who_is_there_and_who_leads(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode
) -> None:
    reply = cluster.call(follower, Hello(0))
    assert (reply.outcome, reply.leader) == (Outcome.DONE, leader.id)
    assert reply.result == {"node": follower.id, "leader": leader.id, "cluster": "c", "cluster_id": 0xC0FFEE}


def test_status_says_how_the_node_stands(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, session: int
) -> None:
    cluster.answered(cluster.put(leader, session, b"key", b"v"))
    cluster.settled()
    found = {node.id: cluster.call(node, StatusRequest(0, 3)).result for node in (leader, follower)}
    for node in (leader, follower):
        status = found[node.id]
        raft = node.replica.raft
        wanted = {
            "node": node.id,
            "role": str(node.role),
            "term": leader.term,
            "leader": leader.id,
            "voted_for": raft.voted_for,
            "commit_index": raft.log.commit_index,
            "last_applied": raft.log.last_applied,
            "last_index": raft.log.last_index,
            "warnings": [],
            "healthy": True,
        }
        assert {key: status[key] for key in wanted} == wanted
        assert 0 <= status["election_timer_ms"] < 500
        assert 500 <= status["election_timeout_ms"] <= 1_000
        newest = status["log"][0]
        assert newest["index"] == raft.log.last_index
        assert (newest["kind"], newest["committed"]) == ("command", True)
        assert newest["text"] == "kv put key=..(1 B)"
        assert [entry["index"] for entry in status["log"]] == [raft.log.last_index - back for back in range(3)]


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (-5, 0), (1, 1), ((1 << 64) - 1, None), (-(1 << 63), 0)])
def test_status_shows_as_many_entries_as_there_are(
    cluster: VirtualCluster, leader: VirtualNode, count: int, shown: int | None
) -> None:
    log = cluster.call(leader, StatusRequest(0, count)).result["log"]
    assert len(log) == (leader.replica.raft.log.last_index if shown is None else shown)


def test_recent_events_are_given_to_whoever_comes_late(cluster: VirtualCluster, leader: VirtualNode) -> None:
    for _ in range(3):
        leader.replica.publish_status()
    statuses = [event.seq for event in leader.events if event.kind == "status"]
    assert len(statuses) > 3
    recent = cluster.call(leader, RecentEvents(0, 1_000)).result
    happened = [event.seq for event in leader.events if event.kind != "status"]
    assert [event["seq"] for event in recent] == sorted([*happened, statuses[-1]])
    assert {event["kind"] for event in recent} >= {"role", "status", "entry", "vote"}
    assert cluster.call(leader, RecentEvents(0, 2)).result == recent[-2:]
    for count in (0, -1, -(1 << 63)):
        assert cluster.call(leader, RecentEvents(0, count)).result == []
    assert len(cluster.call(leader, RecentEvents(0, (1 << 64) - 1)).result) == len(recent)


def test_status_shows_the_part_of_the_log_that_is_asked_for(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    for number in range(8):
        cluster.answered(cluster.put(leader, session, b"key", bytes(number)))
    last = leader.replica.raft.log.last_index
    whole = cluster.call(leader, StatusRequest(0, last)).result["log"]
    assert [entry["index"] for entry in whole] == list(range(last, 0, -1))
    assert [entry["time_ms"] for entry in whole] == [
        leader.replica.raft.log.entry(index).time_ms for index in range(last, 0, -1)
    ]
    for until in range(1, last + 3):
        for count in (0, 1, 3, last, 1 << 40):
            asked = cluster.call(leader, StatusRequest(0, count, until)).result
            assert asked["log"] == [entry for entry in whole if entry["index"] <= until][:count]
            assert asked["first_index"] == 1


def test_one_answer_shows_a_bounded_part_of_the_log(
    cluster: VirtualCluster, leader: VirtualNode, session: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        cluster.answered(cluster.put(leader, session, b"key", bytes(1_000)))
    last = leader.replica.raft.log.last_index
    for bytes_max, shown in ((10, 1), (2_500, 2), (1 << 20, last)):
        monkeypatch.setattr(excerpt, "BYTES_MAX", bytes_max)
        log = cluster.call(leader, StatusRequest(0, last)).result["log"]
        assert [entry["index"] for entry in log] == list(range(last, last - shown, -1))
    monkeypatch.setattr(excerpt, "ENTRIES_MAX", 3)
    assert len(cluster.call(leader, StatusRequest(0, last)).result["log"]) == 3
