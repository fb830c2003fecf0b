"""The life of a whole cluster: up, again, detached, refused, stopped and killed; with real nodes."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from awaiting import eventually
from cluster_rig import Clusters

pytestmark = pytest.mark.processes

READY = re.compile(r"cluster ready: n\d leads term \d+ \((\d) nodes?, \d+\.\d s\)")


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_up_shows_its_nodes_and_ctrl_c_leaves_nothing(clusters: Clusters):
    line = clusters.ready("--nodes", "3")
    assert READY.fullmatch(line)
    assert clusters.directory.stat().st_mode & 0o777 == 0o700
    clusters.leader()
    assert all(re.match(r"\d\d:\d\d:\d\d (n\d   |zraft) \| |cluster ready", text) for text in clusters.lines)
    assert not any("\x1b" in text for text in clusters.lines)
    assert clusters.end() == 130
    assert clusters.left() == []
    assert "not running" in clusters.run("cluster", "status", code=3).stderr


def test_one_node_is_a_cluster_too(clusters: Clusters):
    assert "(1 node, " in clusters.ready("--nodes", "1")
    assert clusters.end(signal.SIGTERM) == 0
    assert clusters.left() == []


def test_what_is_doubtful_about_the_configuration_is_said_once_and_not_by_every_node(clusters: Clusters):
    clusters.ready("--nodes", "2")
    said = [line for line in clusters.lines if "an odd number is better" in line]
    assert said == [
        f"note: {clusters.directory}/cluster.yaml:6: nodes: 2 nodes survive no more failures than 1; an odd number is better"
    ]
    assert clusters.end() == 130
    assert clusters.left() == []


def test_a_second_ctrl_c_kills_a_node_whose_script_does_not_end(clusters: Clusters):
    stubborn = script(clusters.place / "stubborn.sh", "trap '' TERM; touch started; while :; do sleep 1; done")
    clusters.ready("--nodes", "1", "--leader-script", stubborn)
    eventually("the script runs", lambda: any("hook leader" in line and "started" in line for line in clusters.lines))
    assert clusters.foreground is not None
    clusters.remember()
    clusters.foreground.send_signal(signal.SIGINT)
    clusters.printed("once more kills them now")
    with pytest.raises(subprocess.TimeoutExpired):
        clusters.foreground.wait(0.5)  # It waits for the script, and a Ctrl-C so much later is a second one.
    clusters.foreground.send_signal(signal.SIGINT)
    assert clusters.foreground.wait(5) == 130
    assert clusters.left() == []


def test_sigkill_of_up_leaves_nothing_after_five_seconds(clusters: Clusters):
    endless = script(clusters.place / "endless.sh", "exec sleep 1000")
    clusters.ready("--nodes", "3", "--leader-script", endless)
    eventually("the script runs", lambda: any("hook leader" in line and "started" in line for line in clusters.lines))
    clusters.say("pause", "follower")
    clusters.remember()
    assert clusters.foreground is not None
    clusters.foreground.kill()
    clusters.foreground.wait()
    eventually("nothing is left", lambda: clusters.left() == [], 5)


def test_all_nodes_killed_at_once_come_back_with_their_data(clusters: Clusters):
    clusters.ready("--nodes", "3")
    clusters.run("kv", "put", "city", "Lisbon")
    before = clusters.status()
    for row in before.values():
        os.kill(row["pid"], signal.SIGKILL)
    eventually("all are back", lambda: all(row["restarts"] == 1 and row["role"] for row in clusters.status().values()))
    clusters.leader()
    assert clusters.run("kv", "get", "city").stdout.strip() == "Lisbon"
    assert clusters.end() == 130
    assert clusters.left() == []


def test_detached_it_is_ready_when_up_returns_and_gone_when_down_returns(clusters: Clusters):
    assert READY.fullmatch(clusters.say("up", "--nodes", "3", "--detach"))
    clusters.remember()
    pid = clusters.supervisor()
    assert os.getsid(pid) == pid
    clusters.leader()
    assert "cluster ready: " in (clusters.directory / "log/supervisor.log").read_text()
    clusters.say("pause", "n1")
    clusters.remember()
    assert clusters.say("down") == "3 nodes stopped; nothing of the cluster runs"
    assert clusters.left() == []
    assert "not running" in clusters.run("cluster", "down", code=3).stderr


def test_up_again_uses_the_data_and_fresh_starts_over(clusters: Clusters):
    clusters.say("up", "--nodes", "1", "--detach")
    clusters.run("kv", "put", "city", "Lisbon")
    clusters.remember()
    clusters.say("down")
    assert "holds a cluster of 1" in clusters.run("cluster", "up", "--nodes", "3", code=2).stderr
    assert "--yes" in clusters.run("cluster", "up", "--fresh", code=2).stderr
    lines = clusters.run("cluster", "up", "--detach").stdout.splitlines()
    assert lines[0] == f"using the data of 1 node in {clusters.directory} again (--fresh starts over)"
    assert clusters.run("kv", "get", "city").stdout.strip() == "Lisbon"
    clusters.remember()
    clusters.say("down")
    clusters.say("up", "--nodes", "1", "--detach", "--fresh", "--yes")
    clusters.run("kv", "get", "city", code=1)
    clusters.remember()
    clusters.say("down")
    assert clusters.left() == []


def test_a_detached_cluster_that_is_not_ready_in_time_is_stopped_again(clusters: Clusters):
    error = clusters.run("cluster", "up", "--nodes", "3", "--detach", "--timeout", "0.3", code=3).stderr
    assert "not ready after 0.3 s: " in error
    assert "everything was stopped again" in error
    assert "not running" in clusters.run("cluster", "status", code=3).stderr


def test_a_script_that_cannot_run_is_found_at_the_start(clusters: Clusters):
    broken = clusters.place / "broken.sh"
    broken.write_text("#!/bin/sh\n")
    broken.chmod(0o600)
    for words in ((), ("--detach",)):
        done = clusters.run("cluster", "up", *words, "--leader-script", str(broken), code=2)
        assert done.stdout == ""
        assert done.stderr.startswith(f"zraft: --leader-script: {broken}: is not executable; ")
    assert not clusters.directory.exists()


def test_one_node_with_damaged_data_fails_and_the_others_are_ready(clusters: Clusters):
    clusters.say("up", "--nodes", "3", "--detach")
    clusters.run("kv", "put", "city", "Lisbon")
    clusters.remember()
    clusters.say("down")
    for file in (clusters.directory / "data/n2").iterdir():
        if file.is_file() and file.stat().st_size > 100:
            file.write_bytes(b"\xa5" * 4_096 + file.read_bytes()[4_096:])
    assert "(2 of 3 nodes, " in clusters.run("cluster", "up", "--detach").stdout
    clusters.remember()
    row = clusters.status()["n2"]
    assert (row["state"], row["pid"], row["restarts"]) == ("failed", None, 0)
    line = next(line for line in clusters.run("cluster", "status").stdout.splitlines() if line.startswith("n2"))
    assert "data/n2" in line
    clusters.say("down")
    assert clusters.left() == []


def test_scripts_and_environment_reach_the_nodes(clusters: Clusters):
    leads = script(clusters.place / "leads.sh", 'echo "$ZRAFT_NODE leads $ZRAFT_CLUSTER" > "$(dirname "$0")/leads"')
    (clusters.place / "env").write_text("ZRAFT_APP_NAME=from-the-file\n")
    clusters.say("up", "--nodes", "1", "--detach", "--leader-script", leads, "--env-file", "env")
    clusters.remember()
    written = clusters.place / "leads"
    eventually("the script has run", lambda: written.exists() and written.read_text() == "n1 leads from-the-file\n")
    clusters.say("down")
    assert clusters.left() == []


def test_the_nodes_of_a_file_can_be_supervised(clusters: Clusters):
    text = """
cluster: {name: mine}
nodes: [{id: a, peer: ipc://a.peer, client: ipc://a.client, events: ipc://a.events}]
storage: {directory: where/data}
log: {directory: where/log}
supervisor: {control: ipc://where.sock}
"""
    (clusters.place / "mine.yaml").write_text(text)
    clusters.place.chmod(0o700)
    assert (
        "--nodes is for a run directory"
        in clusters.run("cluster", "up", "--config", "mine.yaml", "--nodes", "1", code=2).stderr
    )
    assert READY.fullmatch(clusters.ready("--config", "mine.yaml").replace(": a leads", ": n1 leads"))
    status = clusters.run("cluster", "status", "--config", "mine.yaml").stdout
    assert status.startswith("cluster mine (")
    assert "already running" in clusters.run("cluster", "up", "--config", "mine.yaml", code=2).stderr
    assert (clusters.place / "where/data/a").is_dir()
    assert not clusters.directory.exists()
    assert clusters.end() == 130
    assert clusters.left() == []


def test_without_a_cluster_every_verb_says_so_in_one_line(clusters: Clusters):
    for words in (("status",), ("down",), ("kill", "n1"), ("start", "leader")):
        assert "zraft cluster up" in clusters.run("cluster", *words, code=3).stderr
        assert "zraft cluster up" in clusters.run("cluster", *words, "--dir", "nowhere", code=3).stderr
        assert "zraft cluster up" in clusters.run("cluster", *words, code=3, ZRAFT_DIR="nowhere").stderr
    assert not (clusters.place / "nowhere").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--nodes", "0"), "1 to 9 nodes"),
        (("--nodes", "10"), "1 to 9 nodes"),
        (("--nodes", "many"), "--nodes"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--config", "x.yaml", "--dir", "y"), "--dir and --config"),
        (("--env-file", "nowhere.env"), "nowhere.env"),
        (("--detach", "--timeout", "0"), "timeout"),
    ],
)
def test_wrong_flags_end_in_one_line_and_start_nothing(clusters: Clusters, words: tuple[str, ...], text: str):
    assert text in clusters.run("cluster", "up", *words, code=2).stderr
    assert not clusters.directory.exists()


def test_a_directory_too_deep_for_sockets_works_all_the_same(clusters: Clusters):
    deep = str(clusters.place / ("deep" * 30))
    assert READY.fullmatch(clusters.say("up", "--nodes", "1", "--detach", "--dir", deep))
    clusters.run("cluster", "kill", "leader", "--dir", deep)
    clusters.pids |= {
        row["pid"]
        for row in json.loads(clusters.run("cluster", "status", "--json", "--dir", deep).stdout)["nodes"]
        if row["pid"]
    }
    assert "nothing of the cluster runs" in clusters.say("down", "--dir", deep)
    assert clusters.left() == []


def test_a_stale_pid_or_socket_does_not_keep_it_from_starting(clusters: Clusters):
    clusters.ready("--nodes", "1")
    clusters.remember()
    assert clusters.foreground is not None
    clusters.foreground.kill()
    clusters.foreground.wait()
    assert (clusters.directory / "run/supervisor.sock").exists()
    eventually("nothing is left", lambda: clusters.left() == [], 5)
    assert "not running" in clusters.run("cluster", "status", code=3).stderr
    assert "(1 node, " in clusters.ready()
    assert clusters.end() == 130
    assert clusters.left() == []
