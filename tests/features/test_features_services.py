"""What two HTTP consensus services with a monitor and role scripts offered: a test per row, by the commands that a user types."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from awaiting import PATIENCE_S, eventually
from cluster_rig import ZRAFT, Clusters
from monitor_process import Process
from virtual_cluster import VirtualCluster

from zraft import Client, config, errors
from zraft.config.schema import OPTIONS
from zraft.raft.messages import RequestVote
from zraft.raft.types import EntryId

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
NODES = ["n1", "n2", "n3"]


def leader(app: Clusters) -> str:
    return json.loads(app.run("leader", "--json").stdout)["leader"]


def hand_over(app: Clusters) -> tuple[str, str]:
    """Have another node lead; return who led and who leads."""
    before = leader(app)
    after = NODES[(NODES.index(before) + 1) % 3]
    app.run("leader", "--transfer", after)
    return before, after


def test_per_node_status(app: Clusters) -> None:
    answer = json.loads(app.run("status", "--json", ZRAFT_APP_NAME="shop").stdout)
    assert answer["cluster"] == "shop"
    assert [row["node"] for row in answer["nodes"]] == NODES
    assert {"endpoint", "role", "term", "uptime_s"} <= answer["nodes"][0].keys()
    assert sorted(row["role"] for row in answer["nodes"]) == ["follower", "follower", "leader"]
    table = app.run("status").stdout.splitlines()
    assert table[0].split()[:4] == ["NODE", "ENDPOINT", "ROLE", "TERM"]
    assert [line.split()[0] for line in table[1:4]] == NODES
    with Client(app.directory / "cluster.yaml") as client:
        statuses = client.status()
    assert {name: status.role for name, status in statuses.items() if status is not None} == {
        row["node"]: row["role"] for row in answer["nodes"]
    }


def test_errors_in_one_envelope(app: Clusters) -> None:
    """One line that begins with ``zraft:``, and a documented exit code, which `Clusters.run` checks; in Python, a class each."""
    for code, words in ((1, ("kv", "get", "missing")), (2, ("kv", "put", "", "x")), (2, ("status", "n9"))):
        app.run(*words, code=code)
    assert app.run("kv", "get", "k", "--config", "/no/such/file", code=2).stderr.startswith("zraft: /no/such/file: ")
    with Client(app.directory / "cluster.yaml") as client, pytest.raises(errors.InvalidRequest, match="empty"):
        client.kv.put("", b"")
    kinds = (errors.NotFound, errors.InvalidRequest, errors.Unavailable, errors.OutcomeUnknown, errors.StorageError)
    assert [kind.exit_code for kind in kinds] == [1, 2, 3, 4, 5]


def test_leader_and_follower_scripts_by_path_run_at_start_and_on_each_change(app: Clusters) -> None:
    """A bare script, which knows nothing of zraft, works unchanged."""
    ran = app.place / "ran"

    def runs() -> list[str]:
        return ran.read_text().splitlines()

    eventually("each node has begun as a follower", lambda: {f"follower {name}" for name in NODES} <= set(runs()))
    eventually("whoever leads has run the other one", lambda: f"leader {leader(app)}" in runs())
    count = len(runs())
    before, after = hand_over(app)
    eventually("both have changed roles", lambda: sorted(runs()[count:]) == [f"follower {before}", f"leader {after}"])


def test_environment_configuration_with_the_names_of_before_and_an_env_file(app: Clusters) -> None:
    """The cluster was started with a ``.env``; its nodes go by it."""
    status = app.run("status", "n1").stdout
    _, upper = map(int, re.search(r"election timeout +(\d+)/(\d+) ms", status).groups())  # type: ignore[union-attr]
    assert 500 <= upper <= 900
    events = app.run("events", "--json", "--node", "n1", ZRAFT_APP_NAME="shop").stdout
    assert {event["cluster"] for event in json.loads(events)} == {"shop"}
    file = app.directory / "cluster.yaml"
    for name, value, key in (
        ("HEARTBEAT_REPEAT_MILLIS", "60", "heartbeat.interval_ms"),
        ("ELECTION_TIMEOUT_LOWER_MILLIS", "600", "election.timeout_lower_ms"),
        ("REFRESH_RATE_MILLIS", "70", "monitor.refresh_ms"),
        ("SCRIPT_LEADER_PATH", "/bin/true", "hooks.leader"),
        ("SCRIPT_FOLLOWER_PATH", "/bin/true", "hooks.follower"),
        ("LOGGING", "ERROR", "log.level"),
    ):
        section, option = key.split(".")
        loaded = config.load(file, env={f"ZRAFT_{name}": value})
        assert str(getattr(getattr(loaded, section), option)) == value
    assert {"ZRAFT_" + option.replace(".", "_").upper() for option in OPTIONS} <= set(config.VARIABLES)


def test_json_log_lines(app: Clusters) -> None:
    """Level, UTC time, node, role and term on each; and a line for each thing that an operator wants to know of."""
    hand_over(app)
    records = [
        json.loads(line) for name in NODES for line in (app.directory / "log" / f"{name}.log").read_text().splitlines()
    ]
    assert {frozenset(record) for record in records} == {
        frozenset(("time", "level", "node", "role", "term", "message"))
    }
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]) for record in records)
    assert {record["level"] for record in records} >= {"DEBUG", "INFO"}, "ZRAFT_LOGGING=DEBUG"
    assert {record["role"] for record in records} >= {"leader", "follower"}
    said = "\n".join(record["message"] for record in records)
    for words in (
        "vote requested for term",
        "vote granted to",
        "majority won in term",
        "term update: ",
        "leader reset: ",
    ):
        assert words in said


def test_json_log_lines_of_a_rejected_vote_and_of_heartbeats_that_are_lost() -> None:
    """Neither happens in a healthy cluster: in virtual time two ask the same voter, and a leader is cut off."""
    cluster = VirtualCluster().start()
    voter = cluster["n3"]
    for candidate in ("n1", "n2"):
        disk_id = cluster[candidate].disk.storage.disk_id
        voter.hear(candidate, RequestVote(term=1, last=EntryId(0, 0), transfer=False, disk_id=disk_id))
    cluster.run(10)
    assert ("INFO", "vote refused to n2 in term 1: voted for n1") in voter.lines
    old = cluster.settled()
    cluster.isolate(old.id)
    cluster.run(500)
    assert any(level == "WARNING" and line.startswith("heartbeat round lost: ") for level, line in old.lines)


def test_a_monitor_page_with_a_row_per_node_where_one_that_is_down_stays_listed(app: Clusters) -> None:
    """On a terminal the table is drawn anew by itself; its age grows while the node is away."""
    down = next(name for name in NODES if name != leader(app))
    monitor = Process(cwd=app.place, terminal=(100, 30), XDG_RUNTIME_DIR=str(app.place))
    try:
        monitor.until(lambda text: all(name in text for name in NODES) and "leader" in text, "the table")
        app.say("stop", down)
        monitor.text = ""
        monitor.until(lambda text: re.search(rf"{down} +(\x1b\S*)?stopped", text) is not None, "its row")
        assert down in app.run("monitor", "--once").stdout
    finally:
        app.say("start", down)
        monitor.end()
        monitor.close()
    assert app.leader() in NODES


def test_three_replicas_by_one_command_and_pausing_one_as_a_fault(app: Clusters) -> None:
    assert [row["state"] for row in app.status().values()] == ["running"] * 3
    other = next(name for name in NODES if name != leader(app))
    for verb, says in (
        ("pause", "paused"),
        ("resume", "goes on"),
        ("kill", "killed"),
        ("stop", "stopped"),
        ("start", "started"),
    ):
        assert says in app.say(verb, other)
        if verb == "kill":
            eventually("it is started again", lambda: app.status()[other]["role"] == "follower")
    assert app.leader() in NODES


def test_weakness_log_entries_not_kept(app: Clusters) -> None:
    """What is in a node's log is there after a SIGKILL of that node."""
    app.run("kv", "put", "kept", "1")
    name = next(name for name in NODES if name != leader(app))
    before = _log(app, name)
    app.say("kill", name)
    eventually("it is back", lambda: app.status()[name]["role"] == "follower")
    assert before <= _log(app, name)


def _log(app: Clusters, name: str) -> set[tuple[int, int]]:
    answer = json.loads(app.run("status", name, "--log", "1000", "--json").stdout)
    (row,) = answer["nodes"]
    return {(entry["index"], entry["term"]) for entry in row["log"]}


def roles(text: str) -> list[str]:
    """Return who took over leadership, of what the monitor has printed as JSON."""
    records = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [each["node"] for each in records if (each["kind"], each["data"].get("role")) == ("role", "leader")]


def test_weakness_the_monitor_lags(app: Clusters) -> None:
    """A change of leader is printed as it happens, not at the next look."""
    monitor = Process("--json", "--tail", "0", cwd=app.place, XDG_RUNTIME_DIR=str(app.place))
    try:
        monitor.until(lambda text: "status" in text, "the first event")
        _, after = hand_over(app)
        took_over = '"kind":"role","data":{"role":"leader","term"'
        monitor.until(lambda text: took_over in text, f"that {after} leads")
    finally:
        assert monitor.end()[0] == 0
        monitor.close()


def test_wished_for_the_leaders_address_in_an_nginx_configuration(app: Clusters) -> None:
    """Any program may follow the leader; `scripts/examples/nginx` has nginx do so."""
    place = app.place / "upstream.conf"
    script = f'echo "server ${{ZRAFT_LEADER_ENDPOINT##*/}}; # term $ZRAFT_TERM" > {place}'
    watch = subprocess.Popen(
        [*ZRAFT, "leader", "--watch", "--", "sh", "-c", script],
        cwd=app.place,
        env=app.environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(2):
            name = leader(app)
            eventually(f"{name} is written", lambda: place.exists() and f"server {name}.client;" in place.read_text())  # noqa: B023
            hand_over(app)
    finally:
        watch.terminate()
        assert watch.wait(PATIENCE_S) == 0
    assert (ROOT / "scripts" / "examples" / "nginx" / "follow-leader").is_file()


def test_admitted_a_single_leader_is_a_bottleneck_and_commits_cost_latency() -> None:
    """The README says so, with measured figures and with what eases it."""
    limits = (ROOT / "README.md").read_text().partition("## Limits, stated honestly")[2]
    assert "One leader does all the work" in limits
    assert re.search(r"one put at a time takes about \d+(\.\d+)? ms", limits)
    assert re.search(r"about [\d,]+ are committed per second", limits)
    assert "batching" in limits
