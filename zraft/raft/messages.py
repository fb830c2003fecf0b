"""What nodes say to each other: the messages of the paper's figure 2 and of the thesis, one struct each.

A message does not name its sender: the envelope does (`zraft.codec`), and the core is told. Each carries the sender's
`term`, except that a `PreVote` and the grant of one carry the term that the candidate *would* campaign in and has not
taken (thesis §9.6). `disk_id` names the sender's data directory, so that a node which has lost its data is recognised.
Fields are only ever appended, with defaults, so that an older and a newer node understand each other.
"""

import msgspec

from zraft.raft.types import Ballot, Entry, EntryId, EntryKind, Index, Membership, Snapshot, Term

CHUNK_BYTES_MAX = 256 << 10
"""Data in one `InstallSnapshot`."""
_KINDS = frozenset(EntryKind)
_read_membership = msgspec.msgpack.Decoder(Membership).decode
_read_ballot = msgspec.msgpack.Decoder(Ballot).decode


class PreVote(msgspec.Struct, frozen=True, array_like=True):
    """Asks whether a vote *would* be granted, so that a node cut off disturbs nobody on its return (thesis §9.6)."""

    term: Term
    """The term that the sender would campaign in: its own plus one."""
    last: EntryId
    """The sender's last log entry."""
    disk_id: str
    registered_as: str | None = None
    """The data directory under which the sender's log knows the receiver."""


class PreVoteResponse(msgspec.Struct, frozen=True, array_like=True):
    """Answers `PreVote`; changes nothing at the voter."""

    term: Term
    """When granted, the term asked about; when refused, the voter's own, so that the candidate catches up with it."""
    granted: bool
    reason: str
    """Why not, in words; empty when granted."""
    disk_id: str


class RequestVote(msgspec.Struct, frozen=True, array_like=True):
    """Asks for a vote (paper §5.2); leaves only once the candidate's own vote is durable."""

    term: Term
    last: EntryId
    """The candidate's last log entry (paper §5.4.1)."""
    transfer: bool
    """The sitting leader asked for this election (`TimeoutNow`), or is itself the candidate, after a transfer that failed; so
    leader stickiness does not apply (thesis §4.2.3)."""
    disk_id: str
    registered_as: str | None = None
    """The data directory under which the candidate's log knows the receiver."""


class RequestVoteResponse(msgspec.Struct, frozen=True, array_like=True):
    """Answers `RequestVote`; a grant leaves only once it is durable (paper figure 2)."""

    term: Term
    granted: bool
    reason: str
    """Why not, in words; empty when granted."""
    disk_id: str


class AppendEntries(msgspec.Struct, frozen=True, array_like=True):
    """Replicates entries and the commit index (paper §5.3); with none it asks whether all that was sent has come."""

    term: Term
    prev: EntryId
    """The entry right before `entries`, which the follower must hold for them to fit."""
    commit_index: Index
    """The leader's; the follower commits at most up to the last entry that this message verifies."""
    entries: list[Entry]


class AppendEntriesResponse(msgspec.Struct, frozen=True, array_like=True):
    """Answers `AppendEntries`; an acknowledgement leaves only once the entries are durable."""

    term: Term
    success: bool
    match_index: Index
    """On success, the last index known equal to the leader's and durable here; on refusal, the `prev.index` that does *not*
    match."""
    hint: EntryId
    """On refusal, the follower's last entry that could still match the leader's log (paper §5.3, fast back-up)."""
    disk_id: str


class Heartbeat(msgspec.Struct, frozen=True, array_like=True):
    """The leader lives. Carries no entries; its round confirms reads and the leader's own right to lead (thesis §6.4)."""

    term: Term
    commit_index: Index
    """min(match_index of the receiver, the leader's commit index), so within the receiver's log, unless its disk has lost some."""
    round: Index
    """Number of the heartbeat round; rises within a term."""


class HeartbeatResponse(msgspec.Struct, frozen=True, array_like=True):
    """Answers `Heartbeat`, echoing its round."""

    term: Term
    round: Index
    disk_id: str
    priority: int = 1
    """How much the sender should lead rather than others; 0: only if nobody else can."""
    lost_from: Index = 0
    """From this entry on its disk has lost what it may have acknowledged, and it needs them again; 0: nothing is lost."""


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True):
    """Tells an up-to-date follower to campaign at once: leadership transfer (thesis §3.10)."""

    term: Term


class ReadIndex(msgspec.Struct, frozen=True, array_like=True):
    """A follower asks from which index on it may answer the reads that wait for it (thesis §6.4)."""

    term: Term
    attempt: Index
    """Never used before by anybody for anything: a late answer to another attempt confirms nothing."""


class ReadIndexResponse(msgspec.Struct, frozen=True, array_like=True):
    """Answers `ReadIndex`, once a heartbeat round that began after the question has been answered by a quorum."""

    term: Term
    attempt: Index
    index: Index
    """What the leader had committed when it was asked."""


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """A piece of the leader's snapshot, for a follower that lacks entries which the leader's log has no more (paper §7)."""

    term: Term
    snapshot: Snapshot
    offset: int
    """Where in its bytes `data` belongs."""
    data: bytes = b""
    """At most CHUNK_BYTES_MAX. The core leaves it empty: whoever sends the message puts in what the disk has there."""


class InstallSnapshotResponse(msgspec.Struct, frozen=True, array_like=True):
    """Asks for the next piece. Once all is there and installed, an `AppendEntriesResponse` says so."""

    term: Term
    last: EntryId
    """Which snapshot."""
    offset: int
    """Where the follower wants it to go on; 0 when it begins anew."""
    disk_id: str


Message = (
    PreVote
    | PreVoteResponse
    | RequestVote
    | RequestVoteResponse
    | AppendEntries
    | AppendEntriesResponse
    | Heartbeat
    | HeartbeatResponse
    | TimeoutNow
    | ReadIndex
    | ReadIndexResponse
    | InstallSnapshot
    | InstallSnapshotResponse
)


def flaw(message: Message) -> str | None:
    """Say what no honest peer would send in `message`, or None; what its types cannot express.

    Entries follow each other without a gap, right behind `prev`, their terms and times never falling and none newer than
    the message's own term (paper figure 3, log matching). Each is of a kind that this node knows, and a membership or a
    ballot can be read: an entry that a node can't follow must not get into its log, where it would be met again at each
    start.
    """
    if isinstance(message, InstallSnapshot):
        return _snapshot_flaw(message)
    return _entries_flaw(message) if isinstance(message, AppendEntries) else None


def _entries_flaw(message: AppendEntries) -> str | None:
    before, time_ms = message.prev, 0
    for entry in message.entries:
        if entry.index != before.index + 1:
            return f"entry {entry.index} follows {before.index}"
        if entry.term < before.term:
            return f"term {entry.term} at {entry.index} follows term {before.term}"
        if entry.time_ms < time_ms:
            return f"time {entry.time_ms} at {entry.index} follows time {time_ms}"
        if not _can_be_followed(entry):
            return f"entry {entry.index} of kind {entry.kind} can't be understood"
        before, time_ms = entry.id, entry.time_ms
    return (
        None if before.term <= message.term else f"an entry of term {before.term} in a message of term {message.term}"
    )


def _snapshot_flaw(message: InstallSnapshot) -> str | None:
    snapshot, end = message.snapshot, message.offset + len(message.data)
    if not 0 <= message.offset < end <= snapshot.size:
        return f"bytes {message.offset} to {end} of a snapshot of {snapshot.size}"
    if len(message.data) > CHUNK_BYTES_MAX:
        return f"a piece of {len(message.data)} bytes"
    if not 0 < snapshot.last.term <= message.term or not snapshot.last.index:
        return f"a snapshot of {snapshot.last} in a message of term {message.term}"
    return None if snapshot.membership.voters else "a snapshot without voters"


def _can_be_followed(entry: Entry) -> bool:
    try:
        match entry.kind:
            case EntryKind.MEMBERSHIP:
                return bool(_read_membership(entry.data).voters)
            case EntryKind.NOOP:
                return bool(_read_ballot(entry.data).leader)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return entry.kind in _KINDS
