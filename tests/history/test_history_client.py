"""The client's history: pages of the log's part, and what is said of nodes that are missing."""

from collections.abc import Callable
from typing import Any

import pytest
from recorder import Recorder, event

from zraft.client.calls import Again
from zraft.client.greeting import Topology
from zraft.client.history import HistoryClient
from zraft.config import Config
from zraft.errors import InvalidRequest, Unavailable
from zraft.machines.history.store import History
from zraft.machines.machine import Applied
from zraft.raft.types import Ballot

TERMS = 2_345


class Asked:
    """A client in front of a history, and of the nodes of a configuration; it answers at once."""

    def __init__(self, config: Config) -> None:
        self.timeout_s = 15.0
        self._config = config
        self.machine = History()

    def submit_query(self, machine: str, query: bytes, read: Callable[[bytes], Any]) -> Any:
        assert machine == "history"
        found = read(self.machine.query(query))
        while isinstance(found, Again):
            found = read(self.machine.query(found.payload))
        return found

    def wait(self, found: Any) -> Any:
        return found

    def topology(self) -> Topology:
        return Topology.of(self._config)


@pytest.fixture
def client(watched: Config) -> Asked:
    made = Asked(watched)
    for term in range(1, TERMS + 1):
        ballot = Ballot("n1", ("n1", "n2"), (), ("n1", "n2", "n3"), "timeout", 1, term)
        made.machine.leader_elected(ballot, Applied(term, term, term, 0, "n1", None))
    return made


@pytest.fixture
def nodes(start: Callable[[str], Recorder]) -> list[Recorder]:
    return [start(name) for name in ("n1", "n2", "n3")]


def history(client: Asked) -> HistoryClient:
    return HistoryClient(client)  # type: ignore[arg-type]


def test_all_pages_are_read(client: Asked, nodes: list[Recorder]) -> None:
    elections, leaders = history(client).elections(), history(client).leaders()
    assert [election.term for election in elections] == list(range(1, TERMS + 1))
    assert [leader.term for leader in leaders] == list(range(1, TERMS + 1))
    assert {node.asked[0].kinds for node in nodes} == {("vote", "candidacy")}


def test_leaders_are_what_the_log_says_and_nobody_is_asked_for_more(client: Asked, nodes: list[Recorder]) -> None:
    """Each node has recorded an end of its own of every term, and has it whether or not it is up."""
    for node in nodes:
        change = {"role": "follower", "leader": None, "reason": "quorum_lost", "prev_role": "leader"}
        node.file = [event(node.id, term, "role", term=term, **change) for term in range(1, TERMS + 1)]
    leaders = history(client).leaders()
    assert [leader.ended for leader in leaders] == ["timeout"] * (TERMS - 1) + [None]
    assert [node.asked for node in nodes] == [[], [], []]
    for node in nodes:
        node.close()
    assert history(client).leaders() == leaders


def test_one_term(client: Asked, nodes: list[Recorder]) -> None:
    nodes[1].file = [
        event("n2", 1, "vote", what="requested", pre=False, term=7, transfer=False),
        event("n2", 2, "vote", what="requested", pre=False, term=8, transfer=False),
    ]
    (election,) = history(client).elections(7)
    assert [(each.node, each.outcome) for each in election.candidacies] == [("n1", "won"), ("n2", "unknown")]
    assert [leader.term for leader in history(client).leaders(7)] == [7]
    assert (history(client).elections(TERMS + 1), history(client).leaders(TERMS + 1)) == ([], [])


def test_what_is_missing_is_said(client: Asked, start: Callable[[str], Recorder]) -> None:
    for name in ("n1", "n3"):
        start(name)
    notes: list[str] = []
    assert len(history(client).elections(note=notes.append)) == TERMS
    assert notes == ["n2 does not answer: what it alone has recorded is missing"]
    assert history(client).events() == []


def test_the_events_of_chosen_nodes(client: Asked, nodes: list[Recorder]) -> None:
    for node in nodes:
        node.file = [event(node.id, 1, "role", wall_ms=5), event(node.id, 2, "vote", wall_ms=9)]
    found = history(client).events(["n3", "n1"], kinds=["role"])
    assert [(each.node, each.kind) for each in found] == [("n1", "role"), ("n3", "role")]
    assert [each.wall_ms for each in history(client).events(since_ms=6)] == [9, 9, 9]
    assert history(client).events([]) == []


def test_what_makes_no_sense_is_refused(client: Asked) -> None:
    with pytest.raises(InvalidRequest, match="no event of the kind 'log' is recorded; there are candidacy, "):
        history(client).events(kinds=["log"])
    with pytest.raises(InvalidRequest, match="there is no node 'n9'; there are n1, n2, n3"):
        history(client).events(["n9"])


def test_nobody_answers(client: Asked) -> None:
    client.timeout_s = 0.1
    with pytest.raises(Unavailable, match="none of n1, n2, n3 answers"):
        history(client).events()
