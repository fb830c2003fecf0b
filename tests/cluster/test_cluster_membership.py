"""A cluster that grows and shrinks on real nodes, as an operator types it, while it serves."""

import json
import subprocess
import threading
from collections.abc import Iterator

import pytest
from awaiting import PATIENCE_S, eventually
from cluster_rig import ZRAFT, Clusters

from zraft import config
from zraft.client.client import Client
from zraft.errors import ZraftError

pytestmark = pytest.mark.processes


class Load:
    """Writes one key after the other, and knows what was promised."""

    def __init__(self, clusters: Clusters) -> None:
        self.client = Client(config.load(clusters.directory / "cluster.yaml", env={}), timeout_s=10)
        self.written = 0
        self.failures: list[ZraftError] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._ended.is_set():
            try:
                self.client.kv.put(f"key/{self.written:06}", str(self.written).encode())
            except ZraftError as error:
                self.failures.append(error)
                return
            self.written += 1

    def goes_on(self) -> None:
        """Wait until something more was written than now."""
        before = self.written
        eventually("writes go on", lambda: self.failures or self.written > before)
        assert not self.failures

    def check(self) -> None:
        """End it; every request was answered, and what was promised is there."""
        self._ended.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert self.failures == []
        assert self.written > 0
        entries = self.client.kv.list("key/")
        assert [entry.value for entry in entries] == [str(number).encode() for number in range(self.written)]

    def close(self) -> None:
        self._ended.set()
        self.client.close()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def three(clusters: Clusters) -> Clusters:
    clusters.ready("--nodes", "3", "--leader-script", "/bin/true", "--follower-script", "/bin/true")
    return clusters


@pytest.fixture
def load(three: Clusters) -> Iterator[Load]:
    made = Load(three)
    yield made
    made.close()


def voters(clusters: Clusters) -> list[str]:
    """Return who votes, once no change is under way."""

    def found() -> list[str] | None:
        known = json.loads(clusters.run("member", "list", "--json").stdout)
        return None if known["changing"] else [each["node"] for each in known["members"] if each["role"] == "voter"]

    return eventually("no change is under way", found)


def lines(clusters: Clusters, *words: str) -> list[str]:
    return clusters.run(*words).stdout.splitlines()


def test_a_cluster_grows_from_three_to_five_and_shrinks_again_under_load(three: Clusters, load: Load) -> None:
    told = lines(three, "cluster", "add", "2")
    assert [line.split(" (")[0] for line in told[:4:2]] == ["n4 started", "n5 started"]
    assert {"n4 has caught up, and votes", "n5 has caught up, and votes"} <= {*told}
    assert sorted(voters(three)) == ["n1", "n2", "n3", "n4", "n5"]
    load.goes_on()
    rows = three.status()
    assert [row["state"] for row in rows.values()] == ["running"] * 5
    assert three.run("leader", "--transfer", "n5").stdout.startswith("n5 leads term ")
    load.goes_on()
    for node in ("n4", "n1"):
        assert f"{node} is no member any more; {node} stopped and taken out" in three.say("remove", node)
    assert sorted(voters(three)) == ["n2", "n3", "n5"]
    assert list(three.status()) == ["n2", "n3", "n5"]
    load.goes_on()
    load.check()


def test_a_cluster_that_grew_starts_again_with_all_its_nodes(three: Clusters, load: Load) -> None:
    lines(three, "cluster", "add", "--name", "extra")
    load.goes_on()
    load.check()
    three.end()
    three.ready()
    assert sorted(voters(three)) == ["extra", "n1", "n2", "n3"]
    assert three.leader() in voters(three)
    assert three.say("stop", "extra").startswith("extra (pid ")
    assert three.say("start", "extra").startswith("extra started")
    told = lines(three, "cluster", "add", "--name", "extra")
    assert told[-1] == "extra has caught up, and votes", "what is so already is done"
    load.check()


def test_the_leader_is_removed_and_another_one_leads(three: Clusters, load: Load) -> None:
    gone = three.leader()
    assert three.say("remove", "leader").startswith(f"{gone} is no member any more; {gone} stopped")
    left = sorted({"n1", "n2", "n3"} - {gone})
    assert sorted(voters(three)) == left
    assert three.leader() in left
    load.goes_on()
    load.check()
    three.run("cluster", "start", gone, code=2)


def test_a_node_that_lost_its_data_begins_anew(three: Clusters, load: Load) -> None:
    leader = three.leader()
    lost = next(name for name in ("n1", "n2", "n3") if name != leader)
    three.say("stop", lost)
    (three.directory / "data" / lost).rename(three.place / "lost")
    three.say("start", lost)
    warning = f"{lost} has lost its data: zraft member replace {lost}"
    eventually("it is seen", lambda: warning in three.run("status").stdout)
    lines(three, "member", "replace", lost)
    eventually("it votes again", lambda: lost in voters(three))
    eventually("all is well", lambda: warning not in three.run("status").stdout)
    load.goes_on()
    load.check()


def test_what_would_lose_the_quorum_is_refused_with_the_arithmetic(three: Clusters) -> None:
    leader = three.leader()
    down, other = sorted({"n1", "n2", "n3"} - {leader})
    three.say("stop", down)

    def refused() -> subprocess.CompletedProcess[str] | None:
        done = three.run("cluster", "remove", other, code=2)
        return done if "must answer" in done.stderr else None

    told = eventually("it is seen", refused).stderr
    pair = ", ".join(name for name in ("n1", "n2", "n3") if name != other)
    assert f"of the 2 voters that it would leave ({pair}), 2 must answer, and 1 does ({leader})" in told
    assert three.status()[other]["state"] == "running"
    assert three.run("leader", "--transfer", down, code=1).stderr.startswith(
        f"zraft: {leader} does not hand over: {down} does not answer"
    )


def test_what_cannot_be_is_refused_and_changes_nothing(three: Clusters) -> None:
    before = (three.directory / "cluster.yaml").read_text()
    assert "no such node" in three.run("cluster", "remove", "n9", code=2).stderr
    assert "n9: no such member; there are n1, n2, n3" in three.run("member", "remove", "n3", "n9", code=2).stderr
    assert "a cluster has 9 at most" in three.run("cluster", "add", "7", code=2).stderr
    assert lines(three, "cluster", "add", "--name", "n2") == ["n2 is a member already", "n2 has caught up, and votes"]
    assert "--name is for one node" in three.run("cluster", "add", "2", "--name", "n9", code=2).stderr
    assert "must be 1 to 64" in three.run("cluster", "add", "--name", "a/b", code=2).stderr
    (three.directory / "data" / "n9").mkdir()
    assert "is left of a node that was removed" in three.run("cluster", "add", "--name", "n9", code=2).stderr
    assert three.run("member", "promote", "n2", "--timeout", "2").stdout.count("voter") == 3
    assert (three.directory / "cluster.yaml").read_text() == before
    assert sorted(voters(three)) == ["n1", "n2", "n3"]


def test_without_a_quorum_nothing_is_added_or_removed_and_it_may_be_tried_again(three: Clusters) -> None:
    leader = three.leader()
    others = sorted({"n1", "n2", "n3"} - {leader})
    for name in others:
        three.say("pause", name)
    eventually("nobody leads", lambda: three.run("leader", code=None).returncode == 1)
    assert "nobody can hand over" in three.run("leader", "--transfer", leader, "--timeout", "0.1", code=3).stderr
    assert three.run("cluster", "remove", others[0], "--timeout", "1", code=None).returncode in (3, 4)
    failed = three.run("cluster", "add", "--timeout", "3", code=None)
    assert failed.returncode in (3, 4)
    assert "zraft cluster add --name n4 tries again" in failed.stderr
    for name in others:
        three.say("resume", name)
    assert lines(three, "cluster", "add", "--name", "n4")[-1] == "n4 has caught up, and votes"
    assert sorted(voters(three)) == ["n1", "n2", "n3", "n4"]


def test_by_hand_a_node_of_another_place_takes_part(three: Clusters, load: Load) -> None:
    """As on another machine: its own file, its own process, and the membership alone that knows of it."""
    place = three.place / "far"
    place.mkdir(mode=0o700)
    known = json.loads(three.run("member", "list", "--json").stdout)
    nodes = [{"id": each["node"], **each["endpoints"]} for each in known["members"]]
    here = {end: f"ipc://{place}/{end}" for end in ("peer", "client", "events")}
    head = (three.directory / "cluster.yaml").read_text().partition("nodes:")[0]
    file = place / "cluster.yaml"
    file.write_text(f"{head}nodes: {json.dumps([*nodes, {'id': 'far', **here}])}\n")
    options = [word for end, at in here.items() for word in (f"--{end}", at)]
    process = subprocess.Popen(
        [*ZRAFT, "node", "run", "--id", "far", "--config", str(file), "--join"],
        env=three.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        lines(three, "member", "add", "far", *options)
        eventually("it votes", lambda: "far" in voters(three))
        eventually("it leads", lambda: three.run("leader", "--transfer", "far", code=None).returncode == 0)
        load.goes_on()
        found = json.loads(three.run("leader", "--json").stdout)
        assert (found["leader"], found["endpoint"]) == ("far", here["client"])
        shown = json.loads(three.run("status", "--json").stdout)["nodes"]
        assert [node["node"] for node in shown] == ["n1", "n2", "n3", "far"]
        assert all(node["healthy"] for node in shown)
        lines(three, "member", "remove", "far")
        assert sorted(voters(three)) == ["n1", "n2", "n3"]
        load.goes_on()
        load.check()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
