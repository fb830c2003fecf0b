"""How entries, messages and a node's state read for people; logs, monitor and tests speak this one language.

- An entry is ``index@term``: ``7@3`` is entry 7, made in term 3; ``4..7@3`` are four entries of that term.
- A node is ``name@term``: ``n1@3 leader last=7@3 commit=6 applied=6 progress={n2:6→8 n3:0→7?}``. Of each follower a
  leader knows ``match→next``; ``?`` says that it still probes where the logs meet, ``#`` that it is being sent a snapshot,
  ``!`` that the node has lost its data. ``first=5`` shows that a snapshot stands for what was before.
  ``stable=5`` shows when the disk lags behind the log, ``voted=n2`` when the vote went to another than the leader.
- A message is ``n1@3 ⇥ n2 AppendEntries prev=6@3 [7@3] commit=6``. Its own term shows where it is another than the sender's.
"""

from collections.abc import Callable, Sequence

import msgspec

from zraft.raft import membership
from zraft.raft.core import Raft
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
    ReadIndex,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from zraft.raft.progress import Progress, ProgressState
from zraft.raft.ready import Note, ReadReady, RoleChange
from zraft.raft.types import Ballot, Entry, EntryId, EntryKind, Membership, NodeId, Term

_decode_ballot = msgspec.msgpack.Decoder(Ballot).decode
_MARKS = {ProgressState.PROBE: "?", ProgressState.REPLICATE: "", ProgressState.SNAPSHOT: "#"}
RUN_MIN = 3
"""Neighbouring entries of one term are drawn together from this many on."""


def entry_id(id: EntryId) -> str:
    """Return ``index@term``."""
    return f"{id.index}@{id.term}"


def entry(entry: Entry, command: Callable[[bytes], str] | None = None) -> str:
    """Return an entry with what it says; `command` reads the data of a COMMAND, which the core does not understand."""
    return f"{entry_id(entry.id)} {_content(entry, command)}"


def entries(entries: Sequence[Entry]) -> str:
    """Return several entries by their ids alone, runs of one term drawn together: ``[1@1 2..9@4]``."""
    runs: list[list[Entry]] = []
    for each in entries:
        if runs and (runs[-1][-1].term, runs[-1][-1].index + 1) == each.id:
            runs[-1].append(each)
        else:
            runs.append([each])
    return f"[{' '.join(_run(run) for run in runs)}]"


def message(message: Message, sender_term: Term) -> str:
    """Return what `message` says, sent by a node in `sender_term`."""
    about = "" if message.term == sender_term else f" term={message.term}"
    return f"{type(message).__name__}{about}{_particulars(message)}"


def sent(source: NodeId, term: Term, target: NodeId, content: Message) -> str:
    """Return the line for a message that `source`, in `term`, sends."""
    return f"{source}@{term} ⇥ {target} {message(content, term)}"


def progress(progress: Progress, *, lost: bool = False) -> str:
    """Return what a leader knows of one follower: ``match→next``."""
    mark = "!" if lost else _MARKS[progress.state]
    return f"{progress.match_index}→{progress.next_index}{mark}"


def state(raft: Raft) -> str:
    """Return a node's state on one line."""
    log, role = raft.log, raft.role
    known = f"({role.leader})" if role.leader not in (None, raft.id) else ""
    parts = [f"{raft.id}@{raft.term} {role.name}{known}", f"last={entry_id(log.last)}"]
    if raft.lacks_entries:
        parts.append(f"lost={entry_id(raft.acknowledged)}")
    if log.base.index:
        parts.append(f"first={log.first_index}")
    if log.stable_index < log.last_index:
        parts.append(f"stable={log.stable_index}")
    parts.append(f"commit={log.commit_index} applied={log.last_applied}")
    if raft.voted_for not in (None, role.leader):
        parts.append(f"voted={raft.voted_for}")
    if isinstance(role, Leader):
        followers = (f"{peer}:{progress(each, lost=peer in role.roster.lost)}" for peer, each in role.progress.items())
        parts.append(f"progress={{{' '.join(followers)}}}")
    return " ".join(parts)


def role_change(node: NodeId, change: RoleChange) -> str:
    """Return what became of a node, and why."""
    of = f" of {change.leader}" if change.leader not in (None, node) else ""
    return f"{node}@{change.term} is {change.role}{of} ({change.reason})"


def read(ready: ReadReady) -> str:
    """Return which read may be answered."""
    return f"read {ready.context} confirmed at {ready.index}"


def note(note: Note) -> str:
    """Return a note with its particulars."""
    return " ".join([note.kind, *(f"{name}={_value(value)}" for name, value in note.data.items())])


def _value(value: object) -> str:
    return ",".join(value) or "nobody" if isinstance(value, tuple) else str(value)


def _content(entry: Entry, command: Callable[[bytes], str] | None) -> str:
    match entry.kind:
        case EntryKind.NOOP:
            return _ballot(entry.data)
        case EntryKind.COMMAND if command is not None:
            return command(entry.data)
        case EntryKind.MEMBERSHIP:
            return _members(entry.data)
    name = EntryKind(entry.kind).name.lower() if entry.kind in set(EntryKind) else f"kind {entry.kind}"
    return f"{name}, {len(entry.data)} bytes" if entry.data else name


def _ballot(data: bytes) -> str:
    try:
        ballot = _decode_ballot(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"no-op that can't be read: {error}"
    groups = {"for": ballot.votes_for, "against": ballot.votes_against, "of": ballot.expected}
    told = [f"{name} {' '.join(nodes)}" for name, nodes in groups.items() if nodes]
    return f"no-op: {ballot.leader} elected by {ballot.cause}, {', '.join(told)}"


def _members(data: bytes) -> str:
    try:
        found: Membership = membership.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"membership that can't be read: {error}"
    groups = {"voters": found.voters, "outgoing": found.outgoing, "learners": found.learners}
    told = [f"{name} {' '.join(nodes)}" for name, nodes in groups.items() if nodes]
    if found.disk_ids:
        told.append(f"registered {' '.join(sorted(found.disk_ids))}")
    return f"membership: {', '.join(told)}"


def _run(run: list[Entry]) -> str:
    if len(run) < RUN_MIN:
        return " ".join(entry_id(each.id) for each in run)
    return f"{run[0].index}..{entry_id(run[-1].id)}"


def _particulars(message: Message) -> str:
    said = ""
    match message:
        case PreVote():
            said = f" last={entry_id(message.last)}"
        case RequestVote():
            said = f" last={entry_id(message.last)}{' transfer' if message.transfer else ''}"
        case PreVoteResponse() | RequestVoteResponse():
            said = " granted" if message.granted else f" refused: {message.reason}"
        case AppendEntries():
            said = f" prev={entry_id(message.prev)} {entries(message.entries)} commit={message.commit_index}"
        case AppendEntriesResponse(success=True):
            said = f" match={message.match_index}"
        case AppendEntriesResponse():
            said = f" refused={message.match_index} hint={entry_id(message.hint)}"
        case Heartbeat():
            said = f" round={message.round} commit={message.commit_index}"
        case HeartbeatResponse():
            said = f" round={message.round}{f' lost_from={message.lost_from}' if message.lost_from else ''}"
        case ReadIndexResponse():
            said = f" index={message.index}"
        case InstallSnapshot():
            said = f" last={entry_id(message.snapshot.last)} offset={message.offset} of {message.snapshot.size}"
        case InstallSnapshotResponse():
            said = f" last={entry_id(message.last)} offset={message.offset}"
        case TimeoutNow() | ReadIndex():
            pass
    return said
