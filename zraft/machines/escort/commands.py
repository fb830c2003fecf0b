"""What client and machine of the escort say to each other, as msgpack; all places are `plane.Vector`.

=========  ==========================================================
move       the `Row` of the history that it made
march      a `Marching`
place      the names of the nodes that were placed
step       the `Row` of the history that it made
formation  a `Formation`
history    a `Page`
=========  ==========================================================

`Place` and `Step` are the leader's own: they count with session 0 alone, which no client has. A field that is not known
makes a command invalid instead of being passed over, as in the key-value store.
"""

from itertools import islice

import msgspec

from zraft.machines.escort.plane import Vector, shown, units
from zraft.raft.types import NodeId, Role, Term

MACHINE = "escort"
"""The name under which the escort is mounted."""
EVERY_MS = 100
"""The pace of a march, unless another is asked for: cluster time between two steps."""
EVERY_MS_MAX = 3_600_000
PAGE_ROWS_MAX = 2_000
"""Rows of history in one answer."""


class Move(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0, forbid_unknown_fields=True):
    """Moves the whole formation once."""

    by: Vector


class March(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Sets the goal that the head marches to, in place of any other."""

    to: Vector
    every_ms: int = EVERY_MS
    """Cluster time between two steps."""


class Place(msgspec.Struct, frozen=True, array_like=True, tag=2, forbid_unknown_fields=True):
    """Gives members their places; one that has a place by now keeps it."""

    offsets: dict[NodeId, Vector]
    """Where each is, seen from the head."""


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3, forbid_unknown_fields=True):
    """Takes one step of a march, if it is the next."""

    march: int
    """Number of the march."""
    number: int
    """Number of the step within it, from 1."""


class AskFormation(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0, forbid_unknown_fields=True):
    """Asks where everybody is."""


class AskHistory(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Asks for rows of the history, oldest first."""

    after: int = 0
    """Only steps behind this one: the last of the page before."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One move of the formation, by a client or as a step of a march."""

    step: int
    """Counts all moves since the beginning, from 1, without a gap."""
    term: Term
    leader: NodeId
    """Who led that term, and so was the head."""
    move: Vector
    leader_position: Vector
    """Where the head was afterwards."""


class Marching(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest march."""

    number: int
    """Counts all marches since the beginning, from 1."""
    goal: Vector
    every_ms: int
    due_ms: int
    """Cluster time of the next step; the first is due at once."""
    steps: int = 0
    """How many it has taken."""
    arrived: bool = False


class Stand(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where one member is."""

    node: NodeId
    role: str
    """``leader``, ``follower`` or ``learner``, as the log has it."""
    position: Vector | None
    """None for the moment until its place is drawn."""


class Formation(msgspec.Struct, frozen=True, array_like=True):
    """Where everybody is, and where to."""

    stands: list[Stand]
    """All members, in the order of the membership."""
    step: int
    """The newest row of the history; 0 before the first."""
    marching: Marching | None
    """The newest march, arrived or not; None before the first."""


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Rows of the history."""

    rows: list[Row]
    more: bool
    """Whether rows follow; ask again with `after`."""


Command = Move | March | Place | Step
Query = AskFormation | AskHistory

encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_query = msgspec.msgpack.Decoder(Query).decode
decode_row = msgspec.msgpack.Decoder(Row).decode
decode_marching = msgspec.msgpack.Decoder(Marching).decode
decode_formation = msgspec.msgpack.Decoder(Formation).decode
decode_page = msgspec.msgpack.Decoder(Page).decode

_PLACES_SHOWN_MAX = 9
LEADER, FOLLOWER, LEARNER = map(str, (Role.LEADER, Role.FOLLOWER, Role.LEARNER))


def why_no_pace(every_ms: int) -> str | None:
    """Say why a march can't go at this pace, in words both sides use; None when it can."""
    if 1 <= every_ms <= EVERY_MS_MAX:
        return None
    return f"a step every {every_ms} ms; every 1 to {EVERY_MS_MAX:,} ms are possible"


def describe(command: bytes) -> str:
    """Return a command for people, ``step 17 of march 3``; never raises, whatever the bytes."""
    try:
        decoded = decode_command(command)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return f"not a command of escort ({len(command)} B)"
    match decoded:
        case Move(by):
            return f"move {_words(by)}"
        case March(to, every_ms):
            return f"march to {_words(to)}, a step every {every_ms} ms"
        case Place(offsets):
            places = [f"{node} at {shown(offset)}" for node, offset in islice(offsets.items(), _PLACES_SHOWN_MAX)]
            rest = [f"{len(offsets) - len(places)} more"] if len(offsets) > len(places) else []
            text = f"place {', '.join([*places, *rest])} from the head"
            return text if text.isprintable() else text.encode("unicode_escape").decode()
    return f"step {decoded.number} of march {decoded.march}"


def _words(vector: Vector) -> str:
    x, y = units(vector)
    return f"{x} {y}"
