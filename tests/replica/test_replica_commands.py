"""Every command has one answer, the right one, at the right time; and what is no command never gets in."""

from typing import Any

import msgspec
import pytest
from replies import journal, value_in
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.machines.kv.commands import Delete, Get, Put
from zraft.raft.types import EntryKind
from zraft.requests import (
    BATCH_BYTES_MAX,
    CALLS_MAX,
    Answer,
    CloseSession,
    Commands,
    OpenSession,
    Outcome,
    Queries,
    Reply,
    TransferRequest,
)


def test_a_command_is_answered_once_it_is_applied(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    leader.effects.clear()
    asked = cluster.put(leader, session, b"k", b"v")
    index = leader.replica.raft.log.last_index + 1
    assert cluster.answered(asked) == Reply(asked, Outcome.DONE, [b"\x00\x01"], leader.id)
    assert journal(leader, asked) == [f"apply {index}", "reply"]
    assert leader.replica.raft.log.entry(index).kind == EntryKind.COMMAND


def test_a_command_that_cannot_commit_is_not_answered(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    cluster.isolate(leader.id)
    asked = cluster.put(leader, session, b"k")
    cluster.run(300)
    assert cluster.answer(asked) is None


def test_commands_of_one_batch_are_applied_in_order_and_answered_one_by_one(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    batch = cluster.batch(session, Put(b"a", b"1"), Put(b"", b"x"), b"nonsense", Put(b"a", b"2"), Delete(b"a"))
    reply = cluster.call(leader, Commands(0), batch)
    assert reply.outcome == Outcome.DONE
    kinds = [answer[0] for answer in reply.result]
    assert kinds == [Answer.DONE, Answer.INVALID, Answer.INVALID, Answer.DONE, Answer.DONE]
    assert b"the key is empty" in reply.result[1]
    assert leader.machines.store.revision == 3


def test_a_retry_gets_the_first_answer_and_applies_nothing(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    batch = cluster.batch(session, Put(b"k", b"v"))
    first, second = cluster.call(leader, Commands(0), batch), cluster.call(leader, Commands(0), batch)
    assert (first.outcome, first.result) == (second.outcome, second.result) == (Outcome.DONE, [b"\x00\x01"])
    assert leader.machines.store.revision == 1


def test_two_retries_under_way_at_once_apply_once(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    batch = cluster.batch(session, Put(b"k", b"v"))
    asked = [cluster.ask(leader, Commands(0), batch) for _ in range(3)]
    assert [cluster.answered(id).result for id in asked] == [[b"\x00\x01"]] * 3
    assert leader.machines.store.revision == 1


def test_a_retry_at_the_next_leader_gets_the_first_answer(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    batch = cluster.batch(session, Put(b"k", b"v"))
    first = cluster.call(leader, Commands(0), batch)
    leader.kill()
    other = cluster.led()
    second = cluster.call(other, Commands(0), batch)
    assert (second.outcome, second.result) == (first.outcome, first.result)
    assert other.machines.store.revision == 1


def test_a_batch_older_than_the_sessions_newest_is_not_applied(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    old, new = (cluster.batch(session, Put(b"k", value)) for value in (b"old", b"new"))
    assert cluster.call(leader, Commands(0), new).outcome == Outcome.DONE
    reply = cluster.call(leader, Commands(0), old)
    assert (reply.outcome, reply.result) == (Outcome.UNKNOWN, None)
    assert value_in(cluster.answered(cluster.read(leader, Get(b"k"))).result[0]) == b"new"


def test_a_session_that_is_closed_or_never_was_is_expired(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    assert cluster.call(leader, CloseSession(0, session)).outcome == Outcome.DONE
    for number in (session, 4_711, (1 << 64) - 1):
        reply = cluster.call(leader, Commands(0), cluster.batch(number, Put(b"k", b"v")))
        assert reply.outcome == Outcome.SESSION_EXPIRED
    assert leader.machines.store.revision == 0


def test_sessions_get_numbers_of_their_own(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    numbers = [cluster.open_session(leader) for _ in range(3)]
    assert len({session, *numbers}) == 4
    assert len(leader.machines.sessions) == 4


@pytest.mark.parametrize("number", [0])
def test_no_session_has_the_number_zero(cluster: VirtualCluster, leader: VirtualNode, number: int) -> None:
    assert cluster.call(leader, CloseSession(0, number)).outcome == Outcome.INVALID


@pytest.mark.parametrize("number", [-1, 4_711, (1 << 64) - 1])
def test_closing_a_session_that_is_none_ends_none(
    cluster: VirtualCluster, leader: VirtualNode, session: int, number: int
) -> None:
    assert cluster.call(leader, CloseSession(0, number)).outcome == Outcome.DONE
    assert cluster.answered(cluster.put(leader, session, b"k")).outcome == Outcome.DONE


# -- what never gets in ------------------------------------------------------------------------------------------------


def bad_batches() -> dict[str, tuple[bytes, str]]:
    many = msgspec.msgpack.encode([1, 1, "kv", [b""] * (CALLS_MAX + 1)])
    return {
        "oversize": (bytes(BATCH_BYTES_MAX + 1), f"a batch of {BATCH_BYTES_MAX + 1} bytes"),
        "empty": (b"", "not a batch of commands"),
        "noise": (b"\xc1\xc1", "not a batch of commands"),
        "nested": (b"\x91" * 100_000, "not a batch of commands"),
        "another shape": (msgspec.msgpack.encode({"session": 1}), "not a batch of commands"),
        "too many": (many, f"length <= {CALLS_MAX}"),
        "a machine named too long": (msgspec.msgpack.encode([1, 1, "m" * 65, []]), "length <= 64"),
        "of the cluster's own session": (msgspec.msgpack.encode([0, 1, "kv", []]), "`int` >= 1"),
        "of no session": (msgspec.msgpack.encode([-1, 1, "kv", []]), "`int` >= 1"),
        "a later version's": (msgspec.msgpack.encode([1, 1, "kv", [], 0]), "not a batch of commands"),
    }


@pytest.mark.parametrize("what", bad_batches())
def test_what_is_no_batch_is_refused_at_the_door(cluster: VirtualCluster, leader: VirtualNode, what: str) -> None:
    batch, why = bad_batches()[what]
    last = leader.replica.raft.log.last_index
    reply = cluster.call(leader, Commands(0), batch)
    assert (reply.outcome, reply.result) == (Outcome.INVALID, None)
    assert why in reply.message
    assert len(reply.message) < 200
    assert leader.replica.raft.log.last_index == last


def test_a_machine_that_is_not_mounted(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    reply = cluster.call(leader, Commands(0), cluster.batch(session, b"c", machine="other"))
    assert (reply.outcome, reply.message) == (Outcome.INVALID, "no machine 'other' is mounted")
    reply = cluster.answered(cluster.read(leader, Get(b"k"), machine="other"))
    assert reply.result[0][0] == Answer.INVALID


def test_the_biggest_allowed_batch_is_applied(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    big = [Put(b"k%d" % number, bytes(1 << 20)) for number in range(11)]
    reply = cluster.call(leader, Commands(0), cluster.batch(session, *big))
    assert [answer[0] for answer in reply.result] == [Answer.DONE] * 11
    cluster.settled()
    assert {node.machines.store.revision for node in cluster.nodes.values()} == {11}


def test_a_leader_without_a_quorum_takes_a_bounded_amount(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    cluster.isolate(leader.id)
    value = bytes(1 << 20)
    asked = [cluster.put(leader, session, b"k", value) for _ in range(80)]
    cluster.run(50)
    refused = [reply for id in asked if (reply := cluster.answer(id)) is not None]
    assert {reply.outcome for reply in refused} == {Outcome.REFUSED}
    assert leader.replica.raft.log.uncommitted_bytes <= leader.replica.raft.settings.uncommitted_bytes_max
    assert 0 < len(refused) < 80


# -- whoever does not lead ---------------------------------------------------------------------------------------------


def requests(cluster: VirtualCluster) -> list[tuple[Any, bytes | None]]:
    return [
        (Commands(0), cluster.batch(1, Put(b"k", b"v"))),
        (Queries(0, "kv", []), None),
        (OpenSession(0), None),
        (CloseSession(0, 1), None),
        (TransferRequest(0), None),
    ]


@pytest.mark.parametrize("number", range(5))
def test_a_follower_refuses_and_says_who_leads(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, number: int
) -> None:
    request, batch = requests(cluster)[number]
    reply = cluster.call(follower, request, batch)
    assert (reply.outcome, reply.result, reply.leader) == (Outcome.REFUSED, None, leader.id)
    assert "does not lead" in reply.message


@pytest.mark.parametrize("number", range(5))
def test_while_nobody_leads_there_is_no_hint(number: int) -> None:
    cluster = VirtualCluster().start()
    request, batch = requests(cluster)[number]
    cluster["n1"].requests.append((b"client", msgspec.structs.replace(request, id=99), batch))
    reply = cluster.answered(99)
    assert (reply.outcome, reply.leader) == (Outcome.REFUSED, None)


def test_a_leader_handing_over_takes_no_commands_and_gives_no_hint_to_itself(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, session: int
) -> None:
    cluster.cut.add((leader.id, follower.id))  # The one that it tells will never hear of it.
    assert cluster.call(leader, TransferRequest(0, follower.id)).outcome == Outcome.DONE
    reply = cluster.answered(cluster.put(leader, session, b"k"))
    assert (reply.outcome, reply.leader) == (Outcome.REFUSED, None)
