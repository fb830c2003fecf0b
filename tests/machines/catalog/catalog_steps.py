"""Random histories of a small catalog, of which much is forgotten soon."""

from collections.abc import Callable
from typing import Any

from catalog_rig import Book, change_producer, change_topic
from hypothesis import strategies as st

from zraft.errors import InvalidRequest
from zraft.machines.catalog.commands import BrokerKey, PartitionKey, ProducerKey, TopicKey
from zraft.machines.catalog.rules import Bounds

SMALL = Bounds(registration_changes_max=3, deletions_max=5)
Step = Callable[[Book], Any]
"""One command, which the rules may refuse."""
FEW = st.integers(0, 2)


def begun() -> Book:
    """Return a book with some of everything, so that most of what follows is possible."""
    book = Book(SMALL)
    for number in range(3):
        book.broker(number)
        book.topic(f"t{number}")
        book.partition(f"t{number}", 0, [number])
        book.producer(number, 0)
    return book


def tried(book: Book, act: Step) -> None:
    """Do it, whether the rules allow it or not."""
    try:
        act(book)
    except InvalidRequest:
        return


ACTS: list[Callable[[int, int], Step]] = [
    lambda a, b: lambda book: book.broker(a, port=1 + b),
    lambda a, b: lambda book: book.change_broker(a, port=1 + b),
    lambda a, b: lambda book: book.topic(f"t{a}"),
    lambda a, b: lambda book: book.send(change_topic(f"t{a}", f"t{b}")),
    lambda a, b: lambda book: book.partition(f"t{a}", b, [a, b][: 1 + (a != b)]),
    lambda a, b: lambda book: book.change_partition((f"t{a}", b), adding_replicas=(a,)),
    lambda a, b: lambda book: book.producer(a, b),
    lambda a, b: lambda book: book.send(change_producer((a, b))),
    lambda a, b: lambda book: book.delete(BrokerKey(a)),
    lambda a, b: lambda book: book.delete(TopicKey(f"t{a}")),
    lambda a, b: lambda book: book.delete(PartitionKey((f"t{a}", b))),
    lambda a, b: lambda book: book.delete(ProducerKey((a, b))),
]
STEPS = st.lists(st.builds(lambda act, a, b: act(a, b), st.sampled_from(ACTS), FEW, FEW), max_size=60)
