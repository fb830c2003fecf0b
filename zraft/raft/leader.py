"""The leader: replicates, commits, confirms reads, and steps down when a quorum no longer answers (paper §5.3, §5.4)."""

import msgspec

from zraft.raft import quorum
from zraft.raft.handover import Handover
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
)
from zraft.raft.progress import Progress, ProgressState
from zraft.raft.reads import Context, RemoteRead, Rounds
from zraft.raft.ready import ReadReady
from zraft.raft.roster import Roster
from zraft.raft.state import State
from zraft.raft.types import Ballot, Entry, EntryId, EntryKind, Index, NodeId, Role

_encode = msgspec.msgpack.Encoder().encode


class Leader:
    """Leads one term, from winning its election to the first sign of a newer one."""

    name = Role.LEADER

    def __init__(self, state: State, ballot: Ballot, disk_ids: dict[NodeId, str]) -> None:
        self.state = state
        self.leader: NodeId | None = state.id
        """Itself."""
        self.roster = Roster(state, self.append, disk_ids)
        """Who takes part, and what is known of each."""
        self.progress = self.roster.progress
        """What it knows of each follower (paper figure 2, nextIndex and matchIndex)."""
        self.rounds = Rounds(state.now)
        """Heartbeat rounds, and the reads that wait for them."""
        self.early_reads: list[Context] = []
        """Reads that came before anything of this term was committed (thesis §6.4, step 1)."""
        self.handover = Handover(state, self.roster)
        """Leadership given away on purpose."""
        self.next_heartbeat_at = state.now
        """When the next round is due."""
        self._look_at = state.now + state.settings.heartbeat_interval_ms
        """When to look after learners and successors; rounds of reads put the next heartbeat off, and must not put that off."""
        self.timer_from = state.now
        """When it began to lead."""
        self.timeout_ms: float = state.settings.election_timeout_upper_ms
        """How long it leads on without the answer of a quorum."""
        self._time_base_ms = state.log.last_time_ms
        """Cluster time when it began to lead."""
        self.first_own_index: Index = state.log.last_index + 1
        """Index of this term's first entry, the no-op or the registration of voters before it; once that is committed, something of
        this term is."""
        self.roster.register()  # First of all, so that whoever holds any entry of a log holds its voters' registration.
        self.append(EntryKind.NOOP, _encode(ballot))
        self._start_round()

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When a heartbeat, the check of the quorum or the end of a transfer is due."""
        due = min(self.next_heartbeat_at, self._look_at, self.rounds.confirmed_sent_at + self.timeout_ms)
        return min(due, self.handover.deadline)

    @property
    def time_ms(self) -> int:
        """Cluster time: goes on from the log's, and counts only spans in which a quorum answered."""
        own = self.rounds.confirmed_sent_at - self.timer_from
        return max(self.state.log.last_time_ms, self._time_base_ms + int(own))

    def moment_of(self, time_ms: int) -> float:
        """Return when a round must be sent, at the earliest, for its quorum to bring cluster time to `time_ms`.

        For whoever waits for something to expire.
        """
        return self.rounds.confirmed_sent_at + (time_ms - self.time_ms)

    def tick(self) -> None:
        """Step down without a quorum, end a transfer that failed, send the heartbeats that are due."""
        state = self.state
        if state.now >= self.rounds.confirmed_sent_at + self.timeout_ms:
            # Thesis §6.2: clients of a leader that nobody follows would wait for ever.
            state.become_follower(state.term, None, "quorum_lost")
            return
        if not self.handover.tick():
            return
        self.roster.tick(self.first_own_index)
        self._look_at = state.now + state.settings.heartbeat_interval_ms
        if state.now >= self.next_heartbeat_at:
            if self.rounds.under_way:
                state.note("round_lost", round=self.rounds.sent)
            self._start_round()

    # -- what others say -----------------------------------------------------------------------------------------------

    def step(self, source: NodeId, message: Message) -> None:
        """Handle a follower's answer."""
        progress = self.progress.get(source)
        if progress is None:
            return
        progress.heard_at = self.state.now
        if isinstance(message, HeartbeatResponse | AppendEntriesResponse | InstallSnapshotResponse):
            known = self.roster.knows(source, message.disk_id)
            if not isinstance(message, HeartbeatResponse) and not known:
                return  # Of a data directory that is not registered, only answers to heartbeats count: by them it is met.
        match message:
            case HeartbeatResponse():
                self.roster.meet(source, message.disk_id)
                if known and message.lost_from:
                    progress = self.roster.entries_lost(source, message.lost_from)
                progress.heard(min(message.round, self.rounds.sent))
                progress.priority = message.priority
                self._confirm_rounds()
                self._probe_if_behind(source, progress)
            case AppendEntriesResponse(success=True):
                self._acknowledged(source, progress, message)
            case AppendEntriesResponse(success=False):
                # Go on after our last entry that may be in the follower's log too, as its hint has it.
                if progress.refused(message.match_index, self.state.log.last_not_after(message.hint).index + 1):
                    self._send_entries(source, progress)
            case InstallSnapshotResponse():
                if progress.wants(message.last, message.offset):
                    self._send_piece(source, progress)
            case ReadIndex():
                self.read(RemoteRead(source, message.attempt))
            case AppendEntries() | Heartbeat() | InstallSnapshot():
                self.state.note("strange", source=source, reason=f"we lead term {self.state.term} ourselves")

    def unreachable(self, peer: NodeId) -> None:
        """Send no further ahead to a peer whose socket refused a message, or whose snapshot is kept no more."""
        progress = self.progress.get(peer)
        if progress is not None and progress.state is not ProgressState.PROBE:
            progress.probe()
            progress.probe_sent = True  # Until it is heard from again.

    def _acknowledged(self, source: NodeId, progress: Progress, message: AppendEntriesResponse) -> None:
        if message.match_index > self.state.log.last_index:
            return  # Nothing we sent in this term; a peer that invents entries must not move us.
        if progress.acknowledged(message.match_index):
            self.maybe_commit()
        self.roster.acknowledged(source)
        self.handover.advanced(source)

    def _probe_if_behind(self, peer: NodeId, progress: Progress) -> None:
        # It lives but has not acknowledged everything, and nothing has left for it lately: something may be lost. Not
        # sooner, or each answer to a round of reads would have the same entries sent once more.
        quiet_since = self.state.now - self.state.settings.heartbeat_interval_ms
        if progress.sent_at > quiet_since:
            return
        progress.give_up_probe()
        if progress.state is ProgressState.SNAPSHOT:
            self._send_piece(peer, progress)
            return
        if progress.match_index >= self.state.log.last_index:
            return
        in_log = progress.next_index > self.state.log.base.index
        if progress.state is ProgressState.REPLICATE and in_log and self.roster.counts(peer):
            # An empty message behind all that was sent, whatever the window says: it is refused if anything is missing.
            self._send(peer, progress, AppendEntries(self.state.term, *self._prev_and_commit(progress.next_index), []))
        else:
            self._send_entries(peer, progress)

    # -- the log -------------------------------------------------------------------------------------------------------

    def append(self, kind: EntryKind, data: bytes) -> EntryId:
        """Put an entry at the end of the own log (paper §5.3); `flush` and the next write do the rest."""
        state = self.state
        entry = Entry(state.term, state.log.last_index + 1, kind, self.time_ms, data)
        state.append([entry])
        return entry.id

    def maybe_commit(self) -> None:
        """Commit what a quorum holds durably, if the last of it is of this term (paper §5.4.2).

        An entry of an earlier term is never committed by counting its copies: a majority can hold it, and a later leader
        still replace it. That is figure 8. Once an entry of *this* term is committed, all before it is too.
        """
        state = self.state
        held = {peer: progress.match_index for peer, progress in self.progress.items() if self.roster.counts(peer)}
        held[state.id] = state.log.stable_index
        index = quorum.reached(held, state.memberships.current)
        # Terms never fall along a log: if the furthest entry that a quorum holds is older, so are all before it.
        if index <= state.log.commit_index or state.log.term_at(index) != state.term:
            return
        state.commit(index)
        self.roster.committed()
        if self.roster.is_over:
            self.handover.leave()
            return
        if self.early_reads and index >= self.first_own_index:
            for context in self.early_reads:
                self.rounds.accept(context, index)
            self.early_reads.clear()

    # -- reads ---------------------------------------------------------------------------------------------------------

    def read(self, context: Context) -> None:
        """Take a linearizable read (thesis §6.4); its answer may be given once a `ReadReady` names it."""
        log = self.state.log
        if log.commit_index < self.first_own_index:
            self.early_reads.append(context)  # We may not know yet how far our predecessor had committed.
        else:
            self.rounds.accept(context, log.commit_index)

    # -- sending -------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Once per turn: start the round that reads wait for, and send each follower what it lacks."""
        state = self.state
        if self.rounds.wanted:
            self._start_round()
        for peer, progress in self.progress.items():
            if progress.next_index <= state.log.last_index:
                self._send_entries(peer, progress)

    def _start_round(self) -> None:
        state = self.state
        number = self.rounds.start(state.now)
        self.next_heartbeat_at = state.now + state.settings.heartbeat_interval_ms
        for peer, progress in self.progress.items():
            known = min(progress.match_index, state.log.commit_index)
            state.send(peer, Heartbeat(state.term, known, number))
        self._confirm_rounds()

    def _confirm_rounds(self) -> None:
        answered = {peer: progress.round for peer, progress in self.progress.items() if self.roster.counts(peer)}
        answered[self.state.id] = self.rounds.sent
        confirmed = quorum.reached(answered, self.state.memberships.current)
        for context, index in self.rounds.confirm(confirmed):
            if isinstance(context, RemoteRead):
                self.state.send(context.source, ReadIndexResponse(self.state.term, context.attempt, index))
            else:
                self.state.reads.append(ReadReady(context, index))

    def _send_entries(self, peer: NodeId, progress: Progress) -> None:
        """Send `peer` what it lacks, as far as its window has room."""
        if not self.roster.counts(peer):
            return
        snapshot = self.state.snapshots.newest
        waits = progress.state is ProgressState.SNAPSHOT or progress.probe_sent
        if progress.next_index <= self.state.log.base.index and not waits:
            assert snapshot is not None, "a log that begins behind a snapshot which is not there"
            progress.begin_snapshot(snapshot)
            self.state.note("snapshot_sent", target=peer, index=snapshot.last.index, size=snapshot.size)
            self._send_piece(peer, progress)
        inflight_max = self.state.settings.inflight_max
        while progress.next_index <= self.state.log.last_index and not progress.is_paused(inflight_max):
            self._send(peer, progress, self._append_entries(progress.next_index))

    def _send_piece(self, peer: NodeId, progress: Progress) -> None:
        """Send `peer` the piece of its snapshot that it wants (paper §7)."""
        if progress.snapshot is not None and self.roster.counts(peer):
            self.state.send(peer, InstallSnapshot(self.state.term, progress.snapshot, progress.offset))
            progress.sent_at = self.state.now

    def _send(self, peer: NodeId, progress: Progress, message: AppendEntries) -> None:
        self.state.send(peer, message)
        progress.sent(message.prev.index + len(message.entries), self.state.now)

    def _append_entries(self, first: Index) -> AppendEntries:
        # Followers in step get the very same object, so that it is encoded once.
        state, log = self.state, self.state.log
        prev, commit_index = self._prev_and_commit(first)
        last_sent = state.sends[-1][1] if state.sends else None
        if (
            isinstance(last_sent, AppendEntries)
            and last_sent.entries
            and (last_sent.term, last_sent.prev, last_sent.commit_index) == (state.term, prev, commit_index)
        ):
            return last_sent
        entries = log.slice(first, log.last_index, state.settings.append_bytes_max)
        return AppendEntries(state.term, prev, commit_index, entries)

    def _prev_and_commit(self, next_index: Index) -> tuple[EntryId, Index]:
        # The entry before `next_index`, and the commit index: what AppendEntries begins with.
        log = self.state.log
        prev_term = log.term_at(next_index - 1)
        assert prev_term is not None, f"entry {next_index - 1} is asked for, and the log begins at {log.first_index}"
        return EntryId(prev_term, next_index - 1), log.commit_index
