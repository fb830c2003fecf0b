"""What the core wants done: the one thing that comes out of it, in the one safe order."""

import msgspec

from zraft.raft.messages import InstallSnapshot, Message
from zraft.raft.types import Entry, HardState, Index, NodeId, Role, Snapshot, Term


class Note(msgspec.Struct, frozen=True):
    """Something that happened, for people: logs and the monitor. No decision rests on it."""

    kind: str
    """pre_vote_requested, vote_requested, vote_granted, vote_refused, majority_won, candidacy_lost, term_update,
    outdated_term, leader_reset, round_lost, data_lost, data_back, entries_lost, refilled, disk_stalled, strange, transfer, membership,
    membership_change, snapshot_sent or snapshot_installed."""
    data: dict[str, int | str | bool | tuple[NodeId, ...] | None]
    """Its particulars, by name."""


class ReadReady(msgspec.Struct, frozen=True, gc=False):
    """A linearizable read may be answered from any state that has applied `index` (thesis §6.4)."""

    context: int
    """The number under which the read was handed in; unique per attempt."""
    index: Index
    """The commit index that the read must see."""


class RoleChange(msgspec.Struct, frozen=True):
    """The node's role, term or known leader is another than in the last `Ready`."""

    role: Role
    term: Term
    leader: NodeId | None
    reason: str
    """startup, election, transfer, higher_term, quorum_lost, disk_stalled, membership, removed or shutdown."""


class Write(msgspec.Struct, frozen=True):
    """One turn's worth of disk work: all of it becomes durable together, or the node stops.

    `truncate_from`, `begins_after`, `entries` and `hard_state` are written in this order, which is not that of the fields,
    and synced together; then `responses` may leave.
    """

    id: int
    """Rises by one with each write; handed back by `Raft.written`."""
    term: Term
    """The term in which `responses` were made; once the node's has risen, whoever drives the core drops them: nobody waits for an
    answer of a past term."""
    hard_state: HardState | None = None
    """The new term and vote, when either changed."""
    truncate_from: Index | None = None
    """Entries from this index on are gone: they conflicted with the leader's (paper §5.3)."""
    entries: list[Entry] = []
    """New entries, without a gap, the first right after what is left."""
    responses: list[tuple[NodeId, Message]] = []
    """Messages that promise what this write, or an earlier one, makes durable."""
    begins_after: Snapshot | None = None
    """The log begins right after the end of this snapshot, which is durable: what lies before is needed no more. If the
    disk's log ends before that, all of it goes."""

    @property
    def touches_disk(self) -> bool:
        """Whether there is anything to write; responses alone only wait for the writes ahead of them."""
        parts = (self.hard_state, self.truncate_from, self.begins_after)
        return bool(self.entries) or any(part is not None for part in parts)


class Ready(msgspec.Struct, frozen=True):
    """What the core wants done, **begun in the order of the fields**, by one function (`zraft.replica.Replica._carry_out`).

    `sends` come first, since followers then work while the own disk does. `install` comes before what is committed after
    that snapshot, and reads come after the entries that they are to see. Nothing here waits for the write but its
    `responses`: what is committed is held by a majority, with or without this node.
    """

    sends: list[tuple[NodeId, Message]]
    """Promise nothing, or only what is durable already: may leave at once."""
    write: Write | None
    """To the disk; its responses leave when it is synced, and then the core hears `written(id)`."""
    pieces: list[InstallSnapshot]
    """Pieces of a snapshot to the disk, in order, behind the write; then the core hears `stored`."""
    install: Snapshot | None
    """The state machines begin anew from this snapshot, which the disk has."""
    committed: list[Entry]
    """To the state machines, in order; then the core hears `applied(index)`."""
    reads: list[ReadReady]
    """Confirmed reads, to be answered once their index is applied."""
    lost_reads: list[int]
    """Contexts of reads taken as a follower that will not be confirmed: its leader, or the term, is another."""
    notes: list[Note]
    """To logs and monitors."""
    role_change: RoleChange | None
    """Last, so that whoever hears of it finds everything before it done."""
