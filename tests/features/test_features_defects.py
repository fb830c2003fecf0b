"""The defects of older systems of this kind: each has a test that is named after it."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import virtual_seams
from raft_rig import Packet, Rig
from replies import value_in
from test_house import BANNED_EVERYWHERE
from virtual_cluster import CLIENT, ELECTION_MS, HEARTBEAT_MS, VirtualCluster, VirtualNode

from zraft.codec import PEER_KINDS, REPLY_KINDS, REQUEST_KINDS, Codec
from zraft.errors import ProtocolError
from zraft.events import Event
from zraft.hooks.decide import Standing
from zraft.hooks.process import GuardProcess
from zraft.machines.kv.commands import Delete, Deleted, Get, Put, decode_deleted
from zraft.monitor.feed import Feed
from zraft.monitor.view import DOWN_AFTER_MS, View
from zraft.raft.messages import AppendEntries, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse
from zraft.raft.types import HardState, Role
from zraft.requests import Answer, Commands, Outcome


def followers(cluster: VirtualCluster) -> list[VirtualNode]:
    return [node for node in cluster.nodes.values() if node.role != Role.LEADER]


# -- votes -------------------------------------------------------------------------------------------------------------


def rig() -> Rig:
    made = Rig(3)
    for id in made.ids:
        made.start(id)
    return made


def ask_for_vote(rig: Rig, voter: str, candidate: str, term: int) -> bool | None:
    """Have a candidate ask; return the answer that leaves once it is durable, if one does."""
    last = rig.rafts[voter].log.last
    request = RequestVote(term=term, last=last, transfer=False, disk_id=rig.disks[candidate].disk_id)
    before = len(rig.network)
    rig.deliver(Packet(candidate, voter, request))
    while rig.disks[voter].waiting:
        rig.disk_step(voter)
    answers = [packet.message for packet in rig.network[before:] if isinstance(packet.message, RequestVoteResponse)]
    rig.network.clear()
    return answers[0].granted if answers else None


def test_a_vote_granted_twice_in_a_term() -> None:
    """(paper §5.2) Not to two candidates, and not because the node has forgotten it when it starts again."""
    made = rig()
    assert ask_for_vote(made, "n3", "n1", 1) is True
    assert ask_for_vote(made, "n3", "n2", 1) is False
    assert ask_for_vote(made, "n3", "n1", 1) is True, "the same candidate may ask again: its answer was lost"
    made.crash("n3")
    made.start("n3")
    assert ask_for_vote(made, "n3", "n2", 1) is False


def test_a_vote_kept_across_terms() -> None:
    """A vote belongs to its term: in the next one the node is free to give another."""
    made = rig()
    assert ask_for_vote(made, "n3", "n1", 1) is True
    assert ask_for_vote(made, "n3", "n2", 2) is True
    assert (made.rafts["n3"].term, made.rafts["n3"].voted_for) == (2, "n2")


def stand(rig: Rig, candidate: str) -> None:
    """Have a node stand for election: the others say that they would vote for it, and its requests for votes are lost."""
    rig.campaign(candidate)
    while True:
        rig.network = [packet for packet in rig.network if isinstance(packet.message, PreVote | PreVoteResponse)]
        if rig.disks[candidate].waiting:
            rig.disk_step(candidate)
        elif rig.network:
            rig.deliver(rig.network.pop(0))
        else:
            return


def granted(rig: Rig, voter: str, term: int) -> RequestVoteResponse:
    return RequestVoteResponse(term=term, granted=True, reason="", disk_id=rig.disks[voter].disk_id)


def test_votes_kept_between_terms() -> None:
    """A candidate counts the votes of its own term alone: those that come late, from the last one, elect nobody."""
    made = rig()
    stand(made, "n1")
    stand(made, "n1")
    raft = made.rafts["n1"]
    assert (raft.role.name, raft.term) == (Role.CANDIDATE, 2)
    for voter in ("n2", "n3"):
        made.deliver(Packet(voter, "n1", granted(made, voter, 1)))
    assert (raft.role.name, raft.term) == (Role.CANDIDATE, 2)
    assert ask_for_vote(made, "n2", "n1", 2) is True
    made.deliver(Packet("n2", "n1", granted(made, "n2", 2)))
    assert raft.role.name == Role.LEADER, "one of its own term does"


def test_nothing_persisted(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    """Term, vote and log of every node are there again after all of them were killed, and so is what was acknowledged."""
    cluster.answered(cluster.put(leader, session, b"k", b"v"))
    cluster.settled()
    before = {id: (node.term, node.replica.raft.voted_for) for id, node in cluster.nodes.items()}
    last = leader.replica.raft.log.last
    for node in cluster.nodes.values():
        node.kill()
    for node in cluster.nodes.values():
        node.start()
    for id, node in cluster.nodes.items():
        durable = node.replica.raft
        assert HardState(*before[id]) == HardState(durable.term, durable.voted_for)
        assert durable.log.last == last
    reply = cluster.answered(cluster.read(cluster.led(), Get(b"k")))
    assert value_in(reply.result[0]) == b"v"


# -- whoever is slow or gone -------------------------------------------------------------------------------------------


def took(cluster: VirtualCluster, leader: VirtualNode, session: int) -> float:
    """Return how many virtual milliseconds a write takes."""
    began = cluster.now
    reply = cluster.answered(cluster.put(leader, session, b"k"))
    assert reply.outcome == Outcome.DONE
    return cluster.now - began


def test_sequential_requests_so_that_one_dead_node_delays_all(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    healthy = took(cluster, leader, session)
    followers(cluster)[0].kill()
    assert [took(cluster, leader, session) for _ in range(20)] == [healthy] * 20
    cluster.run(10 * ELECTION_MS[1])
    assert cluster.led() is leader, "heartbeats go to each node by itself, too"


def test_blocking_requests_where_one_slow_node_held_all() -> None:
    """Two of five are paused, and no write waits for them."""
    cluster = VirtualCluster(5).start()
    leader = cluster.settled()
    session = cluster.open_session(leader)
    healthy = took(cluster, leader, session)
    for node in followers(cluster)[:2]:
        node.paused = True
    assert [took(cluster, leader, session) for _ in range(20)] == [healthy] * 20
    for node in cluster.nodes.values():
        node.paused = False
    cluster.settled()


@pytest.mark.parametrize("count", [3, 5, 7])
def test_leadership_lost_when_heartbeats_are_slow_and_more_so_with_more_replicas(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message takes twice the time between heartbeats, the disks take as long, and the leader stays."""
    cluster = VirtualCluster(count).start()
    leader = cluster.settled()
    term = leader.term
    monkeypatch.setattr(virtual_seams, "MESSAGE_MS", 2.0 * HEARTBEAT_MS)
    monkeypatch.setattr(virtual_seams, "SYNC_MS", 2.0 * HEARTBEAT_MS)
    session = cluster.open_session(leader)
    cluster.run(20 * ELECTION_MS[1])
    assert (cluster.led(), leader.term) == (leader, term)
    assert cluster.answered(cluster.put(leader, session, b"k")).outcome == Outcome.DONE


# -- what is served ----------------------------------------------------------------------------------------------------


def test_one_entry_per_heartbeat(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    """Two hundred entries reach the others at once and in few messages, whenever the next heartbeat is due."""
    leader.effects.clear()
    began = cluster.now
    asked = [cluster.ask(leader, Commands(0), cluster.batch(session, Put(b"%d" % number, b""))) for number in range(60)]
    assert {cluster.answered(id).outcome for id in asked} == {Outcome.DONE}
    assert cluster.now - began < HEARTBEAT_MS / 2
    sent = [effect[2] for effect in leader.effects if effect[0] == "send" and isinstance(effect[2], AppendEntries)]
    assert max(len(message.entries) for message in sent) == 60
    assert len(sent) < 10


def test_reads_without_a_quorum_check(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    """A leader that was cut off believes in itself for a while, and answers no read with what may be old."""
    cluster.answered(cluster.put(leader, session, b"k", b"old"))
    cluster.isolate(leader.id)
    asked = cluster.read(leader, Get(b"k"))
    assert leader.role == Role.LEADER
    other = cluster.led(other_than=leader.id)
    cluster.answered(cluster.put(other, session, b"k", b"new"))
    assert cluster.answered(asked).outcome == Outcome.REFUSED
    cluster.heal()
    reply = cluster.answered(cluster.read(cluster.settled(), Get(b"k")))
    assert value_in(reply.result[0]) == b"new"


def test_a_crash_on_deleting_a_missing_key(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    """It is an answer like any other, at every node: `KeyError` in a dict, exit code 1 in the shell."""
    reply = cluster.call(leader, Commands(0), cluster.batch(session, Delete(b"none"), Put(b"k", b"v"), Delete(b"none")))
    first, _, last = reply.result
    assert [answer[0] for answer in reply.result] == [Answer.DONE] * 3
    assert [decode_deleted(answer[1:]) for answer in (first, last)] == [Deleted(False, 0), Deleted(False, 1)]
    cluster.settled()
    assert len(cluster.running) == 3


class Bomb:
    """What runs a program as soon as somebody unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


def test_pickle_from_the_network(cluster: VirtualCluster, leader: VirtualNode, session: int, tmp_path: Path) -> None:
    """No pickle is ever read: not as a message, not in one, not as a command; and no module may import it."""
    mark = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(mark))
    codec = Codec(virtual_seams.CLUSTER_ID, "n1", 1)
    for kinds in (PEER_KINDS, REQUEST_KINDS, REPLY_KINDS):
        for frames in ([bomb], [bomb, bomb], [codec.encode(Commands(1))[0], bomb], [*codec.encode(Commands(1)), bomb]):
            with pytest.raises(ProtocolError):
                codec.decode(frames, kinds)
    batches = (bomb, msgspec.msgpack.encode([session, 9, "kv", [bomb]]))
    outcomes = []
    for batch in batches:
        leader.requests.append((CLIENT, Commands(1_000 + len(outcomes)), batch))
        outcomes.append(cluster.answered(1_000 + len(outcomes)))
    assert outcomes[0].outcome == Outcome.INVALID
    assert outcomes[1].result[0][0] == Answer.INVALID
    pickle.loads(bomb)
    assert mark.exists(), "the bomb works"
    mark.rmdir()
    cluster.settled()
    assert not mark.exists()
    assert "pickle" in BANNED_EVERYWHERE


# -- scripts -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guard() -> Iterator[GuardProcess]:
    made = GuardProcess(200)
    yield made
    made.close(0, lambda report: None)


@pytest.mark.processes
def test_a_script_overlapping_the_next_one(guard: GuardProcess, tmp_path: Path) -> None:
    """The next one starts when nothing of the last one is left, though that one, or its child, ignores SIGTERM."""
    notes = tmp_path / "notes"
    notes.touch()
    script = f"trap '' TERM; (trap '' TERM; echo begins >> {notes}; sleep 30; echo late >> {notes}) & wait"
    order = {
        "kind": "run",
        "env": {"PATH": os.environ["PATH"]},
        "cwd": "/",
        "timeout_ms": None,
        "grace_ms": 200,
        "deadline_ms": None,
    }
    reports: list[dict] = []

    def until(kind: str, seq: int) -> dict:
        while (
            found := next((each for each in reports if (each["kind"], each.get("seq")) == (kind, seq)), None)
        ) is None:
            guard.flush()
            reports.extend(guard.receive())
        return found

    guard.tell(order | {"seq": 1, "event": "leader", "argv": ["/bin/sh", "-c", script]})
    until("started", 1)
    while "begins" not in notes.read_text():
        guard.flush()
        reports.extend(guard.receive())
    listing = "for each in /proc/[0-9]*; do tr '\\0' ' ' < $each/cmdline; done 2> /dev/null | grep -c 'late >> [^ ]*notes' || true"
    guard.tell(
        order
        | {"seq": 2, "event": "follower", "argv": ["/bin/sh", "-c", f"{listing} >> {notes}; echo next >> {notes}"]}
    )
    until("ended", 2)
    kinds = [(each["kind"], each["seq"]) for each in reports if each["kind"] in ("started", "ended", "killed")]
    assert kinds.index(("started", 2)) > max(at for at, (_, seq) in enumerate(kinds) if seq == 1)
    assert "late" not in notes.read_text().splitlines()


def test_a_leader_script_that_is_due_twice_in_a_term(cluster: VirtualCluster, leader: VirtualNode) -> None:
    """Whatever the node sees of its own leadership, its script is ordered once in the term."""
    for reason in ("again", "and again"):
        raft = leader.replica.raft
        standing = Standing(raft.role.name, raft.term, raft.leader, True, raft.log.commit_index, reason)
        assert leader.replica._scheduler.observe(standing) == []
    assert leader.guard.told.count("leader") == 1


# -- the monitor -------------------------------------------------------------------------------------------------------


def event(seq: int, kind: str, **data: object) -> Event:
    return Event(1, "c", "n1", "b", seq, 0, 1, None, kind, data)


def test_a_monitor_that_lags() -> None:
    """What happens is passed on as it comes: nothing waits for the next look."""
    feed = Feed(20)
    for seq in range(1, 100):
        (passage,) = feed.live(event(seq, "role", term=seq), now_ms=1_000_000 + seq)
        assert [each.seq for each in passage.events] == [seq]


def test_a_node_that_vanished_from_the_monitor() -> None:
    """One that is down stays in its row, with its age."""
    view = View(["n1", "n2"])
    assert [(row.node, row.state, row.age_ms) for row in view.rows(0)] == [("n1", "down", None), ("n2", "down", None)]
    view.see(event(1, "role", role="leader", term=1, leader="n1"), 0)
    later = DOWN_AFTER_MS + 500
    assert [(row.node, row.state, row.age_ms) for row in view.rows(later)] == [
        ("n1", "down", later),
        ("n2", "down", None),
    ]
