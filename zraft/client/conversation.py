"""What the client wants of the cluster, and how far it has got: batches, the session, retries, deadlines.

It knows no socket and no clock; whoever turns the wire hands it times and answers, and asks what to send.

A session has one batch of commands under way, and everything that is submitted meanwhile leaves as the next one. Reads go
beside it, likewise one batch at a time, and so do those that any node may answer. A batch that nobody waits for any more is abandoned, not settled: the next one has
a higher sequence, and the replicated state never applies a batch older than the session's newest, so the abandoned one
either happened before it or never will. Settling it first would make later calls wait for one that everybody gave up.
"""

from collections import deque
from collections.abc import Iterator
from functools import partial

import msgspec

from zraft import requests
from zraft.client import outcomes
from zraft.client.calls import Call
from zraft.client.errands import Errand
from zraft.client.route import Route
from zraft.errors import InvalidRequest, OutcomeUnknown, SessionExpired
from zraft.raft.types import NodeId
from zraft.requests import Outcome

BATCH_COUNT_MAX = 1_024
BATCH_BYTES_MAX = 1 << 20
"""A batch holds at most this, unless it is a single call."""
_encode = msgspec.msgpack.Encoder().encode


class Conversation:
    """The client's side of what it says to the cluster.

    Parameters
    ----------
    patience_s
        How long an attempt may stay unanswered before another node is asked.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.route = Route((), patience_s)
        """Whom to ask; replaced once the nodes are known."""
        self.writes: deque[Call] = deque()
        """Commands that wait for a batch; any thread appends, the one that turns the wire takes."""
        self.reads: deque[Call] = deque()
        """Queries that wait for a batch, in the same way."""
        self.anywhere: deque[Call] = deque()
        """Queries that any node may answer, in the same way."""
        self._session: int | None = None
        """The session's number, once it is open."""
        self._sequence = 0
        """Number of the newest batch of the session."""
        self._opening: Errand | None = None
        self._writing: Errand | None = None
        self._reading: Errand | None = None
        self._asking: Errand | None = None
        self._closing: Errand | None = None
        self._taken: list[Call] = []
        """Calls on their way from a queue to an errand."""
        self._attempts: dict[int, Errand] = {}
        """Every request id whose answer still counts."""
        self._next_id = 1

    def know(self, nodes: list[NodeId], cluster: str = "") -> None:
        """Take the nodes of the cluster, and what to call it; before that nothing can be sent."""
        self.route = Route(nodes, self._patience_s, cluster)

    # What to send

    def due(self, now: float) -> Iterator[Errand]:
        """Form the batches that can be formed; return what is to be sent now."""
        if self.writes and self._writing is None:
            if self._session is None:
                self._opening = self._opening or Errand(requests.OpenSession(0))
            else:
                self._writing = self._next_batch()
        if self.reads and self._reading is None:
            self._reading = self._next_queries(self.reads)
        if self.anywhere and self._asking is None:
            self._asking = self._next_queries(self.anywhere)
        for errand in self._errands():
            if errand.current is None and errand.not_before <= now:
                yield errand

    def new_id(self) -> int:
        """Return a request id never used before."""
        self._next_id += 1
        return self._next_id

    def sent(self, errand: Errand, id: int, node: NodeId, now: float) -> None:
        """Note that an attempt was handed to ZeroMQ."""
        errand.sent(id, node, now + self._patience_s)
        self._attempts[id] = errand
        self.route.connected(node)
        self.route.asked(node)

    def asked(self) -> set[NodeId]:
        """Return the nodes whose answer is waited for."""
        return {node for errand in self._errands() for node in errand.attempts.values()}

    def wakes_at(self) -> float | None:
        """When there is something to do, if nothing comes in; None for never."""
        times = [errand.wakes_at() for errand in self._errands()]
        times += [queue[0].deadline for queue in self._queues if queue]
        return min(times, default=None)

    def _errands(self) -> list[Errand]:
        everything = (self._opening, self._writing, self._reading, self._asking, self._closing)
        return [errand for errand in everything if errand is not None]

    @property
    def _queues(self) -> tuple[deque[Call], ...]:
        return (self.writes, self.reads, self.anywhere)

    def _next_batch(self) -> Errand | None:
        calls = self._take(self.writes)
        if not calls:
            return None
        assert self._session is not None, "a batch needs a session"
        self._sequence += 1
        commands = [call.payload for call in calls]
        batch = requests.Batch(self._session, self._sequence, calls[0].machine, commands)
        return Errand(requests.Commands(0), _encode(batch), calls)

    def _next_queries(self, queue: deque[Call]) -> Errand | None:
        calls = self._take(queue)
        if not calls:
            return None
        asked = requests.Queries(0, calls[0].machine, [call.payload for call in calls], calls[0].source)
        return Errand(asked, None, calls)

    def order(self, errand: Errand, now: float) -> list[NodeId]:
        """Return whom to ask, best first."""
        order = self.route.order_of_any if errand is self._asking else self.route.order
        return order(now, errand.avoid)

    def _take(self, queue: deque[Call]) -> list[Call]:
        """Take what fits into one batch: calls for one machine, as many as wait, within the limits."""
        calls = self._taken = []
        size = 0
        while queue and len(calls) < BATCH_COUNT_MAX:
            call = queue[0]
            alike = not calls or (call.machine, call.source) == (calls[0].machine, calls[0].source)
            if calls and (not alike or size + len(call.payload) > BATCH_BYTES_MAX):
                break
            if call.leaves():
                calls.append(call)
                size += len(call.payload)
            queue.popleft()  # Last, so that an interrupt loses no call.
        return calls

    # What comes in

    def received(self, node: NodeId, reply: requests.Reply, now: float) -> None:
        """Take an answer; one that nobody waits for is dropped."""
        errand = self._attempts.pop(reply.id, None)
        if errand is None:
            return
        del errand.attempts[reply.id]
        if errand is self._asking:
            self._heard_of_any(errand, node, reply, now)
            return
        if reply.outcome in (Outcome.REFUSED, Outcome.UNKNOWN):
            self._try_elsewhere(errand, node, reply, now)
            return
        self.route.served(node)
        errand.unresolved -= 1
        if errand is self._writing:
            self._settle_batch(errand, reply)
        elif errand is self._reading:
            self._settle_queries(errand, reply, self.reads)
        elif errand is self._opening:
            self._opened(errand, reply, now)
        else:
            self._finish(errand)

    def _try_elsewhere(self, errand: Errand, node: NodeId, reply: requests.Reply, now: float) -> None:
        news = self.route.refused(node, reply.leader, reply.message, now)
        if reply.outcome == Outcome.REFUSED:
            errand.unresolved -= 1
        if errand.current != reply.id:
            return
        if news:
            errand.follow(now)
        else:
            errand.back_off(now)

    def _heard_of_any(self, errand: Errand, node: NodeId, reply: requests.Reply, now: float) -> None:
        errand.unresolved -= 1
        if reply.outcome != Outcome.REFUSED:
            self._settle_queries(errand, reply, self.anywhere)
            return
        self.route.could_not(node, reply.message)
        if errand.current == reply.id:
            errand.back_off(now)

    def _opened(self, errand: Errand, reply: requests.Reply, now: float) -> None:
        if reply.outcome == Outcome.DONE and isinstance(reply.result, int):
            self._finish(errand)
            self._session, self._sequence = reply.result, 0
        elif errand.current == reply.id:
            errand.back_off(now)

    def _settle_batch(self, errand: Errand, reply: requests.Reply) -> None:
        waiting = errand.waiting()
        if reply.outcome == Outcome.SESSION_EXPIRED:
            self._session = None
            if errand.unresolved:
                outcomes.fail(waiting, lambda: SessionExpired(
                    "the session expired while a command was under way: it was applied before that or never; "
                    "read back what it was to change"))  # fmt: skip
            else:
                self.writes.extendleft(reversed(waiting))
        elif reply.outcome == Outcome.DONE and outcomes.is_list(reply.result, len(errand.calls)):
            for call, answer in zip(waiting, reply.result[errand.expired :], strict=True):
                if not call.answer(answer, OutcomeUnknown):
                    call.set_exception(OutcomeUnknown(outcomes.strange(reply)))
        elif reply.outcome == Outcome.INVALID:
            outcomes.fail(waiting, lambda: InvalidRequest(reply.message))
        else:
            outcomes.fail(waiting, lambda: OutcomeUnknown(outcomes.strange(reply)))
        self._finish(errand)  # Last, so that an interrupt loses no call.

    def _settle_queries(self, errand: Errand, reply: requests.Reply, queue: deque[Call]) -> None:
        queue.extendleft(reversed(outcomes.settle_queries(errand, reply)))
        self._finish(errand)

    @property
    def blocked(self) -> bool:
        """Whether something waits for a connection."""
        return any(errand.blocked for errand in self._errands())

    def connected(self, now: float) -> None:
        """Note that a connection stands: whatever waited for one is due."""
        for errand in self._errands():
            if errand.blocked:
                errand.blocked, errand.not_before = False, now

    def lost(self, node: NodeId, now: float) -> None:
        """Note that the connection to `node` broke: no answer will come to what it was asked."""
        self.route.gone(node, now)
        for errand in self._errands():
            if errand.current is not None and errand.attempts.get(errand.current) == node:
                errand.retry(now)

    # Time

    def expire(self, now: float) -> None:
        """Give up attempts that stay unanswered, and calls whose time is up."""
        unavailable, unknown = partial(outcomes.unavailable, self.route), partial(outcomes.unknown, self.route)
        for errand in self._errands():
            if errand.current is not None and errand.silent_at <= now:
                self.route.silent(errand.attempts[errand.current], now)
                errand.retry(now)
        if self._writing and not self._writing.expire(now, unknown if self._writing.unresolved else unavailable):
            self._finish(self._writing)
        for reading in (self._reading, self._asking):
            if reading and not reading.expire(now, unavailable):
                self._finish(reading)
        # What is under way was submitted before what waits, and is told first.
        for queue in self._queues:
            while queue and queue[0].deadline <= now:
                queue.popleft().fail_waiting(unavailable())
        if self._opening and self._opening.current is None and not self.writes:
            self._finish(self._opening)

    def _finish(self, errand: Errand) -> None:
        """Forget an errand: its late answers are nobody's."""
        for id in errand.attempts:
            del self._attempts[id]
        errand.attempts.clear()
        self._opening = None if errand is self._opening else self._opening
        self._writing = None if errand is self._writing else self._writing
        self._reading = None if errand is self._reading else self._reading
        self._asking = None if errand is self._asking else self._asking
        self._closing = None if errand is self._closing else self._closing

    # The end

    def close(self) -> None:
        """Fail every call; what is left to do is to end the session, if there is one."""
        if self._writing:
            unknown = self._writing.unresolved > 0
            outcomes.fail(
                self._writing.waiting(), lambda: outcomes.closed_under_way() if unknown else outcomes.closed()
            )
        for reading in (self._reading, self._asking):
            if reading:
                outcomes.fail(reading.waiting(), outcomes.closed)
        self.drain()
        for errand in self._errands():
            self._finish(errand)
        if self._session is not None:
            self._closing = Errand(requests.CloseSession(0, self._session))
            self._session = None

    def start_over(self) -> "Conversation":
        """Fail what is under way, and return a conversation without a session that has what waits.

        For when the thread that turned the wire was interrupted at a point that nobody knows.
        """
        under_way = list(self._taken)
        for errand in self._errands():
            under_way += errand.calls
        for call in under_way:
            if not call.done():
                call.set_exception(outcomes.interrupted())
        fresh = Conversation(self._patience_s)
        fresh.writes, fresh.reads, fresh.anywhere = self._queues
        for queue in fresh._queues:
            for call in [call for call in queue if call.done()]:
                queue.remove(call)
        return fresh

    @property
    def busy(self) -> bool:
        """Whether anything waits or is under way."""
        return any(self._queues) or bool(self._errands())

    @property
    def has_new(self) -> bool:
        """Whether `due` would form a batch, or open a session, for what was submitted since."""
        if self.writes and self._writing is None and (self._session is not None or self._opening is None):
            return True
        return bool(self.reads and self._reading is None) or bool(self.anywhere and self._asking is None)

    def is_idle(self, queue: deque[Call]) -> bool:
        """Whether a call that joins `queue` now is sent now, instead of with the next batch."""
        if queue is self.writes:
            return self._writing is None
        return (self._reading if queue is self.reads else self._asking) is None

    @property
    def closing(self) -> bool:
        """Whether the end of the session is under way."""
        return self._closing is not None

    def drain(self) -> None:
        """Fail every call that waits; any thread may, once nothing is sent any more."""
        for queue in self._queues:
            while queue:
                try:
                    call = queue.popleft()
                except IndexError:
                    break  # Another thread drains as well, and took the last.
                call.fail_waiting(outcomes.closed())
