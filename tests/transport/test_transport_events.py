"""Events reach whoever subscribes, late or slow, and nobody can make the publisher remember without end."""

import time
from pathlib import Path

import pytest
import zmq
from wires import Ends, Station, eventually, frame

from zraft import events
from zraft.events import RECENT_MAX, Event, Publisher
from zraft.transport import EVENT_QUEUE_MAX, SUBSCRIPTIONS_MAX

LONGEST_TOPIC = b"n" * 64 + b"/membership"


def publisher(station: Station) -> Publisher:
    return Publisher("c", "n1", station.boot_id, lambda: 0, station.transport.publish)


def subscribed(station: Station, count: int = 1) -> None:
    """Wait until the node knows that many topics."""
    station.until(f"{count} topics", lambda: len(station.transport._topics) == count)


def received(subscriber: zmq.Socket[bytes], last: int) -> list[Event]:
    """Receive events up to the one with that `seq`."""
    found: list[Event] = []
    while not found or found[-1].seq < last:
        assert subscriber.poll(15_000), f"the last was {found[-1:]}"
        found.append(events.decode(subscriber.recv_multipart()))
    return found


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_subscriber_gets_what_it_asks_for_in_order(ends: Ends, kind: str) -> None:
    station = ends.one(kind)
    everything, roles = ends.subscriber(station), ends.subscriber(station, b"n1/role")
    subscribed(station, 2)
    publish = publisher(station).publish
    for term in range(1, 51):
        publish("role", role="follower", term=term)
        publish("log", level="INFO", message="m")
    assert [event.seq for event in received(everything, 100)] == list(range(1, 101))
    assert [event.data["term"] for event in received(roles, 99)] == list(range(1, 51))


def test_a_late_subscriber_sees_what_it_missed_and_finds_it_among_the_recent_ones(ends: Ends) -> None:
    station = ends.one()
    early = publisher(station)
    for index in range(1, 31):
        early.publish("entry", index=index)
    late = ends.subscriber(station)
    subscribed(station)
    early.publish("entry", index=31)
    (first,) = received(late, 31)
    assert first.seq == 31  # A gap: the numbers begin at 1.
    recent = list(early.recent(1_000))
    assert [event.seq for event in recent] == list(range(1, 32))
    assert recent[-1] == first
    assert [event.seq for event in early.recent(20)] == list(range(12, 32))
    assert list(early.recent(0)) == list(early.recent(-1)) == []


def test_only_the_newest_events_are_kept() -> None:
    kept = Publisher("c", "n1", 1, lambda: 0, lambda event: None)
    for index in range(RECENT_MAX + 50):
        kept.publish("entry", index=index)
    assert [event.seq for event in kept.recent(10 * RECENT_MAX)] == list(range(51, RECENT_MAX + 51))


def test_without_an_audience_nothing_is_made_until_somebody_asks() -> None:
    emitted: list[Event] = []
    made: list[int] = []
    audience: list[bool] = []

    def make(number: int) -> dict[str, int]:
        made.append(number)
        return {"index": number}

    quiet = Publisher("c", "n1", 1, lambda: 0, emitted.append, has_audience=lambda: bool(audience))
    quiet.publish_made("entry", lambda: make(1))
    assert (emitted, made) == ([], [])
    audience.append(True)
    quiet.publish_made("entry", lambda: make(2))
    assert ([event.seq for event in emitted], made) == ([2], [2])
    assert [(event.seq, event.data["index"]) for event in quiet.recent(5)] == [(1, 1), (2, 2)]


def test_a_subscriber_that_reads_nothing_costs_no_time_and_sees_the_gap(ends: Ends) -> None:
    station = ends.one()
    slow = ends.connect(zmq.SUB, station.me.events, {zmq.SUBSCRIBE: b"", zmq.RCVHWM: 10})
    subscribed(station)
    publish = publisher(station).publish
    longest_s = 0.0
    total = 4 * EVENT_QUEUE_MAX
    for index in range(1, total + 1):
        began = time.monotonic()
        publish("log", message="x" * 100, index=index)
        longest_s = max(longest_s, time.monotonic() - began)
    assert longest_s < 0.5

    def last() -> Event | None:
        found = None
        while slow.poll(0):
            found = events.decode(slow.recv_multipart())
        publish("log", message="still there?")
        return found if found and found.seq > total else None

    seen = [events.decode(slow.recv_multipart()).seq for _ in range(EVENT_QUEUE_MAX)]
    assert seen == sorted(seen)
    assert eventually("events go on for it", last)


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_events_sent_right_before_the_end_arrive(ends: Ends, kind: str) -> None:
    station = ends.one(kind)
    subscriber = ends.subscriber(station)
    subscribed(station)
    publish = publisher(station).publish
    for _ in range(500):
        publish("stopping", reason="SIGTERM" * 5_000)  # More than the kernel holds: it must be waited for.
    ends.close(station)
    assert [event.seq for event in received(subscriber, 500)] == list(range(1, 501))


# -- those who subscribe without end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_too_many_subscriptions_make_the_socket_new_and_others_come_back(ends: Ends, kind: str) -> None:
    station = ends.one(kind)
    honest = ends.subscriber(station)
    subscribed(station)
    greedy = ends.connect(zmq.XSUB, station.me.events)
    before = station.transport.events
    for number in range(SUBSCRIPTIONS_MAX):
        greedy.send(b"\x01n1/%d" % number)
    station.until("the socket is made anew", lambda: station.transport.events is not before)
    assert before.closed
    assert station.reasons("event") == [f"more than {SUBSCRIPTIONS_MAX} subscriptions; all were cut off"]
    greedy.close()
    publish = publisher(station).publish

    def hears_again() -> bool:
        station.turn()
        publish("role", role="leader")
        return bool(honest.poll(10))

    eventually("the honest one hears again", hears_again)
    assert station.transport.has_subscribers
    if kind == "ipc":
        assert Path(station.me.events.removeprefix("ipc://")).is_socket()


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_the_old_socket_never_gets_in_the_way_of_the_new_one(ends: Ends, kind: str) -> None:
    """ZeroMQ unbinds in its own time: without waiting for it, this fails on tcp every few hundred times."""
    station = ends.one(kind)
    for _ in range(1_000):
        station.transport._renew_events()
    if kind == "ipc":
        assert Path(station.me.events.removeprefix("ipc://")).is_socket()
    ends.subscriber(station)
    subscribed(station)


def test_a_thousand_subscriptions_are_allowed_and_forgotten_when_they_end(ends: Ends) -> None:
    station = ends.one()
    many = ends.connect(zmq.XSUB, station.me.events)
    before = station.transport.events
    for number in range(SUBSCRIPTIONS_MAX):
        many.send(b"\x01n1/%d" % number)
    subscribed(station, SUBSCRIPTIONS_MAX)
    many.close()
    subscribed(station, 0)
    assert station.transport.events is before
    assert not station.transport.has_subscribers
    assert station.rejected == []


def test_monitors_that_come_and_go_do_not_add_up(ends: Ends) -> None:
    """With one that stays, the publisher hears of every arrival and of no departure."""
    station = ends.one()
    ends.subscriber(station)
    subscribed(station)
    for _ in range(50):
        passing = ends.subscriber(station)
        station.transport.publish(Event(1, "c", "n1", "0", 1, 0, 0, None, "log", {}))
        passing.close()
        station.turn(0)
    assert len(station.transport._topics) == 1


def test_ends_of_subscriptions_that_never_were_do_not_make_room(ends: Ends) -> None:
    station = ends.one("tcp")
    cunning = ends.shaken(station.me.events, "SUB")
    before = station.transport.events
    for number in range(2 * SUBSCRIPTIONS_MAX):
        cunning.sendall(frame(b"\x00never/%d" % number) + frame(b"\x01n1/%d" % number))
        station.turn(0)
        if station.transport.events is not before:
            break
    station.until("the socket is made anew", lambda: station.transport.events is not before)


def test_the_longest_topic_fits_and_a_longer_one_is_cut_off(ends: Ends) -> None:
    station = ends.one("tcp")
    assert len(LONGEST_TOPIC) == 64 + 1 + max(map(len, events.KINDS))
    ends.subscriber(station, LONGEST_TOPIC)
    subscribed(station)
    closed = station.transport.events.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    ends.subscriber(station, LONGEST_TOPIC + b"s")
    assert closed.poll(15_000), "a longer subscription was taken"
    station.turn()
    assert station.transport._topics == {LONGEST_TOPIC}
    station.transport.events.disable_monitor()


def test_what_is_no_subscription_is_counted(ends: Ends) -> None:
    station = ends.one()
    chatty = ends.connect(zmq.XSUB, station.me.events)
    chatty.send(b"")
    chatty.send(b"hello")
    chatty.send(b"\x01n1/role")
    subscribed(station)
    assert [reason.split()[3] for reason in station.reasons("event")] == ["0", "5"]


def test_one_turn_looks_at_a_bounded_number_of_subscriptions(ends: Ends) -> None:
    """Whoever subscribes faster than we read would otherwise keep the loop from its heartbeats."""
    station = ends.one("tcp")
    flood = ends.shaken(station.me.events, "SUB")
    flood.sendall(b"".join(frame(b"\x00never/%d" % number) for number in range(3 * SUBSCRIPTIONS_MAX)))
    flood.sendall(frame(b"\x01the last"))
    turns = 0
    while not station.transport.has_subscribers:
        assert station.transport.events.poll(15_000)
        station.transport.drain_subscriptions()
        turns += 1
    assert turns > 3
