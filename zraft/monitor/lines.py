"""An event as one line of text for people, or as one line of JSON for programs."""

from collections.abc import Callable
from typing import Any

from zraft import events
from zraft.events import Event
from zraft.moments import iso
from zraft.printable import one_line

UNSHOWN = frozenset(("status", "heartbeat"))
"""Kinds that would only be noise: the table shows the one every second, and the other may come hundreds of times in one."""


def is_shown(event: Event) -> bool:
    """Whether people see the event as a line."""
    return event.kind not in UNSHOWN


def as_json(event: Event) -> str:
    """Return the whole record on one line."""
    return events.as_json(event).decode()


def as_text(event: Event, width: int = 0, *, brief: bool = False, dated: bool = False) -> str:
    """Return time (UTC), node, term, role, kind, and what happened, on one line.

    Parameters
    ----------
    event
        What happened.
    width
        That of the longest node name.
    brief
        Leave the role out: it stands in the table above.
    dated
        Give the date too: what is shown may be of any day.
    """
    moment = iso(event.wall_ms)
    clock = moment if dated else moment[moment.index("T") + 1 : -1]
    role = "" if brief else f"{event.role or '-':<13} "
    head = f"{clock} {event.node:<{width}} t{event.term:<3} {role}{event.kind:<8} "
    return one_line(head + _what(event.kind, event.data))


def _what(kind: str, data: dict[str, Any]) -> str:
    say = _SAID_BY.get(kind)
    return say(data) if say else " ".join(f"{key}={value}" for key, value in data.items())


def _role(data: dict[str, Any]) -> str:
    role, leader = data.get("role"), data.get("leader")
    text = f"{role} in term {data.get('term')}"
    if leader is not None and role != "leader":
        text += f", follows {leader}"
    about = [str(data["reason"])] if data.get("reason") else []
    if data.get("prev_role") not in (None, role):
        about.append(f"was {data['prev_role']}")
    return f"{text} ({', '.join(about)})" if about else text


def _hook(data: dict[str, Any]) -> str:
    text = f"{data.get('event')} #{data.get('seq')} {data.get('state')}"
    if data.get("state") == "output":
        return f"{text}: {data.get('line')}"
    about = [
        f"{key} {data[key]}" for key in ("reason", "exit_code", "signal", "duration_ms") if data.get(key) is not None
    ]
    return f"{text}: {', '.join(about)}" if about else text


def _vote(data: dict[str, Any]) -> str:
    text = f"{'pre-vote' if data.get('pre') else 'vote'} {data.get('what')}"
    for key, word in (("candidate", "for"), ("voter", "by"), ("term", "in term")):
        if data.get(key) is not None:
            text += f" {word} {data[key]}"
    return f"{text}: {data['reason']}" if data.get("reason") else text


def _candidacy(data: dict[str, Any]) -> str:
    text = f"{data.get('outcome')} in term {data.get('term')}, {data.get('duration_ms')} ms after {data.get('cause')}"
    for key, word in (("votes_for", "for"), ("votes_against", "against"), ("expected", "of")):
        if data.get(key):
            text += f"; {word} {_names(data[key])}"
    return text


def _membership(data: dict[str, Any]) -> str:
    groups = ("voters", "outgoing", "learners", "registered")
    return "; ".join(f"{group} {_names(data[group])}" for group in groups if data.get(group))


def _transfer(data: dict[str, Any]) -> str:
    return f"to {data.get('target')}: {'told to take over' if data.get('done') else 'given up'}"


def _heartbeat(data: dict[str, Any]) -> str:
    way = "to" if data.get("what") == "sent" else "from"
    return f"{data.get('what')} {way} {data.get('peer')}, round {data.get('round')}"


def _started(data: dict[str, Any]) -> str:
    return f"zraft {data.get('version')} (pid {data.get('pid')}), {data.get('entries')} entries recovered"


def _names(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _rejected(data: dict[str, Any]) -> str:
    return f"{data.get('count')} messages dropped on the {data.get('socket')} socket; the last: {data.get('reason')}"


_SAID_BY: dict[str, Callable[[dict[str, Any]], str]] = {
    "role": _role,
    "entry": lambda data: f"{data.get('index')}@{data.get('term')} {data.get('kind')} {data.get('text')}",
    "log": lambda data: f"{data.get('level')} {data.get('message')}",
    "hook": _hook,
    "vote": _vote,
    "candidacy": _candidacy,
    "membership": _membership,
    "transfer": _transfer,
    "data_lost": lambda data: f"{data.get('node')} has lost its data",
    "heartbeat": _heartbeat,
    "started": _started,
    "rejected": _rejected,
    "stopping": lambda data: str(data.get("reason", "")),
}
