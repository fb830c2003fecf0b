"""What promises something leaves when the disk has it, and not before; a failed disk ends the node."""

from typing import Any

import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.errors import StorageError
from zraft.raft.messages import AppendEntries, AppendEntriesResponse, Heartbeat, RequestVote, RequestVoteResponse
from zraft.raft.progress import ProgressState
from zraft.raft.types import Entry, EntryId, EntryKind, HardState
from zraft.requests import Outcome


def sent(node: VirtualNode, kind: type) -> list[Any]:
    """Return the messages of that kind that left the node."""
    return [effect[2] for effect in node.effects if effect[0] == "send" and isinstance(effect[2], kind)]


def followers(cluster: VirtualCluster, leader: VirtualNode) -> list[VirtualNode]:
    return [node for node in cluster.nodes.values() if node is not leader]


def next_entries(leader: VirtualNode) -> AppendEntries:
    """Make what the leader would send next, if it had another entry."""
    raft = leader.replica.raft
    last = raft.log.last
    entry = Entry(raft.term, last.index + 1, EntryKind.TICK, raft.log.last_time_ms, b"")
    return AppendEntries(raft.term, last, raft.log.commit_index, [entry])


def test_an_acknowledgement_leaves_when_its_entries_are_durable(cluster: VirtualCluster, leader: VirtualNode) -> None:
    follower = followers(cluster, leader)[0]
    follower.disk.stalled = True
    follower.effects.clear()
    message = next_entries(leader)
    follower.hear(leader.id, message)
    cluster.run(300)
    assert sent(follower, AppendEntriesResponse) == []
    assert message.entries[0] == follower.replica.raft.log.entry(message.entries[0].index)  # It has it in memory.
    follower.disk.stalled = False
    cluster.run(10)
    (response,) = sent(follower, AppendEntriesResponse)
    assert (response.success, response.match_index) == (True, message.entries[0].index)


def test_an_acknowledgement_of_a_past_term_is_dropped(cluster: VirtualCluster, leader: VirtualNode) -> None:
    """While its write was under way a newer term came: to whoever led before, it is a node of that term (paper §5.1)."""
    follower, other = followers(cluster, leader)
    follower.disk.stalled = True
    follower.effects.clear()
    message = next_entries(leader)
    follower.hear(leader.id, message)
    follower.turn()
    follower.hear(other.id, Heartbeat(message.term + 1, 0, 1))
    follower.turn()
    assert follower.term == message.term + 1
    follower.disk.stalled = False
    cluster.isolate(follower.id)
    cluster.run(50)
    assert follower.disk.last_index == message.entries[0].index  # The write itself was carried out.
    assert sent(follower, AppendEntriesResponse) == []


def test_a_vote_leaves_when_it_is_durable(cluster: VirtualCluster, leader: VirtualNode) -> None:
    follower, other = followers(cluster, leader)
    cluster.isolate(follower.id)
    follower.effects.clear()
    follower.disk.stalled = True
    raft = follower.replica.raft
    request = RequestVote(raft.term + 1, raft.log.last, True, other.replica.raft.settings.disk_id)
    follower.hear(other.id, request)
    cluster.run(100)
    assert sent(follower, RequestVoteResponse) == []
    follower.disk.stalled = False
    cluster.run(10)
    assert [response.granted for response in sent(follower, RequestVoteResponse)] == [True]
    assert follower.disk.hard_state == HardState(request.term, other.id)


def test_a_vote_promised_in_a_past_term_is_never_given(cluster: VirtualCluster, leader: VirtualNode) -> None:
    follower, other = followers(cluster, leader)
    cluster.isolate(follower.id)
    follower.effects.clear()
    follower.disk.stalled = True
    raft = follower.replica.raft
    term, disk_id = raft.term + 1, other.replica.raft.settings.disk_id
    follower.hear(other.id, RequestVote(term, raft.log.last, True, disk_id))
    follower.turn()
    follower.hear(leader.id, Heartbeat(term + 1, 0, 1))
    follower.turn()
    follower.disk.stalled = False
    cluster.run(50)
    assert sent(follower, RequestVoteResponse) == []


def test_a_candidate_asks_for_votes_when_its_own_is_durable(cluster: VirtualCluster, leader: VirtualNode) -> None:
    for node in followers(cluster, leader):
        node.disk.stalled = True
        node.effects.clear()
    leader.kill()
    cluster.run(3_000)
    assert any(node.term > node.disk.hard_state.term for node in cluster.running)  # It has stood for election.
    assert all(sent(node, RequestVote) == [] for node in cluster.running)
    for node in cluster.running:
        node.disk.stalled = False
    assert cluster.led().id != leader.id


def test_a_leader_commits_through_its_followers_while_its_own_disk_stalls(
    cluster: VirtualCluster, leader: VirtualNode
) -> None:
    """Thesis §10.2.1: its own copy is one of many."""
    session = cluster.open_session(leader)
    leader.disk.stalled = True
    reply = cluster.answered(cluster.put(leader, session, b"k"))
    assert reply.outcome == Outcome.DONE
    assert leader.disk.last_index < leader.replica.raft.log.commit_index


def test_a_leader_whose_followers_disks_stall_commits_nothing(cluster: VirtualCluster, leader: VirtualNode) -> None:
    session = cluster.open_session(leader)
    for node in followers(cluster, leader):
        node.disk.stalled = True
    asked = cluster.put(leader, session, b"k")
    cluster.run(400)
    assert cluster.answer(asked) is None
    for node in followers(cluster, leader):
        node.disk.stalled = False
    assert cluster.answered(asked).outcome == Outcome.DONE


def test_a_failed_disk_is_final_and_nothing_leaves_after_it(cluster: VirtualCluster, leader: VirtualNode) -> None:
    follower = followers(cluster, leader)[0]
    follower.hear(leader.id, next_entries(leader))
    follower.turn()
    follower.disk.failure = StorageError("no space")
    follower.effects.clear()
    with pytest.raises(StorageError, match="no space"):
        follower.turn()
    assert sent(follower, AppendEntriesResponse) == []


def test_a_peer_whose_socket_refuses_is_probed_and_catches_up(cluster: VirtualCluster, leader: VirtualNode) -> None:
    follower = followers(cluster, leader)[0]
    session = cluster.open_session(leader)
    progress = leader.replica.raft.role.progress[follower.id]
    assert progress.state is ProgressState.REPLICATE
    cluster.refused.add((leader.id, follower.id))
    assert cluster.answered(cluster.put(leader, session, b"k")).outcome == Outcome.DONE
    assert progress.state is ProgressState.PROBE
    cluster.heal()
    cluster.until(lambda: progress.state is ProgressState.REPLICATE, "it is sent ahead to again")
    cluster.settled()
    assert follower.machines.store.revision == leader.machines.store.revision == 1


def test_what_a_killed_node_had_not_written_is_gone_and_what_it_promised_is_there(
    cluster: VirtualCluster, leader: VirtualNode
) -> None:
    session = cluster.open_session(leader)
    for number in range(20):
        assert cluster.answered(cluster.put(leader, session, b"k%d" % number)).outcome == Outcome.DONE
    for node in cluster.nodes.values():
        node.kill()
    for node in cluster.nodes.values():
        node.start()
    leader = cluster.settled()
    assert {node.machines.store.revision for node in cluster.nodes.values()} == {20}
    last = EntryId(leader.term, leader.replica.raft.log.last_index)
    assert leader.replica.raft.log.last == last
