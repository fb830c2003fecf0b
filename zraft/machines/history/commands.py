"""What client and machine of the history say to each other, as msgpack: questions alone, for it writes itself.

===========  =======================
elections    an `ElectionsPage`
leaders      a `LeadersPage`
===========  =======================
"""

import msgspec

from zraft.raft.types import Ballot, NodeId, Term

MACHINE = "history"
"""The name under which the history is mounted."""
TERMS_MAX = 10_000
"""Elections that are kept, the newest ones; part of the machine's definition, so it is the same on every node."""
PAGE_MAX = 1_000
"""Elections, or leaders, on one page: some 100 KiB."""


class Elections(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0, forbid_unknown_fields=True):
    """Asks for the elections that were won, oldest first."""

    after: Term = 0
    """Only newer terms than this: the last one of the page before."""
    term: Term | None = None
    """Only this term."""


class Leaders(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Asks for the leaders, oldest first; the fields are those of `Elections`."""

    after: Term = 0
    term: Term | None = None


class Election(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An election that was won, and whose leader could commit."""

    term: Term
    time_ms: int
    """Cluster time of the no-op that opened the term."""
    ballot: Ballot


class Leadership(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One leader's time, from its election to that of the next."""

    node: NodeId
    term: Term
    from_ms: int
    """When it was elected, in milliseconds since 1970 by its own clock."""
    from_time_ms: int
    """The same in cluster time."""
    to_ms: int | None
    """When the next one was elected, by the next one's clock; None while it leads."""
    to_time_ms: int | None
    """The same in cluster time."""
    ended: str | None
    """The `Cause` for which the next one stood; None while it leads."""


class ElectionsPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The result of `Elections`."""

    elections: list[Election]
    more: bool
    """Whether newer ones follow; ask again with `after`."""


class LeadersPage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The result of `Leaders`."""

    leaders: list[Leadership]
    more: bool
    """Whether newer ones follow; ask again with `after`."""


Query = Elections | Leaders

encode = msgspec.msgpack.Encoder().encode
decode_query = msgspec.msgpack.Decoder(Query).decode
decode_elections = msgspec.msgpack.Decoder(ElectionsPage).decode
decode_leaders = msgspec.msgpack.Decoder(LeadersPage).decode


def describe(command: bytes) -> str:
    """Return a command for people: the history has none."""
    return f"not a command of {MACHINE} ({len(command)} B)"
