"""Each event once and in order, though some come late, twice or never."""

from hypothesis import given
from hypothesis import strategies as st

from zraft.events import Event, Publisher
from zraft.monitor.feed import ASK_EVERY_MS, PATIENCE_MS, Feed


def event(seq: int, boot: str = "b1", kind: str = "log") -> Event:
    return Event(1, "c", "n1", boot, seq, 0, 0, None, kind, {})


def events(*numbers: int, boot: str = "b1") -> list[Event]:
    return [event(number, boot) for number in numbers]


def numbers(passages) -> list[tuple[str, int]]:
    return [(item.boot_id, item.seq) for passage in passages for item in passage.events]


def settled(tail: int = 20) -> Feed:
    """Return a feed that has seen events 1 to 3."""
    feed = Feed(tail)
    feed.connected(0)
    feed.wants_recent = False
    feed.recent(events(1, 2, 3))
    return feed


def test_at_first_contact_the_tail_is_shown_and_what_is_older_only_counts():
    feed = Feed(2)
    feed.connected(0)
    assert feed.wants_recent
    [passage] = feed.recent(events(5, 6, 7, 8))
    assert ([item.seq for item in passage.events], passage.hidden, passage.lost) == ([5, 6, 7, 8], 2, 0)


def test_the_tail_counts_what_is_shown_alone():
    feed = Feed(2, counts=lambda item: item.kind != "status")
    feed.connected(0)
    kinds = {1: "log", 2: "log", 3: "status", 4: "log", 5: "status"}
    [passage] = feed.recent([event(seq, kind=kind) for seq, kind in kinds.items()])
    assert [item.seq for item in passage.events[passage.hidden :]] == [2, 3, 4, 5]


def test_no_tail_hides_all_of_the_past_and_nothing_of_the_present():
    feed = Feed(0)
    feed.connected(0)
    assert feed.live(event(4), 1) == []
    [passage] = feed.recent(events(2, 3, 4))
    assert [item.seq for item in passage.events[passage.hidden :]] == [4]


def test_live_events_wait_for_the_past_and_are_shown_once():
    feed = Feed(20)
    feed.connected(0)
    assert feed.live(event(3), 1) == [] and feed.live(event(4), 2) == []
    assert numbers(feed.recent(events(1, 2, 3))) == [("b1", number) for number in (1, 2, 3, 4)]
    assert feed.live(event(4), 3) == []
    assert numbers(feed.live(event(5), 4)) == [("b1", 5)]


def test_they_wait_no_longer_than_the_patience():
    feed = Feed(20)
    feed.connected(0)
    feed.live(event(3), 1)
    assert feed.expire(PATIENCE_MS - 1) == []
    assert numbers(feed.expire(PATIENCE_MS)) == [("b1", 3)]
    assert feed.deadline is None
    assert numbers(feed.live(event(4), PATIENCE_MS + 1)) == [("b1", 4)]


def test_a_gap_is_asked_about_and_filled():
    feed = settled()
    assert feed.live(event(6), 2_000) == [] and feed.wants_recent
    [passage] = feed.recent(events(2, 3, 4, 5, 6))
    assert (numbers([passage]), passage.hidden, passage.lost) == ([("b1", 4), ("b1", 5), ("b1", 6)], 0, 0)


def test_what_nobody_has_any_more_is_counted():
    feed = settled()
    feed.live(event(10), 2_000)
    [passage] = feed.recent(events(8, 9, 10))
    assert (numbers([passage]), passage.lost) == ([("b1", 8), ("b1", 9), ("b1", 10)], 4)


def test_between_the_events_of_one_answer_there_were_periodic_ones_and_nothing_is_lost():
    feed = settled()
    feed.live(event(9), 2_000)
    [passage] = feed.recent(events(2, 5, 8, 9))
    assert (numbers([passage]), passage.lost) == ([("b1", 5), ("b1", 8), ("b1", 9)], 0)


def test_before_and_behind_an_answer_something_may_be_lost():
    feed = settled()
    feed.live(event(12), 2_000)
    [passage] = feed.recent(events(6, 9))
    assert (numbers([passage]), passage.lost) == ([("b1", 6), ("b1", 9), ("b1", 12)], 2 + 2)


def test_an_answer_of_two_starts_says_nothing_of_what_lies_between_them():
    feed = settled()
    feed.live(event(6), 2_000)
    passages = feed.recent([*events(5), *events(3, 8, boot="b2")])
    assert numbers(passages) == [("b1", 5), ("b1", 6), ("b2", 3), ("b2", 8)]
    assert [passage.lost for passage in passages] == [1, 2]


def test_gaps_are_asked_about_at_a_bounded_rate():
    feed = settled()
    feed.live(event(6), 2_000)
    feed.wants_recent = False
    feed.recent([])
    [passage] = feed.live(event(9), 2_000 + ASK_EVERY_MS - 1)
    assert (passage.lost, feed.wants_recent) == (2, False)
    assert feed.live(event(20), 2_000 + ASK_EVERY_MS) == [] and feed.wants_recent


def test_a_node_that_is_back_is_followed_from_its_first_event():
    feed = settled()
    assert feed.live(event(3, "b2"), 50) == [] and feed.wants_recent
    [passage] = feed.recent(events(1, 2, 3, boot="b2"))
    assert (numbers([passage]), passage.hidden, passage.lost) == ([("b2", 1), ("b2", 2), ("b2", 3)], 0, 0)
    assert feed.live(event(4, "b1"), 60) == []


def test_what_is_held_of_a_node_that_died_is_not_forgotten():
    feed = settled()
    feed.live(event(6), 2_000)
    passages = feed.recent(events(1, boot="b2"))
    assert numbers(passages) == [("b1", 6), ("b2", 1)]
    assert [passage.lost for passage in passages] == [2, 0]


def test_an_answer_with_nothing_new_shows_nothing():
    feed = settled()
    feed.connected(5)
    assert feed.recent(events(1, 2, 3)) == []
    assert feed.deadline is None


@given(st.data())
def test_every_event_appears_once_in_order_or_is_counted_as_lost(data):
    """Events are dropped, repeated and asked for at will; what is shown is a rising sequence, and the rest is counted.

    All but the statuses that newer ones have replaced: each of them is counted at most.
    """
    feed = Feed(1_000)
    feed.connected(0)
    happened: list[Event] = []
    node = Publisher("c", "n1", 1, lambda: 0, happened.append)
    shown, lost, now = [], 0, 0.0
    for _ in range(data.draw(st.integers(1, 30))):
        now += data.draw(st.sampled_from([1, PATIENCE_MS, ASK_EVERY_MS]))
        match data.draw(st.sampled_from(["happens", "dropped", "answer", "expire", "connected"])):
            case "happens":
                node.publish(data.draw(st.sampled_from(["log", "status"])))
                passages = feed.live(happened[-1], now)
            case "dropped":
                node.publish(data.draw(st.sampled_from(["log", "status"])))
                passages = []
            case "answer":
                passages = feed.recent(node.recent(data.draw(st.sampled_from([1, 4, 1_000]))))
            case "expire":
                passages = feed.expire(now)
            case _:
                feed.connected(now)
                passages = []
        for passage in passages:
            assert passage.lost >= 0
            lost += passage.lost if shown else passage.events[0].seq - 1 + passage.lost
            shown += [item.seq for item in passage.events]
    assert shown == sorted(set(shown))
    if shown:
        unseen = [item for item in happened[: shown[-1]] if item.seq not in shown]
        assert sum(item.kind != "status" for item in unseen) <= lost <= len(unseen)
