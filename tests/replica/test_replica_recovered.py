"""A survivor that has begun anew alone, beside members that were believed lost and come back with what they had."""

import pytest
from replies import value_in
from virtual_cluster import CLUSTER_ID, CrashFS, VirtualCluster, VirtualNode

from zraft.machines.kv.commands import Get
from zraft.machines.sessions import Machines
from zraft.raft.types import Role
from zraft.requests import Commands, Outcome
from zraft.rescue.leap import BY, begun_anew
from zraft.storage.rebuild import lay_down

ANEW = "abcdef0123456789" * 2


def begin_anew(node: VirtualNode, disk_id: str) -> None:
    """Do what ``zraft cluster recover`` does to a node that is down, with the state that it has applied."""
    machines: Machines = node.machines
    raft = node.replica.raft
    snapshot = begun_anew(
        machines, {node.id: disk_id}, {}, term=raft.term, index=raft.log.last_index, keeps_sessions=True
    )
    node.fs = CrashFS()
    lay_down(
        node.fs,
        snapshot,
        machines.snapshot,
        cluster_id=CLUSTER_ID,
        node=node.id,
        disk_id=disk_id,
        segment_bytes=1 << 16,
    )


@pytest.fixture
def recovered(cluster: VirtualCluster, leader: VirtualNode, session: int) -> VirtualNode:
    """Return a follower that has begun anew, while the other two are down; it has applied ten puts."""
    for number in range(10):
        cluster.answered(cluster.put(leader, session, b"k", b"%d" % number))
    cluster.settled()
    survivor = next(node for node in cluster.running if node is not leader)
    for node in list(cluster.running):
        node.kill()
    begin_anew(survivor, ANEW)
    survivor.start()
    cluster.until(lambda: survivor.replica.raft.is_established, "it leads alone")
    return survivor


def test_it_leads_alone_in_a_later_term_with_all_that_it_had(
    cluster: VirtualCluster, recovered: VirtualNode, session: int
) -> None:
    assert recovered.replica.raft.memberships.current.voters == (recovered.id,)
    assert recovered.term == BY + 2
    assert value_in(cluster.answered(cluster.read(recovered, Get(b"k"))).result[0]) == b"9"
    retried = cluster.batch(session, b"not read: it is answered from what is kept", sequence=10)
    reply = cluster.answered(cluster.ask(recovered, Commands(0), retried))
    assert reply.outcome == Outcome.DONE
    assert recovered.machines.store.revision == 10 + BY, "a retry is answered, and not applied again"
    assert cluster.open_session(recovered) > BY


def test_members_that_come_back_neither_disturb_it_nor_hear_its_term(
    cluster: VirtualCluster, recovered: VirtualNode, session: int
) -> None:
    others = [node for node in cluster.nodes.values() if node is not recovered]
    for node in others:
        node.start()
    term = recovered.term
    cluster.until(lambda: any(node.role == Role.LEADER for node in others), "the old members elect one of them")
    for number in range(20):
        cluster.run(500)
        assert (recovered.role, recovered.term) == (Role.LEADER, term)
        assert max(node.term for node in others) < BY
        put = cluster.answered(cluster.put(recovered, session, b"after", b"%d" % number))
        assert put.outcome == Outcome.DONE
    recovered.kill()
    recovered.start()
    cluster.until(lambda: recovered.replica.raft.is_established, "it leads alone again")
    cluster.run(5_000)
    assert recovered.role == Role.LEADER
    assert max(node.term for node in others) < BY
    assert value_in(cluster.answered(cluster.read(recovered, Get(b"after"))).result[0]) == b"19"
