"""Following event files: nothing is missed and nothing comes twice, whatever the subscription does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from node_sockets import WAIT_S
from recorder import Recorder, event

from zraft import events
from zraft.client.history.reading import Reading
from zraft.config import Config
from zraft.events import Event
from zraft.monitor import follow as following
from zraft.monitor.follow import Track, follow
from zraft.requests import EventsPage, Outcome, Reply

Start = Callable[[str], Recorder]


class _Over(Exception):
    """The test has seen enough."""


class Follower:
    """Follows in a thread of its own, until its sockets are taken away."""

    def __init__(self, config: Config, readings: list[Reading]) -> None:
        self.shown: list[Event] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(config, readings), daemon=True)
        self._thread.start()

    def _run(self, config: Config, readings: list[Reading]) -> None:
        with suppress(_Over):
            follow(config, readings, self._show)

    def _show(self, found: list[Event]) -> None:
        if found[0].kind == "stopping":
            raise _Over
        with self._changed:
            self.shown += found
            self._changed.notify_all()

    def wait_for(self, *found: Event) -> None:
        """Return once these, and these alone, have been shown; those of one node in this order."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.shown) >= len(found), WAIT_S), self.shown
        for node in {each.node for each in found}:
            assert [each for each in self.shown if each.node == node] == [each for each in found if each.node == node]
        assert len(self.shown) == len(found)

    def end(self) -> None:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def node(start: Start) -> Recorder:
    return start("n1")


@pytest.fixture
def follower(watched: Config, node: Recorder) -> Iterator[Follower]:
    """Follow n1, from its beginning."""
    made = Follower(watched, [Reading("n1", heartbeats=False)])
    yield made
    node.silent, node.refusals = False, 0
    node.happens(event("n1", 999, "stopping"))
    made.end()


def test_what_was_and_what_happens_comes_once_and_in_order(node: Recorder, follower: Follower) -> None:
    before = [event("n1", seq) for seq in range(1, 8)]
    node.happens(*before)
    node.wait_for_subscriber()
    follower.wait_for(*before)
    later = [event("n1", seq, kind) for seq, kind in enumerate(["role", "vote", "hook"] * 20, 8)]
    for each in later:
        node.happens(each)
    follower.wait_for(*before, *later)


def test_what_the_subscription_drops_is_read_at_the_next_status(node: Recorder, follower: Follower) -> None:
    node.wait_for_subscriber()
    node.happens(event("n1", 1))
    follower.wait_for(event("n1", 1))
    node.happens(event("n1", 2), event("n1", 3), published=False)
    node.happens(event("n1", 4, "status"), recorded=False)
    follower.wait_for(event("n1", 1), event("n1", 2), event("n1", 3))


def test_what_could_not_be_recorded_is_shown_as_it_was_published(node: Recorder, follower: Follower) -> None:
    node.wait_for_subscriber()
    node.happens(event("n1", 1))
    follower.wait_for(event("n1", 1))
    node.happens(event("n1", 2), event("n1", 3), recorded=False)
    follower.wait_for(event("n1", 1), event("n1", 2), event("n1", 3))
    node.happens(event("n1", 4))
    follower.wait_for(*(event("n1", seq) for seq in (1, 2, 3, 4)))


@pytest.mark.parametrize("outcome", [Outcome.INVALID])
def test_a_node_that_cannot_read_its_file_is_followed_by_what_it_publishes(
    node: Recorder, follower: Follower, outcome: Outcome
) -> None:
    node.outcome = outcome
    node.wait_for_subscriber()
    node.happens(event("n1", 1), event("n1", 2))
    follower.wait_for(event("n1", 1), event("n1", 2))
    node.outcome = Outcome.DONE


def test_a_busy_node_is_asked_again(node: Recorder, follower: Follower) -> None:
    node.refusals = 5
    node.wait_for_subscriber()
    node.happens(*(event("n1", seq) for seq in range(1, 10)))
    follower.wait_for(*(event("n1", seq) for seq in range(1, 10)))


def test_a_question_that_is_lost_is_put_again(
    node: Recorder, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_ASK_AGAIN_S", 0.1)
    node.wait_for_subscriber()
    node.happens(event("n1", 1))
    follower.wait_for(event("n1", 1))
    node.silent = True
    node.happens(event("n1", 2))
    node.wait_for_questions(len(node.asked) + 2)
    node.silent = False
    follower.wait_for(event("n1", 1), event("n1", 2))


def test_a_node_that_was_away_is_followed_again(watched: Config, start: Start) -> None:
    first = start("n1")
    first.file = [event("n1", 1)]
    follower = Follower(watched, [Reading("n1", heartbeats=False)])
    first.wait_for_subscriber()
    follower.wait_for(event("n1", 1))
    first.close()
    again = start("n1")
    again.happens(event("n1", 1), event("n1", 2), event("n1", 1, boot="00aa"), published=False)
    follower.wait_for(event("n1", 1), event("n1", 2), event("n1", 1, boot="00aa"))
    again.wait_for_subscriber()
    again.happens(event("n1", 999, "stopping"))
    follower.end()


def test_a_node_that_comes_late_is_followed_from_its_beginning(watched: Config, start: Start) -> None:
    follower = Follower(watched, [Reading(name, heartbeats=False) for name in ("n1", "n2")])
    one = start("n1")
    one.happens(event("n1", 1))
    follower.wait_for(event("n1", 1))
    other = start("n2")
    other.happens(event("n2", 1), event("n2", 2))
    follower.wait_for(event("n1", 1), event("n2", 1), event("n2", 2))
    one.happens(event("n1", 999, "stopping"))
    follower.end()


def test_heartbeats_are_followed_besides(watched: Config, start: Start) -> None:
    node = start("n1")
    follower = Follower(watched, [Reading("n1", heartbeats=heartbeats) for heartbeats in (False, True)])
    node.wait_for_subscriber()
    node.happens(event("n1", 1, "heartbeat"))
    follower.wait_for(event("n1", 1, "heartbeat"))
    node.happens(event("n1", 2, "role"))
    follower.wait_for(event("n1", 1, "heartbeat"), event("n1", 2, "role"))
    node.happens(event("n1", 999, "stopping"))
    follower.end()


# -- one reading, without sockets --------------------------------------------------------------------------------------


def answer(*found: Event, more: bool = False, offset: int = 0) -> Reply:
    page = EventsPage([events.as_json(each) for each in found], 1, offset, more)
    return Reply(1, Outcome.DONE, {"events": page.events, "serial": 1, "offset": offset, "more": more})


def test_an_event_that_comes_behind_the_question_waits_for_the_next_answer() -> None:
    track = Track(Reading("n1", heartbeats=False))
    track.asks(1, 0.0)
    track.live(event("n1", 1))
    assert track.answered(answer(), 0.1) == [], "the answer may be older than the event"
    assert track.is_due(0.1)
    track.asks(2, 0.1)
    assert track.answered(answer(event("n1", 1)), 0.2) == [event("n1", 1)]
    assert not track.is_due(0.2)


def test_an_event_on_a_later_page_is_not_taken_for_unwritten() -> None:
    track = Track(Reading("n1", heartbeats=False))
    track.live(event("n1", 2))
    track.asks(1, 0.0)
    assert track.answered(answer(event("n1", 1), more=True), 0.1) == [event("n1", 1)]
    assert track.is_due(0.1)
    track.asks(2, 0.1)
    assert track.answered(answer(event("n1", 2)), 0.2) == [event("n1", 2)]
    assert track.held == {}


def test_a_refusal_is_not_answered_with_a_question_at_once() -> None:
    track = Track(Reading("n1", heartbeats=False))
    track.live(event("n1", 1))
    track.asks(1, 0.0)
    assert track.answered(Reply(1, Outcome.REFUSED, message="busy"), 1.0) == []
    assert not track.is_due(1.0)
    assert track.is_due(1.0 + following._BUSY_S)
