"""What happened, in words: the core's notes as log lines and as events, and log entries as one line each."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from zraft.raft.membership import decode as decode_membership
from zraft.raft.ready import Note
from zraft.raft.types import Ballot, Entry, EntryKind, Membership
from zraft.requests import Batch, SessionChange

COMMANDS_SHOWN_MAX = 3
"""Commands of one batch that are spelled out."""

Describer = Callable[[bytes], str]
"""Says what one command of a machine does; never raises."""

_LINES: dict[str, tuple[str, str]] = {
    "pre_vote_requested": ("INFO", "asks whether it would be elected in term {term}"),
    "vote_requested": ("INFO", "vote requested for term {term}"),
    "vote_granted": ("INFO", "vote granted to {candidate} in term {term}"),
    "vote_refused": ("INFO", "vote refused to {candidate} in term {term}: {reason}"),
    "majority_won": ("INFO", "majority won in term {term}: {votes}"),
    "candidacy_lost": ("INFO", "candidacy of term {term} lost: {ending}"),
    "term_update": ("INFO", "term update: {before} -> {term}"),
    "outdated_term": ("INFO", "outdated term {term} from {source}, now {current}"),
    "leader_reset": ("INFO", "leader reset: follows {leader}"),
    "round_lost": ("WARNING", "heartbeat round lost: no quorum answered round {round} before the next"),
    "data_lost": ("ERROR", "{node} has lost its data: zraft member replace {node}"),
    "data_back": ("INFO", "{node} is back with its data, and counts again"),
    "entries_lost": ("WARNING", "the disk of {node} has lost entries from {index} on: sends them again"),
    "refilled": ("INFO", "holds again what its disk had lost, up to entry {index}"),
    "strange": ("WARNING", "dropped a strange message from {source}: {reason}"),
    "membership": ("INFO", "registers the data directories of {registered}"),
    "membership_change": ("INFO", "changes the membership to voters {voters}; learners {learners}"),
    "snapshot_sent": ("INFO", "sends {target} a snapshot of all up to entry {index}: {size} bytes"),
    "snapshot_installed": ("INFO", "begins anew from the snapshot of all up to entry {index}, by {source}"),
    "disk_stalled": ("ERROR", "the disk does not finish its writes: leadership goes to {target}"),
    "transfer": ("INFO", "handover to {target}: {outcome}"),
}
_VOTES = {
    "pre_vote_requested": "requested",
    "vote_requested": "requested",
    "vote_granted": "granted",
    "vote_refused": "refused",
}
_ENDINGS = {
    "timeout": "no majority answered in time",
    "refused": "a majority refused",
    "another_leads": "another leads the term",
    "higher_term": "there is a higher term",
}
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_ballot = msgspec.msgpack.Decoder(Ballot).decode
_decode_session = msgspec.msgpack.Decoder(SessionChange).decode


def line(note: Note) -> tuple[str, str]:
    """Return the log level and the line for `note`."""
    level, form = _LINES[note.kind]
    data: dict[str, Any] = dict(note.data)
    if note.kind == "majority_won":
        data["votes"] = ", ".join(data["votes_for"])
    elif note.kind == "transfer":
        data["outcome"] = "told to take over" if data["done"] else "given up, it did not catch up in time"
    elif note.kind == "membership_change":
        data = {name: ", ".join(nodes) or "none" for name, nodes in data.items()}
    elif note.kind == "candidacy_lost":
        data["ending"] = _ENDINGS[data["outcome"]]
    return level, form.format(**data)


def event(note: Note) -> tuple[str, dict[str, Any]] | None:
    """Return kind and data of the event that `note` becomes, or None for what is only logged."""
    what = _VOTES.get(note.kind)
    if what is not None:
        return "vote", {"what": what, "pre": note.kind == "pre_vote_requested", **note.data}
    match note.kind:
        case "majority_won":
            return "candidacy", {"outcome": "won", **note.data}
        case "candidacy_lost":
            return "candidacy", note.data
        case "transfer" | "data_lost":
            return note.kind, note.data
    return None


def membership_data(entry: Entry) -> dict[str, Any]:
    """Return the data of the event that a committed membership becomes."""
    current = decode_membership(entry.data)
    data = {"voters": current.voters, "outgoing": current.outgoing, "learners": current.learners}
    return {"index": entry.index, "term": entry.term, **data, "registered": tuple(sorted(current.disk_ids))}


def hook_line(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return the log level and the line for the data of a `hook` event."""
    who = f"hook {event['event']} #{event['seq']}"
    state = event["state"]
    if state == "output":
        return "INFO", f"{who} | {event['line']}"
    about = ", ".join(
        f"{name.replace('_', ' ')} {event[name]}"
        for name in ("reason", "exit_code", "signal", "duration_ms")
        if name in event and not (name == "reason" and event[name] == "exit")
    )
    bad = state == "failed" or event.get("exit_code", 0) != 0
    return "ERROR" if bad else "INFO", f"{who} {state}" + (f": {about}" if about else "")


def entry_text(entry: Entry, describers: Mapping[str, Describer]) -> str:
    """Return what `entry` says, on one line; never raises, whatever its data."""
    try:
        match entry.kind:
            case EntryKind.NOOP:
                return f"{_decode_ballot(entry.data).leader} leads term {entry.term}"
            case EntryKind.COMMAND:
                return _batch_text(_decode_batch(entry.data), describers)
            case EntryKind.SESSION:
                closes = _decode_session(entry.data).closes
                return f"session {closes} ends" if closes else f"session {entry.index} begins"
            case EntryKind.MEMBERSHIP:
                return _membership_text(decode_membership(entry.data))
    except (msgspec.MsgspecError, ValueError) as error:
        return f"{len(entry.data)} bytes that can't be read: {error}"
    return "time alone" if entry.kind == EntryKind.TICK else f"{len(entry.data)} bytes"


def _membership_text(membership: Membership) -> str:
    groups = {"outgoing": membership.outgoing, "learners": membership.learners}
    told = [f"voters {', '.join(membership.voters)}"]
    told += [f"{name} {', '.join(nodes)}" for name, nodes in groups.items() if nodes]
    return "; ".join([*told, f"registered {', '.join(sorted(membership.disk_ids))}"])


def _batch_text(batch: Batch, describers: Mapping[str, Describer]) -> str:
    describe = describers.get(batch.machine)
    if describe is None:
        return f"{batch.machine}: {len(batch.commands)} commands"
    shown = [describe(command) for command in batch.commands[:COMMANDS_SHOWN_MAX]]
    rest = len(batch.commands) - len(shown)
    return f"{batch.machine} " + "; ".join(shown) + (f"; and {rest} more" if rest else "")
