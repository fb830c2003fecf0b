"""The monitor's sockets against publishers that come, go, repeat themselves and talk nonsense."""

import time
from collections.abc import Callable

import msgspec
import pytest
import zmq

from zraft import events
from zraft.events import Event
from zraft.monitor.feed import Feed
from zraft.monitor.sources import Sources

WAIT_S = 10.0


class Watcher:
    """Collects what the sources yield."""

    def __init__(self, config, nodes, tail=20):
        self.sources = Sources(config, nodes, lambda: Feed(tail))
        self.shown: list[Event] = []
        self.seen: list[Event] = []
        self.lost = 0

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}; seen {self.seen}"
            ready = self.sources.wait(20)
            for item in self.sources.take(ready, time.monotonic() * 1_000):
                self.lost += item.passage.lost
                self.seen += item.passage.events
                self.shown += item.passage.events[item.passage.hidden :]

    def messages(self) -> list[str]:
        return [event.data["message"] for event in self.shown]


@pytest.fixture
def watch(watched):
    watchers: list[Watcher] = []

    def watch(*nodes: str, tail: int = 20) -> Watcher:
        watchers.append(Watcher(watched, nodes, tail))
        return watchers[-1]

    yield watch
    for watcher in watchers:
        watcher.sources.close()


def say(node, *texts: str) -> None:
    for text in texts:
        node.publish("log", level="INFO", message=text)


def test_a_late_watcher_gets_the_tail_and_then_follows(start, watch):
    node = start("n1")
    say(node, *"abcde")
    node.settle()
    watcher = watch("n1", tail=2)
    watcher.until(lambda: len(watcher.shown) == 2, "the tail")
    say(node, "f")
    watcher.until(lambda: len(watcher.shown) == 3, "what follows")
    assert watcher.messages() == ["d", "e", "f"]
    assert [event.data["message"] for event in watcher.seen] == list("abcdef")


def test_a_watcher_may_come_before_the_node(start, watch):
    watcher = watch("n1")
    watcher.sources.wait(0)
    node = start("n1")
    say(node, "hello")
    watcher.until(lambda: watcher.shown, "the first event")
    assert watcher.messages() == ["hello"]


def test_a_node_that_comes_back_is_followed_from_its_first_event(start, watch):
    watcher = watch("n1")
    for generation in range(3):
        node = start("n1")
        say(node, f"{generation}a", f"{generation}b")
        watcher.until(lambda: len(watcher.shown) == 2 * (generation + 1), "both events")  # noqa: B023 - used at once
        node.close()
    assert watcher.messages() == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert watcher.lost == 0


def test_a_node_that_does_not_answer_is_followed_all_the_same(start, watch):
    node = start("n1")
    node.silent = True
    watcher = watch("n1")
    node.wait_for_subscriber()
    say(node, "one", "two")
    watcher.until(lambda: len(watcher.shown) == 2, "the live events")
    assert watcher.messages() == ["one", "two"]


def test_only_the_nodes_asked_for_are_watched(start, watch):
    first, second = start("n1"), start("n2")
    watcher = watch("n2")
    say(first, "not this")
    say(second, "this")
    watcher.until(lambda: watcher.shown, "the event")
    second.wait_for_subscriber()
    assert watcher.messages() == ["this"] and first.asked == []


def test_nonsense_on_the_event_socket_is_counted_and_changes_nothing(watched, watch):
    context = zmq.Context()
    try:
        publisher = context.socket(zmq.XPUB)
        publisher.bind(watched.node("n1").events)
        watcher = watch("n1")
        assert publisher.poll(WAIT_S * 1_000), "nobody has subscribed"
        stranger = Event(1, "watched", "n2", "b", 1, 0, 0, None, "log", {})
        good = Event(1, "watched", "n1", "b", 1, 0, 0, None, "log", {"message": "good"})
        for frames in (
            [b"x"],
            [b"x", b"\xc1"],
            [b"x", b"\x80", b""],
            [b"n1/log", b"\x81\xa1v\x01"],
            events.encode(stranger),
        ):
            publisher.send_multipart(frames)
        publisher.send_multipart(events.encode(good))
        watcher.until(lambda: watcher.shown, "the one good event")
        assert watcher.messages() == ["good"]
        assert watcher.sources.strange == 5
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("lie", [{"not": "a list"}, [{"v": 1}], ["x"], 5])
def test_nonsense_in_an_answer_is_counted_and_changes_nothing(start, watch, lie):
    node = start("n1")
    node.lie = lie
    watcher = watch("n1")
    watcher.until(lambda: watcher.sources.strange == 1, "the lie")
    node.lie = None
    say(node, "the truth")
    watcher.until(lambda: watcher.shown, "an event")
    assert watcher.messages() == ["the truth"]


def test_events_of_another_node_in_an_answer_are_left_out(start, watch):
    node = start("n1")
    node.lie = [msgspec.to_builtins(Event(1, "watched", "n3", "b", 1, 0, 0, None, "log", {"message": "not mine"}))]
    watcher = watch("n1")
    watcher.until(lambda: node.asked, "the question")
    node.lie = None
    say(node, "mine")
    watcher.until(lambda: watcher.shown, "an event")
    assert watcher.messages() == ["mine"]


def test_the_sockets_are_bounded_and_reconnect_quickly(watched, watch):
    source = watch("n1").sources._sources[0]
    sub = source.subscription
    assert sub.getsockopt(zmq.TYPE) == zmq.SUB
    assert {
        "linger": sub.getsockopt(zmq.LINGER),
        "rcvhwm": sub.getsockopt(zmq.RCVHWM),
        "max": sub.getsockopt(zmq.MAXMSGSIZE),
        "reconnect": (sub.getsockopt(zmq.RECONNECT_IVL), sub.getsockopt(zmq.RECONNECT_IVL_MAX)),
    } == {"linger": 0, "rcvhwm": 20_000, "max": 16 << 20, "reconnect": (50, 200)}
