"""What an escort simulation with a proxy offered: a test per row, by the commands that a user types."""

import json
import signal
import subprocess
from typing import Any

import pytest
from awaiting import PATIENCE_S, eventually
from cluster_rig import ZRAFT, Clusters
from test_cluster_escort import leader_of, newest, places, shown, table
from test_cluster_history import NODES, transfer
from test_cluster_history import shown as listed

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def started(app: Clusters) -> dict[str, Any]:
    """Return where all are before anybody has moved."""
    eventually("all have their places", lambda: None not in places(app).values())
    assert newest(app) == 0, "nobody else moves the escort of this cluster"
    return {"leader": leader_of(app), "places": places(app)}


@pytest.fixture(scope="module")
def marched(app: Clusters, started: dict[str, Any]) -> dict[str, Any]:
    """March to [100, 0], have the leader killed on the way, and return where all are then."""
    app.run("escort", "march", "--to", "100", "0", "--every-ms", "50", "--detach")
    app.say("kill", "leader")
    app.leader()
    eventually("it arrives", lambda: any("arrived after 100 steps" in line for line in table(app)))
    return {"leader": leader_of(app), "places": places(app)}


def test_the_leader_starts_at_0_0(started: dict[str, Any]) -> None:
    assert started["places"][started["leader"]] == [0, 0]


def test_it_moves_towards_100_0_a_step_at_a_time(app: Clusters, marched: dict[str, Any]) -> None:
    """A hundred steps, none left out and none taken twice, though the leader was killed meanwhile."""
    assert marched["places"][marched["leader"]] == [100, 0]
    rows = shown(app, "history")[:100]
    assert [(row["step"], row["leader_position"]) for row in rows] == [(n, [n, 0]) for n in range(1, 101)]


def test_followers_keep_their_formation_around_it(started: dict[str, Any], marched: dict[str, Any]) -> None:
    """The new leader and the old one have changed places; whoever led neither time is where it was, a hundred units on."""
    moved = {node: [x + 100, y] for node, (x, y) in started["places"].items()}
    old, new = started["leader"], marched["leader"]
    assert marched["places"] == moved | {old: moved[new], new: moved[old]}


def test_a_new_leader_carries_on_where_the_last_one_was(
    app: Clusters, started: dict[str, Any], marched: dict[str, Any]
) -> None:
    assert marched["leader"] != started["leader"]
    leaders = [row["leader"] for row in shown(app, "history")[:100]]
    assert leaders[-1] == marched["leader"]
    terms = [row["term"] for row in shown(app, "history")[:100]]
    assert terms == sorted(terms)


def test_positions_are_drawn_in_the_terminal_or_printed_at_each_change(app: Clusters, marched: dict[str, Any]) -> None:
    """tests/cluster has the drawing, on a terminal; this one is piped."""
    watch = subprocess.Popen(
        [*ZRAFT, "escort", "positions", "--watch"],
        cwd=app.place,
        env=app.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        first = next(line for line in watch.stdout if marched["leader"] in line.split())
        assert first.split(maxsplit=2)[1] == "leader"
        app.run("escort", "move", "0", "3")
        assert next(line for line in watch.stdout if "leader" in line.split()) != first
    finally:
        watch.send_signal(signal.SIGTERM)
        watch.communicate()
    assert watch.returncode == 0


def test_position_history(app: Clusters, marched: dict[str, Any]) -> None:
    x, y = places(app)[leader_of(app)]
    app.run("escort", "move", "--", "-1", "0.5")
    row = shown(app, "history")[-1]
    assert (row["move"], row["leader_position"]) == ([-1, 0.5], [x - 1, y + 0.5])
    assert row["step"] == newest(app)


def test_random_placement_within_50_units_left_or_right_on_which_all_nodes_agree(
    app: Clusters, started: dict[str, Any]
) -> None:
    """What was drawn is in the log: no node draws for itself."""
    found = started["places"]
    assert len({tuple(place) for place in found.values()}) == 3
    assert all(abs(along) <= 50 for place in found.values() for along in place)

    def drawn(node: str) -> list[dict[str, Any]]:
        entries = json.loads(app.run("log", "show", node, "--json").stdout)
        return [entry for entry in entries if "escort place " in entry["text"] and entry["applied"]]

    assert drawn(NODES[0])
    for node in NODES[1:]:
        eventually(f"{node} has the same", lambda: drawn(node) == drawn(NODES[0]))  # noqa: B023


def test_all_nodes_and_the_leader_with_uptime_and_address(app: Clusters) -> None:
    leader = app.leader()
    rows = {row["node"]: row for row in json.loads(app.run("status", "--json").stdout)["nodes"]}
    assert list(rows) == NODES
    assert [name for name, row in rows.items() if row["role"] == "leader"] == [leader]
    for name, row in rows.items():
        assert row["endpoint"].endswith(f"{name}.client")
        assert row["uptime_s"] > 0


def won(app: Clusters) -> list[dict[str, Any]]:
    return [election for election in listed(app, "elections") if election["leader"]]


def test_all_elections_by_term_kept_across_restarts(app: Clusters) -> None:
    before = won(app)
    _, new = transfer(app)
    after = won(app)
    assert after[: len(before)] == before
    last = after[-1]
    assert (last["leader"], last["cause"]) == (new, "transfer"), "not by timeout"
    assert new in last["votes_for"]
    assert {"candidates", "votes_against"} <= last.keys()
    assert last["expected"] == NODES
    assert listed(app, f"elections --term {last['term']}") == [last]


def test_all_leaders_by_term_kept_across_restarts(app: Clusters) -> None:
    *before, last = listed(app, "leaders")
    old, new = transfer(app)
    after = listed(app, "leaders")
    assert after[: len(before)] == before
    assert (last["node"], last["ended"]) == (old, None)
    ended, now = after[-2:]
    assert (ended["term"], ended["node"], ended["ended"]) == (last["term"], old, "transfer")
    assert (now["node"], now["ended"]) == (new, None)
    assert listed(app, f"leaders --term {now['term']}") == [now]


def test_logs_of_all_nodes_or_one(app: Clusters) -> None:
    """What nodes have said, also as they say it; and what is in their replicated logs."""
    said = app.run("cluster", "logs", "--tail", "5").stdout.splitlines()
    assert {line.split()[0] for line in said} == {*NODES}
    assert len(app.run("cluster", "logs", "n2", "--tail", "5").stdout.splitlines()) == 5
    follower = next(node for node in NODES if node != app.leader())
    following = subprocess.Popen(
        [*ZRAFT, "cluster", "logs", follower, "-f", "--tail", "0"],
        cwd=app.place,
        env=app.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        app.say("restart", follower)
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["node"] == follower
    finally:
        following.send_signal(signal.SIGINT)
        following.communicate()
    assert following.returncode == 130
    app.leader()
    app.run("kv", "put", "logged", "1")
    eventually("its log shows it", lambda: "kv put logged" in app.run("log", "show", follower).stdout)


def test_add_stop_restart_a_node_at_run_time(app: Clusters) -> None:
    """And take it out again; all is as before."""
    assert "n4 has caught up, and votes" in app.run("cluster", "add").stdout.splitlines()
    assert app.say("stop", "n4").startswith("n4 (pid ")
    assert app.status()["n4"]["state"] == "stopped"
    assert app.say("start", "n4").startswith("n4 started")
    eventually("it follows", lambda: app.status()["n4"]["role"] == "follower")
    app.say("restart", "n4")
    eventually("it follows again", lambda: app.status()["n4"]["role"] == "follower")
    assert "n4 is no member any more" in app.say("remove", "n4")
    assert list(app.status()) == NODES


def test_no_authority_is_a_single_point_of_failure(app: Clusters) -> None:
    """Theirs was a server outside the cluster; whichever node is killed here, the others know where everybody is."""
    before = {node: place for node, place in places(app).items() if node in NODES}
    for node in NODES:
        leader = app.leader()
        app.say("stop", node)
        after = eventually("the others answer", lambda: places(app))
        if node == leader:
            new = leader_of(app)
            before |= {node: before[new], new: before[node]}
        assert after == before
        app.say("start", node)
        app.leader()


def test_no_slow_node_holds_up_requests(app: Clusters) -> None:
    """A command that would wait for a paused node would wait until that goes on; tests/promises measures it."""
    paused = next(node for node in NODES if node != app.leader())
    app.say("pause", paused)
    try:
        app.run("kv", "put", "unhindered", "1", "--timeout", str(PATIENCE_S / 2))
        assert app.run("kv", "get", "unhindered").stdout == "1"
        assert app.status()[paused]["state"] == "paused"
    finally:
        app.say("resume", paused)
    eventually("it follows again", lambda: app.status()[paused]["role"] == "follower")
