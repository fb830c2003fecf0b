"""Reading the event files of all nodes at once: pages, busy nodes, silent ones, those that are not there."""

import time
from collections.abc import Callable

import pytest
from recorder import Recorder, event

from zraft.client.history import past
from zraft.client.history.past import Past, read_past
from zraft.client.history.reading import merged
from zraft.config import Config
from zraft.requests import Outcome

Start = Callable[[str], Recorder]


def read(config: Config, *, timeout_s: float = 15.0, kinds: tuple[str, ...] = (), since_ms: int = 0) -> Past:
    endpoints = {node.id: node.client for node in config.nodes}
    return read_past(config.cluster_id, endpoints, kinds=list(kinds), since_ms=since_ms, timeout_s=timeout_s)


@pytest.fixture
def three(start: Start) -> list[Recorder]:
    nodes = [start(name) for name in ("n1", "n2", "n3")]
    for node in nodes:
        node.file = [event(node.id, seq, wall_ms=10 * seq) for seq in range(1, 8)]
        node.file.append(event(node.id, 8, "heartbeat", wall_ms=80))
    return nodes


def test_everything_of_every_node_page_by_page(watched: Config, three: list[Recorder]) -> None:
    found = read(watched)
    assert found.notes() == found.silent == []
    assert merged(found.streams) == sorted(
        (each for node in three for each in node.file), key=lambda e: (e.wall_ms, e.node)
    )
    assert [len(node.asked) for node in three] == [4, 4, 4]


def test_only_what_is_wanted_is_asked_for(watched: Config, three: list[Recorder]) -> None:
    found = read(watched, kinds=("role",), since_ms=50)
    assert [each.seq for each in merged(found.streams)] == [5, 5, 5, 6, 6, 6, 7, 7, 7]
    assert not any(asked.heartbeats for node in three for asked in node.asked)


def test_a_busy_node_is_asked_again(watched: Config, three: list[Recorder]) -> None:
    three[1].refusals = 3
    began = time.monotonic()
    found = read(watched)
    assert time.monotonic() - began < 5
    assert (len(merged(found.streams)), found.silent) == (24, [])
    assert len(three[1].asked) == 7


def test_a_node_that_is_not_there_is_waited_for_in_vain_for_less_than_a_second(watched: Config, start: Start) -> None:
    start("n1").file = [event("n1", 1)]
    began = time.monotonic()
    found = read(watched)
    assert time.monotonic() - began < past.CONNECT_S + 2
    assert found.silent == ["n2", "n3"]
    assert found.notes()[0] == "n2 does not answer: what it alone has recorded is missing"
    assert merged(found.streams) == [event("n1", 1)]


def test_a_node_that_lives_has_its_time_to_answer(watched: Config, three: list[Recorder]) -> None:
    three[2].silent = True
    began = time.monotonic()
    found = read(watched, timeout_s=1.5)
    assert time.monotonic() - began >= 1.5
    assert (len(merged(found.streams)), found.silent) == (16, ["n3"])


@pytest.mark.parametrize(
    ("outcome", "result", "note"),
    [(Outcome.INVALID, None, "n1: so it is"), (Outcome.DONE, {"events": "?"}, "n1: an answer that can't be read")],
)
def test_a_node_that_cannot_read_its_file_says_so(
    watched: Config, three: list[Recorder], outcome: Outcome, result: object, note: str
) -> None:
    three[0].outcome, three[0].result = outcome, result
    found = read(watched)
    assert found.notes()[0].startswith(note)
    assert found.silent == []
    assert len(merged(found.streams)) == 16
