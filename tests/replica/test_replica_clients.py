"""Every request has one answer, the right one, at the right time."""

from typing import Any

import msgspec
import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft import serving
from zraft.machines.kv.commands import Delete, Get, List, Put, decode_entry
from zraft.raft.messages import AppendEntries
from zraft.raft.types import Entry, EntryId, EntryKind, Role
from zraft.requests import (
    BATCH_BYTES_MAX,
    CALLS_MAX,
    Answer,
    CloseSession,
    Commands,
    Hello,
    OpenSession,
    Outcome,
    Queries,
    RecentEvents,
    Reply,
    StatusRequest,
    TransferRequest,
)


@pytest.fixture
def cluster() -> VirtualCluster:
    return VirtualCluster().start()


@pytest.fixture
def leader(cluster: VirtualCluster) -> VirtualNode:
    return cluster.settled()


@pytest.fixture
def follower(cluster: VirtualCluster, leader: VirtualNode) -> VirtualNode:
    return next(node for node in cluster.nodes.values() if node is not leader)


@pytest.fixture
def session(cluster: VirtualCluster, leader: VirtualNode) -> int:
    return cluster.open_session(leader)


def value_in(answer: bytes) -> bytes | None:
    """Return the value that the answer to a `Get` gives."""
    assert answer[0] == Answer.DONE
    found = decode_entry(answer[1:])
    return None if found is None else found.value


def journal(node: VirtualNode, id: int) -> list[str]:
    """Return what happened at a node up to the reply with that id: ``apply 5``, ``reply``."""
    told: list[str] = []
    for effect in node.effects:
        if effect[0] == "apply":
            told.append(f"apply {effect[1].index}")
        if effect[0] == "reply" and effect[2].id == id:
            return [*told, "reply"]
    return told


# -- commands ----------------------------------------------------------------------------------------------------------


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
    for number in (session, 4_711, 0, -1, (1 << 64) - 1):
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


# -- leadership moves --------------------------------------------------------------------------------------------------


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


# -- reads -------------------------------------------------------------------------------------------------------------


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
    noop = leader.replica.raft.role.noop_index
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


# -- what a node says of itself ----------------------------------------------------------------------------------------


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
    recent = cluster.call(leader, RecentEvents(0, 1_000)).result
    assert [event["seq"] for event in recent] == list(range(1, len(recent) + 1))
    assert {"role", "status", "entry", "vote"} >= {event["kind"] for event in recent} >= {"role", "status", "entry"}
    assert cluster.call(leader, RecentEvents(0, 2)).result == recent[-2:]
    for count in (0, -1, -(1 << 63)):
        assert cluster.call(leader, RecentEvents(0, count)).result == []
    assert len(cluster.call(leader, RecentEvents(0, (1 << 64) - 1)).result) == len(recent)


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
    cluster.run(3_000)
    assert leader.role == Role.LEADER
