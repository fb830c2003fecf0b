"""``zraft leader`` on real nodes: who leads, who is to lead, and a command that follows through every fault drill."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest
from awaiting import PATIENCE_S, eventually
from cluster_rig import ZRAFT, Clusters

pytestmark = pytest.mark.processes


class Watch:
    """``zraft leader --watch -- CMD``, and what CMD has noted: leader and term of each run."""

    def __init__(self, clusters: Clusters) -> None:
        self.notes = clusters.place / "notes"
        self.process = subprocess.Popen(
            [
                *ZRAFT,
                "leader",
                "--watch",
                "--json",
                "--",
                "sh",
                "-c",
                f'echo "$ZRAFT_LEADER $ZRAFT_TERM" >> {self.notes}',
            ],
            cwd=clusters.place,
            env=clusters.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict] = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def noted(self) -> list[tuple[str, int]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    def follows(self, shared: Clusters) -> dict:
        """Wait until the command has run for whoever leads; return what `zraft leader` says."""

        def found() -> dict | None:
            now = json.loads(shared.run("leader", "--json", code=None).stdout)
            return now if (now["leader"], now["term"]) in self.noted() else None

        return eventually("a run for the leader", found)

    def check(self) -> None:
        """Each leader was told of, and had its run, once at most, and never an older one after a newer one."""
        terms = [term for _, term in self.noted()]
        noted = set(self.noted())
        eventually("all are told of", lambda: noted <= {(line["leader"], line["term"]) for line in self.lines})
        told = [line["term"] for line in self.lines]
        assert sorted(set(terms)) == terms
        assert sorted(set(told)) == told


@pytest.fixture
def watch(shared: Clusters) -> Iterator[Watch]:
    made = Watch(shared)
    yield made
    made.process.kill()
    made.process.wait(PATIENCE_S)
    made.notes.unlink(missing_ok=True)


def leader(shared: Clusters) -> dict:
    return json.loads(shared.run("leader", "--json").stdout)


def test_a_command_follows_transfers_and_the_death_of_leaders(shared: Clusters, watch: Watch):
    first = watch.follows(shared)
    assert first["leader"] == shared.leader()
    for target in (name for name in ("n1", "n2", "n3") if name != first["leader"]):
        assert shared.run("leader", "--transfer", target).stdout.startswith(f"{target} leads term ")
        assert watch.follows(shared)["leader"] == target
    for _ in range(2):
        shared.say("kill", "leader")
        watch.follows(shared)
    watch.process.send_signal(signal.SIGINT)
    assert watch.process.wait(PATIENCE_S) == 130
    watch.thread.join(PATIENCE_S)
    watch.check()
    assert all(line["endpoint"].endswith(f"/{line['leader']}.client") for line in watch.lines)


def test_a_paused_leader_is_followed_by_the_next_one_and_says_nothing_when_it_comes_back(
    shared: Clusters, watch: Watch
):
    first = watch.follows(shared)
    shared.say("pause", first["leader"])
    try:
        eventually("another one leads", lambda: watch.follows(shared)["leader"] != first["leader"])
    finally:
        shared.say("resume", first["leader"])
    shared.leader()
    watch.check()
    assert watch.noted().count((first["leader"], first["term"])) == 1


def test_who_cannot_take_over_is_not_handed_to(shared: Clusters):
    shared.leader()
    first = leader(shared)
    other = next(name for name in ("n1", "n2", "n3") if name != first["leader"])
    shared.say("stop", other)
    try:
        refused = shared.run("leader", "--transfer", other, "--timeout", "2", code=1)
        assert f"{first['leader']} " in refused.stderr
        # It may have told the other to stand before it knew that it is down; then it leads on in the next term.
        eventually("the same node leads", lambda: leader(shared)["leader"] == first["leader"])
    finally:
        shared.say("start", other)
        shared.leader()


def test_with_a_minority_nobody_leads(shared: Clusters):
    shared.leader()
    first = leader(shared)
    others = [name for name in ("n1", "n2", "n3") if name != first["leader"]]
    for name in others:
        shared.say("pause", name)
    try:
        eventually("nobody leads", lambda: shared.run("leader", code=None).returncode == 1)
    finally:
        for name in others:
            shared.say("resume", name)
        shared.leader()
