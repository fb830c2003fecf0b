"""The one gate for terms: every message passes it before any role sees it (paper §5.1)."""

from zraft.raft.candidate import PreCandidate
from zraft.raft.leader import Leader
from zraft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    InstallSnapshotResponse,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from zraft.raft.types import NodeId
from zraft.raft.voter import Voter


class TermGate(Voter):
    """The rule for terms (paper §5.1, and figure 2, "all servers")."""

    def comes_from_lost_data(self, source: NodeId, message: Message) -> bool:
        """Whether `source` speaks from another data directory than the one that it is known by; then it is not heard."""
        disk_id = getattr(message, "disk_id", None)
        if disk_id is None or not self.memberships.has_lost_data(source, disk_id):
            return False
        if isinstance(self.role, Leader):
            self.role.roster.data_lost(source)
        return True

    def take_term(self, source: NodeId, message: Message) -> bool:
        """Take a newer term; False when the message ends here instead."""
        match message:
            case PreVote():
                return True  # It asks about a term that nobody has taken; answering changes nothing (thesis §9.6).
            case PreVoteResponse(granted=True):
                if isinstance(self.role, PreCandidate) and message.term == self.term + 1:
                    self.role.step(source, message)
                return False
            case RequestVote() if self.leader_lives() and not message.transfer:
                # Leader stickiness (thesis §4.2.3): whoever hears its leader neither votes nor takes the term.
                self.note("vote_refused", candidate=source, term=message.term, reason="the leader is alive")
                return False
        led = source if isinstance(message, AppendEntries | Heartbeat | InstallSnapshot) else None
        self.become_follower(message.term, led, "higher_term")
        return True

    def answer_outdated(self, source: NodeId, message: Message) -> None:
        """Tell whoever is behind which term it is (paper §5.1); what answers our own past is dropped.

        These refusals promise nothing but the term that they bear, which may not be on the disk yet; all but the one to a pre-vote
        wait for what is under way.
        """
        if not isinstance(message, PreVote | RequestVote | Heartbeat | AppendEntries | InstallSnapshot):
            return
        self.note("outdated_term", source=source, term=message.term, current=self.term)
        disk_id = self.settings.disk_id
        match message:
            case PreVote():
                self.send(source, PreVoteResponse(self.term, False, "its term is over", disk_id))
            case RequestVote():
                self.promise(source, RequestVoteResponse(self.term, False, "its term is over", disk_id))
            case Heartbeat():
                self.promise(source, HeartbeatResponse(self.term, 0, disk_id))
            case InstallSnapshot():
                self.promise(source, InstallSnapshotResponse(self.term, message.snapshot.last, 0, disk_id))
            case AppendEntries():
                refusal = AppendEntriesResponse(self.term, False, message.prev.index, self.log.last, disk_id)
                self.promise(source, refusal)
