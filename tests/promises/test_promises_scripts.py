"""Scripts follow the leader: once per term where it leads, with the truth in their environment, and then `follower`."""

import itertools
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from promises_monitor import Monitor, monitoring
from promises_rig import LIMIT_S, NODES, Cluster, Led, Place, figures, size, wait_for

from zraft.hooks.decide import REASONS, VARIABLES

pytestmark = [pytest.mark.processes, pytest.mark.timeout(LIMIT_S)]

ROUNDS = size(1, 6)
HELD_S = 2.0
PAUSE_S = size(1.5, 4.0)
LEDGER = """
record=$(env | grep '^ZRAFT_' | tr '\\n' '\\t')
printf '%s|%s\\n' "$*" "$record" >> {ledger}
"""


class Run(NamedTuple):
    """One line of the ledger: a script that ran."""

    event: str
    role: str
    node: str
    term: int
    variables: dict[str, str]


def read(ledger: Path) -> list[Run]:
    """Return all runs, in the order in which they wrote."""
    runs = []
    for line in ledger.read_text().splitlines():
        words, _, record = line.partition("|")
        event, role, node, term = words.split()
        runs.append(Run(event, role, node, int(term), dict(pair.split("=", 1) for pair in record.split("\t") if pair)))
    return runs


class Story:
    """What was done to the leaders, and which of them held on long enough for their script to have to run."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.now = self._held(cluster.whole())
        self.held: list[Led] = [self.now]

    def _held(self, led: Led) -> Led:
        """Wait until one leader has held on for `HELD_S` without a break, as far as anybody can see; return it."""
        since = time.monotonic()
        while time.monotonic() < since + HELD_S:
            status = self._cluster.statuses(led.node).get(led.node)
            if status is None or (status.role, status.term) != ("leader", led.term):
                led, since = self._cluster.newer(led) or led, time.monotonic()
        return led

    def _next(self) -> None:
        self.now = self._held(self._cluster.led(after=self.now))
        self.held.append(self.now)

    def kill(self) -> None:
        """SIGKILL the leader."""
        self._cluster.kill(self.now.node)
        self._next()
        self._cluster.whole()

    def pause(self) -> None:
        """SIGSTOP the leader until another has led for a while, and let it go on."""
        old = self.now
        self._cluster.say("pause", old.node)
        self._next()
        self._cluster.say("resume", old.node)
        self._cluster.whole()

    def restart(self) -> None:
        """Stop the leader cleanly and start it again."""
        self._cluster.say("restart", self.now.node)
        self._next()
        self._cluster.whole()

    def transfer(self) -> None:
        """Have it hand over."""
        self._cluster.hand_over(self.now)
        self._next()


def test_scripts_run_once_per_term_and_follower_after_each(cluster: Cluster, place: Place):
    ledger = place.path / "ledger"
    leader = place.script("leader.sh", LEDGER.format(ledger=ledger) + "exec sleep 1000")
    follower = place.script("follower.sh", LEDGER.format(ledger=ledger))
    cluster.up("--leader-script", leader, "--follower-script", follower)
    with monitoring(cluster) as monitor:
        story = Story(cluster)
        for _ in range(ROUNDS):
            for change in (story.kill, story.pause, story.transfer, story.restart):
                change()
        wait_for("the last leader's script has run", lambda: story.now in led_by(read(ledger)))
        starts = {node: 1 + row["restarts"] for node, row in cluster.processes().items()}
        cluster.say("down")
    runs = read(ledger)
    for run in runs:
        check_variables(run, cluster)
    check_leaders(runs, story, monitor)
    for node in NODES:
        check_order([run for run in runs if run.node == node], starts[node])
    figures(
        "4 scripts",
        f"{len(story.held) - 1} leader changes (kill, pause, transfer, restart): {len(led_by(runs))} leader runs in as many terms,"
        f" one in each of the {len(story.held)} that lasted {HELD_S:g} s; {len(runs) - len(led_by(runs))} follower runs,"
        f" one at each of {sum(starts.values())} starts and after each leader run",
    )


def led_by(runs: list[Run]) -> list[Led]:
    return [Led(run.node, run.term) for run in runs if run.event == "leader"]


def check_leaders(runs: list[Run], story: Story, monitor: Monitor) -> None:
    ran = led_by(runs)
    assert max(Counter(led.term for led in ran).values()) == 1, "two leader runs in a term"
    assert set(story.held) <= set(ran), "a leader held on and its script did not run"
    elected = monitor.leaders()
    assert {len(nodes) for nodes in elected.values()} == {1}, "two leaders of a term"
    assert all(elected[led.term] == {led.node} for led in ran)


def check_variables(run: Run, cluster: Cluster) -> None:
    given = run.variables
    assert set(given) == set(VARIABLES)
    expected = {
        "ZRAFT_HOOK_API": "1",
        "ZRAFT_EVENT": run.event,
        "ZRAFT_ROLE": run.role,
        "ZRAFT_NODE": run.node,
        "ZRAFT_TERM": str(run.term),
        "ZRAFT_FENCING_TOKEN": str(run.term),
        "ZRAFT_CLUSTER": "zraft",
        "ZRAFT_CONFIG": str(cluster.file),
        "ZRAFT_GRACE_MS": "5000",
        "ZRAFT_TIMEOUT_MS": "0" if run.event == "leader" else "60000",
    }
    assert {name: given[name] for name in expected} == expected
    assert run.event == run.role
    assert given["ZRAFT_REASON"] in REASONS
    assert int(given["ZRAFT_HOOK_SEQ"]) >= 1
    assert int(given["ZRAFT_COMMIT_INDEX"]) >= 0
    if run.event == "leader":
        assert given["ZRAFT_LEADER"] == run.node
        assert given["ZRAFT_LEADER_ENDPOINT"] == cluster.config.node(run.node).client
        assert given["ZRAFT_PREV_ROLE"] == "follower"


def check_order(runs: list[Run], starts: int) -> None:
    """Check the runs of one node: `follower` first, and at each start, and after each `leader`."""
    events = [run.event for run in runs]
    assert events[0] == "follower"
    assert events[-1] == "follower"
    assert not any(pair == ("leader", "leader") for pair in itertools.pairwise(events)), events
    begun = [run for run in runs if run.variables["ZRAFT_HOOK_SEQ"] == "1"]
    assert [(run.event, run.variables["ZRAFT_REASON"]) for run in begun] == [("follower", "startup")] * starts
    terms = [run.term for run in runs]
    assert terms == sorted(terms)
