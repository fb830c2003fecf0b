"""An event as one line of text for people, or as one line of JSON for programs."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from zraft.events import Event
from zraft.printable import one_line

UNSHOWN = frozenset(("status",))
"""Kinds that the table shows, and that would only be noise as a line every second."""
_encode = msgspec.json.Encoder(enc_hook=repr).encode


def is_shown(event: Event) -> bool:
    """Whether people see the event as a line."""
    return event.kind not in UNSHOWN


def as_json(event: Event) -> str:
    """Return the whole record on one line."""
    return _encode(event).decode()


def as_text(event: Event, width: int = 0, *, brief: bool = False) -> str:
    """Return time (UTC), node, term, role, kind, and what happened, on one line.

    Parameters
    ----------
    event
        What happened.
    width
        That of the longest node name.
    brief
        Leave the role out: it stands in the table above.
    """
    clock = datetime.fromtimestamp(event.wall_ms % 86_400_000 / 1_000, UTC).strftime("%H:%M:%S.%f")[:-3]
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


def _rejected(data: dict[str, Any]) -> str:
    return f"{data.get('count')} messages dropped on the {data.get('socket')} socket; the last: {data.get('reason')}"


_SAID_BY: dict[str, Callable[[dict[str, Any]], str]] = {
    "role": _role,
    "entry": lambda data: f"{data.get('index')}@{data.get('term')} {data.get('kind')} {data.get('text')}",
    "log": lambda data: f"{data.get('level')} {data.get('message')}",
    "hook": _hook,
    "vote": _vote,
    "rejected": _rejected,
    "stopping": lambda data: str(data.get("reason", "")),
}
