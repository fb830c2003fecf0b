"""What happened to the catalog: an event for each revision, when by the leaders' clocks, and the newest alone are kept."""

from typing import Any

import pytest
from catalog_rig import Book, change_producer, change_topic
from catalog_steps import ACTS, FEW
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft.errors import InvalidRequest
from zraft.machines.catalog import commands, journal
from zraft.machines.catalog.commands import BrokerKey, Delete, Events, PartitionKey, ProducerKey, TopicKey
from zraft.machines.catalog.records import Happened
from zraft.machines.catalog.rules import Bounds
from zraft.machines.catalog.store import Catalog
from zraft.machines.machine import Applied
from zraft.raft.types import Ballot

EVENTS_MAX = 7


def elect(book: Book, wall_ms: int) -> None:
    index = len(book.log) + 1
    ballot = Ballot("n1", ("n1",), (), ("n1",), "timeout", 1, wall_ms)
    book.catalog.leader_elected(ballot, Applied(index, 1 + index // 10, 100 * index, 0, "n1", None))


def events(catalog: Catalog, **narrower: Any) -> list[Happened]:
    """Ask as a client does, page by page."""
    found: list[Happened] = []
    while True:
        after = found[-1].revision if found else 0
        page = commands.decode_events(catalog.query(commands.encode(Events(after, **narrower))))
        found += page.events
        if not page.more:
            return found


def test_each_verb_on_each_kind_by_the_words_that_the_command_line_takes() -> None:
    book = Book()
    book.broker(1)
    book.broker(1)
    book.topic("a")
    book.partition("a", 0, [1])
    book.producer(1, 7)
    book.change_broker(1, status="FENCED")
    book.send(change_producer((1, 7)))
    book.send(change_topic("a", "b"))
    book.change_partition(("b", 0), adding_replicas=(2,))
    for key in (PartitionKey(("b", 0)), ProducerKey((1, 7)), TopicKey("b"), BrokerKey(1)):
        book.delete(key)
        assert book.delete(key) is None
    found = events(book.catalog)
    assert [f"{each.verb} {each.kind} {each.key}" for each in found] == [
        "register broker 1",
        "register topic a",
        "register partition a 0",
        "register producer 1 7",
        "change broker 1",
        "change producer 1 7",
        "change topic b",
        "change partition b 0",
        "delete partition b 0",
        "delete producer 1 7",
        "delete topic b",
        "delete broker 1",
    ]
    assert [each.revision for each in found] == list(range(1, book.revision + 1))
    assert len({each.uuid for each in found}) == 4
    assert [each.key for each in events(book.catalog, kind="topic")] == ["a", "b", "b"]


def test_the_time_is_the_leaders_and_goes_on_with_cluster_time() -> None:
    book = Book()
    elect(book, 1_000_000)
    book.topic("a")
    book.topic("b")
    elect(book, 900_000)
    book.topic("c")
    found = events(book.catalog)
    assert [each.time_ms for each in found] == [100, 200, 300]
    assert [each.wall_ms for each in found] == [1_000_000, 1_000_100, 900_000]
    assert [each.key for each in events(book.catalog, since_ms=1_000_000)] == ["a", "b"]
    assert [each.key for each in events(book.restored().catalog, since_ms=1_000_001)] == ["b"]
    other = book.restored()
    other.topic("d")
    assert events(other.catalog)[-1].wall_ms == 900_100, "a snapshot brings the leader's clock too"


ELECTIONS = st.builds(lambda wall_ms: lambda book: elect(book, wall_ms), st.integers(0, 1_000))
STEPS = st.lists(
    st.one_of(ELECTIONS, *[st.builds(lambda act, a, b: act(a, b), st.sampled_from(ACTS), FEW, FEW)] * 9), max_size=50
)


@settings(max_examples=200)
@given(steps=STEPS, cut=st.integers(0, 50), since_ms=st.integers(0, 6_000), page=st.integers(1, 4))
def test_an_event_for_each_revision_the_newest_alone_and_a_snapshot_at_any_point_changes_nothing(
    steps: list[Any], cut: int, since_ms: int, page: int
) -> None:
    book = Book(Bounds(events_max=EVENTS_MAX))
    expected: list[int] = []
    for number, step in enumerate(steps):
        if number == cut:
            book = book.restored()
        before = book.revision
        try:
            step(book)
        except InvalidRequest:
            continue
        expected += range(before + 1, book.revision + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "EVENTS_PER_PAGE_MAX", page)
        found = events(book.catalog)
        assert [each.revision for each in found] == expected[-EVENTS_MAX:]
        assert events(book.catalog, since_ms=since_ms) == [each for each in found if each.wall_ms >= since_ms]
        for kind in ("broker", "topic", "partition", "producer"):
            assert events(book.catalog, kind=kind) == [each for each in found if each.kind == kind]


def test_what_is_refused_is_no_event() -> None:
    book = Book()
    book.broker(1)
    book.topic("t")
    book.partition("t", 0, [1])
    assert "refer" in book.refusal(Delete(TopicKey("t")))
    assert len(events(book.catalog)) == 3
