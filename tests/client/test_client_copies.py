"""The state fetched piece by piece from fake nodes that answer late, twice, wrongly, and die."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from fake_cluster import SERVE, SWALLOW, FakeCluster

from zraft import requests
from zraft.client import copies
from zraft.client.copies import CopyLost, copy_state
from zraft.errors import ConfigError, InvalidRequest, Unavailable
from zraft.raft.types import EntryId, Membership
from zraft.requests import Outcome, Reply
from zraft.statepieces import CopyState, StatePiece

PIECES = [bytes([number]) * 50 for number in range(1, 6)]
WHOLE = b"".join(PIECES)
MEMBERSHIP = Membership(("n1", "n2", "n3"))


def piece(offset: int, *, node: str = "n1", sha256: bytes | None = None) -> Reply:
    number = offset // 50
    digest = (sha256 or hashlib.sha256(WHOLE).digest()) if number == len(PIECES) - 1 else None
    told = StatePiece(node, EntryId(2, 7), 9, MEMBERSHIP, offset, PIECES[number], digest)
    return Reply(0, Outcome.DONE, msgspec.to_builtins(told, builtin_types=(bytes,)))


class Giver:
    """Gives the pieces that it is asked for; but at some questions, counted from 0, what `faults` says instead."""

    def __init__(self, cluster: FakeCluster, faults: dict[int, Any] | None = None) -> None:
        self.cluster = cluster
        self.faults = faults or {}
        self.asked: list[CopyState] = []
        cluster.behaviour = self

    def __call__(self, name: str, request: Any, batch: requests.Batch | None) -> str | Reply:
        if not isinstance(request, CopyState):
            return SERVE
        self.asked.append(request)
        fault = self.faults.get(len(self.asked) - 1)
        if callable(fault):
            return fault(request)
        return piece(request.offset, node=name) if fault is None else fault

    @property
    def begun(self) -> int:
        """How many copies there were."""
        return len({request.copy for request in self.asked})


def joined(arriving: Iterator[StatePiece]) -> StatePiece:
    """Collect a whole copy, as a command writes it to a file."""
    parts = []
    for each in arriving:
        parts.append(each.data)
        last = each
    assert b"".join(parts) == WHOLE, "the pieces that came are not those that were sent"
    return last


@pytest.fixture
def fetch(cluster: FakeCluster, brisk: None) -> Callable[..., StatePiece]:
    cluster.start()

    def call(*, node: str | None = None, timeout_s: float = 5.0) -> StatePiece:
        return copy_state(cluster.config, joined, node=node, timeout_s=timeout_s)

    return call


def test_all_pieces_come_in_order_from_whoever_leads(cluster: FakeCluster, fetch: Callable[..., StatePiece]) -> None:
    for leader in cluster.nodes:
        cluster.leader = leader
        giver = Giver(cluster)
        last = fetch()
        assert (last.node, last.last, last.offset) == (leader, EntryId(2, 7), 200)
        assert [request.offset for request in giver.asked] == [0, 50, 100, 150, 200]
        assert {request.source for request in giver.asked} == {requests.From.LEADER}
        others = [
            seen for seen in cluster.of(CopyState) if seen.node != leader and seen.request.copy == giver.asked[0].copy
        ]
        assert {seen.request.offset for seen in others} <= {0}, "only the leader is asked for what follows"


def test_one_node_alone_is_asked_when_it_is_named(cluster: FakeCluster, fetch: Callable[..., StatePiece]) -> None:
    giver = Giver(cluster)
    assert fetch(node="n1").node == "n1"
    assert {seen.node for seen in cluster.of(CopyState)} == {"n1"}
    assert {request.source for request in giver.asked} == {requests.From.ANY}
    with pytest.raises(ConfigError, match="n9: no such node"):
        fetch(node="n9")


@pytest.mark.parametrize("question", [0, 2, 4])
def test_a_piece_whose_answer_is_lost_is_asked_for_again(
    cluster: FakeCluster, fetch: Callable[..., StatePiece], question: int
) -> None:
    giver = Giver(cluster, {question: SWALLOW})
    fetch()
    assert giver.begun == 1
    offsets = [request.offset for request in giver.asked]
    assert offsets == sorted([0, 50, 100, 150, 200, question * 50])


@pytest.mark.parametrize(
    "fault",
    [
        Reply(0, Outcome.INVALID, None, None, "this node has no copy 7 of the state; begin anew"),
        lambda request: piece(0 if request.offset else 50),
        lambda request: piece((request.offset + 50) % 250),
    ],
)
def test_a_copy_that_is_lost_is_begun_anew(cluster: FakeCluster, fetch: Callable[..., StatePiece], fault: Any) -> None:
    giver = Giver(cluster, {2: fault})
    fetch()
    assert giver.begun == 2


def test_a_wrong_checksum_is_noticed_and_the_copy_begun_anew(
    cluster: FakeCluster, fetch: Callable[..., StatePiece]
) -> None:
    giver = Giver(cluster, {4: piece(200, sha256=b"x" * 32)})
    fetch()
    assert giver.begun == 2


def test_the_next_leader_gives_it_when_the_first_dies_on_the_way(
    cluster: FakeCluster, fetch: Callable[..., StatePiece]
) -> None:
    def dies(request: CopyState) -> str:
        cluster.leader = "n2"
        return SWALLOW

    Giver(cluster, {2: dies})
    assert fetch(timeout_s=1.0).node == "n2"


def test_a_copy_that_is_lost_again_and_again_is_given_up(
    cluster: FakeCluster, fetch: Callable[..., StatePiece]
) -> None:
    giver = Giver(cluster)
    giver.faults = {number: Reply(0, Outcome.INVALID, None, None, "gone") for number in range(1, 40, 2)}
    with pytest.raises(CopyLost, match="gone"):
        fetch()
    assert giver.begun == copies.ATTEMPTS_MAX


def test_a_machine_that_cannot_tell_its_state_ends_it_at_once(
    cluster: FakeCluster, fetch: Callable[..., StatePiece]
) -> None:
    giver = Giver(cluster, {0: Reply(0, Outcome.INVALID, None, None, "a machine failed at telling its state")})
    with pytest.raises(InvalidRequest, match="a machine failed"):
        fetch()
    assert giver.begun == 1


def test_without_a_leader_it_is_unavailable(cluster: FakeCluster, fetch: Callable[..., StatePiece]) -> None:
    cluster.leader = "nobody"
    with pytest.raises(Unavailable, match="no node served it in time"):
        fetch(timeout_s=0.3)


def test_an_answer_to_an_earlier_question_is_not_taken_for_one_to_this(
    cluster: FakeCluster, fetch: Callable[..., StatePiece]
) -> None:
    """The leader is so late once that the same piece is asked for twice, and comes twice."""
    node = cluster.nodes["n1"]
    giver = Giver(cluster)
    came: list[int] = []

    def wakes() -> None:
        cluster.wait_for(lambda: len(node.kept) >= 2)
        node.hold = False

    def written(arriving: Iterator[StatePiece]) -> StatePiece:
        for each in arriving:
            came.append(each.offset)
            if each.offset == 0:
                node.hold = True
                sleeper.start()
            last = each
        return last

    sleeper = threading.Thread(target=wakes)
    copy_state(cluster.config, written, node=None, timeout_s=5.0)
    sleeper.join()
    assert came == [0, 50, 100, 150, 200]
    assert [request.offset for request in giver.asked].count(50) >= 2
    assert giver.begun == 1
