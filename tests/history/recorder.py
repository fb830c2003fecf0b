"""A node that records its events, and misbehaves on demand."""

from typing import Any

from node_sockets import NodeSockets

from zraft import events
from zraft.config import Config
from zraft.events import Event
from zraft.requests import EventsPage, Outcome, PastEvents, Reply

PAGE = 3
"""Events on one page."""


def event(node: str, seq: int, kind: str = "role", *, wall_ms: int = 0, boot: str = "00ff", **data: Any) -> Event:
    return Event(1, "watched", node, boot, seq, wall_ms, 1, "follower", kind, data)


class Recorder(NodeSockets):
    """Everything but its sockets is set by the test, between two orders.

    Attributes
    ----------
    file : list of Event
        What it has recorded: heartbeats and others, in order.
    refusals, outcome
        Refuse so many questions; how questions end.
    """

    def __init__(self, config: Config, node_id: str) -> None:
        super().__init__(config, node_id)
        self.file: list[Event] = []
        self.refusals = 0
        self.outcome = Outcome.DONE
        self.result: Any = None
        """What to answer instead of the truth."""
        self.begin()

    def happens(self, *found: Event, recorded: bool = True, published: bool = True) -> None:
        """Let events happen, in this order: each is recorded first and then published, as in a node."""

        def happen() -> None:
            for each in found:
                if recorded:
                    self.file.append(each)
                if published:
                    self.emit(each)

        self.order(happen)

    def reply(self, request: Any) -> Reply:
        assert isinstance(request, PastEvents)
        if self.refusals:
            self.refusals -= 1
            return Reply(request.id, Outcome.REFUSED, message="busy")
        return Reply(request.id, self.outcome, self.result or self._page(request), message="so it is")

    def _page(self, asked: PastEvents) -> EventsPage | None:
        if self.outcome != Outcome.DONE:
            return None
        sort = [each for each in self.file if (each.kind == "heartbeat") is asked.heartbeats]
        found = sort[asked.offset : asked.offset + PAGE]
        wanted = [
            each for each in found if each.kind in (asked.kinds or events.KINDS) and each.wall_ms >= asked.since_ms
        ]
        end = asked.offset + len(found)
        return EventsPage([events.as_json(each) for each in wanted], 1, end, end < len(sort))
