"""The voter: what a node of any role answers to whoever asks for its vote (paper §5.2, §5.4.1, thesis §9.6)."""

from zraft.raft.follower import Follower
from zraft.raft.leader import Leader
from zraft.raft.messages import PreVote, PreVoteResponse, RequestVote, RequestVoteResponse
from zraft.raft.state import State
from zraft.raft.types import NodeId


class Voter(State):
    """A node that has a vote to give; `core.Raft` asks it for its answers."""

    def leader_lives(self) -> bool:
        """Whether this node leads, or has heard its leader within the shortest election timeout (thesis §4.2.3)."""
        if isinstance(self.role, Leader):
            return True
        heard_at = self.role.heard_at if isinstance(self.role, Follower) else float("-inf")
        return self.now < heard_at + self.settings.election_timeout_lower_ms

    def answer_pre_vote(self, source: NodeId, message: PreVote) -> None:
        """Say whether the vote would be granted; changes nothing here, neither term nor timer (thesis §9.6)."""
        reason = self.may_vote_for(message.last, message.registered_as)
        if message.term <= self.term:
            reason = "its term is over"
        elif self.leader_lives():
            reason = "the leader is alive"
        if reason:
            self.note("vote_refused", candidate=source, term=message.term, reason=reason, pre=True)
        term = self.term if reason else message.term
        self.send(source, PreVoteResponse(term, not reason, reason, self.settings.disk_id))

    def answer_vote(self, source: NodeId, message: RequestVote) -> None:
        """Grant the term's one vote, first come, first served, to a log at least as up-to-date (paper §5.2, §5.4.1)."""
        reason = self.may_vote_for(message.last, message.registered_as)
        if self.voted_for not in (None, source):
            reason = f"voted for {self.voted_for}"
        if reason:
            self.note("vote_refused", candidate=source, term=message.term, reason=reason)
        else:
            self.voted_for = source
            self.note("vote_granted", candidate=source, term=message.term)
            if isinstance(self.role, Follower):
                self.role.granted_vote()
            else:
                self.become_follower(self.term, None, "election")  # A pre-candidate gives way to one that got further.
        self.promise(source, RequestVoteResponse(self.term, not reason, reason, self.settings.disk_id))
