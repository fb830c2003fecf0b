"""The interface of a state machine: what the cluster replicates.

**Determinism.** Every node applies the same commands in the same order and must reach the same state and give the same
answers, byte for byte, today and whenever the log is replayed. So a machine reads no clock, draws no dice, does no I/O,
and never depends on `hash()` of a string, on the order of a set, or on which node it runs. What it may know of the
world comes in through `Applied`: cluster time, the session, the leader.

**Errors.** A command that cannot be carried out raises `zraft.errors.InvalidRequest`, before it has changed anything,
with a text that depends on the command and the state alone: that text is the answer on every node. Any other exception
is a mistake in the machine. It becomes an answer too, equal on every node since the machine is deterministic, and
gives the exception's type alone, as its text may name addresses of memory. MemoryError, RecursionError and OSError say
something about one node rather than about the command; they are not answers, and stop the node.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from zraft.raft.types import Index, Membership, NodeId, Term


class Applied(msgspec.Struct, frozen=True, gc=False):
    """Where in the history of the cluster a command is applied; the same on every node."""

    index: Index
    """Index of its log entry; commands of one batch share it."""
    term: Term
    """Term of that entry."""
    time_ms: int
    """Cluster time, in milliseconds: never falls, and is no wall clock."""
    session: int
    """Number of the client's session."""
    leader: NodeId | None
    """The leader of `term`."""
    membership: Membership | None
    """Who takes part, as of the entries before this one; None before the first membership entry."""


class StateMachine(Protocol):
    """Replicated state: commands change it, queries read it, a snapshot stands for all commands so far."""

    def apply(self, command: bytes, at: Applied) -> bytes:
        """Carry out `command` and return its result; deterministic, see the module."""

    def query(self, query: bytes) -> bytes:
        """Answer `query` from the state as it is, changing nothing; raises as `apply` does."""

    def snapshot(self) -> Iterator[bytes]:
        """Return the state in chunks, as of this call, whatever is applied while they are read.

        Chunks of some 100 KiB are best: each is held in memory as a whole. Equal histories give equal chunks on every node, however a node came by its state.
        """

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the whole state by the one that `snapshot` gave, in the very same chunks; none mean the empty state.

        Raises
        ------
        Exception
            Whatever is wrong with `chunks`; the node stops rather than go on with half a state.
        """
