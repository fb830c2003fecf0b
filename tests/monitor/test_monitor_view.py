"""The table as histories: who is shown as leader, and for how long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.events import Event
from zraft.monitor.view import DOWN_AFTER_MS, View

NODES = ("n1", "n2", "n3")


def event(node: str, kind: str, boot: str = "b1", /, **data: Any) -> Event:
    return Event(1, "c", node, boot, 1, 0, data.get("term", 0), data.get("role"), kind, data)


def status(node: str, role: str, term: int, leader: str | None = None, boot: str = "b1", **more: Any) -> Event:
    data = {
        "voted_for": leader, "commit_index": 5, "last_applied": 4, "last_index": 6, "healthy": True,
        "role": role, "term": term, "leader": leader, **more,
    }  # fmt: skip
    return event(node, "status", boot, **data)


def leaders(view: View, now: float = 0) -> list[tuple[str, int | None]]:
    return [(row.node, row.term) for row in view.rows(now) if row.role == "leader"]


@pytest.fixture
def view() -> View:
    return View(NODES)


def test_every_node_is_listed_before_it_is_heard_of(view):
    assert [(row.node, row.state, row.role, row.age_ms, row.healthy) for row in view.rows(0)] == [
        (name, "down", None, None, False) for name in NODES
    ]


def test_a_status_fills_its_row(view):
    view.see(status("n2", "follower", 3, "n1"), 100)
    row = view.rows(350)[1]
    assert (row.state, row.role, row.term, row.leader, row.voted_for) == ("up", "follower", 3, "n1", "n1")
    assert (row.commit_index, row.last_applied, row.last_index, row.healthy, row.age_ms) == (5, 4, 6, True, 250)


def test_a_node_that_falls_silent_stays_listed_with_its_age(view):
    view.see(status("n1", "leader", 1, "n1"), 0)
    assert leaders(view, DOWN_AFTER_MS) == [("n1", 1)]
    row = view.rows(DOWN_AFTER_MS + 1)[0]
    assert (row.state, row.role, row.healthy, row.term, row.age_ms) == ("down", None, False, 1, DOWN_AFTER_MS + 1)


def test_a_node_that_stops_says_so_at_once(view):
    view.see(status("n1", "leader", 1, "n1"), 0)
    view.see(event("n1", "stopping", reason="SIGTERM"), 10)
    assert (view.rows(10)[0].state, leaders(view, 10)) == ("stopped", [])
    view.see(status("n1", "follower", 1, boot="b2"), 20)
    assert view.rows(20)[0].state == "up"


def test_a_paused_leader_is_not_shown_once_another_leads(view):
    view.see(status("n1", "leader", 1, "n1"), 0)
    view.see(event("n2", "role", role="leader", term=2, leader="n2"), 500)
    assert leaders(view, 500) == [("n2", 2)]
    # It wakes, and still believes what it knew.
    view.see(status("n1", "leader", 1, "n1"), 600)
    assert leaders(view, 600) == [("n2", 2)]
    assert view.rows(600)[0].leader is None
    view.see(event("n1", "role", role="follower", term=2, leader="n2"), 700)
    assert view.rows(700)[0].leader == "n2"


def test_a_follower_may_bring_the_news_of_a_new_leader(view):
    view.see(status("n1", "leader", 1, "n1"), 0)
    view.see(event("n3", "role", role="follower", term=2, leader="n2"), 10)
    assert leaders(view, 10) == []
    view.see(event("n2", "role", role="leader", term=2, leader="n2"), 20)
    assert leaders(view, 20) == [("n2", 2)]


def test_a_candidate_in_a_newer_term_deposes_nobody(view):
    view.see(status("n1", "leader", 1, "n1"), 0)
    view.see(event("n2", "role", role="candidate", term=2, leader=None), 10)
    assert leaders(view, 10) == [("n1", 1)]
    assert view.rows(10)[1].role == "candidate"


def test_a_second_leader_of_one_term_is_never_shown(view):
    view.see(status("n1", "leader", 1, "n1"), 0)
    view.see(status("n2", "leader", 1, "n2"), 10)
    assert leaders(view, 10) == [("n1", 1)]


def test_events_of_an_earlier_start_of_a_node_are_past(view):
    view.see(status("n1", "follower", 4, "n2", boot="b1"), 0)
    view.see(status("n1", "follower", 5, "n3", boot="b2"), 10)
    view.see(status("n1", "leader", 9, "n1", boot="b1"), 20)
    assert (view.rows(20)[0].term, leaders(view, 20)) == (5, [])


def test_a_late_event_of_an_older_term_changes_nothing(view):
    view.see(status("n1", "leader", 4, "n1"), 0)
    view.see(event("n1", "role", role="follower", term=3, leader="n2"), 10)
    assert leaders(view, 10) == [("n1", 4)]


def test_entries_move_the_indices_between_two_statuses(view):
    view.see(status("n1", "follower", 1, "n2"), 0)
    view.see(event("n1", "entry", index=9, term=1, kind="command", text=""), 0)
    view.see(event("n1", "entry", index=8, term=1, kind="command", text=""), 0)
    row = view.rows(0)[0]
    assert (row.commit_index, row.last_applied, row.last_index) == (9, 9, 9)


def test_a_cluster_that_was_started_afresh_has_leaders_again(view):
    view.see(status("n1", "leader", 9, "n1"), 0)
    for name in NODES[1:]:
        view.see(status(name, "follower", 9, "n1"), 0)
    # One node comes back empty: it has lost its data, and the cluster goes on.
    view.see(status("n3", "follower", 0, boot="b2"), 10)
    assert leaders(view, 10) == [("n1", 9)]
    view.see(status("n2", "leader", 1, "n2", boot="b2"), 20)
    assert leaders(view, 20) == [("n2", 1)]
    view.see(status("n1", "follower", 1, "n2", boot="b2"), 30)
    assert leaders(view, 30) == [("n2", 1)]


def test_an_event_of_a_stranger_or_with_nonsense_in_it_is_ignored(view):
    view.see(status("n9", "leader", 3, "n9"), 0)
    view.see(event("n1", "status", role=["leader"], term="7", leader=4, healthy="yes", commit_index=-1), 0)
    view.see(event("n2", "entry", index=None), 0)
    view.see(event("n3", "unheard-of", term=5, role="leader"), 0)
    assert leaders(view) == []
    assert [row.term for row in view.rows(0)] == [None, None, None]
    assert [row.node for row in view.rows(0)] == list(NODES)


def events_of(*boots: str) -> st.SearchStrategy[Event]:
    """Draw what nodes tell of themselves in those starts of their processes."""
    return st.builds(
        lambda node, kind, boot, role, term, leader: event(node, kind, boot, role=role, term=term, leader=leader),
        st.sampled_from(NODES),
        st.sampled_from(["role", "status"]),
        st.sampled_from(boots),
        st.sampled_from(["leader", "follower", "candidate"]),
        st.integers(0, 5),
        st.sampled_from([None, *NODES]),
    )


@given(st.lists(st.tuples(events_of("b1", "b2"), st.integers(0, DOWN_AFTER_MS)), max_size=40))
def test_whatever_is_seen_there_is_at_most_one_leader(history):
    view, now = View(NODES), 0
    for item, pause in history:
        now += pause
        view.see(item, now)
        rows = view.rows(now)
        shown = [row for row in rows if row.role == "leader"]
        assert len(shown) <= 1
        named = {row.leader for row in rows} - {None}
        assert len(named) <= 1
        if shown:
            assert named <= {shown[0].node}


@given(st.lists(events_of("b1"), max_size=30))
def test_the_leader_shown_is_of_the_newest_term_that_was_seen_to_have_one(history):
    view = View(NODES)
    newest = 0
    own_terms = dict.fromkeys(NODES, -1)
    for item in history:
        view.see(item, 0)
        term = item.data["term"]
        if term >= own_terms[item.node]:
            own_terms[item.node] = term
            if item.data["role"] == "leader" or item.data["leader"] is not None:
                newest = max(newest, term)
        assert all(term == newest for _, term in leaders(view))
