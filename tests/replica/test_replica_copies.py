"""A copy of the whole state: as of a moment behind everything acknowledged before, in pieces, whatever happens meanwhile."""

import hashlib

import msgspec
import pytest
from replies import journal
from virtual_cluster import VirtualCluster, VirtualNode

from zraft import copies
from zraft.machines import snapshots
from zraft.machines.kv.commands import Get
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.sessions import Machines
from zraft.raft.messages import Heartbeat
from zraft.requests import From, Outcome, Reply
from zraft.statepieces import CopyState, StatePiece


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PIECE_BYTES_MAX", 100)


def piece_of(reply: Reply) -> StatePiece:
    assert reply.outcome == Outcome.DONE, reply
    return msgspec.convert(reply.result, StatePiece)


def ask(cluster: VirtualCluster, node: VirtualNode, copy: int, offset: int, source: From = From.LEADER) -> Reply:
    return cluster.call(node, CopyState(0, copy, offset, source))


def fetched(cluster: VirtualCluster, node: VirtualNode, copy: int, source: From = From.LEADER) -> list[StatePiece]:
    """Fetch a copy; each piece is asked for twice, as if its first answer had been lost."""
    pieces: list[StatePiece] = []
    offset = 0
    while not pieces or pieces[-1].sha256 is None:
        pieces.append(piece_of(ask(cluster, node, copy, offset, source)))
        assert piece_of(ask(cluster, node, copy, offset, source)) == pieces[-1]
        offset += len(pieces[-1].data)
    return pieces


def restored(pieces: list[StatePiece]) -> tuple[Machines, KeyValueStore]:
    stream = b"".join(piece.data for piece in pieces)
    assert hashlib.sha256(stream).digest() == pieces[-1].sha256
    store = KeyValueStore()
    machines = Machines({"kv": store})
    machines.restore([stream])
    return machines, store


def fill(cluster: VirtualCluster, leader: VirtualNode, session: int, count: int, *, value: bytes = b"v" * 40) -> None:
    for number in range(count):
        assert cluster.answered(cluster.put(leader, session, b"key %d" % number, value)).outcome == Outcome.DONE


def test_a_copy_is_what_the_state_was_whatever_is_applied_meanwhile(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    fill(cluster, leader, session, 12)
    before = leader.machines.index
    first = piece_of(ask(cluster, leader, 7, 0))
    fill(cluster, leader, session, 12, value=b"another")
    pieces = [first]
    while pieces[-1].sha256 is None:
        pieces.append(piece_of(ask(cluster, leader, 7, pieces[-1].offset + len(pieces[-1].data))))
    machines, store = restored(pieces)
    assert len(pieces) > 5
    assert {(piece.node, piece.last, piece.time_ms) for piece in pieces} == {(leader.id, first.last, first.time_ms)}
    assert (machines.term, machines.index) == first.last
    assert first.last.index == before
    assert store.query(msgspec.msgpack.encode(Get(b"key 3"))) != leader.machines.store.query(
        msgspec.msgpack.encode(Get(b"key 3"))
    )
    assert store.revision == 12


@pytest.mark.parametrize("source", [From.LEADER, From.ANY])
def test_everything_acknowledged_before_is_in_it_whoever_gives_it(
    cluster: VirtualCluster, leader: VirtualNode, session: int, source: From
) -> None:
    node = leader if source == From.LEADER else next(each for each in cluster.running if each is not leader)
    for number in range(4):
        fill(cluster, leader, session, number + 1)
        _, store = restored(fetched(cluster, node, number, source))
        assert store.revision == leader.machines.store.revision


def test_a_leader_that_was_replaced_without_knowing_gives_none(cluster: VirtualCluster, leader: VirtualNode) -> None:
    cluster.isolate(leader.id)
    asked = cluster.ask(leader, CopyState(0, 1))
    cluster.run(200)
    assert cluster.answer(asked) is None
    reply = cluster.answered(asked)
    assert (reply.outcome, reply.message) == (Outcome.REFUSED, "leadership moved")
    assert leader.replica.serving.count == 0


def test_a_follower_gives_none_unless_it_may(cluster: VirtualCluster, leader: VirtualNode) -> None:
    follower = next(node for node in cluster.running if node is not leader)
    reply = ask(cluster, follower, 1, 0)
    assert (reply.outcome, reply.leader) == (Outcome.REFUSED, leader.id)
    cluster.isolate(follower.id)
    asked = cluster.ask(follower, CopyState(0, 1, 0, From.ANY))
    assert cluster.answered(asked).outcome == Outcome.REFUSED


def test_it_begins_once_the_index_is_applied() -> None:
    """A node alone confirms a read at once, while what it must see is committed and not applied: that comes bit by bit."""
    cluster = VirtualCluster(1).start()
    leader = cluster.settled()
    session = cluster.open_session(leader)
    for number in range(20):
        cluster.put(leader, session, b"k%d" % number, bytes(100_000))
    cluster.until(lambda: leader.replica.busy, "more is committed than one turn applies")
    wanted = leader.replica.raft.log.commit_index
    assert leader.replica.raft.log.last_applied < wanted
    leader.effects.clear()
    asked = cluster.ask(leader, CopyState(0, 1))
    leader.turn()
    assert cluster.answer(asked) is None
    assert piece_of(cluster.answered(asked)).last.index >= wanted
    assert f"apply {wanted}" in journal(leader, asked)


def test_a_copy_goes_forwards_only(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    fill(cluster, leader, session, 12)
    for offset in (0, 100, 200):
        assert piece_of(ask(cluster, leader, 1, offset)).offset == offset
    for copy, offset, why in (
        (1, 100, "copy 1 of the state goes forwards: it is at 200, not at 100; begin anew"),
        (1, 400, "it is at 200, not at 400"),
        (2, 100, "this node has no copy 2 of the state; begin anew"),
    ):
        reply = ask(cluster, leader, copy, offset)
        assert reply.outcome == Outcome.INVALID
        assert why in reply.message
    assert piece_of(ask(cluster, leader, 1, 300)).offset == 300, "it has not suffered from that"


def test_nothing_comes_behind_the_last_piece(cluster: VirtualCluster, leader: VirtualNode) -> None:
    last = fetched(cluster, leader, 1)[-1]
    assert ask(cluster, leader, 1, last.offset + len(last.data)).outcome == Outcome.INVALID


def test_copies_that_nobody_asks_for_are_dropped_and_make_room(cluster: VirtualCluster, leader: VirtualNode) -> None:
    for copy in range(copies.COPIES_MAX):
        piece_of(ask(cluster, leader, copy, 0))
    reply = ask(cluster, leader, 99, 0)
    assert (reply.outcome, "busy: 4 copies" in reply.message) == (Outcome.REFUSED, True)
    cluster.run(copies.IDLE_MS_MAX * 0.75)
    assert piece_of(ask(cluster, leader, 0, 0)).offset == 0
    cluster.run(copies.IDLE_MS_MAX * 0.5)
    assert [ask(cluster, leader, copy, 100).outcome for copy in (0, 1)] == [Outcome.DONE, Outcome.INVALID]
    assert piece_of(ask(cluster, leader, 99, 0)).offset == 0


def test_the_same_copy_asked_for_twice_before_it_begins_begins_once(
    cluster: VirtualCluster, leader: VirtualNode
) -> None:
    first = cluster.ask(leader, CopyState(0, 5))
    second = cluster.ask(leader, CopyState(0, 5))
    assert cluster.answered(second).outcome == Outcome.REFUSED
    assert piece_of(cluster.answered(first)).offset == 0
    assert len(leader.replica.serving._copies._copies) == 1


def test_a_copy_goes_on_when_its_node_leads_no_more(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    fill(cluster, leader, session, 12)
    first = piece_of(ask(cluster, leader, 1, 0))
    cluster.isolate(leader.id)
    cluster.led(other_than=leader.id)
    second = piece_of(ask(cluster, leader, 1, len(first.data)))
    assert second.last == first.last


def test_the_wait_for_a_moment_is_a_round_that_began_after_the_question(
    cluster: VirtualCluster, leader: VirtualNode
) -> None:
    leader.effects.clear()
    asked = cluster.ask(leader, CopyState(0, 1))
    cluster.answered(asked)
    sent = [effect for effect in leader.effects if effect[0] == "send" and isinstance(effect[2], Heartbeat)]
    assert sent, "no heartbeat round was started for it"


class Stubborn(KeyValueStore):
    """Tells half of its state."""

    def snapshot(self):
        yield b"half"
        raise OSError("the other half")


def test_a_machine_that_cannot_tell_its_state_ends_the_copy_and_not_the_node() -> None:
    cluster = VirtualCluster(3, mount=lambda: {"zz": Stubborn()}).start()
    leader = cluster.settled()
    reply = ask(cluster, leader, 1, 0)
    while reply.outcome == Outcome.DONE:
        reply = ask(cluster, leader, 1, piece_of(reply).offset + len(piece_of(reply).data))
    assert reply.outcome == Outcome.INVALID
    assert "a machine failed at telling its state: OSError: the other half" in reply.message
    assert cluster.answered(cluster.put(leader, cluster.open_session(leader), b"k")).outcome == Outcome.DONE
