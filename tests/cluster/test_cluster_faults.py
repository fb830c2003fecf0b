"""Links between real nodes, cut and mended: the minority serves nobody, and after `heal` all nodes are equal."""

import json

import pytest
from awaiting import eventually
from cluster_rig import Clusters

pytestmark = pytest.mark.processes


def equal(shared: Clusters) -> bool:
    """Whether all nodes follow one leader and have applied the same."""
    rows = json.loads(shared.run("status", "--json", code=None).stdout)["nodes"]
    return len({(row["term"], row["leader"], row["last_index"], row["last_applied"]) for row in rows}) == 1


def leads_beside(shared: Clusters, former: str) -> bool:
    """Whether another node leads than `former`, whatever that one believes."""
    return any(row["role"] == "leader" for name, row in shared.status().items() if name != former)


def test_a_minority_serves_nobody_and_is_equal_after_heal(shared: Clusters) -> None:
    leader = shared.leader()
    others = [name for name in shared.status() if name != leader]
    said = shared.say("partition", leader, ",".join(others))
    assert said == f"cut: {leader} | {', '.join(others)}; whole again by: zraft cluster heal"
    table = shared.run("status").stdout
    assert f"warning: {leader}: fault: cut off from {', '.join(others)}" in table
    assert f"{others[0]}: fault: cut off from {leader}" in shared.run("monitor", "--once").stdout
    eventually("another leads", lambda: leads_beside(shared, leader))
    shared.run("kv", "put", "k", "majority")
    late = shared.run("kv", "put", "k", "minority", "--node", leader, "--timeout", "1", code=3)
    assert "nothing happened" in late.stderr
    shared.run("kv", "get", "k", "--node", leader, "--from-follower", "--timeout", "1", code=3)
    assert shared.run("kv", "get", "k", "--node", leader, "--stale", code=None).stdout in ("", "majority")
    assert shared.say("heal") == "all links are whole"
    eventually("all nodes are equal", lambda: equal(shared))
    assert "fault" not in shared.run("status").stdout
    reads = [shared.run("kv", "get", "k", "--node", name, "--from-follower").stdout for name in shared.status()]
    assert reads == ["majority"] * 3


def test_an_isolated_node_changes_neither_leader_nor_term(shared: Clusters) -> None:
    """On its return it has not driven its term up (pre-vote), so it deposes nobody."""
    leader = shared.leader()
    before = shared.status()[leader]["term"]
    follower = next(name for name in shared.status() if name != leader)
    shared.say("isolate", follower)
    eventually("it stands, in vain", lambda: shared.status()[follower]["role"] == "pre_candidate")
    shared.say("heal")
    eventually("all nodes are equal", lambda: equal(shared))
    assert (shared.leader(), shared.status()[leader]["term"]) == (leader, before)


def test_a_node_that_does_not_run_keeps_nobody_from_mending(shared: Clusters) -> None:
    leader = shared.leader()
    follower = next(name for name in shared.status() if name != leader)
    shared.say("stop", follower)
    assert shared.say("isolate", "leader").startswith(f"cut off: {leader}; ")
    assert shared.say("heal") == f"all links are whole ({follower} not running)"
    shared.say("start", follower)
    eventually("all nodes are equal", lambda: equal(shared))


def test_a_paused_node_is_not_taken_for_one_that_was_told(shared: Clusters) -> None:
    leader = shared.leader()
    follower = next(name for name in shared.status() if name != leader)
    shared.say("isolate", follower)
    shared.say("pause", follower)
    said = shared.run("cluster", "heal", code=3).stderr
    assert f"{follower} did not answer, and may not keep to it; the others do" in said
    shared.say("resume", follower)
    assert shared.say("heal") == "all links are whole"
    eventually("all nodes are equal", lambda: equal(shared))


def test_a_restarted_node_stays_cut_off_by_the_others(shared: Clusters) -> None:
    leader = shared.leader()
    follower = next(name for name in shared.status() if name != leader)
    shared.say("isolate", follower)
    shared.say("restart", follower)
    eventually("it stands, in vain", lambda: shared.status()[follower]["role"] == "pre_candidate")
    shared.say("heal")
    eventually("all nodes are equal", lambda: equal(shared))


def test_one_way_only_what_the_first_group_sends_is_lost(shared: Clusters) -> None:
    leader = shared.leader()
    others = [name for name in shared.status() if name != leader]
    said = shared.say("partition", leader, "--one-way")
    assert said == f"what {leader} sends to {', '.join(others)} is lost; whole again by: zraft cluster heal"
    eventually("another leads", lambda: leads_beside(shared, leader))
    shared.say("heal")
    eventually("all nodes are equal", lambda: equal(shared))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("partition", "n1,n2", "n9"), "n9: no such node; there are n1, n2, n3"),
        (("partition", "n1", "n1,n2"), "n1: in two groups"),
        (("isolate", "n7"), "n7: no such node"),
    ],
)
def test_what_is_no_partition_is_refused(shared: Clusters, words: tuple[str, ...], why: str) -> None:
    assert why in shared.run("cluster", *words, code=2).stderr


def test_where_faults_are_disabled_nothing_is_cut(clusters: Clusters) -> None:
    clusters.run("cluster", "up", "--nodes", "1", "--detach", ZRAFT_CLUSTER_FAULTS="disabled")
    clusters.remember()
    try:
        refused = clusters.run("cluster", "heal", code=2).stderr
        assert "faults are not enabled here; start the cluster with cluster.faults: enabled" in refused
    finally:
        clusters.say("down")
