"""The ballot in a leader's no-op says how it was elected; a candidacy that is lost is told to people."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from raft_rig import Packet, Rig

from zraft.raft import membership
from zraft.raft.leader import Leader
from zraft.raft.messages import Heartbeat, PreVoteResponse, RequestVote, RequestVoteResponse
from zraft.raft.types import Ballot, Cause, Entry, EntryKind, Membership

WALL_MS = 1_700_000_000_000
ALL = ("n1", "n2", "n3")


class Told(Rig):
    """A rig that keeps every note, and holds back the messages that it is told to."""

    def __init__(self, count: int = 3, *, start: bool = True) -> None:
        super().__init__(count, wall_ms_at_zero=WALL_MS)
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.held: Callable[[Packet], bool] = lambda _: False
        for id in self.ids if start else ():
            self.start(id)

    def arriving(self) -> list[Packet]:
        return [packet for packet in super().arriving() if not self.held(packet)]

    def _tell_note(self, raft: Any, note: Any) -> None:
        self.notes.append((note.kind, note.data))
        super()._tell_note(raft, note)

    def hold(self, *kinds: type, by: str | None = None) -> None:
        self.held = lambda packet: isinstance(packet.message, kinds) and by in (None, packet.source)
        self.stabilize()

    def release(self) -> None:
        self.held = lambda _: False
        self.stabilize()

    @property
    def ballot(self) -> Ballot:
        """What the newest leader's no-op says."""
        leader = self.leaders[-1]
        assert isinstance(leader.role, Leader)
        own = leader.log.slice(leader.role.first_own_index, leader.log.last_index, 1 << 62)
        (noop,) = (entry for entry in own if entry.kind == EntryKind.NOOP)
        assert noop.term == leader.term
        return msgspec.msgpack.decode(noop.data, type=Ballot)

    @property
    def lost(self) -> list[dict[str, Any]]:
        """The candidacies that were told to be lost."""
        return [data for kind, data in self.notes if kind == "candidacy_lost"]


def lost(term: int, outcome: str, votes_for: tuple[str, ...], votes_against: tuple[str, ...], ms: int = 0) -> Any:
    return {
        "term": term,
        "outcome": outcome,
        "votes_for": votes_for,
        "votes_against": votes_against,
        "expected": ALL,
        "cause": "timeout",
        "duration_ms": ms,
    }


def test_a_ballot_by_timeout_counts_from_the_pre_vote_and_bears_wall_time() -> None:
    rig = Told()
    rig.now = 100
    rig.campaign("n1")
    rig.hold(PreVoteResponse)
    rig.now += 30
    rig.hold(RequestVoteResponse)
    rig.now += 7
    rig.release()
    assert rig.ballot == Ballot("n1", ("n1", "n2"), (), ALL, Cause.TIMEOUT, 37, WALL_MS + 137)
    assert rig.lost == []


def test_a_ballot_names_who_said_no() -> None:
    rig = Told(5, start=False)
    for id in rig.ids:
        if id in ("n4", "n5"):
            rig.disks[id].entries.append(Entry(0, 1, EntryKind.TICK, 0, b""))  # Their logs are longer: they refuse.
        rig.start(id)
    rig.campaign("n1")
    rig.held = lambda packet: isinstance(packet.message, RequestVoteResponse) and packet.message.granted
    rig.stabilize()
    rig.release()
    assert rig.ballot.leader == "n1"
    assert rig.ballot.votes_for == ("n1", "n2", "n3")
    assert rig.ballot.votes_against == ("n4", "n5")
    assert rig.ballot.expected == tuple(rig.ids)


def test_a_ballot_by_transfer_has_no_pre_vote_to_count() -> None:
    rig = Told()
    rig.campaign("n1")
    rig.stabilize()
    rig.now += 5
    rig.transfer("n1", "n3")
    rig.hold(RequestVote)
    rig.now += 4
    rig.release()
    assert rig.ballot == Ballot("n3", ("n1", "n3"), (), ALL, Cause.TRANSFER, 4, WALL_MS + 9)


def test_a_node_alone_elects_itself() -> None:
    rig = Told(1)
    rig.campaign("n1")
    rig.stabilize()
    assert rig.ballot == Ballot("n1", ("n1",), (), ("n1",), Cause.TIMEOUT, 0, WALL_MS)


def test_a_candidacy_is_lost_when_nobody_answers_in_time() -> None:
    rig = Told()
    rig.campaign("n1")
    rig.hold(RequestVoteResponse)
    rig.now = rig.rafts["n1"].deadline
    rig.tick("n1")
    assert rig.lost == [lost(1, "timeout", ("n1",), (), int(rig.now))]


def stand_both(rig: Told) -> None:
    """Let n1 and n2 stand in one term; their questions are under way."""
    rig.held = lambda packet: isinstance(packet.message, RequestVote)
    rig.campaign("n1")
    rig.campaign("n2")
    rig.stabilize()


def test_a_candidacy_is_lost_to_a_majority_that_refuses() -> None:
    rig = Told()
    stand_both(rig)
    rig.cut = {("n2", "n1")}  # Of n2's victory n1 shall hear nothing, but for its vote.
    rig.hold(RequestVote, by="n1")
    rig.cut.clear()
    rig.release()
    assert rig.lost == [lost(1, "refused", ("n1",), ("n2", "n3"))]


def test_a_candidacy_is_lost_to_another_who_leads_the_term() -> None:
    rig = Told()
    stand_both(rig)
    rig.hold(RequestVote, by="n1")
    assert rig.lost == [lost(1, "another_leads", ("n1",), ())]
    assert rig.ballot.leader == "n2"


def test_a_candidacy_is_lost_to_a_higher_term() -> None:
    rig = Told()
    rig.campaign("n1")
    rig.hold(RequestVoteResponse)
    rig.rafts["n1"].step("n2", Heartbeat(7, 0, 1), rig.now)
    rig.turn("n1")
    assert rig.lost == [lost(1, "higher_term", ("n1",), ())]


def test_a_candidacy_whose_own_vote_is_not_durable_has_none() -> None:
    rig = Told()
    rig.disks["n1"].held = True
    rig.campaign("n1")
    rig.stabilize()
    rig.rafts["n1"].step("n2", Heartbeat(7, 0, 1), rig.now)
    rig.turn("n1")
    assert rig.lost == [lost(1, "higher_term", (), ())]


@pytest.mark.parametrize(
    ("outgoing", "learners", "expected"), [((), ("n3",), ("n2", "n1")), (("n3", "n1"), (), ("n2", "n1", "n3"))]
)
def test_everybody_with_a_vote_is_expected_and_no_learner(
    outgoing: tuple[str, ...], learners: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    rig = Told(start=False)
    members = Membership(("n2", "n1"), outgoing, learners, rig.bootstrap.disk_ids)
    for id in rig.ids:
        rig.disks[id].entries.append(Entry(0, 1, EntryKind.MEMBERSHIP, 0, membership.encode(members)))
        rig.start(id)
    rig.campaign("n1")
    rig.stabilize()
    assert rig.ballot.expected == expected
    assert rig.ballot.votes_for == tuple(sorted(expected))
