"""Snapshots: of one moment, in chunks, and as good as the log that led to them."""

from catalog_rig import Book
from catalog_steps import STEPS, Step, begun, tried
from hypothesis import given, settings

from zraft.client.catalog.metadata import Metadata
from zraft.machines.catalog.commands import TopicKey


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
