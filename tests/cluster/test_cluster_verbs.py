"""Each `zraft cluster` verb against real nodes; one detached cluster of three serves all of them."""

import json
import subprocess
import time

import pytest
from awaiting import alive, eventually
from cluster_rig import ZRAFT, Clusters

pytestmark = pytest.mark.processes

KEYS = {"node", "pid", "guard_pid", "state", "restarts", "role", "term"}


def whole(shared: Clusters) -> None:
    """Wait until all nodes run and agree."""
    eventually(
        "all nodes run", lambda: all(row["state"] == "running" and row["role"] for row in shared.status().values())
    )
    shared.leader()


def test_status_shows_every_node_as_it_is(shared: Clusters):
    whole(shared)
    answer = json.loads(shared.run("cluster", "status", "--json").stdout)
    assert answer["cluster"] == "zraft"
    assert [row["node"] for row in answer["nodes"]] == ["n1", "n2", "n3"]
    for row in answer["nodes"]:
        assert set(row) == KEYS
        assert row["state"] == "running"
        assert alive(row["pid"])
        assert alive(row["guard_pid"])
        assert row["term"] >= 1
    assert sorted(row["role"] for row in answer["nodes"]) == ["follower", "follower", "leader"]


def test_status_for_people_has_a_line_per_node(shared: Clusters):
    leader = shared.leader()
    lines = shared.run("cluster", "status").stdout.splitlines()
    assert lines[0].startswith(f"cluster zraft ({shared.directory}/cluster.yaml, supervisor ")
    assert lines[1].split() == ["node", "state", "role", "term", "pid", "guard", "restarts"]
    assert [line.split()[0] for line in lines[2:]] == ["n1", "n2", "n3"]
    assert next(line for line in lines if line.startswith(leader)).split()[1:3] == ["running", "leader"]


def test_the_status_agrees_with_the_nodes_own(shared: Clusters):
    leader = shared.leader()
    own = json.loads(shared.run("status", "--json").stdout)
    assert {row["node"]: row["role"] for row in own["nodes"]} == {
        name: row["role"] for name, row in shared.status().items()
    }
    assert {row["leader"] for row in own["nodes"]} == {leader}


def test_kill_leader_kills_who_leads_and_it_comes_back(shared: Clusters):
    leader = shared.leader()
    before = shared.status()[leader]
    assert shared.say("kill", "leader") == f"{leader} (pid {before['pid']}) killed; it is started again"
    assert not alive(before["pid"])
    row = eventually(
        f"{leader} runs again", lambda: (now := shared.status()[leader])["role"] and now["pid"] != before["pid"] and now
    )
    assert (row["state"], row["restarts"]) == ("running", before["restarts"] + 1)
    assert row["term"] >= before["term"]
    whole(shared)


def test_kill_leader_meets_three_different_leaders_in_a_row(shared: Clusters):
    whole(shared)
    first = shared.status()
    for _ in range(3):
        shared.say("kill", "leader")  # It finds the new leader by itself, or waits for there to be one.
    whole(shared)
    last = shared.status()
    assert sum(row["restarts"] for row in last.values()) == sum(row["restarts"] for row in first.values()) + 3


def test_stop_lasts_until_start_and_the_leader_stays(shared: Clusters):
    leader = shared.leader()
    name = shared.say("stop", "follower").split()[0]
    assert name != leader
    row = shared.status()[name]
    assert (row["state"], row["pid"], row["guard_pid"], row["role"]) == ("stopped", None, None, None)
    assert shared.say("stop", name) == f"{name} was stopped already"
    assert f"{name} does not run (stopped)" in shared.run("cluster", "kill", name, code=1).stderr
    assert f"{name} does not run (stopped)" in shared.run("cluster", "pause", name, code=1).stderr
    assert shared.say("start", name).startswith(f"{name} started (pid ")
    assert shared.status()[name]["restarts"] == row["restarts"]
    assert "runs already" in shared.say("start", name)
    whole(shared)
    assert shared.leader() == leader


@pytest.mark.alone
def test_a_paused_leader_is_replaced_and_follows_when_it_goes_on(shared: Clusters):
    leader = shared.leader()
    assert shared.say("pause", "leader").startswith(f"{leader} (pid ")
    began = time.monotonic()
    row = shared.status()[leader]
    assert time.monotonic() - began < 1
    assert (row["state"], row["role"], row["term"]) == ("paused", None, None)
    assert alive(row["pid"])
    other = shared.leader()
    assert other != leader
    assert shared.say("resume", leader) == f"{leader} (pid {row['pid']}) goes on"
    eventually(f"{leader} follows", lambda: shared.status()[leader]["role"] == "follower")
    assert shared.say("resume", leader) == f"{leader} is not paused"
    whole(shared)


def test_restart_gives_a_node_a_new_process(shared: Clusters):
    before = shared.status()["n2"]
    assert shared.say("restart", "n2").startswith("n2 restarted (pid ")
    after = shared.status()["n2"]
    assert after["pid"] != before["pid"]
    assert not alive(before["pid"])
    assert after["restarts"] == before["restarts"] + 1
    whole(shared)


def test_a_node_that_does_not_exist_is_a_usage_error(shared: Clusters):
    for verb in ("kill", "stop", "start", "restart", "pause", "resume"):
        assert "n9: no such node; there are n1, n2, n3" in shared.run("cluster", verb, "n9", code=2).stderr


def test_up_on_a_running_cluster_says_so(shared: Clusters):
    before = shared.status()
    for words in ((), ("--detach",), ("--nodes", "3"), ("--nodes", "5"), ("--fresh", "--yes")):
        assert "already running" in shared.run("cluster", "up", *words, code=2).stderr
    file = str(shared.directory / "cluster.yaml")
    assert "already" in shared.run("cluster", "up", "--config", file, code=2).stderr
    after = shared.status()
    assert {name: row["pid"] for name, row in after.items()} == {name: row["pid"] for name, row in before.items()}


def test_the_cluster_is_found_by_directory_file_and_variable(shared: Clusters):
    file = str(shared.directory / "cluster.yaml")
    ways = [
        shared.run("cluster", "status", "--json", "--dir", ".zraft"),
        shared.run("cluster", "status", "--json", "--config", file),
        shared.run("cluster", "status", "--json", ZRAFT_CONFIG=file),
        shared.run("cluster", "status", "--json", ZRAFT_DIR=str(shared.directory)),
    ]
    assert {json.loads(way.stdout)["nodes"][0]["node"] for way in ways} == {"n1"}
    assert "elsewhere: no cluster here" in shared.run("cluster", "status", "--dir", "elsewhere", code=3).stderr


def test_logs_of_one_node_and_of_all(shared: Clusters):
    one = shared.run("cluster", "logs", "n1", "--tail", "3").stdout.splitlines()
    assert len(one) == 3
    assert all(" n1 " in line for line in one)
    merged = shared.run("cluster", "logs").stdout.splitlines()
    heads = {line.partition(" | ")[0].strip() for line in merged}
    assert {head.split()[0] for head in heads} == {"n1", "n2", "n3"}
    times = [line.partition(" | ")[2][:24] for line in merged if line.partition(" | ")[2].startswith("20")]
    assert times == sorted(times)
    assert "command: " in shared.run("cluster", "logs", "supervisor").stdout
    assert "n9: no such node" in shared.run("cluster", "logs", "n9", code=2).stderr


def test_logs_are_followed_until_ctrl_c(shared: Clusters):
    following = subprocess.Popen(
        [*ZRAFT, "cluster", "logs", "n3", "-f", "--tail", "0"],
        cwd=shared.place,
        env=shared.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert following.stdout is not None
        shared.say("restart", "n3")
        line = following.stdout.readline()  # Bounded by the test's own time limit.
        assert " n3 " in line
        following.send_signal(2)
        assert following.wait(10) == 130
    finally:
        following.kill()
        following.wait()
        following.stdout.close()
    whole(shared)
