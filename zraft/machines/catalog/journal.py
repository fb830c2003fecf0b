"""What happened to the catalog, by time and kind: the newest of it, one event for each revision.

It says when by the wall clock too, and yet the same on every node: a leader's ballot has the time of its own clock, and from there on
cluster time tells how much has passed. Where the next leader's clock is behind, that time goes back; the revision never does.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec

from zraft.machines.catalog.commands import EVENTS_PER_PAGE_MAX, Events, EventsPage
from zraft.machines.catalog.records import KINDS, Broker, Happened, Partition, Producer, Record, Topic
from zraft.machines.machine import Applied


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """Everything but the events."""

    wall_ms: int = 0
    """By the clock of the leader that was elected last, when it was: milliseconds since 1970."""
    time_ms: int = 0
    """Cluster time then."""
    chunks: int = 0
    """How many chunks of events follow in a snapshot."""


class Journal:
    """The events, oldest first.

    Parameters
    ----------
    events_max
        How many are kept, the newest; the same on every node.
    """

    def __init__(self, events_max: int) -> None:
        self._events: deque[Happened] = deque(maxlen=events_max)
        self._head = _Head()

    def elected(self, wall_ms: int, time_ms: int) -> None:
        """Go by the clock of a new leader from here on."""
        self._head = _Head(wall_ms, time_ms)

    def note(self, revision: int, verb: str, record: Record, key: str, at: Applied) -> None:
        """Keep what has just happened; the oldest event makes room."""
        wall_ms = self._head.wall_ms + at.time_ms - self._head.time_ms
        self._events.append(
            Happened(revision, KINDS[type(record)], verb, key, record.uuid, at.term, at.time_ms, wall_ms)
        )

    def page(self, query: Events) -> EventsPage:
        """Return the next page of what is wanted."""
        events: list[Happened] = []
        first = bisect_right(self._events, query.after, key=lambda event: event.revision)
        for event in islice(self._events, first, None):
            if len(events) == EVENTS_PER_PAGE_MAX:
                return EventsPage(events, True)
            if query.kind in (None, event.kind) and event.wall_ms >= query.since_ms:
                events.append(event)
        return EventsPage(events, False)

    def snapshot(self) -> Iterator[bytes]:
        """Return the state as of this call: a chunk that says how many follow, and those."""
        return _chunks(self._head, list(self._events))

    def restore(self, chunks: Iterator[bytes]) -> None:
        """Replace the state by that of a snapshot, and leave in `chunks` what comes behind it."""
        first = next(chunks, None)
        head = _Head() if first is None else _decode_head(first)
        events = [event for chunk in islice(chunks, head.chunks) for event in _decode_events(chunk)]
        self._head = _Head(head.wall_ms, head.time_ms)
        self._events = deque(events, self._events.maxlen)


def words(record: Record, owner: Callable[[str], Record | None]) -> str:
    """Return the key of a record as the command line takes it; `owner` finds the broker or topic that it belongs to."""
    if type(record) is Topic:
        return record.name
    if type(record) is Partition:
        topic = owner(record.topic_uuid)
        assert type(topic) is Topic, "a topic that has partitions is not deleted"
        return f"{topic.name} {record.partition_id}"
    if type(record) is Producer:
        broker = owner(record.broker_uuid)
        assert type(broker) is Broker, "a broker that a producer refers to is not deleted"
        return f"{broker.broker_id} {record.producer_id}"
    assert type(record) is Broker, "nothing is noted of registration changes"
    return str(record.broker_id)


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_events = msgspec.msgpack.Decoder(list[Happened]).decode


def _chunks(head: _Head, events: list[Happened]) -> Iterator[bytes]:
    starts = range(0, len(events), EVENTS_PER_PAGE_MAX)
    yield _encode(_Head(head.wall_ms, head.time_ms, len(starts)))
    for at in starts:
        yield _encode(events[at : at + EVENTS_PER_PAGE_MAX])
