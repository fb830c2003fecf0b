"""Fetches: everything, what changed since, in pages; deltas on top of an old fetch make the new one."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from catalog_rig import Book, change_topic
from catalog_steps import SMALL, STEPS, Step, begun, tried
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft.client.calls import Again
from zraft.client.catalog.metadata import Metadata, Pages, apply_delta
from zraft.errors import InvalidRequest, NotFound
from zraft.machines.catalog import commands, ledger
from zraft.machines.catalog.commands import BrokerKey, Fetch, Page, TopicKey
from zraft.machines.catalog.records import Deleted, Kind


@settings(max_examples=300)
@given(STEPS, st.data())
def test_the_deltas_on_top_of_a_full_fetch_give_the_full_fetch(steps: list[Step], data: Any) -> None:
    book = begun()
    held = book.fetch()
    for step in steps:
        tried(book, step)
        if not data.draw(st.integers(0, 4)):
            held = caught_up(book, held)
            assert held == book.fetch()
    assert caught_up(book, held) == book.fetch()


def caught_up(book: Book, held: Metadata) -> Metadata:
    """Return a fetch of everything made of `held` and a delta, or anew where the catalog says that it must be."""
    page = commands.decode_page(book.catalog.query(commands.encode(Fetch())))
    try:
        delta = book.fetch(held.revision)
    except InvalidRequest as error:
        assert "too old: deletions up to revision" in str(error)
        assert 0 < held.revision < page.forgotten
        return book.fetch()
    assert held.revision == 0 or held.revision >= page.forgotten
    return apply_delta(held, delta)


@settings(max_examples=300)
@given(STEPS, STEPS, st.integers(1, 3), st.integers(0, 30), st.data())
def test_pages_between_which_all_sorts_of_things_happen_make_one_moment(
    before: list[Step], meanwhile: list[Step], size: int, since: int, data: Any
) -> None:
    book = begun()
    for step in before:
        tried(book, step)
    since = min(since, book.revision)
    held = held_at(book, since)
    todo = iter(meanwhile)
    with patch.object(ledger, "PAGE_RECORDS_MAX", size):
        try:
            fetched = interrupted(book, Fetch(since), lambda: tried_some(book, todo, data.draw(st.integers(0, 3))))
        except InvalidRequest as error:
            assert since and "too old" in str(error)
            return
    whole = book.fetch()
    assert fetched.revision == whole.revision
    assert (apply_delta(held, fetched) if since else fetched) == whole


def held_at(book: Book, revision: int) -> Metadata:
    """Return what a fetch of everything gave at an earlier revision."""
    past = Book(book.bounds)
    for command, at in book.log:
        if past.revision == revision:
            break
        tried(past, lambda past, command=command, at=at: past.catalog.apply(command, at))  # type: ignore[misc]
    return past.fetch()


def interrupted(book: Book, fetch: Fetch, between: Callable[[], None]) -> Metadata:
    """Fetch page by page, with something between any two."""
    pages, query = Pages(fetch), commands.encode(fetch)
    while isinstance(answer := pages.read(book.catalog.query(query)), Again):
        query = answer.payload
        between()
    return answer


def tried_some(book: Book, steps: Iterator[Step], count: int) -> None:
    for _, step in zip(range(count), steps, strict=False):
        tried(book, step)


def filled() -> Book:
    """Return a catalog with two of each, one broker changed, and one topic deleted; its revision is 10."""
    book = Book()
    for number in (1, 2):
        book.broker(number)
        book.topic(f"t{number}")
        book.partition(f"t{number}", 0, [number])
        book.producer(number, 5)
    book.change_broker(1, status="FENCED")
    book.topic("gone")
    book.delete(TopicKey("gone"))
    return book


def test_a_fetch_of_everything_has_each_record_once_by_key_and_nothing_deleted() -> None:
    book = filled()
    fetched = book.fetch()
    assert fetched.revision == book.revision == 11
    assert [broker.broker_id for broker in fetched.brokers] == [1, 2]
    assert [topic.name for topic in fetched.topics] == ["t1", "t2"]
    assert [partition.topic_uuid for partition in fetched.partitions] == sorted(t.uuid for t in fetched.topics)
    assert [producer.broker_uuid for producer in fetched.producers] == sorted(b.uuid for b in fetched.brokers)
    assert [change.status for change in fetched.registration_changes] == ["FENCED"]
    assert fetched.deleted == []


def test_a_delta_has_what_changed_and_what_was_deleted_and_no_more() -> None:
    book = filled()
    gone = book.fetch(since=9).deleted[0].record
    delta = book.fetch(since=8)
    (broker,) = delta.brokers
    assert (broker.broker_id, broker.status) == (1, "FENCED")
    assert (delta.topics, delta.partitions, delta.producers) == ([], [], [])
    assert [change.revision for change in delta.registration_changes] == [9]
    assert delta.deleted == [Deleted(Kind.TOPIC, gone.uuid, 11, 1_100, gone)]
    nothing = book.fetch(since=11)
    assert nothing == Metadata(11, [], [], [], [], [], [])


def test_a_fetch_since_a_revision_that_never_was_is_refused() -> None:
    for fetch, revision in ((Fetch(12), 12), (Fetch(0, 12), 12), (Fetch(-1), -1), (Fetch(3, -1), -1)):
        with pytest.raises(InvalidRequest, match=f"revision {revision} is not one that was: the catalog is at 11"):
            filled().catalog.query(commands.encode(fetch))


def test_what_is_forgotten_is_said_rather_than_left_standing() -> None:
    book = Book(SMALL)
    for number in range(6):
        book.topic(f"t{number}")
    at_six = book.fetch()
    for number in range(5):
        book.delete(TopicKey(f"t{number}"))
    assert apply_delta(at_six, book.fetch(6)) == book.fetch(), "all five are remembered"
    book.delete(TopicKey("t5"))
    with pytest.raises(
        InvalidRequest, match="revision 6 is too old: deletions up to revision 7 are forgotten; fetch eve"
    ):
        book.fetch(6)
    assert len(book.fetch(7).deleted) == 5
    assert book.fetch().topics == []


def test_the_oldest_registration_change_makes_room_and_deltas_say_so() -> None:
    book = Book(SMALL)
    book.broker(1)
    for port in range(1, 4):
        book.change_broker(1, port=port)
    held = book.fetch()
    book.change_broker(1, port=4)
    delta = book.fetch(held.revision)
    assert [change.port for change in book.fetch().registration_changes] == [2, 3, 4]
    (dropped,) = delta.deleted
    assert (dropped.kind, dropped.record) == (Kind.REGISTRATION_CHANGE, held.registration_changes[0])
    assert apply_delta(held, delta) == book.fetch()


def test_a_delta_older_than_what_is_held_is_refused() -> None:
    book = filled()
    old = book.fetch(8)
    book.topic("new")
    with pytest.raises(InvalidRequest, match="a delta up to revision 11 changes nothing of revision 12"):
        apply_delta(book.fetch(), old)


def test_one_kind_and_one_owner_can_be_fetched_alone() -> None:
    book = filled()
    whole = book.fetch()
    for kind in Kind:
        alone = book.fetch(kind=kind)
        parts = {part: getattr(alone, part) for part in ("brokers", "topics", "partitions", "producers")}
        parts["registration_changes"] = alone.registration_changes
        assert parts.pop(f"{kind}s") == getattr(whole, f"{kind}s")
        assert not any(parts.values())
    by_name = book.fetch(kind=Kind.PARTITION, owner=TopicKey("t2")).partitions
    assert [partition.replicas for partition in by_name] == [(2,)]
    of_broker = book.fetch(owner=BrokerKey(1))
    assert (len(of_broker.producers), len(of_broker.registration_changes), of_broker.brokers) == (1, 1, [])
    with pytest.raises(NotFound, match="topic x: no such topic; zraft catalog topic list shows"):
        book.fetch(owner=TopicKey("x"))


def page(book: Book, fetch: Fetch) -> Page:
    found = commands.decode_page(book.catalog.query(commands.encode(fetch)))
    assert found is not None
    return found


def test_a_page_never_cuts_a_revision_in_two() -> None:
    book = Book()
    book.broker(1)
    book.change_broker(1, port=1)
    book.broker(2)
    with patch.object(ledger, "PAGE_RECORDS_MAX", 1):
        first, second = page(book, Fetch()), page(book, Fetch(after=2))
    assert (first.until, len(first.records)) == (2, 2), "the broker and its change belong together"
    assert (second.until, len(second.records)) == (3, 1)


def test_pages_are_bounded_in_records_and_in_what_they_look_at() -> None:
    book = Book()
    for number in range(2_500):
        book.topic(f"t{number}")
    pages = [page(book, Fetch(after=after)) for after in (0, 1_000, 2_000)]
    assert [(len(each.records), each.until) for each in pages] == [(1_000, 1_000), (1_000, 2_000), (500, 2_500)]
    assert len(book.fetch().topics) == 2_500
    with patch.object(ledger, "_ROWS_LOOKED_AT_MAX", 100):
        nothing = page(book, Fetch(kind=Kind.BROKER))
        assert (nothing.records, nothing.until) == ([], 100)
        assert len(book.fetch(kind=Kind.TOPIC).topics) == 2_500


def test_what_is_deleted_between_two_pages_is_in_neither_result() -> None:
    for since in (0, 1):
        book = Book()
        for name in ("first", "a", "b", "c"):
            book.topic(name)

        def disturb(book: Book = book) -> None:
            book.delete(TopicKey("a"))
            book.send(change_topic("b", "d"))

        with patch.object(ledger, "PAGE_RECORDS_MAX", 2):
            fetched = interrupted(book, Fetch(since), disturb)
        assert [topic.name for topic in fetched.topics] == ["c", "d", "first"][: 2 + (not since)]
        assert [each.record for each in fetched.deleted] == [book.fetch(since=4).deleted[0].record] * (since > 0)


def test_a_full_fetch_starts_over_when_a_deletion_was_forgotten_meanwhile() -> None:
    book = Book(SMALL)
    for number in range(10):
        book.topic(f"t{number}")
    asked: list[int] = []

    def disturb() -> None:
        if not asked:
            for number in range(6):
                book.delete(TopicKey(f"t{number}"))
        asked.append(1)

    with patch.object(ledger, "PAGE_RECORDS_MAX", 4):
        fetched = interrupted(book, Fetch(), disturb)
    assert [topic.name for topic in fetched.topics] == ["t6", "t7", "t8", "t9"]
    assert len(asked) > 3
