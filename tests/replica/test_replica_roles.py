"""What follows from a change of role: hooks, events, lines and warnings, each in its time."""

import pytest
from crashfs import CrashFS
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.raft.types import Role
from zraft.requests import Outcome, StatusRequest


def won(cluster: VirtualCluster) -> VirtualNode:
    """Wait until somebody is elected, and has applied nothing yet."""

    def found() -> VirtualNode | None:
        return next((node for node in cluster.running if node.role == Role.LEADER), None)

    leader = cluster.until(found, "somebody wins")
    assert not leader.replica.raft.is_established
    return leader


def runs(node: VirtualNode) -> list[tuple[str, int, str]]:
    """Return event, term and reason of each script that was ordered, in order."""
    return [
        (order["event"], int(order["env"]["ZRAFT_TERM"]), order["env"]["ZRAFT_REASON"]) for order in node.guard.orders
    ]


# -- hooks -------------------------------------------------------------------------------------------------------------


def test_every_node_starts_as_a_follower(cluster: VirtualCluster) -> None:
    for node in cluster.nodes.values():
        assert runs(node) == [("follower", 0, "startup")]


def test_the_leader_script_is_due_when_the_no_op_is_applied(cluster: VirtualCluster) -> None:
    leader = won(cluster)
    assert leader.guard.told == ["follower"]
    cluster.until(lambda: leader.replica.raft.is_established, "its no-op is applied")
    assert runs(leader)[1:] == [("leader", leader.term, "election")]
    assert leader.replica.raft.log.last_applied >= leader.replica.raft.role.first_own_index


def test_a_leader_that_never_commits_its_no_op_runs_no_script(cluster: VirtualCluster) -> None:
    leader = won(cluster)
    cluster.isolate(leader.id)
    cluster.until(lambda: leader.role != Role.LEADER, "it steps down")
    assert leader.guard.told == ["follower"]


def test_follower_comes_after_leader(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    term = leader.term
    cluster.isolate(leader.id)
    cluster.until(lambda: leader.role != Role.LEADER, "it steps down")
    assert runs(leader)[1:] == [("leader", term, "election"), ("follower", term, "quorum_lost")]
    other = cluster.led(other_than=leader.id)
    cluster.heal()
    cluster.settled()
    assert leader.guard.told == ["follower", "leader", "follower"]
    assert other.guard.told == ["follower", "leader"]


def test_a_change_of_leader_elsewhere_is_no_change_of_role(cluster: VirtualCluster) -> None:
    cluster = VirtualCluster(5).start()
    leader = cluster.settled()
    leader.kill()
    cluster.led()
    followers = [node for node in cluster.running if node.role == Role.FOLLOWER]
    assert len(followers) == 3
    assert {tuple(node.guard.told) for node in followers} == {("follower",)}


@pytest.mark.parametrize("seed", range(5))
def test_at_most_one_leader_script_per_term_whatever_happens(seed: int) -> None:
    cluster = VirtualCluster(3, seed).start()
    for _ in range(10):
        cluster.run(cluster.random.uniform(0, 2_000))
        cluster.heal()
        cluster.isolate(cluster.random.choice(cluster.ids))
    cluster.heal()
    cluster.settled()
    terms = [term for node in cluster.nodes.values() for event, term, _ in runs(node) if event == "leader"]
    assert len(terms) == len(set(terms)) > 0
    for node in cluster.nodes.values():
        assert node.guard.told == [("follower", "leader")[number % 2] for number in range(len(node.guard.told))]


def test_a_clean_stop_ends_the_leader_script_with_follower(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    leader.replica.stop_hooks()
    assert runs(leader)[-1] == ("follower", leader.term, "shutdown")
    leader.replica.stop_hooks()
    assert leader.guard.told == ["follower", "leader", "follower"]


def test_a_clean_stop_of_a_follower_runs_nothing_more(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    follower = next(node for node in cluster.nodes.values() if node is not leader)
    follower.replica.stop_hooks()
    assert follower.guard.told == ["follower"]


def test_what_a_script_does_is_published_and_logged(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    seq = leader.guard.orders[-1]["seq"]
    reports = [
        {"kind": "started", "seq": seq, "pid": 5},
        {"kind": "output", "seq": seq, "stream": "stdout", "line": "hello"},
        {"kind": "ended", "seq": seq, "reason": "exit", "exit_code": 3, "signal": None, "duration_ms": 8},
        {"kind": "output", "seq": 4_711, "stream": "stdout", "line": "of nobody"},
    ]
    leader.lines.clear()
    for report in reports:
        leader.replica.guard_reported(report)
    events = [event.data for event in leader.events if event.kind == "hook"]
    assert [(event["state"], event["seq"], event["event"]) for event in events] == [
        ("started", seq, "leader"),
        ("output", seq, "leader"),
        ("ended", seq, "leader"),
    ]
    assert events[2]["exit_code"] == 3
    assert [level for level, _ in leader.lines] == ["INFO", "INFO", "ERROR"]
    assert leader.lines[1][1] == f"hook leader #{seq} | hello"


# -- handing over ------------------------------------------------------------------------------------------------------


def test_a_node_that_stops_hands_over_first(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    term = leader.term
    assert leader.replica.hand_over() is True
    leader.replica.turn()
    other = cluster.led(other_than=leader.id)
    assert other.term == term + 1
    cluster.run(50)
    assert runs(other)[-1] == ("leader", term + 1, "transfer")
    assert leader.guard.told[-1] == "follower"


def test_there_is_nothing_to_hand_over_for_a_follower_or_alone() -> None:
    cluster = VirtualCluster().start()
    leader = cluster.settled()
    follower = next(node for node in cluster.nodes.values() if node is not leader)
    assert follower.replica.hand_over() is False
    alone = VirtualCluster(1).start()
    assert alone.settled().replica.hand_over() is False


# -- events and lines --------------------------------------------------------------------------------------------------


def test_each_change_of_role_is_published_with_its_reason_and_a_status(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    kinds = [event.kind for event in leader.events if event.kind in ("role", "status")]
    assert kinds == ["role", "status"] * (len(kinds) // 2)
    told = [event.data for event in leader.events if event.kind == "role"]
    roles = [(change["prev_role"], change["role"], change["reason"]) for change in told]
    assert roles[0] == (None, "follower", "startup")
    assert [role for _, role, _ in roles][-3:] == ["pre_candidate", "candidate", "leader"]
    assert [before for before, _, _ in roles[1:]] == [role for _, role, _ in roles[:-1]]
    assert roles[-1][2] == "election"
    assert told[-1]["leader"] == leader.id
    assert told[-1]["term"] == leader.term
    status = next(event for event in reversed(leader.events) if event.kind == "status")
    assert "log" not in status.data
    assert (status.data["role"], status.role, status.term) == ("leader", "leader", leader.term)


def test_events_are_numbered_without_a_gap_and_bear_the_role_of_their_moment(cluster: VirtualCluster) -> None:
    cluster.settled()
    for node in cluster.nodes.values():
        assert [event.seq for event in node.events] == list(range(1, len(node.events) + 1))
        role: str | None = None
        for event in node.events:
            role = event.data["role"] if event.kind == "role" else role
            assert event.role == role


def test_every_entry_is_published_once_applied(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    session = cluster.open_session(leader)
    cluster.answered(cluster.put(leader, session, b"key"))
    cluster.settled()
    for node in cluster.nodes.values():
        entries = [event.data for event in node.events if event.kind == "entry"]
        assert [entry["index"] for entry in entries] == list(range(1, node.replica.raft.log.last_applied + 1))
        (noop,) = (entry for entry in entries if entry["kind"] == "noop")
        assert (noop["term"], noop["text"]) == (1, f"{leader.id} leads term 1")
        assert (entries[-2]["kind"], entries[-2]["text"]) == ("session", f"session {session} begins")
        assert (entries[-1]["kind"], entries[-1]["text"]) == ("command", "kv put key=..(1 B)")


def test_votes_are_published_and_logged(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    granted = []
    for node in cluster.nodes.values():
        votes = [event.data for event in node.events if event.kind == "vote"]
        granted += [vote["candidate"] for vote in votes if vote["what"] == "granted"]
        if node is leader:
            assert [(vote["what"], vote["pre"]) for vote in votes] == [("requested", True), ("requested", False)]
    assert granted in ([leader.id], [leader.id] * 2)
    assert ("INFO", f"vote requested for term {leader.term}") in leader.lines
    assert any(text.startswith(f"majority won in term {leader.term}: ") for _, text in leader.lines)


def test_a_lost_heartbeat_round_is_logged(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    cluster.isolate(leader.id)
    cluster.run(350)
    assert next(text for level, text in leader.lines if level == "WARNING").startswith("heartbeat round lost: ")


# -- a node that has lost its data -------------------------------------------------------------------------------------


def test_a_node_that_comes_back_blank_counts_for_nothing_and_everybody_can_see_why(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    session = cluster.open_session(leader)
    blank, other = (node for node in cluster.nodes.values() if node is not leader)
    cluster.answered(cluster.put(leader, session, b"k"))
    cluster.settled()
    blank.kill()
    blank.wipe()
    blank.start()
    told = f"{blank.id} has lost its data: zraft member replace {blank.id}"
    cluster.until(lambda: leader.replica.status().warnings, "the leader notices")
    assert leader.replica.status().warnings == [told]
    assert cluster.call(leader, StatusRequest(0)).result["warnings"] == [told]
    assert leader.lines.count(("ERROR", told)) == 1
    cluster.run(3_000)
    assert leader.lines.count(("ERROR", told)) == 1
    assert blank.replica.raft.log.last_index == 0
    assert blank.role == Role.FOLLOWER
    other.paused = True
    asked = cluster.put(leader, session, b"k2")
    cluster.run(400)
    assert cluster.answer(asked) is None, "the blank node was counted"
    other.paused = False
    assert cluster.answered(asked).outcome in (Outcome.DONE, Outcome.UNKNOWN)


def blanked(cluster: VirtualCluster, leader: VirtualNode) -> tuple[VirtualNode, VirtualNode, CrashFS]:
    """Let one follower come back blank, until the leader warns of it; return it, the other one, and its true disk."""
    session = cluster.open_session(leader)
    blank, other = (node for node in cluster.nodes.values() if node is not leader)
    cluster.answered(cluster.put(leader, session, b"k"))
    cluster.settled()
    blank.kill()
    disk = blank.fs
    blank.wipe()
    blank.start()
    cluster.until(lambda: leader.replica.status().warnings, "the leader notices")
    return blank, other, disk


def test_a_node_whose_disk_is_found_again_counts_again_and_nobody_is_warned(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    term = leader.term
    blank, other, disk = blanked(cluster, leader)
    blank.kill()
    blank.fs = disk
    blank.start()
    cluster.until(lambda: not leader.replica.status().warnings, "the leader notices that, too")
    assert leader.lines.count(("INFO", f"{blank.id} is back with its data, and counts again")) == 1
    other.paused = True
    asked = cluster.put(leader, cluster.open_session(leader), b"k2")
    assert cluster.answered(asked).outcome == Outcome.DONE
    assert (leader.role, leader.term) == (Role.LEADER, term)


def test_only_a_leader_warns_of_others(cluster: VirtualCluster) -> None:
    leader = cluster.settled()
    blank, other, _ = blanked(cluster, leader)
    leader.replica.hand_over()
    cluster.until(lambda: other.replica.status().warnings, "the next leader notices")
    assert other.role == Role.LEADER
    assert other.replica.status().warnings == [f"{blank.id} has lost its data: zraft member replace {blank.id}"]
    assert leader.replica.status().warnings == []


# -- much to do --------------------------------------------------------------------------------------------------------


def test_one_turn_applies_a_bounded_amount_and_heartbeats_go_on(cluster: VirtualCluster) -> None:
    """A node that comes back applies its whole log anew; its peers must not think that it has died."""
    leader = cluster.settled()
    sessions = [cluster.open_session(leader) for _ in range(5)]  # Of one, fewer may wait at once.
    budget = leader.replica.raft.settings.apply_bytes_max
    value = bytes(10_000)
    for number in range(200):
        cluster.put(leader, sessions[number % 5], b"k%d" % number, value)
    asked = cluster.put(leader, sessions[0], b"last")
    leader.effects.clear()
    turns: list[int] = []

    def turned() -> bool:
        applied = [effect[1] for effect in leader.effects if effect[0] == "apply"]
        leader.effects.clear()
        if applied:
            turns.append(sum(len(entry.data) for entry in applied))
        return cluster.answer(asked) is not None

    cluster.until(turned, "the last is applied")
    assert len(turns) > 5
    assert max(turns) <= budget + len(value) + 1_000
    assert cluster.settled() is leader
    assert not leader.replica.busy
