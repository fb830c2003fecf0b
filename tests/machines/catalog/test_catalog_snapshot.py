"""Snapshots: of one moment, in chunks, and as good as the log that led to them."""

import pytest
from catalog_rig import Book
from catalog_steps import STEPS, Step, begun, tried
from hypothesis import given, settings

from zraft.client.catalog.metadata import Metadata
from zraft.errors import InvalidRequest
from zraft.machines.catalog import commands
from zraft.machines.catalog.commands import Events, Fetch, TopicKey


@settings(max_examples=300)
@given(STEPS, STEPS)
def test_who_was_restored_goes_on_exactly_like_who_was_not(before: list[Step], after: list[Step]) -> None:
    book = begun()
    for step in before:
        tried(book, step)
    other = book.restored()
    assert other.chunks() == book.chunks()
    for step in after:
        tried(book, step)
        tried(other, step)
    assert other.chunks() == book.chunks()
    assert other.fetch() == book.fetch()


def test_a_snapshot_is_of_the_moment_it_was_asked_for_and_comes_in_chunks() -> None:
    book = Book()
    for number in range(1_200):
        book.topic(f"t{number}")
    before, taken = book.chunks(), book.catalog.snapshot()
    book.delete(TopicKey("t0"))
    book.topic("new")
    assert list(taken) == before
    assert len(before) == 7, "two heads, two chunks of events and three of records"
    assert max(map(len, before)) < 128 << 10


def test_restoring_from_nothing_empties_the_catalog() -> None:
    book = Book()
    book.topic("t")
    book.catalog.restore(())
    assert book.fetch() == Metadata(0, [], [], [], [], [], [])
    assert book.broker(1).epoch == 0


def test_a_leap_lets_no_revision_come_twice_and_sends_for_everything_whoever_knew_more() -> None:
    book = Book()
    book.topic("a")
    known = book.fetch()
    book.catalog.leap(1_000_000)
    book.catalog.restore(iter(book.chunks()))
    assert book.revision == 1_000_001
    book.topic("b")
    assert book.revision == 1_000_002
    for since in (known.revision, 7):
        with pytest.raises(InvalidRequest, match="is too old: deletions up to revision 1000001 are forgotten"):
            book.catalog.query(commands.encode(Fetch(since=since)))
    assert [topic.name for topic in book.fetch().topics] == ["a", "b"]
    page = commands.decode_events(book.catalog.query(commands.encode(Events(after=1))))
    assert [event.revision for event in page.events] == [1_000_002], "the gap is no hole in the events"
    assert len(commands.decode_events(book.catalog.query(commands.encode(Events()))).events) == 2
