"""One turn in which a leader hears that another leads, that its entries are replaced, and what is committed there."""

from replies import value_in
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.machines.kv.commands import Get, Put, encode
from zraft.raft.messages import AppendEntries
from zraft.raft.types import Entry, EntryId, EntryKind
from zraft.requests import Outcome


def replace_last(leader: VirtualNode, by: VirtualNode, kind: EntryKind, data: bytes) -> None:
    """Let a leader hear, in one turn, of another's entry in the place of its own last one, committed."""
    raft = leader.replica.raft
    own = raft.log.last
    before = EntryId(raft.log.term_at(own.index - 1) or 0, own.index - 1)
    others = Entry(own.term + 1, own.index, kind, raft.log.last_time_ms, data)
    leader.hear(by.id, AppendEntries(own.term + 1, before, own.index, [others]))
    leader.turn()


def test_what_is_applied_is_what_the_other_leader_put_there(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, session: int
) -> None:
    """A node keeps what it has proposed as it was decoded; in another's place that is of no use."""
    cluster.isolate(leader.id)
    sequence = len(cluster.ids)
    cluster.put(leader, session, b"own")
    cluster.run(10)
    theirs = cluster.batch(session, Put(b"theirs", b"v"), sequence=sequence)
    replace_last(leader, follower, EntryKind.COMMAND, theirs)
    machines = leader.replica._machines
    assert value_in(machines.query("kv", encode(Get(b"theirs")))) == b"v"
    assert value_in(machines.query("kv", encode(Get(b"own")))) is None


def test_who_waits_for_a_read_hears_of_it_in_that_turn(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, session: int
) -> None:
    cluster.isolate(leader.id)
    cluster.put(leader, session, b"k")
    read = cluster.read(leader, Get(b"k"))
    cluster.run(10)
    replace_last(leader, follower, EntryKind.TICK, b"")
    reply = cluster.answer(read)
    assert reply is not None
    assert (reply.outcome, reply.message) == (Outcome.REFUSED, "leadership moved")
    assert leader.replica.serving.count == 0
