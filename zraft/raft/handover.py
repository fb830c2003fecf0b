"""Leadership given away on purpose (thesis §3.10): because somebody asks for it, prefers another node, or the disk stalls.

The leader takes no proposals meanwhile, waits until its successor has everything, and tells it to stand at once. The
attempt ends with an election timeout, whatever has come of it.
"""

import msgspec

from zraft.raft.messages import TimeoutNow
from zraft.raft.roster import Roster
from zraft.raft.state import State
from zraft.raft.types import Cause, NodeId

PREFERENCE_TIMEOUTS = 2
"""For how many election timeouts a preferred node must have had everything before leadership is handed to it."""
PREFERENCE_DOUBLINGS = 6
"""How often that time is doubled at most, once for each attempt in vain."""


class Transfer(msgspec.Struct):
    """Leadership on its way to another node."""

    target: NodeId
    deadline: float
    """When to give up: an election timeout after it was asked for."""
    told: bool = False
    """TimeoutNow has been sent."""


class Handover:
    """When a leader gives its leadership away, and to whom.

    Parameters
    ----------
    state, roster
        The leader's.
    """

    def __init__(self, state: State, roster: Roster) -> None:
        self._state = state
        self._roster = roster
        self.transfer: Transfer | None = None
        """Under way; proposals are held back meanwhile."""
        self._for_disk = False
        """The disk stalls, and a transfer was begun for that."""
        self._preferred_since = state.now
        """Since when a node that should rather lead could take over."""

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        return self.transfer.deadline if self.transfer else self._stalled_at

    @property
    def _stalled_at(self) -> float:
        return self._state.writing_since + self._state.settings.disk_stall_ms

    def begin(self, target: NodeId) -> bool:
        """Let `target` take over as soon as it has everything; False when another has been told to stand.

        A transfer under way keeps its end, whoever is to be its target now: else proposals could be held back for ever. One whose
        target was told goes on: that one may stand at any moment, and only the end of its transfer keeps it from deposing us.
        """
        under_way = self.transfer
        if under_way is not None and (under_way.told or under_way.target == target):
            return under_way.target == target
        timeout = self._state.settings.election_timeout_upper_ms
        self.transfer = Transfer(target, under_way.deadline if under_way else self._state.now + timeout)
        self.advanced(target)
        return True

    def advanced(self, peer: NodeId) -> None:
        """See whether the successor, if `peer` is that, has everything now; then tell it to stand."""
        transfer = self.transfer
        if transfer is None or transfer.target != peer or transfer.told or not self._has_all(peer):
            return
        transfer.told = True
        self._state.note("transfer", target=peer, done=True)
        self._state.send(peer, TimeoutNow(self._state.term))

    def successors(self) -> list[NodeId]:
        """Return the other voters that may lead and answer, the one whose log reaches furthest first."""
        progress = self._roster.progress
        able = [peer for peer in progress if not self.why_not(peer)]
        return sorted(able, key=lambda peer: progress[peer].match_index, reverse=True)

    def why_not(self, target: NodeId) -> str:
        """Say why `target` can't take over; empty when it can."""
        roster = self._roster
        if target == self._state.id:
            return f"{target} leads already"
        if target not in roster.current.voters:
            return f"{target} has no vote; the voters are {', '.join(roster.current.voters)}"
        if not roster.counts(target):
            return f"{target} has lost its data, or was never met"
        if not roster.progress[target].priority:
            return f"{target} has priority 0: it votes, and does not lead"
        return "" if roster.answers(target) else f"{target} does not answer"

    def tick(self) -> bool:
        """Do what is due; False when this node leads no more."""
        state = self._state
        if self.transfer and state.now >= self.transfer.deadline and not self._abort():
            return False
        if state.now < self._stalled_at:
            self._for_disk = False
        elif self.transfer is None and not self._give_up():
            return False
        self._prefer()
        return True

    def leave(self) -> None:
        """Step down, having committed a membership without ourselves (paper §6); somebody who has it all may begin at once."""
        successor = next((peer for peer in self.successors() if self._has_all(peer)), None)
        if successor is not None:
            self._state.send(successor, TimeoutNow(self._state.term))
        self._state.become_follower(self._state.term, None, "removed")

    def _abort(self) -> bool:
        state, transfer = self._state, self.transfer
        assert transfer is not None, "nothing to abort"
        state.note("transfer", target=transfer.target, done=False)
        self.transfer = None
        if transfer.told:
            # Our order to stand may still be on its way, and would depose us whenever it arrives. In the next term it is
            # void; and if the target had the votes after all, that term is its own.
            state.become_candidate(Cause.TRANSFER, state.now)
        return not transfer.told

    def _give_up(self) -> bool:
        """Hand over since the disk stalls, once; step down if that does not help, or nobody can take over."""
        # Our heartbeats would go on for ever, and nothing that our own disk must do would ever be done.
        able = self.successors()
        if self._for_disk or not able:
            self._state.become_follower(self._state.term, None, "disk_stalled")
            return False
        self._for_disk = True
        self._state.note("disk_stalled", target=able[0])
        self.begin(able[0])
        return True

    def _prefer(self) -> None:
        """Hand over to a node of higher priority that has had everything for a while, so that leadership does not flap."""
        state, best = self._state, self._preferred()
        if best is None or self.transfer is not None:
            self._preferred_since = state.now
            return
        in_vain = state.preferred_in_vain.get(best, 0)
        patience = PREFERENCE_TIMEOUTS << in_vain if state.settings.priority or in_vain else 0
        if state.now - self._preferred_since >= patience * state.settings.election_timeout_upper_ms:
            # It may hear us, and be heard by too few others to be elected: each attempt costs a moment without a leader, so
            # the next one waits for twice as long, until that node has led.
            state.preferred_in_vain[best] = min(in_vain + 1, PREFERENCE_DOUBLINGS)
            self._preferred_since = state.now
            self.begin(best)

    def _preferred(self) -> NodeId | None:
        progress, committed = self._roster.progress, self._state.log.commit_index
        able = [peer for peer in self.successors() if progress[peer].match_index >= committed]
        best = max(able, key=lambda peer: progress[peer].priority, default=None)
        above = best is not None and progress[best].priority > self._state.settings.priority
        return best if above else None

    def _has_all(self, peer: NodeId) -> bool:
        return self._roster.progress[peer].match_index == self._state.log.last_index
