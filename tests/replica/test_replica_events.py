"""What a node tells of itself besides roles and votes: candidacies, memberships, transfers, lost data, heartbeats."""

from typing import Any

import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft import events
from zraft.events import Event, Publisher
from zraft.raft.messages import RequestVote
from zraft.raft.types import Role
from zraft.requests import TransferRequest


def told(node: VirtualNode, kind: str) -> list[dict[str, Any]]:
    return [event.data for event in node.events if event.kind == kind]


def test_a_candidacy_that_is_won_is_told_with_its_ballot(cluster: VirtualCluster, leader: VirtualNode) -> None:
    (won,) = told(leader, "candidacy")
    assert won.pop("duration_ms") > 0
    others = [id for id in cluster.ids if id != leader.id]
    assert [*won.pop("votes_for")] in [sorted([leader.id, other]) for other in others]
    expected = tuple(cluster.ids)
    assert won == {"outcome": "won", "term": 1, "votes_against": (), "expected": expected, "cause": "timeout"}
    assert [told(cluster[id], "candidacy") for id in others] == [[], []]


def test_a_candidacy_that_is_lost_is_told_and_logged(cluster: VirtualCluster, leader: VirtualNode) -> None:
    candidate, other = (node for node in cluster.nodes.values() if node is not leader)
    leader.kill()

    def drop_the_votes() -> bool:
        asked = [effect for effect in candidate.effects if effect[0] == "send" and isinstance(effect[2], RequestVote)]
        cluster.network = [packet for packet in cluster.network if packet.source != other.id or not asked]
        other.paused = bool(asked)
        return candidate.role == Role.PRE_CANDIDATE and bool(asked)

    candidate.replica.raft.role.timeout_ms = 0
    cluster.until(drop_the_votes, "the candidacy ends")
    lost = told(candidate, "candidacy")[-1]
    assert (lost["term"], lost["outcome"], lost["votes_for"]) == (2, "timeout", (candidate.id,))
    assert ("INFO", "candidacy of term 2 lost: no majority answered in time") in candidate.lines


def test_a_committed_membership_is_told_once_and_not_again_after_a_restart(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode
) -> None:
    memberships = told(follower, "membership")
    assert memberships[-1]["registered"] == memberships[-1]["voters"] == tuple(cluster.ids)
    assert [each["index"] for each in memberships] == sorted({each["index"] for each in memberships})
    follower.kill()
    follower.start()
    cluster.settled()
    assert told(follower, "membership") == memberships
    assert told(leader, "membership") == memberships


def test_a_transfer_is_told(cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode) -> None:
    cluster.call(leader, TransferRequest(0, follower.id))
    cluster.until(lambda: follower.role == Role.LEADER, "the other leads")
    assert told(leader, "transfer") == [{"target": follower.id, "done": True}]
    assert told(follower, "candidacy")[-1]["cause"] == "transfer"


def test_lost_data_is_told(cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode) -> None:
    follower.kill()
    follower.wipe()
    follower.start()
    cluster.until(lambda: told(leader, "data_lost"), "the leader notices")
    assert told(leader, "data_lost") == [{"node": follower.id}]


@pytest.mark.parametrize("heartbeats", [False, True])
def test_heartbeats_are_told_when_that_is_configured(heartbeats: bool) -> None:
    cluster = VirtualCluster().start()
    for node in cluster.nodes.values():
        node.replica.heartbeats = heartbeats
    leader = cluster.settled()
    cluster.run(500)
    told_here = told(leader, "heartbeat")
    assert bool(told_here) is heartbeats
    assert {each["what"] for each in told_here} <= {"sent"}
    for node in cluster.nodes.values():
        sent = {each["round"] for each in told_here if each["peer"] == node.id}
        received = {each["round"] for each in told(node, "heartbeat") if each["what"] == "received"}
        assert all(each["peer"] == leader.id for each in told(node, "heartbeat") if each["what"] == "received")
        assert bool(received) is (heartbeats and node is not leader)
        assert received <= sent
        assert len(sent - received) <= 1  # One may be under way.


def test_what_belongs_into_the_event_file_is_recorded_even_when_nobody_listens() -> None:
    recorded: list[Event] = []
    emitted: list[Event] = []
    publisher = Publisher("c", "n1", 1, lambda: 7, emitted.append, has_audience=lambda: False, record=recorded.append)
    for kind in events.KINDS:
        publisher.publish(kind, about=kind)
    publisher.publish("hook", state="output", line="x")
    publisher.publish("hook", state="ended")
    unrecorded = {"status", "entry", "log", "rejected"}
    assert [event.kind for event in recorded] == [*(kind for kind in events.KINDS if kind not in unrecorded), "hook"]
    assert recorded[-1].data == {"state": "ended"}
    assert emitted == []
    assert [event.kind for event in publisher.recent(100)][: len(events.KINDS)] == list(events.KINDS)
