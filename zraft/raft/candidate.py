"""The candidate, and the pre-candidate that first asks whether it would win (paper §5.2, thesis §9.6)."""

from typing import Any

import msgspec

from zraft.raft import quorum
from zraft.raft.messages import (
    AppendEntries,
    Heartbeat,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from zraft.raft.quorum import Tally
from zraft.raft.state import State
from zraft.raft.types import Ballot, Cause, NodeId, Role


class _Campaign:
    """What both have in common: votes to count, and an election timeout within which to win."""

    leader: NodeId | None = None
    """Nobody leads, as far as a candidate knows."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.votes: dict[NodeId, bool] = {}
        """The answers so far."""
        self.disk_ids: dict[NodeId, str] = {}
        """The data directory under which each voter answered."""
        self.timer_from = state.now
        """When this attempt began."""
        self.timeout_ms = state.draw_election_timeout()

    @property
    def deadline(self) -> float:
        """When to ask anew."""
        return self.timer_from + self.timeout_ms

    def flush(self) -> None:
        """Nothing: it asked when it began."""

    def tick(self) -> None:
        """Begin anew when nobody has won within the timeout: a split vote (paper §5.2)."""
        if self.state.now >= self.deadline:
            self.state.become_pre_candidate()

    def _follow_if_led(self, source: NodeId, message: Message) -> bool:
        # Paper §5.2: somebody else has established itself as leader of this term.
        if not isinstance(message, AppendEntries | Heartbeat | InstallSnapshot):
            return False
        self.state.become_follower(self.state.term, source, "election")
        self.state.role.step(source, message)
        return True


class PreCandidate(_Campaign):
    """Asks who would vote for it, without taking a term: so whoever was cut off deposes nobody on its return."""

    name = Role.PRE_CANDIDATE

    def ask(self) -> None:
        """Ask everybody, its own answer being yes; `quorum.tally` counts those of voters alone.

        Learners are asked as well: by another membership, of which this node has not heard, they may be voters.
        """
        state = self.state
        self.votes[state.id] = True
        state.note("pre_vote_requested", term=state.term + 1)
        disk_ids = state.memberships.current.disk_ids
        for peer in state.peers:
            known = disk_ids.get(peer)
            state.send(peer, PreVote(state.term + 1, state.log.last, state.settings.disk_id, known))
        self._count()

    def step(self, source: NodeId, message: Message) -> None:
        """Count an answer, or give way to a leader."""
        if self._follow_if_led(source, message) or not isinstance(message, PreVoteResponse):
            return
        if message.granted and message.term != self.state.term + 1:
            return  # Says yes to an earlier question of ours, about the term that has come since.
        self.votes[source] = message.granted
        self._count()

    def _count(self) -> None:
        if quorum.tally(self.votes, self.state.memberships.current) is Tally.WON:
            self.state.become_candidate(Cause.TIMEOUT, self.timer_from)


class Candidate(_Campaign):
    """Has taken a new term, votes for itself, and asks the others (paper §5.2)."""

    name = Role.CANDIDATE

    def __init__(self, state: State, cause: Cause, began: float) -> None:
        super().__init__(state)
        self.cause = cause
        """Why it stands."""
        self.began = began
        """When the candidacy began, its pre-vote included."""

    def ask(self) -> None:
        """Ask everybody, as with a pre-vote; the question itself waits until our own vote is durable, like any vote."""
        state = self.state
        transfer = self.cause is Cause.TRANSFER
        state.note("vote_requested", term=state.term, transfer=transfer)
        disk_ids = state.memberships.current.disk_ids
        for peer in state.peers:
            known = disk_ids.get(peer)
            question = RequestVote(state.term, state.log.last, transfer, state.settings.disk_id, known)
            state.promise(peer, question)

    def own_vote_durable(self) -> None:
        """Count our own vote; it is as good as anybody's only now that a crash can't undo it."""
        self.votes[self.state.id] = True
        self.disk_ids[self.state.id] = self.state.settings.disk_id
        self._count()

    def step(self, source: NodeId, message: Message) -> None:
        """Count an answer, or give way to a leader."""
        if not self._follow_if_led(source, message) and isinstance(message, RequestVoteResponse):
            self.votes[source] = message.granted
            self.disk_ids[source] = message.disk_id
            self._count()

    def _count(self) -> None:
        state = self.state
        if state.id not in self.votes:
            return  # Nobody won without its own vote, and ours does not count before it is durable.
        match quorum.tally(self.votes, state.memberships.current):
            case Tally.WON:
                ballot = self._ballot()
                state.note("majority_won", term=state.term, **_counted(ballot))
                state.become_leader(ballot, self.disk_ids)
            case Tally.LOST:
                state.become_follower(state.term, None, "election")

    def lost(self, outcome: str) -> None:
        """Tell people how the candidacy ended without a win; while the node is still in its term."""
        self.state.note("candidacy_lost", term=self.state.term, outcome=outcome, **_counted(self._ballot()))

    def _ballot(self) -> Ballot:
        state = self.state
        current = state.memberships.current
        expected = tuple(dict.fromkeys((*current.voters, *current.outgoing)))
        return Ballot(
            leader=state.id,
            votes_for=tuple(sorted(voter for voter in expected if self.votes.get(voter) is True)),
            votes_against=tuple(sorted(voter for voter in expected if self.votes.get(voter) is False)),
            expected=expected,
            cause=self.cause,
            duration_ms=int(state.now - self.began),
            wall_ms=int(state.settings.wall_ms_at_zero + state.now),
        )


def _counted(ballot: Ballot) -> dict[str, Any]:
    told = msgspec.structs.asdict(ballot)
    del told["leader"], told["wall_ms"]  # Whoever publishes the note knows both.
    return told
