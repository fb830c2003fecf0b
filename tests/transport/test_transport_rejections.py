"""What is dropped is counted always and told at a bounded rate."""

from collections.abc import Iterator

import pytest
from loguru import logger

from zraft.events import Event, Publisher
from zraft.transport import REJECTED_EVERY_MS, Rejections


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Collect what is logged meanwhile."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="WARNING")
    yield found
    logger.remove(sink)


def test_each_socket_has_a_line_and_an_event_per_second_at_most(lines: list[str]) -> None:
    now = [0.0]
    events: list[Event] = []
    rejected = Rejections(lambda: now[0])
    rejected.publisher = Publisher("c", "n1", 1, lambda: 0, events.append)
    for step in range(3 * REJECTED_EVERY_MS):
        now[0] = float(step)
        rejected("peer", f"reason {step}")
        if step % 2 == 0:
            rejected("client", f"other {step}")
    assert rejected.counts == {"peer": 3 * REJECTED_EVERY_MS, "client": 3 * REJECTED_EVERY_MS // 2}
    assert lines == [
        "dropped 1 messages on the peer socket so far; the last: reason 0",
        "dropped 1 messages on the client socket so far; the last: other 0",
        "dropped 1001 messages on the peer socket so far; the last: reason 1000",
        "dropped 501 messages on the client socket so far; the last: other 1000",
        "dropped 2001 messages on the peer socket so far; the last: reason 2000",
        "dropped 1001 messages on the client socket so far; the last: other 2000",
    ]
    assert [(event.kind, event.data["socket"], event.data["count"]) for event in events[:3]] == [
        ("rejected", "peer", 1),
        ("rejected", "client", 1),
        ("rejected", "peer", 1001),
    ]
    assert len(events) == len(lines)


def test_what_was_dropped_last_is_told_when_its_second_is_over(lines: list[str]) -> None:
    now = [0.0]
    events: list[Event] = []
    rejected = Rejections(lambda: now[0])
    rejected.publisher = Publisher("c", "n1", 1, lambda: 0, events.append)
    for step in range(500):
        now[0] = float(step)
        rejected("peer", f"reason {step}")
    rejected.tell_rest()
    assert len(lines) == 1
    now[0] = float(REJECTED_EVERY_MS)
    rejected.tell_rest()
    assert lines[1:] == ["dropped 500 messages on the peer socket so far; the last: reason 499"]
    assert [event.data["count"] for event in events] == [1, 500]
    for _ in range(3):
        now[0] += REJECTED_EVERY_MS
        rejected.tell_rest()
    assert len(lines) == 2, "nothing new is nothing to tell"


def test_before_the_node_has_a_publisher_the_line_is_enough(lines: list[str]) -> None:
    rejected = Rejections(lambda: 5.0)
    rejected("event", "why")
    assert lines == ["dropped 1 messages on the event socket so far; the last: why"]
