"""The interface of a state machine: what the cluster replicates.

**Determinism.** Every node applies the same commands in the same order and must reach the same state and give the same
answers, byte for byte, today and whenever the log is replayed. So a machine reads no clock, draws no dice, does no I/O,
and never depends on `hash()` of a string, on the order of a set, or on which node it runs. What it may know of the
world comes in through `Applied`: cluster time, the session, the leader.

**Errors.** A command that cannot be carried out raises `zraft.errors.InvalidRequest`, before it has changed anything,
with a text that depends on the command and the state alone: that text is the answer on every node. Any other exception, SystemExit
and the like included, is a mistake in the machine. It becomes an answer too, equal on every node since the machine is
deterministic, and gives the exception's type alone, as its text may name addresses of memory. That includes RecursionError: calls
may go equally deep on every node (`depth`). Only two are no answers. MemoryError says something about one node rather
than about the command, and stops that node: so let no command decide how much memory is asked for at once. KeyboardInterrupt
passes where Ctrl-C raises it, which in a node nothing does. An exception out of `query`, `errand` or a `describe` stops nothing at
all; it is the answer, or a line in the log.

**Sizes.** An answer has to fit into a reply: at most 12 MiB (`requests.ANSWERS_BYTES_MAX`), for all commands of a batch together.
In place of one that is longer its client gets an `InvalidRequest` that says so; the command was carried out all the same.

**Observing.** A machine that is an `Observer` too hears of elections and of changes of membership, in their places among
the commands. Nobody waits for an answer there, so any exception is a fault of the node's, and stops it.

**Beginning anew.** A state may be restored that is older than the newest that clients have seen. Index, term and
`Applied.index` leap far ahead then, so what a machine derives from them never comes twice; a machine that is a `Numbering` is told
to leap with its own numbers too.

**Mounting.** The option `machines` of the configuration names classes to mount beside those that zraft comes with; each
node makes one object of each, without arguments. One that has a method ``describe(command: bytes) -> str`` is asked by it what to call its commands in logs and
the monitor. Whoever changes what a command means starts over with a new name, or with an empty cluster: the
log is replayed by the code of today.
"""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Protocol, runtime_checkable

import msgspec

from zraft.raft.types import Ballot, Index, Membership, NodeId, Term


class Applied(msgspec.Struct, frozen=True, gc=False):
    """Where in the history of the cluster a command is applied; the same on every node."""

    index: Index
    """Index of its log entry; commands of one batch share it."""
    term: Term
    """Term of that entry."""
    time_ms: int
    """Cluster time, in milliseconds: never falls, and is no wall clock."""
    session: int
    """Number of the client's session; 0 for what no client asked for: an `Errand`, or what an `Observer` hears of."""
    leader: NodeId | None
    """The leader of `term`."""
    membership: Membership | None
    """Who takes part, as of the entries before this one; None before the first membership entry."""


@runtime_checkable
class Observer(Protocol):
    """What a state machine may be besides: one whose state follows who leads and who takes part; deterministic as `apply`."""

    def leader_elected(self, ballot: Ballot, at: Applied) -> None:
        """Hear that `ballot.leader` leads `at.term` from here on, which `at.leader` says already."""

    def membership_changed(self, membership: Membership, at: Applied) -> None:
        """Hear that `membership` holds from here on, which `at.membership` says already."""


class Errand(msgspec.Struct, frozen=True, gc=False):
    """A command that a machine wants to be given by the cluster itself."""

    due_ms: int
    """Cluster time from which on it may be proposed; 0 for at once."""
    command: bytes
    """What `apply` is to be given, with session 0."""


@runtime_checkable
class Proactive(Protocol):
    """What a state machine may be besides: one that wants something to happen though no client asks, at a time or at once."""

    def errand(self, random: Random) -> Errand | None:
        """Return what is to happen next, or None; changes nothing.

        The leader asks whenever something was applied, and proposes the command once cluster time has reached `due_ms`. It has
        one errand of each machine under way at a time, and asks anew when that one is applied. Session 0, which no
        client has, is the cluster's own, and nothing keeps a command of session 0 from coming twice: from a leader that was
        deposed, and then from the next. So the command must say of itself whether it is still due ("step 17"), and `apply`
        must refuse it when it is not; and an errand that was applied must not be asked for again, or the leader would
        propose it for ever.

        Parameters
        ----------
        random
            Dice. What they show must go into the command: so it is in the log, and the same on every node.
        """


@runtime_checkable
class Numbering(Protocol):
    """What a state machine may be besides: one that gives out numbers of its own that must never go back, such as revisions."""

    def leap(self, by: int) -> None:
        """Go on `by` numbers further, and say of whatever lies before that it is not known any more.

        Called when the state begins anew from a snapshot or a log behind which more may once have happened
        (`Machines.leap`): those numbers may have been given out, and must not be given out for anything else.
        """


class StateMachine(Protocol):
    """Replicated state: commands change it, queries read it, a snapshot stands for all commands so far."""

    def apply(self, command: bytes, at: Applied) -> bytes:
        """Carry out `command` and return its result; deterministic, see the module.

        The results of a session's newest batch are kept for its retries, on every node: let them be small, and
        leave it to queries to read much.
        """

    def query(self, query: bytes) -> bytes:
        """Answer `query` from the state as it is, changing nothing; raises as `apply` does."""

    def snapshot(self) -> Iterator[bytes]:
        """Return the state in chunks, as of this call, whatever is applied while they are read.

        A node calls it, and reads the chunks, in a forked copy of itself, which has its memory and nothing else of it: no
        descriptor, no thread, and what is changed there is lost.

        Chunks of some 100 KiB are best: each is held in memory as a whole. Equal histories give equal chunks on every node, however a node came by its state.
        """

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the whole state by the one that `snapshot` gave, in the very same chunks; none mean the empty state.

        Raises
        ------
        Exception
            Whatever is wrong with `chunks`; the node stops rather than go on with half a state.
        """
