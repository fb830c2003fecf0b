"""A request on its way to the leader, through as many attempts as it takes.

`unresolved` is what makes the difference between "nothing happened" and "nobody knows": an attempt counts from when it was
handed to ZeroMQ until it was answered with a refusal.
"""

import random
from collections.abc import Callable, Iterable

import msgspec

from zraft import requests
from zraft.client.calls import Call
from zraft.codec import Codec
from zraft.errors import ZraftError
from zraft.raft.types import NodeId

BACKOFF_LOWER_S, BACKOFF_UPPER_S = 0.005, 0.1
"""Between a refusal and the next attempt, growing; never none, so that a cluster without a leader is not flooded."""
_HOPS_MAX = 2
"""Hints followed at once, one after the other, before waiting: two nodes may name each other for a while."""


class Errand:
    """A request that is tried until it is answered.

    Parameters
    ----------
    message
        The request; its `id` is replaced for each attempt, so that every answer finds its attempt.
    batch
        The third frame, for commands: the same bytes in every attempt.
    calls
        Who waits for it, in the order of their deadlines.
    """

    def __init__(self, message: requests.Request, batch: bytes | None = None, calls: Iterable[Call] = ()) -> None:
        self._message = message
        self._batch = batch
        self.calls = list(calls)
        self.expired = 0
        """How many of `calls`, from the first, were failed since their time was up."""
        self.attempts: dict[int, NodeId] = {}
        """Request ids whose answer still counts, and who was asked."""
        self.unresolved = 0
        """Attempts handed to ZeroMQ and not refused."""
        self.current: int | None = None
        """The attempt that is waited for; None when the next is due at `not_before`."""
        self.silent_at = 0.0
        """When the current attempt is given up."""
        self.not_before = 0.0
        self.blocked = False
        """Whether no node had a connection, so that the next one to stand is worth an attempt at once."""
        self.avoid: NodeId | None = None
        """Who was asked last: the others first."""
        self._backoff_s = BACKOFF_LOWER_S
        self._hops = 0

    def frames(self, codec: Codec, id: int) -> list[bytes]:
        """Return the frames of an attempt."""
        return codec.encode(msgspec.structs.replace(self._message, id=id), self._batch)

    def sent(self, id: int, node: NodeId, silent_at: float) -> None:
        """Note that an attempt was handed to ZeroMQ."""
        self.attempts[id] = node
        self.unresolved += 1
        self.blocked = False
        self.current, self.silent_at, self.avoid = id, silent_at, node

    def follow(self, now: float) -> None:
        """Try again at once, since somebody named the leader; or after a while when that has led in circles."""
        self._hops += 1
        if self._hops > _HOPS_MAX:
            self.back_off(now)
        else:
            self.retry(now)

    def retry(self, now: float) -> None:
        """Try again at once."""
        self.current, self.not_before = None, now

    def back_off(self, now: float) -> None:
        """Try again after a while, longer each time, and never in step with other clients."""
        self._hops = 0
        self.current, self.not_before = None, now + self._backoff_s * random.uniform(0.5, 1.0)  # noqa: S311
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_UPPER_S)

    def block(self, now: float) -> None:
        """Wait for a connection; the time is a limit in case that none of them says that it stands."""
        self.blocked, self.not_before = True, now + BACKOFF_UPPER_S

    def wakes_at(self) -> float:
        """When there is something to do about it, if no answer comes."""
        at = self.not_before if self.current is None else self.silent_at
        return min(at, self.calls[self.expired].deadline) if self.expired < len(self.calls) else at

    def expire(self, now: float, why: Callable[[], ZraftError]) -> bool:
        """Fail the calls whose time is up; True when somebody still waits."""
        while self.expired < len(self.calls) and self.calls[self.expired].deadline <= now:
            self.calls[self.expired].set_exception(why())
            self.expired += 1
        return self.expired < len(self.calls)

    def waiting(self) -> list[Call]:
        """Return the calls that still wait."""
        return self.calls[self.expired :]
