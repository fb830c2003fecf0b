"""When leadership moves, by itself or on request, everybody who waits is told what can be known."""

import msgspec
import pytest
from replies import journal, value_in
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.machines.kv.commands import Get, Put
from zraft.raft.messages import AppendEntries
from zraft.raft.types import Entry, EntryId, EntryKind, Role
from zraft.requests import (
    Commands,
    OpenSession,
    Outcome,
    TransferRequest,
)


def test_with_leadership_lost_commands_are_unknown_and_reads_refused(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    cluster.isolate(leader.id)
    asked = [cluster.put(leader, session, b"k"), cluster.ask(leader, OpenSession(0))]
    read = cluster.read(leader, Get(b"k"))
    for id in asked:
        reply = cluster.answered(id)
        assert (reply.outcome, reply.leader) == (Outcome.UNKNOWN, None)
        assert reply.message == "leadership moved while it was under way"
    assert cluster.answered(read).outcome == Outcome.REFUSED
    assert leader.role != Role.LEADER
    assert leader.replica.serving.count == 0


def test_an_unknown_command_may_still_happen_and_is_never_answered_again(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    """It reached the followers, and their acknowledgements did not come back: the next leader commits it."""
    cluster.cut |= {(other, leader.id) for other in cluster.ids}
    batch = cluster.batch(session, Put(b"k", b"v"))
    asked = cluster.ask(leader, Commands(0), batch)
    assert cluster.answered(asked).outcome == Outcome.UNKNOWN
    other = cluster.led(other_than=leader.id)
    cluster.heal()
    cluster.settled()
    assert other.machines.store.revision == leader.machines.store.revision == 1
    assert cluster.call(cluster.led(), Commands(0), batch).result == [b"\x00\x01"]


def test_an_unknown_command_that_was_replaced_never_happened(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    cluster.isolate(leader.id)
    batch = cluster.batch(session, Put(b"k", b"lost"))
    asked = cluster.ask(leader, Commands(0), batch)
    other = cluster.led(other_than=leader.id)
    assert cluster.answered(cluster.put(other, session, b"k", b"kept")).outcome == Outcome.DONE
    cluster.heal()
    cluster.settled()
    assert cluster.answered(asked).outcome == Outcome.UNKNOWN
    stored = leader.machines.query("kv", msgspec.msgpack.encode(Get(b"k")))
    assert value_in(stored) == b"kept"


def test_a_leader_that_follows_another_at_once_tells_everybody_who_waits(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, session: int
) -> None:
    """In one turn its log is cut and another's entries take the place of its own."""
    cluster.isolate(leader.id)
    asked = [cluster.put(leader, session, b"k"), cluster.read(leader, Get(b"k"))]
    cluster.run(10)
    cluster.led(other_than=leader.id)
    leader.paused = True
    cluster.run(3_000)
    cluster.heal()
    leader.paused = False
    outcomes = [cluster.answered(id).outcome for id in asked]
    assert outcomes == [Outcome.UNKNOWN, Outcome.REFUSED]
    cluster.settled()


def test_another_leaders_entry_in_the_place_of_ones_own_is_not_ones_answer(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, session: int
) -> None:
    """All in one turn: a newer term, the other's entry at the index of our own, and that it is committed."""
    cluster.isolate(leader.id)
    asked = cluster.put(leader, session, b"k")
    cluster.run(10)
    raft = leader.replica.raft
    own = raft.log.last
    before = EntryId(raft.log.term_at(own.index - 1) or 0, own.index - 1)
    others = Entry(own.term + 1, own.index, EntryKind.TICK, raft.log.last_time_ms, b"")
    leader.effects.clear()
    leader.hear(follower.id, AppendEntries(own.term + 1, before, own.index, [others]))
    leader.turn()
    assert journal(leader, asked) == [f"apply {own.index}", "reply"]
    reply = cluster.answer(asked)
    assert reply is not None
    assert (reply.outcome, reply.result) == (Outcome.UNKNOWN, None)
    assert reply.message == "another leader's entry took its place"


# -- leadership on request ---------------------------------------------------------------------------------------------


def test_leadership_goes_to_whom_it_is_given(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode
) -> None:
    reply = cluster.call(leader, TransferRequest(0, follower.id))
    assert (reply.outcome, reply.result) == (Outcome.DONE, follower.id)
    assert cluster.led(other_than=leader.id) is follower
    assert follower.term == leader.term


def test_leadership_goes_to_somebody_when_nobody_is_named(cluster: VirtualCluster, leader: VirtualNode) -> None:
    reply = cluster.call(leader, TransferRequest(0))
    assert cluster.led(other_than=leader.id).id == reply.result


@pytest.mark.parametrize("target", ["n9", "", "itself", "x" * 64])
def test_leadership_goes_to_nobody_who_cannot_have_it(
    cluster: VirtualCluster, leader: VirtualNode, target: str
) -> None:
    reply = cluster.call(leader, TransferRequest(0, leader.id if target == "itself" else target))
    assert reply.outcome == Outcome.INVALID
    assert reply.message.startswith(f"{leader.id} leads already" if target == "itself" else f"{target} has no vote; ")
    cluster.run(3_000)
    assert leader.role == Role.LEADER


def test_leadership_does_not_go_to_whoever_is_silent(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode
) -> None:
    follower.kill()
    cluster.run(1_500)
    reply = cluster.call(leader, TransferRequest(0, follower.id))
    assert (reply.outcome, reply.message) == (Outcome.INVALID, f"{follower.id} does not answer")
    other = next(id for id in cluster.ids if id not in (leader.id, follower.id))
    assert cluster.call(leader, TransferRequest(0)).result == other
    assert cluster.led(other_than=leader.id).id == other
