"""Nodes that joined after a configuration was written are asked, watched and shown like all others."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import FakeNode, status
from monitor_process import Process

from zraft.config import Config, Node
from zraft.errors import ConfigError
from zraft.monitor.asking import find_leader, transfer
from zraft.monitor.leadership import Leader, Leadership
from zraft.monitor.newcomers import grown, newcomers, newest, told
from zraft.monitor.statuses import ask_all
from zraft.raft.types import Endpoints
from zraft.requests import Status, StatusRequest

WAIT_S = 10.0


@pytest.fixture
def whole(watched: Config) -> Config:
    """Return what the configuration would be if it named n4 too."""
    place = Path(watched.path).parent
    new = Node("n4", *(f"ipc://{place}/n4.{end}" for end in "pce"), join=True)
    return msgspec.structs.replace(watched, nodes=(*watched.nodes, new))


def truth(config: Config, node: str, leader: str, term: int) -> dict[str, Any]:
    """Return a status that names everybody."""
    known = status(config, node, StatusRequest(0))
    members = {each.id: Endpoints(each.peer, each.client, each.events) for each in config.nodes}
    role = "leader" if node == leader else "follower"
    return msgspec.to_builtins(
        msgspec.structs.replace(known, role=role, leader=leader, term=term, members=members, warnings=[])
    )


@pytest.fixture
def four(whole: Config, start: Callable[[str], FakeNode]) -> Iterator[dict[str, FakeNode]]:
    """Start n1 to n4; n4 leads term 5, and all say who takes part."""
    nodes = {name: start(name) for name in ("n1", "n2", "n3")}
    nodes["n4"] = FakeNode(whole, "n4")
    for name, node in nodes.items():
        node.lie = truth(whole, name, "n4", 5)
    yield nodes
    nodes["n4"].close()


def test_whom_the_configuration_does_not_name_is_asked_as_well(
    watched: Config, whole: Config, four: dict[str, FakeNode]
) -> None:
    config, answers = ask_all(watched)
    assert config == whole
    assert {name: answer and answer.node for name, answer in answers.items()} == {name: name for name in four}


def test_with_nobody_new_everybody_is_asked_once(watched: Config, start: Callable[[str], FakeNode]) -> None:
    node = start("n1")
    assert ask_all(watched)[0] is watched
    assert len(node.asked) == 1


def test_a_leader_that_joined_later_is_found(watched: Config, whole: Config, four: dict[str, FakeNode]) -> None:
    leader = Leader("n4", 5, whole.node("n4").client)
    assert find_leader(watched) == leader
    assert transfer(watched, "n4", 2) == leader
    with pytest.raises(ConfigError, match="there is no node 'n9' in it; its nodes are n1, n2, n3, n4"):
        transfer(watched, "n9", 2)


def test_whoever_watches_the_leader_learns_of_one_that_joined_later(
    watched: Config, whole: Config, four: dict[str, FakeNode]
) -> None:
    leadership = Leadership(watched, time.monotonic() * 1_000)
    found, deadline = [], time.monotonic() + WAIT_S
    while len(found) < 2:
        assert time.monotonic() < deadline, found
        ready = [socket for socket, _ in leadership.poller.poll(20)]
        leader = leadership.take(ready, time.monotonic() * 1_000)
        if leader is not None:
            found.append(leader)
            four["n4"].wait_for_subscriber()
            four["n4"].publish("role", role="leader", term=6, leader="n4", reason="x", prev_role="leader")
    leadership.close()
    endpoint = whole.node("n4").client
    assert found == [Leader("n4", 5, endpoint), Leader("n4", 6, endpoint)]


@pytest.mark.processes
def test_the_monitor_shows_who_joins_while_it_runs(
    cluster_file: Path, whole: Config, four: dict[str, FakeNode]
) -> None:
    monitor = Process("--plain", "--config", str(cluster_file))
    four["n1"].wait_for_subscriber()
    four["n1"].publish("status", **truth(whole, "n1", "n4", 5))
    four["n4"].wait_for_subscriber()
    four["n4"].leads(6)
    try:
        text = monitor.until(lambda text: " n4" in text, "a line of n4")
        assert "n4" in text
    finally:
        monitor.child.kill()
        monitor.child.wait()


def test_the_members_are_those_that_the_node_names_which_knows_most(whole: Config) -> None:
    def knows(term: int, applied: int, *members: str) -> Status:
        found = msgspec.convert(truth(whole, "n1", "n4", term), Status)
        named = {name: at for name, at in found.members.items() if name in members}
        return msgspec.structs.replace(found, last_applied=applied, members=named)

    old, new, silent = knows(3, 9, "n1", "n4"), knows(4, 5, "n1", "n2"), knows(9, 9)
    assert [set(members) for members in newest([old, None, new, silent])] == [{"n1", "n2"}]
    assert [set(members) for members in newest([knows(4, 6, "n3"), new])] == [{"n3"}]
    assert newest([None, silent]) == []
    assert grown(whole, [old]) is whole


def test_what_cannot_be_read_names_nobody(whole: Config) -> None:
    for data in ({}, {"members": 1}, {"members": {"n9": ["ipc:///a"]}}, None, 7):
        assert told(data) == {}
    members = told(truth(whole, "n1", "n4", 5))
    assert newcomers(members, ["n1", "n2", "n3"]) == [whole.node("n4")]
