"""What the nodes' answers amount to: pure."""

import pytest

from zraft.requests import Status
from zraft.supervisor.election import elected, leading, ready_line


def status(node: str, role: str, term: int, leader: str | None, commit: int = 1) -> Status:
    return Status(node, "ipc://x", role, term, leader, None, commit, commit, commit, 0, 500, True, 1.0, 1)


def by_name(*statuses: Status) -> dict[str, Status]:
    return {one.node: one for one in statuses}


LEADER = status("n1", "leader", 3, "n1")
F2, F3 = (status(name, "follower", 3, "n1") for name in ("n2", "n3"))


def test_a_leader_that_a_majority_follows_is_elected():
    found = elected(by_name(LEADER, F2), 3)
    assert found is not None
    assert (found.leader, found.term, found.agreeing) == ("n1", 3, ("n1", "n2"))


def test_nobody_is_elected_before_the_no_op_is_committed():
    assert elected(by_name(status("n1", "leader", 3, "n1", commit=0), F2, F3), 3) is None


def test_a_leader_without_a_majority_is_not_elected():
    assert elected(by_name(LEADER, F2), 4) is None
    assert elected(by_name(LEADER), 3) is None


def test_those_who_follow_in_another_term_do_not_count():
    assert elected(by_name(LEADER, status("n2", "follower", 2, "n1")), 3) is None
    assert elected(by_name(LEADER, status("n2", "follower", 3, None)), 3) is None


def test_of_two_leaders_the_newer_one_leads():
    old = status("n3", "leader", 2, "n3")
    found = leading(by_name(old, LEADER))
    assert found is LEADER


def test_without_a_leader_nobody_is_elected():
    assert leading(by_name(F2, F3)) is None
    assert elected(by_name(F2, F3), 3) is None


@pytest.mark.parametrize(
    ("names", "total", "line"),
    [
        (("n1", "n2", "n3", "n4", "n5"), 5, "cluster ready: n3 leads term 1 (5 nodes, 1.2 s)"),
        (("n3", "n4", "n5"), 5, "cluster ready: n3 leads term 1 (3 of 5 nodes, 1.2 s)"),
        (("n3",), 1, "cluster ready: n3 leads term 1 (1 node, 1.2 s)"),
    ],
)
def test_the_ready_line(names: tuple[str, ...], total: int, line: str):
    followers = [status(name, "follower", 1, "n3") for name in names if name != "n3"]
    found = elected(by_name(status("n3", "leader", 1, "n3"), *followers), total)
    assert found is not None
    assert ready_line(found, total, 1.23) == line
