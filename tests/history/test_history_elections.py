"""Elections and leaders: made of the log and of what nodes recorded, and the same in whatever order that comes."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorder import event

from zraft.client.history.elections import Candidacy, Election, merged_elections
from zraft.events import Event
from zraft.machines.history import commands
from zraft.raft.types import Ballot

NODES = ("n1", "n2", "n3")


def won(term: int, leader: str, cause: str = "timeout", wall_ms: int = 0) -> commands.Election:
    return commands.Election(term, 10 * term, Ballot(leader, (leader, "n3"), (), NODES, cause, 5, wall_ms))


def asked(node: str, term: int, **more: Any) -> Event:
    return event(node, term, "vote", what="requested", pre=False, term=term, **{"transfer": False, **more})


def answered(node: str, term: int, candidate: str, what: str, wall_ms: int = 0) -> Event:
    return event(node, term, "vote", wall_ms=wall_ms, what=what, pre=False, term=term, candidate=candidate)


def ended(node: str, term: int, outcome: str, *, wall_ms: int = 0, **more: Any) -> Event:
    votes = {"votes_for": (node,), "votes_against": ("n3",), "expected": NODES, "cause": "timeout", "duration_ms": 9}
    return event(node, term, "candidacy", wall_ms=wall_ms, **{"term": term, "outcome": outcome, **votes, **more})


def lost(node: str, outcome: str, wall_ms: int = 0) -> Candidacy:
    return Candidacy(node, outcome, (node,), ("n3",), NODES, "timeout", 9, wall_ms)


def winner(leader: str, cause: str = "timeout", wall_ms: int = 0) -> Candidacy:
    return Candidacy(leader, "won", (leader, "n3"), (), NODES, cause, 5, wall_ms)


def test_terms_with_and_without_a_leader() -> None:
    found = merged_elections(
        [won(1, "n1"), won(3, "n2", "transfer", 70)],
        [
            asked("n1", 1),
            ended("n1", 1, "won"),
            asked("n2", 2),
            ended("n2", 2, "refused", wall_ms=40),
            asked("n3", 2, transfer=True),
            asked("n1", 3),
            ended("n1", 3, "another_leads"),
        ],
    )
    assert found == [
        Election(1, "n1", (winner("n1"),)),
        Election(2, None, (lost("n2", "refused", 40), Candidacy("n3", "unknown", cause="transfer"))),
        Election(3, "n2", (lost("n1", "another_leads"), winner("n2", "transfer", 70))),
    ]


def test_a_leader_who_could_commit_nothing_is_known_by_its_own_word() -> None:
    assert merged_elections([], [asked("n1", 4), ended("n1", 4, "won")]) == [Election(4, "n1", (lost("n1", "won"),))]


def test_a_candidate_that_tells_nothing_is_known_by_the_voters() -> None:
    found = merged_elections(
        [],
        [
            answered("n3", 4, "n2", "refused", wall_ms=30),
            ended("n1", 4, "refused", wall_ms=40),
            answered("n3", 4, "n1", "refused", wall_ms=35),
            answered("n4", 4, "n2", "granted", wall_ms=20),
            asked("n5", 5),
            answered("n3", 5, "n5", "refused"),
        ],
    )
    silent = Candidacy("n2", "unknown", ("n4",), ("n3",), wall_ms=20)
    begun = Candidacy("n5", "unknown", (), ("n3",), cause="timeout")
    assert found == [Election(4, None, (lost("n1", "refused", 40), silent)), Election(5, None, (begun,))]


def test_what_the_log_says_counts_more_than_what_a_node_says() -> None:
    found = merged_elections([won(1, "n1")], [ended("n1", 1, "timeout")])
    assert found == [Election(1, "n1", (winner("n1"),))]


@pytest.mark.parametrize(
    "odd",
    [
        event("n1", 1, "vote", what="requested", pre=True, term=1),
        event("n1", 1, "vote", what="granted", pre=True, candidate="n2", term=1),
        event("n1", 1, "vote", what="granted", pre=False, term=1),
        event("n1", 1, "vote", what="requested", pre="?"),
        event("n1", 1, "candidacy", term="x"),
        event("n1", 1, "role", term=1),
    ],
)
def test_what_tells_of_no_candidacy_is_passed_over(odd: Event) -> None:
    assert merged_elections([], [odd]) == []


OUTCOMES = st.sampled_from(["won", "timeout", "refused", "another_leads", "higher_term"])


@given(
    told=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(NODES), st.booleans(), OUTCOMES, st.integers(0, 3))),
    heard=st.lists(st.tuples(st.sampled_from(NODES), st.integers(1, 4), st.sampled_from(NODES), st.booleans())),
    terms=st.sets(st.integers(1, 4)),
    dice=st.integers(0, 99),
)
def test_it_is_the_same_in_whatever_order_the_nodes_answer(
    told: list[tuple[int, str, bool, str, int]], heard: list[tuple[str, int, str, bool]], terms: set[int], dice: int
) -> None:
    events = [
        ended(node, term, outcome, wall_ms=ms) if has_ended else asked(node, term)
        for term, node, has_ended, outcome, ms in told
    ]
    events += [
        answered(node, term, other, "granted" if yes else "refused", wall_ms=number)
        for number, (node, term, other, yes) in enumerate(heard)
    ]
    log = [won(term, NODES[term % 3]) for term in sorted(terms)]
    shuffled = list(events)
    Random(dice).shuffle(shuffled)
    found = merged_elections(log, events)
    assert merged_elections(log, shuffled) == found
    known = {(term, node) for term, node, *_ in told} | {(term, candidate) for _, term, candidate, _ in heard}
    assert [election.term for election in found] == sorted(terms | {term for term, _ in known})
    for election in found:
        stood = {node for term, node in known if term == election.term}
        assert {each.node for each in election.candidacies} == stood | {NODES[election.term % 3]} & (
            {NODES[election.term % 3]} if election.term in terms else set()
        )
        if election.term in terms:
            assert winner(NODES[election.term % 3]) in election.candidacies
