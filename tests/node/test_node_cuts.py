"""A node keeps to cut links if it may, and says so."""

from typing import Any

from zraft.cuts import Cuts
from zraft.events import Event, Publisher
from zraft.requests import CutLinks, Outcome


class Links:
    """A transport without sockets."""

    lost_to: frozenset[str] = frozenset()
    deaf_to: frozenset[str] = frozenset()


class Bench:
    """The cuts of one node, and all that they tell."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.links, self.lines, self.events = Links(), list[str](), list[Event]()
        publisher = Publisher("c", "n1", 1, lambda: 0, self.events.append)
        self.cuts = Cuts(enabled, self.links, publisher, self.lines.append)

    @property
    def told(self) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.kind == "fault"]


def test_links_are_cut_and_whole_again() -> None:
    bench = Bench()
    assert bench.cuts.take(CutLinks(7, ("n2", "n3"), ("n3", "n4"))).outcome == Outcome.DONE
    assert (bench.links.lost_to, bench.links.deaf_to) == ({"n2", "n3"}, {"n3", "n4"})
    expected = ["fault: cut off from n3", "fault: what it sends to n2 is lost", "fault: it hears nothing from n4"]
    assert bench.cuts.warnings == expected
    assert bench.cuts.take(CutLinks(8)).id == 8
    assert not bench.links.lost_to
    assert not bench.links.deaf_to
    assert bench.cuts.warnings == []
    assert bench.told == [{"lost_to": ["n2", "n3"], "deaf_to": ["n3", "n4"]}, {"lost_to": [], "deaf_to": []}]
    assert bench.lines == ["; ".join(expected), "fault: all links are whole again"]


def test_what_is_so_already_is_not_told_again() -> None:
    bench = Bench()
    for id in (1, 2):
        assert bench.cuts.take(CutLinks(id, ("n2",), ("n2",))).outcome == Outcome.DONE
    assert len(bench.told) == len(bench.lines) == 1


def test_where_faults_are_not_enabled_nothing_is_cut() -> None:
    bench = Bench(enabled=False)
    reply = bench.cuts.take(CutLinks(1, ("n2",), ("n2",)))
    assert reply.outcome == Outcome.INVALID
    assert "cluster.faults: enabled" in reply.message
    assert not bench.links.lost_to
    assert not bench.told
