"""What clients say to a node, and what it answers: the bodies of the client socket.

A request goes out as ``[header, envelope]`` or, for commands, ``[header, envelope, batch]``. The batch is encoded once, by
the client, and is from there on opaque bytes: it becomes the `data` of one log entry as it is, and is decoded once per
node, by whoever applies it. Every answer is a `Reply` with the request's `id`.
"""

from enum import IntEnum
from typing import Annotated, Any

import msgspec

from zraft.raft.types import Endpoints, Index, NodeId, Term
from zraft.statepieces import CopyState

BATCH_BYTES_MAX = 12 << 20
"""What one batch may hold, so that the entry it becomes always fits into one message between nodes."""
ANSWERS_BYTES_MAX = 12 << 20
"""What the answers to one batch, or a single answer to a query, may hold, so that the reply fits into one message."""
SESSION_TTL_MS = 600_000
SESSIONS_MAX = 10_000
"""By how long and how many sessions are kept where no `SessionChange` has said so yet."""
CALLS_MAX = 16_384
"""Commands in one batch, or queries in one request: a node works on them in one go, and must not miss its heartbeats."""

MEMBERS_MAX = 64
"""Nodes that one change of membership may name in each of its parts."""
MemberName = Annotated[NodeId, msgspec.Meta(max_length=64)]


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Asks who is there; the one request that a client may send before it knows the cluster's id (as cluster 0)."""

    id: int


class OpenSession(msgspec.Struct, frozen=True, array_like=True):
    """Registers a session through the log (thesis §6.3); the result is its number, an int."""

    id: int


class CloseSession(msgspec.Struct, frozen=True, array_like=True):
    """Ends a session through the log."""

    id: int
    session: int


class Commands(msgspec.Struct, frozen=True, array_like=True):
    """The envelope of a `Batch`, which travels in a frame of its own."""

    id: int


class Batch(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Commands of one session for one machine, applied in order, exactly once: the `data` of a COMMAND entry.

    A session has one batch under way at a time. A retry carries the same numbers and the same bytes, and gets the
    replies that the first application gave; a batch older than the session's newest is never applied (thesis §6.3).
    """

    session: int
    """Number of the session: the index of the entry that registered it."""
    sequence: int
    """Number of the batch within its session; rises with each."""
    machine: str
    """The name under which the state machine is mounted: ``kv``."""
    commands: list[bytes]
    """Each one encoded by the client for that machine."""


class SessionChange(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The `data` of a SESSION entry: 0 registers a new session (numbered by its entry's index), else that one ends.

    Either way it says how long and how many sessions live from here on, as its leader was configured: what nodes replay must not
    depend on how they are configured by then.
    """

    closes: int = 0
    ttl_ms: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)] = SESSION_TTL_MS
    """How long a session lives without an entry of its own, in cluster time."""
    count_max: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)] = SESSIONS_MAX
    """How many there may be."""


class From(IntEnum):
    """Who may answer a read, and what it must have seen."""

    LEADER = 0
    """The leader, linearizably (thesis §6.4)."""
    ANY = 1
    """Whoever is asked, linearizably too: a follower asks its leader from which index on it may answer."""
    STALE = 2
    """Whoever is asked, from its state as it is: any time behind, and of nobody's time if it is cut off."""


class Queries(msgspec.Struct, frozen=True, array_like=True):
    """Reads of one machine (thesis §6.4); the results come in the same order."""

    id: int
    machine: Annotated[str, msgspec.Meta(max_length=64)]
    queries: Annotated[list[bytes], msgspec.Meta(max_length=CALLS_MAX)]
    source: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    """A `From`."""


class StatusRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks for the node's own view of itself; the result is a `Status` as a map."""

    id: int
    log: int = 0
    """How many log entries to include, newest first; fewer come when it would be too much."""
    until: Index = 0
    """The newest of them; 0 for the last that there is."""


class CutLinks(msgspec.Struct, frozen=True, array_like=True):
    """Asks a node to lose what it sends to some nodes, and not to hear some, for a drill; whoever is not named is whole again."""

    id: int
    lost_to: Annotated[tuple[MemberName, ...], msgspec.Meta(max_length=64)] = ()
    deaf_to: Annotated[tuple[MemberName, ...], msgspec.Meta(max_length=64)] = ()


class TransferRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks the leader to hand over to `target`, or to whomever is most up-to-date (thesis §3.10)."""

    id: int
    target: Annotated[NodeId, msgspec.Meta(max_length=64)] | None = None


class MembersRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks the leader who takes part, linearizably; the result is a `Members` as a map."""

    id: int


class Joining(msgspec.Struct, frozen=True, array_like=True):
    """A node that is to join."""

    node: MemberName
    endpoints: Endpoints
    """Whole: ``tcp://host:port`` or ``ipc:///path``, the same for everybody who reads them."""
    replaces: MemberName | None = None
    """The voter whose place it takes once it has caught up."""


class MembershipChange(msgspec.Struct, frozen=True, array_like=True):
    """Asks the leader to change who takes part, all of it at once (paper §6).

    What is so already is left out, so that whoever heard no answer may ask again. Answered once the change is committed, a joint
    membership left too; the result is the `Members` that it led to.
    """

    id: int
    add: Annotated[tuple[Joining, ...], msgspec.Meta(max_length=MEMBERS_MAX)] = ()
    """Nodes that join, as learners."""
    manual: bool = False
    """Those who join stay learners until somebody promotes them."""
    promote: Annotated[tuple[MemberName, ...], msgspec.Meta(max_length=MEMBERS_MAX)] = ()
    """Learners that become voters."""
    renew: Annotated[tuple[MemberName, ...], msgspec.Meta(max_length=MEMBERS_MAX)] = ()
    """Members that have lost their data, and begin anew as learners; whoever has its data stays as it is."""
    remove: Annotated[tuple[MemberName, ...], msgspec.Meta(max_length=MEMBERS_MAX)] = ()
    """Members that leave."""


class Member(msgspec.Struct, frozen=True):
    """One member, as the leader sees it; the keys of ``zraft member list --json``."""

    node: NodeId
    role: str
    """``voter``; ``learner``, which gets the log and has no vote; ``leaving``, for a voter whom a change under way removes."""
    leader: bool
    promote: str | None
    """For learners ``auto``, by the leader once it has caught up, or ``manual``; None for the others."""
    replaces: NodeId | None
    """The voter whose place this learner takes."""
    match_index: Index
    """Up to where its log is known to be the leader's."""
    answers: bool
    """Whether it has answered the leader within an election timeout."""
    lost_data: bool
    """It came back under another data directory than the one it is known by, and counts for nothing."""
    endpoints: Endpoints | None
    """Where it is reached; None when its leader does not know."""


class Members(msgspec.Struct, frozen=True):
    """Who takes part; the result of `MembersRequest` and `MembershipChange`."""

    leader: NodeId
    term: Term
    last_index: Index
    """The end of the leader's log, which learners run after."""
    changing: bool
    """A change is not finished."""
    members: tuple[Member, ...]
    """Voters first, in the order in which they came."""


class RecentEvents(msgspec.Struct, frozen=True, array_like=True):
    """Asks for the newest event records that the node still holds, so that a late subscriber misses nothing."""

    id: int
    count: int


class PastEvents(msgspec.Struct, frozen=True, array_like=True):
    """Asks for events that the node has on its disk, oldest first; the result is an `EventsPage` as a map."""

    id: int
    heartbeats: bool = False
    """Heartbeats, which are kept apart, instead of everything else."""
    kinds: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    """Only events of these kinds; of all when there are none."""
    since_ms: Index = 0
    """Only events that are not older than this, in milliseconds since 1970."""
    serial: Index = 0
    """Where to begin: as the page before says, or at the oldest."""
    offset: Index = 0


class EventsPage(msgspec.Struct, frozen=True):
    """The result of `PastEvents`: what a bounded piece of the file holds, which may be nothing."""

    events: list[bytes]
    """Each one as a line of JSON; see `events.read_json`."""
    serial: int
    """Where to go on, with `offset`; good for as long as the node keeps its data directory."""
    offset: int
    more: bool
    """Whether there was more when the page was made."""


class Outcome(IntEnum):
    """How a request ended."""

    DONE = 0
    """`result` has it."""
    REFUSED = 1
    """Nothing happened and nothing will: another node leads (`leader`), or none, or this one is busy. Try again."""
    UNKNOWN = 2
    """It was proposed and then lost sight of, since leadership moved. Ask again with the same sequence."""
    SESSION_EXPIRED = 3
    """The session is not in the replicated state; nothing was applied by this request."""
    INVALID = 4
    """It can never succeed; `message` says why."""


class Answer(IntEnum):
    """The first byte of each single answer in the result of `Commands` and `Queries`."""

    DONE = 0
    """What follows is what the machine returned."""
    INVALID = 1
    """It was not carried out and never can be; what follows says why, in UTF-8. Others of the batch may be DONE."""
    DEFERRED = 2
    """Queries alone: the answers before it filled the reply; ask again for this one."""


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to the request with this `id`."""

    id: int
    outcome: int
    """An `Outcome`."""
    result: Any = None
    """For commands and queries a list of bytes, one `Answer` each; otherwise as the request says."""
    leader: NodeId | None = None
    """Who leads, as far as the node knows."""
    message: str = ""
    """Why, for people."""


class EntryView(msgspec.Struct, frozen=True):
    """One log entry for people, as `describe` prints it."""

    index: int
    term: int
    kind: str
    text: str
    committed: bool
    """Committed and applied at this node."""
    time_ms: int = 0
    """Cluster time when it was made."""


class Status(msgspec.Struct, frozen=True):
    """One node's own view of itself; the keys of ``zraft status --json``."""

    node: NodeId
    endpoint: str
    """Where clients reach it."""
    role: str | None
    term: int
    leader: NodeId | None
    voted_for: NodeId | None
    commit_index: int
    last_applied: int
    last_index: int
    election_timer_ms: int
    """Time since the election timer was last reset."""
    election_timeout_ms: int
    """The timeout drawn for it."""
    healthy: bool
    """The loop turned within an election timeout, and disk thread and guard answer."""
    uptime_s: float
    pid: int
    guard_pid: int | None = None
    """The guard process beside it; for ``zraft cluster status``, and no key of ``zraft status --json``."""
    warnings: list[str] = []
    """What an operator should know: a peer that lost its data, a slow disk."""
    first_index: int = 1
    """Where its log begins, what came before being in a snapshot; no key of ``zraft status --json`` either."""
    log: list[EntryView] = []
    """Newest first, when asked for."""
    members: dict[NodeId, Endpoints] = {}
    """Where everybody is reached who takes part, as far as this node knows: a configuration need not name who joined later."""


Request = (
    Hello
    | OpenSession
    | CloseSession
    | Commands
    | Queries
    | StatusRequest
    | TransferRequest
    | RecentEvents
    | PastEvents
    | MembersRequest
    | MembershipChange
    | CutLinks
    | CopyState
)
