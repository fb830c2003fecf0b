"""How far one reader has come in one node's event file."""

import heapq
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from zraft import events
from zraft.errors import ProtocolError
from zraft.events import Event
from zraft.raft.types import NodeId
from zraft.requests import EventsPage, Outcome, PastEvents, Reply


class Reading:
    """Reads the heartbeats of a node, or everything else, page by page; and later on, what has come since.

    Parameters
    ----------
    node
        Whose events.
    heartbeats
        Which of its two sorts of files.
    kinds
        Only events of these kinds; of all when there are none.
    since_ms
        Only events that are not older than this, in milliseconds since 1970.
    """

    def __init__(self, node: NodeId, *, heartbeats: bool, kinds: Sequence[str] = (), since_ms: int = 0) -> None:
        self.node = node
        self.heartbeats = heartbeats
        self._kinds = tuple(kinds)
        self._since_ms = since_ms
        self._serial = self._offset = 0
        self._newest: dict[str, int] = {}
        """By process start, the number of the newest event read."""
        self.more = True
        """Whether the node had more than it has given so far."""
        self.problem = ""
        """Why it could not give more; empty when there is nothing to say."""

    def question(self, id: int) -> PastEvents:
        """Return the question for what comes next."""
        return PastEvents(id, self.heartbeats, self._kinds, self._since_ms, self._serial, self._offset)

    def take(self, reply: Reply) -> list[Event]:
        """Take the answer; return the events that are new, in their order."""
        if reply.outcome == Outcome.REFUSED:
            return []  # Busy: the same question again.
        self.more, self.problem = False, ""
        if reply.outcome != Outcome.DONE:
            self.problem = reply.message
            return []
        try:
            page = msgspec.convert(reply.result, EventsPage)
        except msgspec.ValidationError as error:
            self.problem = f"an answer that can't be read: {error}"
            return []
        self._serial, self._offset, self.more = page.serial, page.offset, page.more
        return [event for line in page.events if (event := self._new(line)) is not None]

    def wants(self, event: Event) -> bool:
        """Whether an event that came another way is one that this would read."""
        if event.node != self.node or (event.kind == "heartbeat") is not self.heartbeats:
            return False
        return (
            events.is_recorded(event)
            and event.wall_ms >= self._since_ms
            and event.kind in (self._kinds or events.KINDS)
        )

    def has(self, event: Event) -> bool:
        """Whether it has been read, or passed on under the name of `passed`."""
        return event.seq <= self._newest.get(event.boot_id, 0)

    def passed(self, event: Event) -> None:
        """Note that the event came another way: it is not to come again."""
        self._newest[event.boot_id] = max(event.seq, self._newest.get(event.boot_id, 0))

    def _new(self, line: bytes) -> Event | None:
        try:
            event = events.read_json(line)
        except ProtocolError:
            return None  # Of another version of zraft: nothing that we could show.
        # After a loss of power the file may be shorter than it was, and is read from its beginning.
        if event.node != self.node or self.has(event):
            return None
        self.passed(event)
        return event


def readings(node: NodeId, kinds: Sequence[str], since_ms: int) -> list[Reading]:
    """Return what has to be read of a node to have all its events of these kinds."""
    sorts = {kind == "heartbeat" for kind in kinds} or {False, True}
    return [Reading(node, heartbeats=heartbeats, kinds=kinds, since_ms=since_ms) for heartbeats in sorted(sorts)]


def merged(streams: Iterable[Iterable[Event]]) -> list[Event]:
    """Return the events of several nodes as one list, oldest first; those of one stream stay in their order."""
    return [event for _, event in heapq.merge(*map(_clocked, streams), key=lambda each: each[0])]


def _clocked(stream: Iterable[Event]) -> Iterator[tuple[tuple[int, NodeId, str, int], Event]]:
    # A clock that was set back does not turn a node's own order around.
    latest = 0
    for event in stream:
        latest = max(latest, event.wall_ms)
        yield (latest, event.node, event.boot_id, event.seq), event
