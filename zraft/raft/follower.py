"""The follower: takes what its leader sends, and waits for it to fall silent (paper §5.2, §5.3)."""

from math import inf

from zraft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    InstallSnapshotResponse,
    Message,
    ReadIndex,
    ReadIndexResponse,
    TimeoutNow,
)
from zraft.raft.reads import ForwardedReads
from zraft.raft.ready import ReadReady
from zraft.raft.state import State
from zraft.raft.types import Cause, EntryId, NodeId, Role, Snapshot


class Follower:
    """Follows `leader`, or waits for one to appear.

    A learner is a follower that does not stand, unless the change that took its vote may still be undone.
    """

    def __init__(self, state: State, leader: NodeId | None) -> None:
        self.state = state
        self.leader = leader
        """Who leads this term; None until it is heard from."""
        if leader is not None:
            state.preferred_in_vain.pop(leader, None)  # It can be elected after all.
        self.heard_at = state.now if leader else -inf
        """When the leader was last heard from; what leader stickiness looks at."""
        self.timer_from = state.now
        """When the election timer was last reset: by a newer term, by the leader, or by granting a vote (paper §5.2)."""
        self.timeout_ms = state.draw_election_timeout()
        self.reads = ForwardedReads(state.random)
        """Reads that this node will answer once its leader has confirmed them."""

    @property
    def name(self) -> Role:
        """Follower or learner."""
        return Role.FOLLOWER if self.state.is_voter else Role.LEARNER

    @property
    def deadline(self) -> float:
        """When to stand for election; never, for whoever may not."""
        return min(self._election_at, self._ask_again_at)

    @property
    def _election_at(self) -> float:
        return self.timer_from + self.timeout_ms if self.state.may_stand else inf

    @property
    def _ask_again_at(self) -> float:
        asked_at = self.reads.asked_at
        return inf if asked_at is None else asked_at + self.state.settings.heartbeat_interval_ms

    def tick(self) -> None:
        """Start an election when the leader has been silent for the whole timeout (paper §5.2); else ask once more."""
        if self.state.now >= self._election_at:
            self.state.become_pre_candidate()
        elif self.state.now >= self._ask_again_at:
            self._ask()  # Question or answer may be lost, or just be slow.

    def read(self, context: int) -> None:
        """Take a linearizable read that this node answers itself (thesis §6.4, last paragraph)."""
        self.reads.accept(context)

    def flush(self) -> None:
        """Once per turn: ask the leader about the reads that have come."""
        if self.reads.wanted:
            self._ask()

    def _ask(self) -> None:
        if self.leader is not None:
            self.state.send(self.leader, ReadIndex(self.state.term, self.reads.ask(self.state.now)))

    def step(self, source: NodeId, message: Message) -> None:
        """Handle what the leader of this term says; votes were handled before roles come in."""
        match message:
            case AppendEntries() if self._hears(source):
                self._append(source, message)
            case Heartbeat() if self._hears(source):
                self._heartbeat(source, message)
            case InstallSnapshot() if self._hears(source):
                self._take_piece(source, message)
            case ReadIndexResponse() if source == self.leader:
                confirmed = self.reads.answered(message.attempt)
                self.state.reads.extend(ReadReady(context, message.index) for context in confirmed)
            case TimeoutNow() if self.state.may_stand and self.state.settings.priority:
                # Thesis §3.10: at once, without a pre-vote.
                self.state.become_candidate(Cause.TRANSFER, self.state.now)

    def granted_vote(self) -> None:
        """Give the candidate that has our vote its time to win (paper §5.2)."""
        self._reset_timer()

    def _hears(self, source: NodeId) -> bool:
        """Note a sign of life of this term's leader; False for a second one, which can't be honest (paper §5.2)."""
        if self.leader not in (None, source):
            self.state.note("strange", source=source, reason=f"{self.leader} leads term {self.state.term}")
            return False
        if self.leader is None:
            self.state.note("leader_reset", leader=source)
            self.state.preferred_in_vain.pop(source, None)
        self.leader = source
        self.heard_at = self.state.now
        self._reset_timer()
        return True

    def _reset_timer(self) -> None:
        self.timer_from = self.state.now
        self.timeout_ms = self.state.draw_election_timeout()

    def _heartbeat(self, source: NodeId, message: Heartbeat) -> None:
        # The leader sends min(its commit, what it knows us to hold), so everything up to there is in our log and equal to its
        # own; unless our disk has lost some of it since, so stay within our log.
        self.state.commit(min(message.commit_index, self.state.log.last_index))
        state, settings = self.state, self.state.settings
        lost_from = state.log.last_index + 1 if state.lacks_entries else 0
        state.send(source, HeartbeatResponse(state.term, message.round, settings.disk_id, settings.priority, lost_from))

    def _take_piece(self, source: NodeId, message: InstallSnapshot) -> None:
        """Take a piece of a snapshot, or say which one is next (paper figure 13)."""
        state, snapshot = self.state, message.snapshot
        if snapshot.last.index <= state.log.commit_index:
            # All that it stands for is here already, and committed: as good as installed.
            acknowledged = AppendEntriesResponse(
                state.term, True, snapshot.last.index, snapshot.last, state.settings.disk_id
            )
            state.promise(source, acknowledged)
        elif state.snapshots.take(message):
            state.pieces.append(message)
        elif not state.snapshots.with_disk:
            self._ask_for_piece(source, snapshot, state.snapshots.offset)

    def stored(self, snapshot: Snapshot, offset: int) -> None:
        """Hear that the disk has so much of the snapshot that is arriving; install it when that is all (paper figure 13)."""
        state = self.state
        if self.leader is None:
            return  # Whoever leads next will send it, or another one.
        if offset < snapshot.size:
            self._ask_for_piece(self.leader, snapshot, offset)
            return
        state.install(snapshot)
        state.note("snapshot_installed", index=snapshot.last.index, source=self.leader)
        disk_id = state.settings.disk_id
        state.promise(self.leader, AppendEntriesResponse(state.term, True, snapshot.last.index, snapshot.last, disk_id))

    def _ask_for_piece(self, leader: NodeId, snapshot: Snapshot, offset: int) -> None:
        state = self.state
        state.send(leader, InstallSnapshotResponse(state.term, snapshot.last, offset, state.settings.disk_id))

    def _append(self, source: NodeId, message: AppendEntries) -> None:
        state, log = self.state, self.state.log
        if message.prev.index < log.base.index:
            message = _after_base(message, log.base)
        if log.term_at(message.prev.index) != message.prev.term:
            # Rule 2 of AppendEntries in figure 2: the entry before the new ones must match.
            hint = log.last_not_after(message.prev)
            disk_id = state.settings.disk_id
            state.send(source, AppendEntriesResponse(state.term, False, message.prev.index, hint, disk_id))
            return
        new = log.conflict(message.entries)
        if new is not None:
            fresh = message.entries[new:]
            if fresh[0].index <= log.commit_index:
                state.note("strange", source=source, reason=f"contradicts the committed entry {fresh[0].index}")
                return
            if fresh[0].index <= log.last_index:
                state.truncate(fresh[0].index)  # Rule 3: a conflict removes the entry and all that follow it.
            state.append(fresh)
        # Rule 5, with the care that figure 2 takes: only up to the last entry that *this* message has verified. What comes
        # after it may be a leftover of an older term.
        verified = message.prev.index + len(message.entries)
        state.commit(min(message.commit_index, verified))
        last = message.entries[-1].id if message.entries else message.prev
        state.promise(source, AppendEntriesResponse(state.term, True, verified, last, state.settings.disk_id))


def _after_base(message: AppendEntries, base: EntryId) -> AppendEntries:
    """Return what `message` says of entries after `base`, which a snapshot stands for: what it says of others is known.

    All up to `base` is committed, so every leader has the very same (paper §5.4.3).
    """
    entries = message.entries[base.index - message.prev.index :]
    return AppendEntries(message.term, base, message.commit_index, entries)
