"""The protocol core of one node: messages and time go in, a `Ready` comes out.

It calls nobody. Whoever drives it follows three rules: hand in the time with every call, and `tick` first after any gap;
carry out each `Ready` in the order of its fields; and report back: with `written` when a write is durable, with `applied`
when entries are applied, with `stored` and `snapshot_taken` how far snapshots are, and with `unreachable` what a socket refused.
"""

from random import Random

from zraft.raft.candidate import Candidate, PreCandidate
from zraft.raft.changes import Change, NotYet
from zraft.raft.follower import Follower
from zraft.raft.leader import Leader
from zraft.raft.log import Log
from zraft.raft.membership import Memberships
from zraft.raft.messages import (
    Message,
    PreVote,
    RequestVote,
)
from zraft.raft.ready import Ready, RoleChange, Write
from zraft.raft.snapshots import Snapshots
from zraft.raft.state import Settings
from zraft.raft.terms import TermGate
from zraft.raft.types import (
    Ballot,
    Cause,
    Entry,
    EntryId,
    EntryKind,
    HardState,
    Index,
    Membership,
    NodeId,
    Recovered,
    Role,
    Snapshot,
    Term,
)
from zraft.raft.writes import Writes


class Raft(TermGate):
    """One node of a Raft cluster, without a world.

    Parameters
    ----------
    settings
        What it knows of itself.
    recovered
        What recovery found durable.
    bootstrap
        The membership that the cluster began with.
    random
        Its own seeded generator.
    now
        The time, in milliseconds of a clock that never jumps.
    """

    def __init__(
        self,
        settings: Settings,
        recovered: Recovered,
        bootstrap: Membership,
        random: Random,
        now: float,
    ) -> None:
        base = recovered.base
        memberships = Memberships(recovered.membership or bootstrap, base.index)
        memberships.appended(recovered.entries)
        log = Log(recovered.entries, base, recovered.base_time_ms)
        super().__init__(
            settings, recovered.hard_state, log, memberships, snapshots=Snapshots(recovered.snapshots), random=random
        )
        self.now = now
        self._writes = Writes(recovered.hard_state)
        """What has been handed to the disk."""
        if log.last < recovered.acknowledged:
            self.acknowledged = recovered.acknowledged
        if recovered.snapshots:
            self._begin_from(recovered.snapshots[-1])
        self._handed_to_apply = self.log.last_applied
        """Last index that was part of a `Ready`."""
        self._reason = "startup"
        """Why the role or term is what it is."""
        self._shown: tuple[Role, Term, NodeId | None] | None = None
        """Role, term and leader as the last `Ready` told them."""
        self.role = Follower(self, None)

    # -- in ------------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let time pass; call it when `deadline` has come, and before messages after any gap."""
        self.now = now
        self.role.tick()

    def step(self, source: NodeId, message: Message, now: float) -> None:
        """Handle one message from `source`.

        The rule for terms stands here, once, for all roles (paper §5.1, and figure 2, "all servers").
        """
        self.now = now
        if self.comes_from_lost_data(source, message):
            return
        if message.term > self.term:
            if not self.take_term(source, message):
                return
        elif message.term < self.term:
            self.answer_outdated(source, message)
            return
        match message:
            case PreVote():
                self.answer_pre_vote(source, message)
            case RequestVote():
                self.answer_vote(source, message)
            case _:
                self.role.step(source, message)

    def propose(self, kind: EntryKind, data: bytes, now: float) -> EntryId | None:
        """Append an entry as leader and return its id; None when refused.

        Refused by whoever does not lead, or is handing over, or has more uncommitted than it may hold. The entry is committed
        when `Ready.committed` holds an entry of this id, and once that is applied, the client may be answered. If an entry of
        another term comes at its index, it is lost; if a snapshot covers its index, nobody here learns which.
        """
        self.now = now
        role = self.role
        if not isinstance(role, Leader) or role.handover.transfer is not None:
            return None
        if self.log.uncommitted_bytes + len(data) > self.settings.uncommitted_bytes_max:
            return None
        return role.append(kind, data)

    def read_index(self, context: int, now: float, *, follower: bool = False) -> bool:
        """Take a linearizable read under a `context` used only once; False when it can't be served here.

        A leader serves it; with `follower`, so does whoever knows its leader (thesis §6.4). A read is forgotten when term
        or leader change.
        """
        self.now = now
        role = self.role
        if isinstance(role, Leader) or (follower and isinstance(role, Follower) and role.leader is not None):
            role.read(context)
            return True
        return False

    def change_membership(self, change: Change, now: float) -> EntryId:
        """Begin a change of membership as leader; return the entry that brings it into force (paper §6).

        `Refused` says why not; also when this node does not lead, or is handing over.
        """
        self.now = now
        role = self.role
        if not isinstance(role, Leader) or role.handover.transfer is not None:
            raise NotYet("this node does not lead, or is handing over")
        return role.roster.change(change, role.first_own_index)

    def transfer(self, target: NodeId | None, now: float) -> NodeId | None:
        """Begin to hand leadership to `target`, or to the most up-to-date voter; return it, or None when that cannot be now.

        `Ready.role_change` tells when it has gone. After an election timeout the attempt ends, and proposals are taken again.
        """
        self.now = now
        if not isinstance(self.role, Leader):
            return None
        handover = self.role.handover
        if target is None and handover.transfer is not None:
            return handover.transfer.target
        able = handover.successors()
        chosen = next(iter(able), None) if target is None else target
        return chosen if chosen in able and handover.begin(chosen) else None

    def written(self, id: int, now: float) -> None:
        """Hear that write `id` is durable; they are reported in order, and each one once."""
        self.now = now
        hard_state = self._writes.reported(id, self.log)
        self.writing_since = self._writes.since
        if hard_state is not None:
            self.durable = hard_state
        role = self.role
        if isinstance(role, Leader):
            role.maybe_commit()
        elif isinstance(role, Candidate) and hard_state == HardState(self.term, self.id):
            role.own_vote_durable()

    def applied(self, index: Index) -> None:
        """Hear that the state machine has applied everything up to `index`."""
        assert self.log.last_applied <= index <= self._handed_to_apply, f"applied {index}, never handed out"
        self.log.last_applied = index

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        """Hear that the disk has a snapshot of what was applied up to `snapshot.last`; compact the log (paper §7)."""
        assert snapshot.last.index <= self.log.last_applied, f"a snapshot of what is not applied: {snapshot.last}"
        compacts_to = self.snapshots.taken(snapshot)
        if compacts_to is not None and compacts_to.last.index > self.log.base.index:
            self.log.compact(compacts_to.last)
            self.memberships.compacted(compacts_to.last.index)
            self._writes.begins_after = compacts_to

    def stored(self, snapshot: Snapshot, offset: int, now: float) -> None:
        """Hear that the disk has `offset` bytes of an arriving snapshot: all of it, checked and durable, if that is its size.

        `offset` is 0 when the transfer must begin anew.
        """
        self.now = now
        if self.snapshots.stored(snapshot, offset) and isinstance(self.role, Follower):
            self.role.stored(snapshot, offset)

    def unreachable(self, peer: NodeId) -> None:
        """Hear that a message to `peer` was refused by our own socket, or that the snapshot for it is kept no more."""
        if isinstance(self.role, Leader):
            self.role.unreachable(peer)

    # -- out -----------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When to `tick`, if nothing happens before."""
        return self.role.deadline

    @property
    def leader(self) -> NodeId | None:
        """Who leads the current term, as far as this node knows."""
        return self.role.leader

    @property
    def is_established(self) -> bool:
        """Whether this node leads and has applied an entry of its own term: it knows all that was ever committed (paper §8)."""
        return isinstance(self.role, Leader) and self.log.last_applied >= self.role.first_own_index

    def ready(self) -> Ready | None:
        """Return what must happen now, or None; each thing is handed out once."""
        self.role.flush()
        write = self._next_write()
        committed = self._next_committed()
        change = self._role_change()
        if not (
            self.sends or write or self.pieces or committed or self.reads or self.lost_reads or self.notes or change
        ):
            return None
        ready = Ready(
            self.sends, write, self.pieces, self.installs, committed, self.reads, self.lost_reads, self.notes, change
        )
        self.sends, self.pieces, self.installs = [], [], None
        self.reads, self.lost_reads, self.notes = [], [], []
        return ready

    def _begin_from(self, snapshot: Snapshot) -> None:
        """Start from what the state machines hold already."""
        if self.log.last_index >= snapshot.last.index and self.log.term_at(snapshot.last.index) == snapshot.last.term:
            self.log.commit(snapshot.last.index)
            self.log.last_applied = snapshot.last.index
        else:
            self.install(snapshot)  # The node ended between receiving it and beginning its log anew.
            self.installs, self._writes.begins_after = None, snapshot

    def _next_write(self) -> Write | None:
        if self.installs is not None:
            self._writes.begins_after = self.installs
            self._handed_to_apply = self.log.last_applied
        responses, self.responses = self.responses, []
        write = self._writes.next(HardState(self.term, self.voted_for), self.log, responses, self.now)
        self.writing_since = self._writes.since
        if write is None:
            self.sends.extend(responses)  # All that they promise is durable already.
        return write

    def _next_committed(self) -> list[Entry]:
        log = self.log
        if self._handed_to_apply == log.commit_index:
            return []
        entries = log.slice(self._handed_to_apply + 1, log.commit_index, self.settings.apply_bytes_max)
        self._handed_to_apply = entries[-1].index
        return entries

    def _role_change(self) -> RoleChange | None:
        shown = (self.role.name, self.term, self.role.leader)
        if shown == self._shown:
            return None
        same = self._shown is not None and self._shown[1:] == shown[1:]
        by_log = same and {Role.FOLLOWER, Role.LEARNER} == {shown[0], self._shown[0] if self._shown else None}
        self._shown = shown
        return RoleChange(*shown, "membership" if by_log else self._reason)

    # -- from role to role ---------------------------------------------------------------------------------------------

    def become_follower(self, term: Term, leader: NodeId | None, reason: str) -> None:
        """Follow `leader`, or wait for one to appear, in `term`."""
        assert term >= self.term, f"term went back: {self.term} -> {term}"
        assert leader != self.id, "a node cannot follow itself"
        self._forget_reads()
        self._end_candidacy("higher_term" if term > self.term else "another_leads" if leader else "refused")
        if term > self.term:
            self.note("term_update", term=term, before=self.term)
            self._raise_term(term)
            self.voted_for = None  # A vote belongs to its term, not to a role: never cleared anywhere else.
        self._reason = reason
        self.role = Follower(self, leader)

    def become_pre_candidate(self) -> None:
        """Ask whether a candidacy would succeed (thesis §9.6)."""
        self._forget_reads()
        self._end_candidacy("timeout")  # A split vote (paper §5.2).
        self._reason = "election"
        role = PreCandidate(self)
        self.role = role
        role.ask()

    def _forget_reads(self) -> None:
        if isinstance(self.role, Follower):
            self.lost_reads += self.role.reads.drop()

    def _end_candidacy(self, outcome: str) -> None:
        if isinstance(self.role, Candidate):
            self.role.lost(outcome)

    def become_candidate(self, cause: Cause, began: float) -> None:
        """Stand for election in the next term (paper §5.2): take it, vote for ourselves, ask the others."""
        self._forget_reads()
        self._raise_term(self.term + 1)
        self.voted_for = self.id
        self._reason = "transfer" if cause is Cause.TRANSFER else "election"
        role = Candidate(self, cause, began)
        self.role = role
        role.ask()

    def _raise_term(self, term: Term) -> None:
        self.term = term
        self.responses.clear()  # Promises made in the past term, and not handed out yet, are void.

    def become_leader(self, ballot: Ballot, disk_ids: dict[NodeId, str]) -> None:
        """Lead the current term: append its no-op, and replicate (paper §5.2, §8)."""
        assert self.voted_for == self.id, "elected without our own vote"
        assert self.durable.term == self.term, "elected in a term that is not durable"
        self.role = Leader(self, ballot, disk_ids)
