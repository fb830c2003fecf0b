"""A read sees everything that was acknowledged before it, and keeps nobody waiting."""

import pytest
from replies import journal, value_in
from virtual_cluster import VirtualCluster, VirtualNode

from zraft import serving
from zraft.machines.kv.commands import Get, List, encode
from zraft.raft.messages import Heartbeat
from zraft.raft.types import Role
from zraft.requests import From, Outcome, Queries


def test_a_read_sees_what_was_acknowledged_before_it(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    for number in range(5):
        assert cluster.answered(cluster.put(leader, session, b"k", b"%d" % number)).outcome == Outcome.DONE
        reply = cluster.answered(cluster.read(leader, Get(b"k"), Get(b"none")))
        assert [value_in(answer) for answer in reply.result] == [b"%d" % number, None]


def test_a_read_waits_for_a_round_that_began_after_it(cluster: VirtualCluster, leader: VirtualNode) -> None:
    """A leader that has been replaced without knowing must not answer from what it has (thesis §6.4)."""
    cluster.isolate(leader.id)
    read = cluster.read(leader, Get(b"k"))
    cluster.run(200)
    assert leader.role == Role.LEADER
    assert cluster.answer(read) is None
    assert cluster.answered(read).outcome == Outcome.REFUSED


def test_a_read_is_answered_when_its_index_is_applied() -> None:
    """A node alone confirms a read at once, while what it must see is committed and not applied: that comes bit by bit."""
    cluster = VirtualCluster(1).start()
    leader = cluster.settled()
    session = cluster.open_session(leader)
    value = bytes(100_000)
    for number in range(20):
        cluster.put(leader, session, b"k%d" % number, value)
    cluster.until(lambda: leader.replica.busy, "more is committed than one turn applies")
    raft = leader.replica.raft
    wanted = raft.log.commit_index
    assert raft.log.last_applied < wanted
    leader.effects.clear()
    read = cluster.read(leader, Get(b"k19"))
    leader.turn()
    assert cluster.answer(read) is None
    assert len(leader.replica.serving._confirmed) == 1
    assert len(value_in(cluster.answered(read).result[0]) or b"") == len(value)
    assert f"apply {wanted}" in journal(leader, read)


def test_a_read_in_the_first_moments_of_a_term_waits_for_the_no_op(cluster: VirtualCluster) -> None:
    """Until then the leader may not know how far its predecessor had committed (thesis §6.4)."""

    def won() -> VirtualNode | None:
        return next((node for node in cluster.running if node.role == Role.LEADER), None)

    leader = cluster.until(won, "somebody wins")
    assert not leader.replica.raft.is_established
    read = cluster.read(leader, Get(b"k"))
    noop = leader.replica.raft.role.first_own_index
    assert cluster.answered(read).outcome == Outcome.DONE
    assert f"apply {noop}" in journal(leader, read)


def test_reads_are_answered_for_a_bounded_time_in_one_turn(
    cluster: VirtualCluster, leader: VirtualNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = leader.replica._world.clock
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(serving, "ANSWERING_MS_MAX", 3)
    asked = [cluster.read(leader, List(b"")) for _ in range(20)]
    leader.effects.clear()
    sizes: list[int] = []

    def turned() -> bool:
        replies = [effect for effect in leader.effects if effect[0] == "reply"]
        leader.effects.clear()
        sizes.append(len(replies))
        return sum(sizes) == 20

    answer_reads = leader.replica.serving.answer_reads
    # Each look at the clock takes a millisecond.
    leader.replica.serving.answer_reads = lambda _: answer_reads(lambda: clock.now_ms() + next(ticks))  # type: ignore[method-assign]
    cluster.until(turned, "all of them answered")
    assert max(sizes) == 3
    assert all(cluster.answer(id) for id in asked)


def follower_of(cluster: VirtualCluster, leader: VirtualNode) -> VirtualNode:
    return next(node for node in cluster.running if node is not leader)


def test_a_follower_answers_a_read_and_sees_what_was_acknowledged_before_it(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    follower = follower_of(cluster, leader)
    for number in range(5):
        cluster.answered(cluster.put(leader, session, b"k", b"%d" % number))
        reply = cluster.answered(cluster.ask(follower, Queries(0, "kv", [encode(Get(b"k"))], From.ANY)))
        assert value_in(reply.result[0]) == b"%d" % number


def test_a_follower_without_its_leader_answers_no_linearizable_read_and_any_stale_one(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    cluster.answered(cluster.put(leader, session, b"k", b"old"))
    cluster.settled()
    follower = follower_of(cluster, leader)
    cluster.isolate(follower.id)
    cluster.answered(cluster.put(leader, session, b"k", b"new"))
    asked = cluster.ask(follower, Queries(0, "kv", [encode(Get(b"k"))], From.ANY))
    stale = cluster.ask(follower, Queries(0, "kv", [encode(Get(b"k"))], From.STALE))
    assert value_in(cluster.answered(stale).result[0]) == b"old"
    assert cluster.answer(asked) is None
    assert cluster.answered(asked).outcome == Outcome.REFUSED, "once it stands for election, it knows that it can't"
    assert follower.replica.serving.count == 0
    again = cluster.ask(follower, Queries(0, "kv", [encode(Get(b"k"))], From.ANY))
    assert cluster.answered(again).message == "this node knows no leader"


def test_a_stale_read_does_not_wait_behind_others(cluster: VirtualCluster, leader: VirtualNode) -> None:
    cluster.isolate(leader.id)
    waits = cluster.read(leader, Get(b"k"))
    stale = cluster.ask(leader, Queries(0, "kv", [encode(Get(b"k"))], From.STALE))
    assert cluster.answered(stale).outcome == Outcome.DONE
    assert cluster.answer(waits) is None


def test_a_read_taken_in_the_very_turn_in_which_leadership_is_lost_is_the_new_leaders(
    cluster: VirtualCluster, leader: VirtualNode
) -> None:
    """The old leader follows before it is told that it leads no more; what it takes in between is none of its old reads."""
    cluster.isolate(leader.id)
    waits = cluster.read(leader, Get(b"k"))
    new = cluster.led(other_than=leader.id)
    cluster.heal()
    leader.hear(new.id, Heartbeat(new.term, 0, 1))
    asked = cluster.ask(leader, Queries(0, "kv", [encode(Get(b"k"))], From.ANY))
    assert cluster.answered(asked).outcome == Outcome.DONE
    assert cluster.answered(waits).outcome == Outcome.REFUSED
    assert leader.replica.serving.count == 0
