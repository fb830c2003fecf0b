"""How a client asks for the whole state of a node, piece by piece, and what it is answered; one of the `requests`."""

from typing import Annotated

import msgspec

from zraft.raft.types import EntryId, Index, Membership, NodeId


class CopyState(msgspec.Struct, frozen=True, array_like=True):
    """Asks for a piece of the whole replicated state, as of one moment; the result is a `StatePiece` as a map.

    With `offset` 0 that moment is behind everything acknowledged before. INVALID when the node has no such copy any more: begin
    anew, under another number.
    """

    id: int
    copy: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    """The copy's number, drawn by whoever asks: so the same piece may be asked for again."""
    offset: Index = 0
    """Where the piece begins: 0, or where the one before ended. That one may be asked for again, those before it not."""
    source: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    """A `requests.From`: the leader's state, or that of whoever is asked."""


class StatePiece(msgspec.Struct, frozen=True):
    """The result of `CopyState`."""

    node: NodeId
    """Whose state it is; it alone has the rest."""
    last: EntryId
    """The last entry applied to the state."""
    time_ms: int
    """Cluster time of that entry."""
    membership: Membership
    """What was in force there."""
    offset: Index
    data: bytes
    sha256: bytes | None = None
    """Of all pieces together; with the last one alone."""
