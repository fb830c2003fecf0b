"""Who leads, as it becomes known from nodes that come, go, lag behind, contradict each other and talk nonsense."""

import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
import zmq

from zraft import events
from zraft.errors import Unavailable, ZraftError
from zraft.monitor import asking, leadership
from zraft.monitor.leadership import Leader, Leadership
from zraft.requests import Status

WAIT_S = 10.0


class Watcher:
    """Collects the leaders that are told."""

    def __init__(self, config) -> None:
        self.config = config
        self.leadership = Leadership(config, now_ms())
        self.told: list[tuple[str, int]] = []

    def turn(self) -> None:
        ready = [socket for socket, _ in self.leadership.poller.poll(20)]
        found = self.leadership.take(ready, now_ms())
        if found is not None:
            assert found.endpoint == self.config.node(found.node).client
            self.told.append((found.node, found.term))

    def until(self, *told: tuple[str, int]) -> None:
        deadline = time.monotonic() + WAIT_S
        while self.told != list(told):
            assert time.monotonic() < deadline, f"not within {WAIT_S} s: {told}; told so far {self.told}"
            self.turn()


@pytest.fixture
def watch(watched) -> Iterator[Callable[[], Watcher]]:
    watchers: list[Watcher] = []

    def watch() -> Watcher:
        watchers.append(Watcher(watched))
        return watchers[-1]

    yield watch
    for watcher in watchers:
        watcher.leadership.close()


def now_ms() -> float:
    return time.monotonic() * 1_000


def truth(config, node: str, leader: str | None, term: int) -> dict:
    """Return a status of `node` in which `leader` leads."""
    endpoint = config.node(node).client
    role = "leader" if node == leader else "follower"
    return msgspec.to_builtins(Status(node, endpoint, role, term, leader, None, 7, 7, 7, 1, 1, True, 1.0, 1))


def test_the_leader_is_told_at_once_and_each_newer_one_as_it_comes(start, watch):
    nodes = {name: start(name) for name in ("n1", "n2", "n3")}
    watcher = watch()
    watcher.until(("n1", 3))
    for node in nodes.values():
        node.wait_for_subscriber()
    nodes["n2"].leads(4)
    watcher.until(("n1", 3), ("n2", 4))
    nodes["n3"].publish("role", role="follower", term=6, leader="n1", reason="x", prev_role="candidate")
    watcher.until(("n1", 3), ("n2", 4), ("n1", 6))
    nodes["n2"].publish("role", role="follower", term=7, leader=None, reason="x", prev_role="leader")
    nodes["n2"].leads(9)
    watcher.until(("n1", 3), ("n2", 4), ("n1", 6), ("n2", 9))


def test_an_older_leader_is_never_told_after_a_newer_one(start, watch):
    nodes = {name: start(name) for name in ("n1", "n2", "n3")}
    watcher = watch()
    for node in nodes.values():
        node.wait_for_subscriber()
    nodes["n2"].leads(8)
    watcher.until(("n2", 8))
    nodes["n1"].leads(3)
    nodes["n1"].leads(8)
    nodes["n1"].publish("status", term=7, leader="n1", role="leader")
    for node in nodes.values():
        node.settle()
    nodes["n1"].leads(9)
    watcher.until(("n2", 8), ("n1", 9))


def test_at_the_start_the_one_that_knows_least_is_not_believed_first(watched, start, watch, monkeypatch):
    """A node that was cut off leads term 3, by its own word, and answers before those who know better."""
    monkeypatch.setattr(leadership, "SETTLING_MS", 60_000)
    for name in ("n1", "n3"):
        start(name)
    late = start("n2")
    late.silent = True
    late.lie = truth(watched, "n2", "n3", 5)
    watcher = watch()
    while not late.asked:
        watcher.turn()
    late.wait_for_subscriber()
    assert watcher.told == []
    late.publish("status", term=5, leader="n3", role="follower")
    watcher.until(("n3", 5))


def test_nodes_that_do_not_answer_hold_nobody_up_for_long(start, watch):
    start("n2")
    began = time.monotonic()
    watch().until(("n1", 3))
    assert time.monotonic() - began < 2


def test_it_starts_before_the_cluster_and_survives_its_coming_and_going(watched, start, watch):
    watcher = watch()
    for term in (4, 5):
        node = start("n2")
        node.lie = truth(watched, "n2", "n2", term)
        watcher.until(*(("n2", each) for each in range(4, term + 1)))
        node.close()


def test_a_node_whose_events_do_not_come_through_is_asked(watched, start, watch, monkeypatch):
    """Events and answers come by different ports, of which a firewall may close one."""
    monkeypatch.setattr(leadership, "SILENT_MS", 50)
    node = start("n2")
    watcher = watch()
    watcher.until(("n1", 3))
    asked = len(node.asked)
    node.lie = truth(watched, "n2", "n2", 4)
    watcher.until(("n1", 3), ("n2", 4))
    assert len(node.asked) > asked


def test_nonsense_changes_nothing(watched, start, watch):
    node = start("n1")
    node.lie = {"term": "soon"}
    watcher = watch()
    node.wait_for_subscriber()
    for data in ({}, {"term": "x", "leader": "n1"}, {"term": 5, "leader": 7}, {"term": 5}):
        node.publish("role", **data)
    context: zmq.Context = zmq.Context()
    stranger = context.socket(zmq.PUB)
    stranger.bind(watched.node("n3").events)
    try:
        foreign = events.Event(1, "watched", "n2", "b", 1, 0, 9, None, "role", {"term": 9, "leader": "n2"})
        deadline = time.monotonic() + 0.5  # Nobody tells a PUB when it is heard: it repeats itself.
        while time.monotonic() < deadline:
            for frames in (events.encode(foreign), [b"n3/role"], [b"n3/role", b"\xc1"]):
                stranger.send_multipart([b"n3/role", *frames[1:]])
            watcher.turn()
        node.leads(6)
        watcher.until(("n1", 6))
    finally:
        context.destroy(linger=0)


def test_a_leader_that_the_configuration_does_not_have_has_no_endpoint(watched):
    assert leadership.endpoint_of(watched, "n4") == ""


# -- asked once --------------------------------------------------------------------------------------------------------


def lead(config, nodes, leader: str | None, term: int) -> None:
    for name, node in nodes.items():
        node.lie = truth(config, name, leader, term)


def test_the_leader_is_whom_a_majority_follows(watched, start):
    nodes = {name: start(name) for name in ("n1", "n2", "n3")}
    assert asking.find_leader(watched) == Leader("n1", 3, watched.node("n1").client)
    assert asking.find_leader(watched, 0, newer_than=3) is None
    for name in ("n2", "n3"):
        nodes[name].lie = truth(watched, name, None, 4)
    assert asking.find_leader(watched, 0) is None, "it leads by its own word alone"
    lead(watched, nodes, None, 5)
    assert asking.find_leader(watched, 0) is None


def test_a_leader_that_is_not_there_does_not_lead_whatever_the_others_believe(watched, start):
    for name in ("n2", "n3"):
        start(name)
    assert asking.find_leader(watched, 0) is None


def test_nobody_there_is_something_else(watched):
    with pytest.raises(Unavailable, match="no node of watched answers"):
        asking.find_leader(watched, 0)


def test_handing_over_to_the_leader_is_done_already(watched, start):
    nodes = {name: start(name) for name in ("n1", "n2", "n3")}
    assert asking.transfer(watched, "n1", 1.0).node == "n1"
    assert not any(type(request).__name__ == "TransferRequest" for request in nodes["n1"].asked)


def test_handing_over_fails_in_words_when_it_does_not_come_about(watched, start):
    nodes = {name: start(name) for name in ("n1", "n2", "n3")}
    lead(watched, nodes, "n1", 3)
    with pytest.raises(ZraftError, match="n1 has not handed over to n2 in time"):
        asking.transfer(watched, "n2", 0.2)
