"""How far a reader has come, and how the events of several nodes become one list."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorder import event

from zraft import events
from zraft.client.history.reading import Reading, merged, readings
from zraft.requests import Outcome, PastEvents, Reply


def page(*found: Any, more: bool = False, serial: int = 1, offset: int = 0) -> Reply:
    lines = [each if isinstance(each, bytes) else events.as_json(each) for each in found]
    return Reply(1, Outcome.DONE, {"events": lines, "serial": serial, "offset": offset, "more": more})


def test_each_question_goes_on_where_the_page_before_ended() -> None:
    reading = Reading("n1", heartbeats=False, kinds=["role"], since_ms=7)
    assert reading.question(1) == PastEvents(1, False, ("role",), 7, 0, 0)
    assert reading.take(page(event("n1", 1), more=True, serial=3, offset=40)) == [event("n1", 1)]
    assert reading.more
    assert reading.question(2) == PastEvents(2, False, ("role",), 7, 3, 40)
    assert reading.take(page(serial=3, offset=90)) == []
    assert not reading.more
    assert reading.question(3) == PastEvents(3, False, ("role",), 7, 3, 90)


def test_a_refusal_changes_nothing() -> None:
    reading = Reading("n1", heartbeats=False)
    reading.take(page(event("n1", 1), more=True, serial=3, offset=40))
    assert reading.take(Reply(1, Outcome.REFUSED, message="busy")) == []
    assert (reading.more, reading.problem) == (True, "")
    assert reading.question(2) == PastEvents(2, False, (), 0, 3, 40)


@pytest.mark.parametrize("reply", [Reply(1, Outcome.INVALID, message="no file"), Reply(1, Outcome.DONE, {"events": 7})])
def test_an_answer_that_is_none_ends_it_and_says_why(reply: Reply) -> None:
    reading = Reading("n1", heartbeats=False)
    assert reading.take(reply) == []
    assert not reading.more
    assert ("no file" in reading.problem) or ("can't be read" in reading.problem)


def test_what_was_read_does_not_come_again_when_the_file_is_read_from_its_beginning() -> None:
    reading = Reading("n1", heartbeats=False)
    first, second = event("n1", 1), event("n1", 2)
    assert reading.take(page(first, second)) == [first, second]
    reborn = event("n1", 1, boot="00aa")
    assert reading.take(page(first, second, reborn)) == [reborn]


def test_what_is_no_event_of_the_node_is_passed_over() -> None:
    reading = Reading("n1", heartbeats=False)
    assert reading.take(page(b"{}", b"\xff", event("n2", 1), event("n1", 2))) == [event("n1", 2)]


def test_what_it_wants_of_what_is_published() -> None:
    reading = Reading("n1", heartbeats=False, kinds=["hook", "role"], since_ms=10)
    assert reading.wants(event("n1", 1, "role", wall_ms=10))
    assert not reading.wants(event("n1", 1, "role", wall_ms=9))
    assert not reading.wants(event("n2", 1, "role", wall_ms=10))
    assert not reading.wants(event("n1", 1, "vote", wall_ms=10))
    assert not reading.wants(event("n1", 1, "hook", wall_ms=10, state="output"))
    assert not Reading("n1", heartbeats=False).wants(event("n1", 1, "status"))
    assert not Reading("n1", heartbeats=False).wants(event("n1", 1, "heartbeat"))
    assert Reading("n1", heartbeats=True).wants(event("n1", 1, "heartbeat"))


@pytest.mark.parametrize(
    ("kinds", "sorts"),
    [([], [False, True]), (["role"], [False]), (["heartbeat"], [True]), (["role", "heartbeat"], [False, True])],
)
def test_heartbeats_and_the_rest_are_read_where_they_are_wanted(kinds: list[str], sorts: list[bool]) -> None:
    assert [reading.heartbeats for reading in readings("n1", kinds, 0)] == sorts


STREAM = st.lists(st.integers(0, 50), max_size=12)


@given(st.lists(STREAM, max_size=4))
def test_merged_events_are_oldest_first_and_no_node_is_turned_around(clocks: list[list[int]]) -> None:
    streams = [
        [event(f"n{number}", seq, wall_ms=ms) for seq, ms in enumerate(stream, 1)]
        for number, stream in enumerate(clocks)
    ]
    found = merged(streams)
    for stream in streams:
        assert [each for each in found if stream and each.node == stream[0].node] == stream
    if all(stream == sorted(stream) for stream in clocks):
        assert [each.wall_ms for each in found] == sorted(ms for stream in clocks for ms in stream)
    assert merged(reversed(streams)) == found
