"""What every role shares: the state of the paper's figure 2, and the few verbs that all roles use.

`core.Raft` completes it with the changes from role to role; the roles see no more than this.
"""

from abc import ABC, abstractmethod
from math import inf
from random import Random
from typing import Protocol

import msgspec

from zraft.raft.log import Log
from zraft.raft.membership import Memberships
from zraft.raft.messages import InstallSnapshot, Message
from zraft.raft.ready import Note, ReadReady
from zraft.raft.snapshots import Snapshots
from zraft.raft.types import Ballot, Cause, Entry, EntryId, HardState, Index, NodeId, Role, Snapshot, Term

RELUCTANCE_TIMEOUTS = 4
"""How many election timeouts longer a node of priority 0 leaves it to others to stand."""


class Settings(msgspec.Struct, frozen=True):
    """What a node is told about itself; does not change while it runs."""

    id: NodeId
    """This node's name."""
    disk_id: str
    """Its data directory's number."""
    election_timeout_lower_ms: int = 500
    election_timeout_upper_ms: int = 1_000
    """The bounds between which each election timeout is drawn (paper §5.2)."""
    heartbeat_interval_ms: int = 100
    append_bytes_max: int = 256 << 10
    """Data in one AppendEntries, unless a single entry has more."""
    apply_bytes_max: int = 256 << 10
    """Data of committed entries in one `Ready`, so that a burst never delays a heartbeat."""
    inflight_max: int = 64
    """AppendEntries under way to one follower."""
    uncommitted_bytes_max: int = 64 << 20
    """A leader that has lost its quorum takes no more than this."""
    priority: int = 1
    """Who should lead rather than others: the highest that has everything. With 0 a node votes, and does not lead; unless
    nobody else can, since it alone has what may be committed: then it leads until it has brought another up to date."""
    disk_stall_ms: int = 1_000
    """A leader whose disk takes longer than this for a write gives leadership away."""
    wall_ms_at_zero: int = 0
    """Wall time when `now` was 0, in milliseconds since 1970; for people alone."""


class RoleState(Protocol):
    """What a role must do; each holds its own data."""

    leader: NodeId | None
    """Who leads this term, as far as this role knows."""
    timer_from: float
    """When its timer was last reset."""
    timeout_ms: float
    """The timeout drawn for it."""

    @property
    def name(self) -> Role:
        """The role, in the words of status and the monitor."""

    @property
    def deadline(self) -> float:
        """When `tick` has something to do, in milliseconds of the node's clock."""

    def step(self, source: NodeId, message: Message) -> None:
        """Handle a message of the current term."""

    def tick(self) -> None:
        """Do what is due by now."""

    def flush(self) -> None:
        """Send what this turn has made ready to be sent."""


class State(ABC):
    """One node's protocol state.

    Invariants: `term` only rises; `voted_for` changes within a term at most once, from None. What promises something leaves only
    once what it promises is durable (`promise`); what leaves at once bears a term that is durable (`send`).
    """

    def __init__(
        self,
        settings: Settings,
        hard_state: HardState,
        log: Log,
        memberships: Memberships,
        *,
        snapshots: Snapshots,
        random: Random,
    ) -> None:
        self.settings = settings
        self.id = settings.id
        self.term: Term = hard_state.term
        """The latest term seen (paper figure 2, currentTerm)."""
        self.voted_for: NodeId | None = hard_state.voted_for
        """Who has this node's vote in `term`; cleared only where the term rises."""
        self.log = log
        self.memberships = memberships
        self.snapshots = snapshots
        self.random = random
        self.now = 0.0
        """The time of the event at hand, in milliseconds; handed in with each."""
        self.durable = hard_state
        """The newest term and vote known to be on disk."""
        self.acknowledged = EntryId(0, 0)
        """An entry that this node may have acknowledged and that its disk has lost; (0, 0) when nothing is lost."""
        self.writing_since: float = inf
        """When the oldest write that is not durable yet was handed out; never, without one."""
        self.preferred_in_vain: dict[NodeId, int] = {}
        """How often each node of higher priority was to take over, and did not; forgotten once it leads."""
        self.role: RoleState
        self.sends: list[tuple[NodeId, Message]] = []
        """May leave at once."""
        self.responses: list[tuple[NodeId, Message]] = []
        """Promises, and messages of `send` whose term is not durable yet. They leave with the next write, or at once if nothing is
        under way."""
        self.pieces: list[InstallSnapshot] = []
        """Of a snapshot that is arriving, for the disk, since the last `Ready`."""
        self.installs: Snapshot | None = None
        """What the state machines are to begin anew from."""
        self.reads: list[ReadReady] = []
        """Confirmed since the last `Ready`."""
        self.lost_reads: list[int] = []
        """Contexts of reads that will not be confirmed here, since the last `Ready`."""
        self.notes: list[Note] = []
        """For people, since the last `Ready`."""

    def send(self, target: NodeId, message: Message) -> None:
        """Let `message`, which promises nothing, leave at once; or with the write that makes our term durable."""
        (self.sends if self.term == self.durable.term else self.responses).append((target, message))

    def promise(self, target: NodeId, message: Message) -> None:
        """Let `message` leave once all that this node's state says by now is durable."""
        self.responses.append((target, message))

    def note(self, kind: str, **data: int | str | bool | tuple[NodeId, ...] | None) -> None:
        """Tell people."""
        self.notes.append(Note(kind, data))

    @property
    def peers(self) -> list[NodeId]:
        """Everybody in the membership but this node, in a fixed order."""
        current = self.memberships.current
        everybody = dict.fromkeys((*current.voters, *current.outgoing, *current.learners))
        return [node for node in everybody if node != self.id]

    @property
    def is_voter(self) -> bool:
        """Whether this node has a vote."""
        current = self.memberships.current
        return self.id in current.voters or self.id in current.outgoing

    @property
    def lacks_entries(self) -> bool:
        """Whether the disk has lost entries that this node may have acknowledged, and no leader has sent them again.

        Who is elected must hold them, or what took their place (paper §5.4.1): so this node judges candidates by the log that
        it had, and is none itself. A log that ends at or behind the last of them again came from a leader of its term or a
        later one, and holds all that was committed by then (paper §5.4.3).
        """
        return self.log.last < self.acknowledged

    @property
    def may_stand(self) -> bool:
        """Whether this node may stand for election.

        It needs all that it has acknowledged; and a vote, if its log is empty. With a log, it needs a vote *under this data
        directory* in some membership that is in force or may be again: under another one it may have acknowledged, or
        voted for, what it does not know. So one may stand whom a change removes that is not committed yet: the others may
        need its log to go on (thesis §4.2.2), though its own vote does not count then.
        """
        if self.lacks_entries:
            return False
        if self.log.last_index == 0:
            return self.is_voter
        known = self.memberships
        return any(
            (self.id in each.voters or self.id in each.outgoing) and each.disk_ids.get(self.id) == self.settings.disk_id
            for each in (known.current, *known.others(self.log.commit_index))
        )

    def may_vote_for(self, candidate_last: EntryId, registered_as: str | None) -> str:
        """Return why a candidate with that last entry can't have this node's vote; empty when it can (paper §5.4.1).

        A node that its own log does not know yet takes the candidate's word, `registered_as`: if a leader has met this very
        data directory, nothing that was promised under it is lost. Without that, nodes whose first leader died before
        their registration reached them could never elect another.
        """
        ours = max(self.log.last, self.acknowledged)
        if candidate_last < ours:
            lost = ", of which the disk has lost some" if self.lacks_entries else ""
            return f"its log ends at {candidate_last.index}@{candidate_last.term}, before ours{lost}"
        own = self.settings.disk_id
        known = registered_as == own or self.memberships.is_registered(self.id, own)
        if candidate_last.index and not known:
            return "this node's data directory is blank and not registered yet"
        return ""

    def draw_election_timeout(self) -> float:
        """Draw a timeout anew, so that split votes are rare and soon over (paper §5.2)."""
        lower, upper = self.settings.election_timeout_lower_ms, self.settings.election_timeout_upper_ms
        reluctance = 0 if self.settings.priority else RELUCTANCE_TIMEOUTS * upper
        return self.random.uniform(lower, upper) + reluctance

    def commit(self, index: Index) -> None:
        """Raise the commit index, if `index` does."""
        if index > self.log.commit_index:
            self.log.commit(index)

    def append(self, entries: list[Entry]) -> None:
        """Add entries at the end of the log, and take up the memberships that they bring."""
        self.log.append(entries)
        self.memberships.appended(entries)
        self._see_refilled()

    def _see_refilled(self) -> None:
        if self.acknowledged.index and not self.lacks_entries:
            self.note("refilled", index=self.acknowledged.index)
            self.acknowledged = EntryId(0, 0)

    def truncate(self, first_gone: Index) -> None:
        """Remove a conflicting suffix, and the memberships that it brought (paper §5.3, §6)."""
        self.log.truncate(first_gone)
        self.memberships.truncated(first_gone)

    def install(self, snapshot: Snapshot) -> None:
        """Begin the log anew behind `snapshot`, which is durable here (paper §7).

        Not if the log holds its very last entry: then it holds all that the snapshot stands for, and perhaps more behind it
        that this node has acknowledged, which must stay (paper figure 13, step 6).
        """
        if self.log.term_at(snapshot.last.index) == snapshot.last.term:
            self.commit(snapshot.last.index)
        elif snapshot.last.index > self.log.commit_index:
            self.log.restart(snapshot.last, snapshot.time_ms)
            self.memberships.restarted(snapshot.last.index, snapshot.membership)
            self.snapshots.installed(snapshot)
            self.installs = snapshot
            self._see_refilled()

    @abstractmethod
    def become_follower(self, term: Term, leader: NodeId | None, reason: str) -> None:
        """Follow `leader`, or wait for one to appear, in `term`."""

    @abstractmethod
    def become_pre_candidate(self) -> None:
        """Ask whether a candidacy would succeed (thesis §9.6)."""

    @abstractmethod
    def become_candidate(self, cause: Cause, began: float) -> None:
        """Stand for election in the next term (paper §5.2); the candidacy began at `began`, with a pre-vote or without."""

    @abstractmethod
    def become_leader(self, ballot: Ballot, disk_ids: dict[NodeId, str]) -> None:
        """Lead the current term."""
