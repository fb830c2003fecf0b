"""One request of a simulated client, on its way through as many attempts as it takes.

It does what `zraft.client.errands` does: each attempt has an id of its own, a timeout leads to another node, a hint is followed, and
`open` counts the attempts that may yet have been carried out. Only when there is none has a request failed for certain.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from zraft.raft.types import NodeId
from zraft.requests import From, Outcome, Queries, Reply
from zraft.simulation.history import Operation
from zraft.simulation.timeline import STALE

if TYPE_CHECKING:
    from zraft.simulation.clients import Client

HOPS_MAX = 2
"""Hints followed at once, one after the other, before waiting: two nodes may name each other for a while."""
BACKOFF_SHARE = 0.1
"""What a client waits after a refusal, at first, as a share of its timeout; twice as long each time, up to the timeout."""


class Asking:
    """A request until it has ended.

    Parameters
    ----------
    client
        Who asks.
    message
        What for; its `id` is replaced for each attempt.
    batch
        The third frame, for commands: the same bytes in every attempt.
    operations
        What the history knows it by.
    patience_ms
        When the client gives up, from now.
    """

    def __init__(
        self,
        client: "Client",
        message: msgspec.Struct,
        operations: list[Operation],
        *,
        batch: bytes | None = None,
        patience_ms: float = float("inf"),
    ) -> None:
        self._client = client
        self.message = message
        self.operations = operations
        self._batch = batch
        self._give_up_at = client.now + patience_ms
        self._attempts: dict[int, NodeId] = {}
        """Attempts that were not refused, and who was asked: their answers still count."""
        self._current = 0
        """The attempt that is waited for; 0 for none."""
        self._asked: NodeId | None = None
        self._tried: set[NodeId] = set()
        """Who was asked since everybody was: the others come first."""
        self._hops = 0
        self._refusals = 0
        self.has_ended = False

    @property
    def is_for_leader(self) -> bool:
        """Whether nobody but the leader can do it."""
        return not isinstance(self.message, Queries) or self.message.source == From.LEADER

    @property
    def open(self) -> int:
        """How many attempts may have been carried out, or may yet be."""
        return len(self._attempts)

    def send(self, target: NodeId) -> None:
        """Make an attempt at `target`."""
        client = self._client
        id = client.new_id(self)
        self._attempts[id] = target
        self._current, self._asked = id, target
        self._tried.add(target)
        frames = client.codec.encode(msgspec.structs.replace(self.message, id=id), self._batch)
        client.simulation.request(client.name, target, frames)
        self._wait(client.simulation.plan.client_timeout_ms, lambda: self._current == id, self._elsewhere)

    def _elsewhere(self) -> None:
        self._current = 0
        if self._client.now >= self._give_up_at:
            self._client.gives_up(self)
        else:
            nodes = self._client.simulation.nodes
            if self._tried >= nodes.keys() and self._asked is not None:
                self._tried = {self._asked}
            self.send(self._random.choice([id for id in nodes if id not in self._tried] or list(nodes)))

    def answered(self, reply: Reply, place: tuple[int, int]) -> None:
        """Take the answer to one of the attempts."""
        if self.has_ended or reply.id not in self._attempts:
            return
        match reply.outcome:
            case Outcome.DONE:
                if self.is_for_leader:
                    self._client.leader = self._attempts[reply.id]  # Whatever others say: it serves.
                self._client.succeeded(self, reply.result, place)
            case Outcome.REFUSED:
                del self._attempts[reply.id]
                self._try_again(reply)
            case Outcome.UNKNOWN:
                self._try_again(reply)
            case Outcome.SESSION_EXPIRED | Outcome.INVALID:
                del self._attempts[reply.id]
                self._client.rejected(self, reply)

    def _try_again(self, reply: Reply) -> None:
        if reply.id != self._current:
            return
        self._current = 0
        if self._client.now >= self._give_up_at:
            self._client.gives_up(self)
            return
        hint = reply.leader
        if hint is not None and hint != self._asked and self._hops < HOPS_MAX:
            self._hops += 1
            self._client.leader = hint
            self.send(hint)
            return
        self._hops = 0
        self._refusals += 1
        timeout = self._client.simulation.plan.client_timeout_ms
        delay = min(timeout, timeout * BACKOFF_SHARE * 2 ** min(self._refusals, 10)) * self._random.uniform(0.5, 1)
        self._wait(delay, lambda: not self._current, self._elsewhere)

    @property
    def _random(self) -> Random:
        return self._client.random

    def _wait(self, delay_ms: float, still: Callable[[], bool], then: Callable[[], None]) -> None:
        """Let `then` happen after a while if `still` holds by then, and the request has not ended."""

        def due() -> Any:
            if self.has_ended or not still():
                return STALE
            return then()

        self._client.simulation.timeline.after(delay_ms, due)
