"""What may wait at a node is bounded: what is too much is refused, nothing of it happens, and there is room again afterwards."""

import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft import serving
from zraft.machines.kv.commands import Delete, Get, Put
from zraft.requests import Commands, OpenSession, Outcome, Reply


def refused(reply: Reply | None, why: str) -> bool:
    return reply is not None and reply.outcome == Outcome.REFUSED and why in reply.message and reply.leader is None


def nothing_waits(node: VirtualNode) -> bool:
    own = node.replica.serving
    counts = (own.count, own._commands_waiting, own._queries_waiting, own._query_bytes_waiting)
    return counts == (0, 0, 0, 0) and not own._batches_waiting


def test_requests(cluster: VirtualCluster, leader: VirtualNode, session: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUESTS_MAX", 3)
    last = leader.replica.raft.log.last_index
    taken = [cluster.put(leader, session, b"k"), cluster.read(leader, Get(b"k")), cluster.ask(leader, OpenSession(0))]
    more = [cluster.put(leader, session, b"k"), cluster.read(leader, Get(b"k")), cluster.ask(leader, OpenSession(0))]
    cluster.until(lambda: all(cluster.answer(id) for id in taken + more))
    assert all(refused(cluster.answer(id), "busy: 3 requests ") for id in more)
    assert {cluster.answered(id).outcome for id in taken} == {Outcome.DONE}
    assert leader.replica.raft.log.last_index == last + 2
    assert nothing_waits(leader)
    assert cluster.call(leader, OpenSession(0)).outcome == Outcome.DONE


def test_commands(cluster: VirtualCluster, leader: VirtualNode, session: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "COMMANDS_MAX", 5)
    first = cluster.ask(leader, Commands(0), cluster.batch(session, *[Put(b"a", b"")] * 3))
    second = cluster.batch(session, *[Put(b"a", b"")] * 3)
    too_much, third = cluster.ask(leader, Commands(0), second), cluster.put(leader, session, b"a")
    assert refused(cluster.answered(too_much), "busy: 3 commands wait already")
    assert cluster.answered(first).outcome == cluster.answered(third).outcome == Outcome.DONE
    assert leader.machines.store.revision == 4
    assert nothing_waits(leader)
    assert cluster.call(leader, Commands(0), second).outcome == Outcome.UNKNOWN, (
        "a newer one of the session was applied"
    )
    assert cluster.call(leader, Commands(0), cluster.batch(session, *[Put(b"a", b"")] * 5)).outcome == Outcome.DONE


def test_batches_of_one_session(
    cluster: VirtualCluster, leader: VirtualNode, session: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SESSION_BATCHES_MAX", 2)
    other = cluster.open_session(leader)
    asked = [cluster.put(leader, session, b"k") for _ in range(4)]
    theirs = cluster.put(leader, other, b"k")
    assert all(refused(cluster.answered(id), f"busy: 2 batches of session {session} wait") for id in asked[2:])
    assert [cluster.answered(id).outcome for id in (*asked[:2], theirs)] == [Outcome.DONE] * 3
    assert nothing_waits(leader)


def test_queries_and_their_bytes(cluster: VirtualCluster, leader: VirtualNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "QUERIES_MAX", 3)
    first, second = cluster.read(leader, Get(b"a"), Get(b"b")), cluster.read(leader, Get(b"a"), Get(b"b"))
    assert refused(cluster.answered(second), "busy: 1 requests with 2 queries wait already")
    assert cluster.answered(first).outcome == Outcome.DONE
    monkeypatch.setattr(serving, "QUERIES_BYTES_MAX", 100)
    first, second = cluster.read(leader, Get(bytes(80))), cluster.read(leader, Get(bytes(80)))
    assert refused(cluster.answered(second), "wait already")
    assert cluster.answered(first).outcome == Outcome.DONE
    assert nothing_waits(leader)


def test_what_waited_counts_no_more_when_leadership_is_lost(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    cluster.isolate(leader.id)
    asked = [cluster.put(leader, session, b"k"), cluster.read(leader, Get(b"k"))]
    assert {cluster.answered(id).outcome for id in asked} == {Outcome.UNKNOWN, Outcome.REFUSED}
    assert nothing_waits(leader)
    cluster.heal()
    cluster.settled()
    assert nothing_waits(leader)


def test_what_is_applied_in_the_place_of_what_waited_frees_it(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    """Cut off, it takes a batch; whoever leads next puts something else there, and it hears that first of all."""
    cluster.isolate(leader.id)
    mine = cluster.put(leader, session, b"mine")
    other = cluster.led(other_than=leader.id)
    cluster.answered(cluster.ask(other, Commands(0), cluster.batch(session, Delete(b"x"), sequence=9)))
    cluster.heal()
    cluster.settled()
    assert cluster.answered(mine).outcome == Outcome.UNKNOWN
    assert nothing_waits(leader)
