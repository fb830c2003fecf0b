"""What a Raft key-value store with a dict client offered: a test per row, by the commands that a user types."""

import re
import signal
import subprocess
from pathlib import Path

import pytest
import transcript
from awaiting import PATIENCE_S, eventually
from cluster_rig import ROOT, ZRAFT, Clusters
from replies import value_in
from virtual_cluster import VirtualCluster

from zraft import Client, DistDict, config
from zraft.machines.kv.commands import Delete, Get, Put, encode
from zraft.requests import Commands, Outcome

SCENARIOS = Path(__file__).parents[1] / "raft" / "scenarios"


@pytest.mark.processes
def test_start_a_server_by_its_number_verbosely_into_a_log_file(tmp_path: Path) -> None:
    file, log = tmp_path / "cluster.yaml", tmp_path / "mine.log"
    file.write_text("nodes: [{id: '1', peer: 'ipc://p', client: 'ipc://c', events: 'ipc://e'}]\n")
    node = subprocess.Popen(
        [*ZRAFT, "node", "run", "--id", "1", "--config", str(file), "--verbose", "--log-file", str(log)],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        eventually("it leads, being alone", lambda: log.exists() and "majority won" in log.read_text())
    finally:
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0, node.communicate()
        node.communicate()
    assert "DEBUG" in log.read_text()


@pytest.mark.processes
def test_a_console_status_shows_all_of_it(app: Clusters) -> None:
    for key in ("a", "b"):  # With their sessions, and what every leader does first, more than ten entries.
        app.run("kv", "put", key, "x")
    shown = app.run("status", "n1", "--log", "10").stdout
    for field in ("healthy +yes", "state +(leader|follower)", r"term +\d+", r"voted for +n\d", r"commit index +\d+"):
        assert re.search(rf"^  {field}", shown, re.MULTILINE), field
    assert re.search(r"^  election timeout +\d+/\d+ ms$", shown, re.MULTILINE)
    entries = re.findall(r"^  ([* ]) (\d+)@(\d+) +(\w+) ", shown, re.MULTILINE)
    assert len(entries) == 10
    indices = [int(index) for _, index, _, _ in entries]
    assert indices == sorted(indices, reverse=True), "newest first"
    assert [mark for mark, *_ in entries] == ["*"] * 10, "committed"
    table = app.run("monitor", "--once").stdout.splitlines()
    assert table[0].split() == [
        "NODE",
        "ROLE",
        "TERM",
        "LEADER",
        "VOTED",
        "COMMIT",
        "APPLIED",
        "LAST",
        "HEALTHY",
        "AGE",
    ]


@pytest.mark.processes
def test_a_viewer_of_one_nodes_state_in_another_terminal(app: Clusters) -> None:
    viewer = subprocess.Popen(
        [*ZRAFT, "monitor", "--node", "n2", "--plain"],
        cwd=app.place,
        env=app.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert viewer.stdout is not None
    try:
        lines = [viewer.stdout.readline() for _ in range(5)]
        assert {line.split()[1] for line in lines} == {"n2"}
    finally:
        viewer.send_signal(signal.SIGINT)
        viewer.communicate()


@pytest.mark.processes
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_dict_that_finds_the_leader_whichever_server_it_is_told(app: Clusters, number: int) -> None:
    servers = [config.load(app.directory / "cluster.yaml", env={}).node(f"n{number}").client]
    with DistDict(servers, prefix=f"{number}/") as data:
        data["k"] = {"a": [1, 2]}
        assert data["k"] == {"a": [1, 2]}
        assert (data.setdefault("k", 1), data.pop("none", 7), list(data)) == ({"a": [1, 2]}, 7, ["k"])
        del data["k"]
        with pytest.raises(KeyError):
            data["k"]
        assert data.get("k") is None
        with pytest.raises(KeyError):
            del data["k"]


@pytest.mark.processes
def test_a_dict_that_retries_when_its_leader_dies(app: Clusters) -> None:
    with Client(app.directory / "cluster.yaml", timeout_s=15) as client:
        data = DistDict(client, prefix="retry/")
        data["count"] = 0
        app.say("kill", "leader")
        data["count"] = 1
        assert data["count"] == 1
    app.leader()


def test_idempotency_of_requests_across_leaders_restarts_and_snapshots() -> None:
    cluster = VirtualCluster().start()
    leader = cluster.settled()
    session = cluster.open_session(leader)
    batch = cluster.batch(session, Put(b"k", b"v"), Delete(b"k"))
    first = cluster.call(leader, Commands(0), batch)
    leader.kill()
    second = cluster.call(cluster.led(), Commands(0), batch)
    for node in cluster.running:
        node.kill()
    for node in cluster.nodes.values():
        node.start()
    third = cluster.call(cluster.led(), Commands(0), batch)
    for node in cluster.running:
        stream = list(node.machines.snapshot())
        node.machines.restore(stream)
    fourth = cluster.call(cluster.led(), Commands(0), batch)
    assert [(each.outcome, each.result) for each in (second, third, fourth)] == [(first.outcome, first.result)] * 3
    cluster.settled()
    assert {node.machines.store.revision for node in cluster.nodes.values()} == {2}


@pytest.mark.processes
def test_operations_set_get_delete_and_no_op_and_a_state_machine_that_logs(app: Clusters) -> None:
    app.run("kv", "put", "op", "1")
    assert app.run("kv", "get", "op").stdout == "1"
    app.run("kv", "delete", "op")
    logged = app.run("status", "n1", "--log", "1000").stdout
    for line in (r"command +kv put op=\.\.\(1 B\)", r"command +kv delete op", r"noop +n\d leads term \d+"):
        assert re.search(line, logged), line


def test_the_whole_state_is_saved_and_recovered_at_the_start() -> None:
    cluster = VirtualCluster().start()
    leader = cluster.settled()
    session = cluster.open_session(leader)
    for number in range(20):
        cluster.answered(cluster.put(leader, session, b"%d" % number, b"v"))
    cluster.settled()
    before = {b"".join(node.machines.store.snapshot()) for node in cluster.nodes.values()}
    for node in cluster.nodes.values():
        node.kill()
        node.start()
    cluster.settled()
    assert {b"".join(node.machines.store.snapshot()) for node in cluster.nodes.values()} == before
    assert len(before) == 1


@pytest.mark.parametrize("figure", ["figure_7", "figure_8", "figure_8_committed"])
def test_figures_7_and_8_of_the_paper(figure: str) -> None:
    path = SCENARIOS / f"{figure}.txt"
    assert "paper" in path.read_text()
    expected = [block.expected for block in transcript.parse(path.read_text())]
    assert [block.expected for block in transcript.run(path)] == expected


def test_gap_snapshots() -> None:
    """All that is replicated becomes a stream of bytes, and a node that is given it has the same state."""
    cluster = VirtualCluster().start()
    leader = cluster.settled()
    session = cluster.open_session(leader)
    batch = cluster.batch(session, Put(b"k", b"v"))
    assert cluster.call(leader, Commands(0), batch).outcome == Outcome.DONE
    fresh = VirtualCluster(1).start()["n1"].machines
    fresh.restore(leader.machines.snapshot())
    assert list(fresh.snapshot()) == list(leader.machines.snapshot())
    assert fresh.index == leader.machines.index
    assert value_in(fresh.query("kv", encode(Get(b"k")))) == b"v"
