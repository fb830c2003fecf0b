"""The whole state of a node as of one moment, for a client that fetches it piece by piece: ``zraft snapshot save``.

The moment is that of a linearizable read, so everything acknowledged before the client asked is in it (thesis §6.4). From then on
the state machines hand out chunks of what they were, while they go on: that costs references, no copy, and no byte of disk. It does not
use the snapshots that the log is compacted by: those are dropped when newer ones come, which a slow client would not survive.

A copy goes forwards only. Its newest piece is kept, so that an answer that was lost can be given again. A copy that nobody asks for
is dropped, since it keeps in memory what the state machines have replaced meanwhile.
"""

import hashlib
from collections.abc import Iterator

import msgspec

from zraft.machines.failures import told
from zraft.machines.sessions import Machines
from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.ready import ReadReady
from zraft.raft.types import EntryId, Index, Membership
from zraft.requests import From, Outcome, Reply
from zraft.seams import Network
from zraft.statepieces import CopyState, StatePiece

COPIES_MAX = 4
"""Copies under way, or waiting to begin, at one node."""
IDLE_MS_MAX = 30_000
"""How long a copy is kept that nobody asks for."""
CONTEXTS_FROM = 1 << 48
"""Contexts of reads here begin with this; those of other reads stay below."""


class _Waiting(msgspec.Struct, frozen=True):
    """Somebody who waits for a copy to begin."""

    client: bytes
    asked: CopyState
    led: bool
    """Whether this node led when it took the request; if not, the core says what becomes of it (`reads_lost`)."""


class _Copy:
    """A copy under way."""

    def __init__(
        self, last: EntryId, time_ms: int, membership: Membership, pieces: Iterator[bytes], now: float
    ) -> None:
        self.last, self.time_ms, self.membership = last, time_ms, membership
        self.asked_at = now
        """When somebody asked for a piece last."""
        self.offset, self.piece, self.is_last = 0, b"", False
        """The newest piece, and where it begins."""
        self._pieces = pieces
        self._following: bytes | None = b""
        """The piece behind the newest; None when there is none."""
        self._digest = hashlib.sha256()
        self._take()

    def go_on(self) -> None:
        """Make the piece behind the newest one the newest."""
        self.offset += len(self.piece)
        self._take()

    def _take(self) -> None:
        self.piece = self._following or next(self._pieces)
        self._digest.update(self.piece)
        self._following = next(self._pieces, None) or None
        self.is_last = self._following is None

    @property
    def sha256(self) -> bytes | None:
        """Of the whole, once the newest piece is the last."""
        return self._digest.digest() if self.is_last else None


class Copies:
    """Copies of the state at one node.

    Parameters
    ----------
    raft
        The node's core.
    machines
        The replicated state.
    network
        Where replies leave.
    """

    def __init__(self, raft: Raft, machines: Machines, network: Network) -> None:
        self._raft = raft
        self._machines = machines
        self._network = network
        self._copies: dict[int, _Copy] = {}
        """By number."""
        self._waiting: dict[int, _Waiting] = {}
        """By context: those whose moment is not confirmed."""
        self._confirmed: list[tuple[Index, _Waiting]] = []
        """Those whose moment is confirmed, and not applied yet; indices rise."""
        self._next_context = CONTEXTS_FROM

    @property
    def count(self) -> int:
        """How many requests wait."""
        return len(self._waiting) + len(self._confirmed)

    def request(self, client: bytes, asked: CopyState, now: float) -> None:
        """Take a request."""
        copy = self._copies.get(asked.copy)
        if copy is not None:
            copy.asked_at = now
            self._continue(client, asked, copy)
        elif asked.offset:
            self._refuse(client, asked, Outcome.INVALID, f"this node has no copy {asked.copy} of the state; begin anew")
        elif any(asked.copy == waiting.asked.copy for waiting in (*self._waiting.values(), *self._due())):
            self._refuse(client, asked, Outcome.REFUSED, "this copy is about to begin")
        elif len(self._copies) + self.count >= COPIES_MAX:
            self._refuse(
                client, asked, Outcome.REFUSED, f"busy: {COPIES_MAX} copies of the state are under way already"
            )
        else:
            self._begin(client, asked, now)

    def _due(self) -> list[_Waiting]:
        return [waiting for _, waiting in self._confirmed]

    def _begin(self, client: bytes, asked: CopyState, now: float) -> None:
        """Ask for the moment as of which the copy is to be."""
        context = self._next_context
        if self._raft.read_index(context, now, follower=asked.source == From.ANY):
            self._next_context += 1
            self._waiting[context] = _Waiting(client, asked, isinstance(self._raft.role, Leader))
        else:
            why = "this node knows no leader" if asked.source == From.ANY else "this node does not lead"
            self._refuse(client, asked, Outcome.REFUSED, why)

    def confirmed(self, reads: list[ReadReady]) -> list[ReadReady]:
        """Take the reads that were asked for here; return those of others."""
        for read in reads:
            if read.context >= CONTEXTS_FROM:
                self._confirmed.append((read.index, self._waiting.pop(read.context)))
        return [read for read in reads if read.context < CONTEXTS_FROM]

    def reads_lost(self, contexts: list[int]) -> list[int]:
        """Refuse those of these reads that were asked for here; return the others."""
        for context in contexts:
            if context >= CONTEXTS_FROM:
                waiting = self._waiting.pop(context)
                self._refuse(waiting.client, waiting.asked, Outcome.REFUSED, "leadership moved")
        return [context for context in contexts if context < CONTEXTS_FROM]

    def leadership_lost(self) -> None:
        """Refuse whoever waits for this node's word as the leader; copies under way go on, as their moment is past."""
        led = {context: waiting for context, waiting in self._waiting.items() if waiting.led}
        for context, waiting in led.items():
            del self._waiting[context]
            self._refuse(waiting.client, waiting.asked, Outcome.REFUSED, "leadership moved")

    def proceed(self, now: float) -> None:
        """Begin the copies whose moment has come, and drop those that nobody asks for; once in every turn."""
        while self._confirmed and self._confirmed[0][0] <= self._raft.log.last_applied:
            _, waiting = self._confirmed.pop(0)
            self._start(waiting, now)
        for number in [number for number, copy in self._copies.items() if now - copy.asked_at > IDLE_MS_MAX]:
            del self._copies[number]

    def _start(self, waiting: _Waiting, now: float) -> None:
        machines, client, asked = self._machines, waiting.client, waiting.asked
        membership = self._raft.memberships.at(machines.index)
        try:
            last = EntryId(machines.term, machines.index)
            copy = _Copy(last, machines.time_ms, membership, machines.snapshot(), now)
        except Exception as error:  # noqa: BLE001 - a machine of somebody's own; it must not end the node
            self._fail(client, asked, error)
            return
        self._copies[asked.copy] = copy
        self._send(client, asked, copy)

    def _continue(self, client: bytes, asked: CopyState, copy: _Copy) -> None:
        """Give the newest piece again, or the one behind it."""
        if asked.offset == copy.offset + len(copy.piece) and not copy.is_last:
            try:
                copy.go_on()
            except Exception as error:  # noqa: BLE001 - as above
                del self._copies[asked.copy]
                self._fail(client, asked, error)
                return
        if asked.offset == copy.offset:
            self._send(client, asked, copy)
        else:
            at = f"it is at {copy.offset}, not at {asked.offset}"
            self._refuse(
                client, asked, Outcome.INVALID, f"copy {asked.copy} of the state goes forwards: {at}; begin anew"
            )

    def _send(self, client: bytes, asked: CopyState, copy: _Copy) -> None:
        piece = StatePiece(
            self._raft.id, copy.last, copy.time_ms, copy.membership, copy.offset, copy.piece, copy.sha256
        )
        result = msgspec.to_builtins(piece, builtin_types=(bytes,))
        self._network.reply(client, Reply(asked.id, Outcome.DONE, result, self._raft.leader))

    def _fail(self, client: bytes, asked: CopyState, error: Exception) -> None:
        self._refuse(client, asked, Outcome.INVALID, f"a machine failed at telling its state: {told(error)}")

    def _refuse(self, client: bytes, asked: CopyState, outcome: Outcome, message: str) -> None:
        leader = self._raft.leader
        self._network.reply(
            client, Reply(asked.id, outcome, None, leader if leader != self._raft.id else None, message)
        )
