"""Heartbeat rounds, and the linearizable reads that they confirm (thesis §6.4).

A leader may answer a read from its own state only if, at some moment after the read arrived, it was still the leader:
it notes its commit index, and asks everybody with a heartbeat round that starts *after* the read was accepted. A quorum
of answers proves that nobody else could have committed anything newer by then. The same proof tells the leader that it
still leads at all (check quorum, thesis §6.2), so rounds serve both.
"""

from random import Random
from typing import NamedTuple

from zraft.raft.types import Index, NodeId

_ATTEMPT_BITS = 62
"""Attempts are numbered from a random place, so that no two processes, nor two lives of one, ever use the same number."""


class RemoteRead(NamedTuple):
    """A read that a follower will answer, once it knows from which index on."""

    source: NodeId
    attempt: int


Context = int | RemoteRead
"""What a read was handed in under: a number of the node's own, or a follower's question."""


class Rounds:
    """The heartbeat rounds of one leader in one term, and the reads that wait for them."""

    def __init__(self, now: float) -> None:
        self.sent = 0
        """Number of the newest round."""
        self.confirmed = 0
        """Newest round that a quorum has answered."""
        self.confirmed_sent_at = now
        """When that round was *sent*: the last moment at which this node is known to have led."""
        self.newest_sent_at = now
        """When the newest round was sent."""
        self._sent_at: dict[int, float] = {}
        self._accepted: list[tuple[Context, Index]] = []
        self._waiting: list[tuple[int, Context, Index]] = []

    @property
    def under_way(self) -> bool:
        """Whether a round waits for its quorum."""
        return self.confirmed < self.sent

    @property
    def wanted(self) -> bool:
        """Whether a round should start at once: reads wait and none is under way whose end they could await."""
        return bool(self._accepted) and not self.under_way

    def accept(self, context: Context, commit_index: Index) -> None:
        """Take a read; only a round that starts from now on confirms it."""
        self._accepted.append((context, commit_index))

    def start(self, now: float) -> int:
        """Begin a round and return its number; it will confirm every read accepted so far."""
        self.sent += 1
        self._sent_at[self.sent] = self.newest_sent_at = now
        self._waiting.extend((self.sent, context, index) for context, index in self._accepted)
        self._accepted.clear()
        return self.sent

    def confirm(self, round: int) -> list[tuple[Context, Index]]:
        """Note that a quorum has answered `round`; return the reads, as (context, index), that it confirms."""
        if round <= self.confirmed:
            return []
        assert round <= self.sent, "a round answered before it was sent"
        self.confirmed = round
        self.confirmed_sent_at = self._sent_at[round]
        self._sent_at = {number: sent_at for number, sent_at in self._sent_at.items() if number > round}
        ready = [(context, index) for number, context, index in self._waiting if number <= round]
        self._waiting = [read for read in self._waiting if read[0] > round]
        return ready


class ForwardedReads:
    """The reads of one follower, which its leader confirms; those that come while an attempt is under way share the next.

    An attempt that stays unanswered is followed by another, and not made void by it: where a round takes longer than a
    follower waits, none would ever be answered. The leader confirms an attempt after all that came before it had come; so an
    answer confirms every read that this attempt, or an earlier one, asked for first, and no other.

    Parameters
    ----------
    random
        Where the number of the first attempt comes from; each further one is one more.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.attempt = 0
        """Number of the newest attempt; 0 before the first."""
        self._first = 0
        """Number of the first one."""
        self._waiting: list[int] = []
        self._asked: list[tuple[int, int]] = []
        """Attempts, rising, and contexts that each was the first to ask for."""
        self.asked_at: float | None = None
        """When the newest attempt left; None when none is under way."""

    def accept(self, context: int) -> None:
        """Take a read; an attempt that is under way already does not confirm it."""
        self._waiting.append(context)

    @property
    def wanted(self) -> bool:
        """Whether an attempt should begin now."""
        return bool(self._waiting) and self.asked_at is None

    def ask(self, now: float) -> int:
        """Begin an attempt for all that wait, also for those that were asked for before; return its number."""
        if self.attempt:
            self.attempt += 1
        else:
            self.attempt = self._first = self._random.getrandbits(_ATTEMPT_BITS)
        self._asked += [(self.attempt, context) for context in self._waiting]
        self._waiting = []
        self.asked_at = now
        return self.attempt

    def answered(self, attempt: int) -> list[int]:
        """Return the contexts that an answer to `attempt` confirms; none if there was no such attempt."""
        if not self._first <= attempt <= self.attempt:
            return []
        confirmed = [context for asked, context in self._asked if asked <= attempt]
        self._asked = self._asked[len(confirmed) :]
        if not self._asked:
            self.asked_at = None
        return confirmed

    def drop(self) -> list[int]:
        """Give up all of them; return their contexts."""
        dropped = [context for _, context in self._asked] + self._waiting
        self._asked, self._waiting, self.asked_at = [], [], None
        return dropped
