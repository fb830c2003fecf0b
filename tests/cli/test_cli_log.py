"""How ``zraft log show`` gets a long log from a live node: every entry once and in order, whatever the node leaves out."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.cli import log
from zraft.config import Config, Node
from zraft.errors import Unavailable
from zraft.requests import EntryView, Outcome, Reply, Status, StatusRequest

CONFIG = Config(nodes=(Node("n1", "p", "c", "e"),), path="/FILE")


class Answering:
    """A node that shows at most so many entries at a time, and may compact its log between two answers."""

    def __init__(self, last: int, shown_max: int, compacts_to: int = 1, after: int = 0) -> None:
        self.first, self.last, self.shown_max = 1, last, shown_max
        self.compacts_to, self.after = compacts_to, after
        self.answers = 0

    def survey(
        self, config: Config, request: Callable[[int], StatusRequest], *, nodes: list[str], timeout_s: float
    ) -> dict[str, Reply | None]:
        assert (config, nodes) == (CONFIG, ["n1"])
        self.answers += 1
        if self.answers > self.after:
            self.first = self.compacts_to
        asked = request(1)
        newest = min(asked.until or self.last, self.last)
        oldest = max(self.first, newest + 1 - min(asked.log, self.shown_max))
        views = [EntryView(each, 1, "command", f"entry {each}", True, each) for each in range(newest, oldest - 1, -1)]
        status = Status(
            "n1", "", "leader", 1, "n1", None, self.last, self.last, self.last, 0, 0, True, 0.0, 1, log=views
        )
        return {"n1": Reply(1, Outcome.DONE, msgspec.to_builtins(status))}


@given(last=st.integers(1, 40), data=st.data())
def test_every_entry_comes_once_in_order_and_only_compacted_ones_are_missing(last: int, data: st.DataObject) -> None:
    compacts_to = data.draw(st.integers(1, 45))
    node = Answering(last, data.draw(st.integers(1, 12)), compacts_to, data.draw(st.integers(0, 20)))
    begin = data.draw(st.integers(1, last))
    end = data.draw(st.integers(begin, last))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "survey", node.survey)
        patch.setattr(log, "_WINDOW", data.draw(st.integers(1, 15)))
        shown = [each.index for each in log._pages(CONFIG, "n1", 1.0, begin, end)]
    assert shown == sorted(set(shown))
    assert set(shown) >= set(range(max(begin, compacts_to), end + 1))
    assert set(shown) <= set(range(begin, end + 1))
    if compacts_to == 1:
        assert shown == list(range(begin, end + 1))


@pytest.mark.parametrize("reply", [None, Reply(1, Outcome.DONE, {"node": "n1"})])
def test_a_node_that_stops_answering_is_not_taken_for_the_end_of_its_log(
    reply: Reply | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Answering(10, 4)

    def survey(*given: Any, **named: Any) -> dict[str, Reply | None]:
        return node.survey(*given, **named) if not node.answers else {"n1": reply}

    monkeypatch.setattr(log, "survey", survey)
    entries = partial(log._pages, CONFIG, "n1", 1.0)(1, 10)
    with pytest.raises(Unavailable, match="n1 does not answer"):
        list(entries)
