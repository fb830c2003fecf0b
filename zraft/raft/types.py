"""The nouns of the protocol: terms, entries, roles, memberships and ballots. Nothing here acts."""

from enum import IntEnum, StrEnum
from typing import Annotated, NamedTuple

import msgspec

_U63 = msgspec.Meta(ge=0, le=(1 << 63) - 1)

Term = Annotated[int, _U63]
"""A period with at most one leader (paper §5.1); 0 before the first election."""
Index = Annotated[int, _U63]
"""A position in the log; the first entry has index 1."""
NodeId = str
"""A node's name: 1 to 64 of ``A-Z a-z 0-9 . _ -``."""


class EntryId(NamedTuple):
    """Names one log entry; ordered by term, then by index.

    That order *is* the rule "at least as up-to-date" (paper §5.4.1), so the heart of `State.may_vote_for` is one comparison.
    """

    term: Term
    index: Index  # type: ignore[assignment]  # It hides tuple.index, which nobody asks of a pair.


class EntryKind(IntEnum):
    """What an entry's `data` means, and who acts on it once it is committed."""

    NOOP = 0
    """Opens a leader's term, so that entries of earlier terms can commit (paper §8); its `data` is a `Ballot`."""
    COMMAND = 1
    """A `requests.Batch`: commands of one client session for one state machine."""
    SESSION = 2
    """A `requests.SessionChange`: a client registers or ends its session (thesis §6.3)."""
    MEMBERSHIP = 3
    """A `Membership`, in force at a node as soon as it is in that node's log (paper §6)."""
    OFFICE = 4
    """The leader's claim to run its `leader` script, where nodes run scripts when their roles change."""
    TICK = 5
    """Carries time alone: appended when something is due to expire and nothing else is written."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One log entry; the same in memory, on the wire and on disk."""

    term: Term
    """The term of the leader that made it."""
    index: Index
    """Its place in the log."""
    kind: int
    """An `EntryKind`."""
    time_ms: int
    """Cluster time when it was made, in milliseconds: never falls along the log, and is no wall clock."""
    data: bytes
    """What it says, opaque to the protocol unless `kind` is MEMBERSHIP; of a NOOP it is checked that it can be read."""

    @property
    def id(self) -> EntryId:
        """The entry's (term, index)."""
        return EntryId(self.term, self.index)


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """What a node must know after a crash besides its log (paper figure 2, "persistent state").

    One record, so that a vote can never be torn from its term.
    """

    term: Term = 0
    """The latest term this node has seen."""
    voted_for: NodeId | None = None
    """Who has this node's vote in `term`, if anybody."""


class Endpoints(msgspec.Struct, frozen=True, array_like=True):
    """Where a node that joined later is reached; opaque to the protocol."""

    peer: str
    client: str
    events: str


class Membership(msgspec.Struct, frozen=True):
    """Who takes part, from the entry that carries it onwards (paper §6).

    Invariants: nobody is both voter and learner; `manual`, and the keys of `replacing`, are learners.
    """

    voters: tuple[NodeId, ...]
    """Nodes whose majority elects and commits. Empty at a node that is to join and has not heard from the cluster yet."""
    outgoing: tuple[NodeId, ...] = ()
    """All voters of the old membership, also those who stay; not empty only in joint consensus."""
    learners: tuple[NodeId, ...] = ()
    """Nodes that get the log and whose votes do not count."""
    disk_ids: dict[NodeId, str] = {}
    """The data directory under which the leader met each node; another one under a known name has lost its data."""
    manual: tuple[NodeId, ...] = ()
    """Learners that stay what they are until somebody promotes them; the leader promotes the others once they caught up."""
    replacing: dict[NodeId, NodeId] = {}
    """Learners that take over from a voter, by whom they replace: it leaves in the very change that promotes them."""
    endpoints: dict[NodeId, Endpoints] = {}
    """Of nodes that joined later; the others have theirs from the configuration that the cluster began with."""


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """Names what stands for a prefix of the log (paper §7); its bytes are the disk's, and no matter to the protocol.

    Nodes that have applied the same entries make the same bytes of them, so a transfer can go on under another leader.
    """

    last: EntryId
    """The last entry that it stands for (paper figure 13, lastIncludedIndex and lastIncludedTerm)."""
    time_ms: int
    """Cluster time of that entry."""
    membership: Membership
    """What was in force there (paper §7)."""
    size: int
    """Bytes; at least 1."""
    sha256: bytes
    """Of those bytes."""


class Recovered(msgspec.Struct, frozen=True):
    """What the disk held when the node started."""

    hard_state: HardState
    entries: list[Entry]
    """The log behind `base`, without a gap."""
    base: EntryId = EntryId(0, 0)
    """The entry right before the first; (0, 0) unless a snapshot stands for it."""
    base_time_ms: int = 0
    """Cluster time of that entry."""
    membership: Membership | None = None
    """What was in force there; None: what the cluster began with."""
    snapshots: tuple[Snapshot, ...] = ()
    """Those that are kept, oldest first; the state machines hold what the last one says."""
    acknowledged: EntryId = EntryId(0, 0)
    """The last entry that this node may have acknowledged, if the disk has lost it since; else (0, 0)."""


class Cause(StrEnum):
    """Why a node stood for election."""

    TIMEOUT = "timeout"
    """It heard no leader for its election timeout (paper §5.2)."""
    TRANSFER = "transfer"
    """The sitting leader asked it to (thesis §3.10); or it led itself, and a transfer had failed."""
    NOTICE = "notice"
    """A process beside the leader has told that the leader ended; nothing in this package makes one."""


class Ballot(msgspec.Struct, frozen=True, array_like=True):
    """How a leader was elected: the `data` of the no-op that opens its term, so that the log holds its own history.

    It is for people, and nothing is decided by it.
    """

    leader: NodeId
    """Who won; never empty."""
    votes_for: tuple[NodeId, ...]
    """Voters who had said yes when it won, sorted; the winner among them. Answers that came later are not here."""
    votes_against: tuple[NodeId, ...]
    """Voters who had said no by then, sorted."""
    expected: tuple[NodeId, ...]
    """Everybody who had a vote, in the order of the membership."""
    cause: str
    """A `Cause`."""
    duration_ms: int
    """From the beginning of the candidacy, its pre-vote included, to its end."""
    wall_ms: int
    """When it won: milliseconds since 1970 by the winner's own clock."""


class Role(StrEnum):
    """The part that a node plays in the current term, in the words of status and the monitor."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"
