"""The history of a cluster on real nodes, from the shell: elections, leaders and events, each as FEATURES asks for it."""

import json
import signal
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cluster_rig import PATIENCE_S, ZRAFT, Clusters, eventually

from zraft.client.client import Client

pytestmark = pytest.mark.processes

NODES = ["n1", "n2", "n3"]


def shown(clusters: Clusters, line: str) -> list[dict[str, Any]]:
    """Return what ``zraft LINE --json`` prints."""
    found = json.loads(clusters.run(*line.split(), "--json").stdout)
    assert isinstance(found, list)
    return found


def transfer(clusters: Clusters) -> tuple[str, str]:
    """Have the leader restarted, so that it hands over; return who led, and who leads."""
    old = clusters.leader()
    clusters.say("restart", old)
    return old, eventually("another leads", lambda: (new := clusters.leader()) != old and new)


@pytest.fixture(scope="module")
def handed_over(shared: Clusters) -> tuple[str, str]:
    """Return who led first, and who after it, in the cluster that the tests share."""
    return transfer(shared)


def test_all_elections_by_term(shared: Clusters, handed_over: tuple[str, str]) -> None:
    first, second = handed_over
    found = [election for election in shown(shared, "elections") if election["leader"]]
    assert [election["leader"] for election in found] == [first, second]
    assert [election["term"] for election in found] == sorted(election["term"] for election in found)
    for election in found:
        assert set(election["votes_for"]) >= {election["leader"]}
        assert len(election["votes_for"]) >= 2
        assert election["expected"] == NODES
        assert not set(election["votes_for"]) & set(election["votes_against"])
        assert 0 <= election["duration_ms"] < 60_000
        (won,) = [each for each in election["candidates"] if each["outcome"] == "won"]
        assert {key: won[key] for key in ("votes_for", "cause", "duration_ms", "time")} == {
            key: election[key] for key in ("votes_for", "cause", "duration_ms", "time")
        }
    assert [election["cause"] for election in found] == ["timeout", "transfer"]
    last = found[-1]
    assert shown(shared, f"elections --term {last['term']}") == [last]
    lines = shared.run("elections").stdout.splitlines()
    assert lines[0].split() == ["TERM", "CANDIDATE", "OUTCOME", "FOR", "AGAINST", "EXPECTED", "CAUSE", "TOOK", "TIME"]
    assert any(line.split()[:3] == [str(last["term"]), second, "won"] for line in lines[1:])


def test_all_leaders_by_term(shared: Clusters, handed_over: tuple[str, str]) -> None:
    first, second = handed_over
    before, now = shown(shared, "leaders")
    assert (before["node"], before["ended"], before["to"]) == (first, "transfer", now["from"])
    assert (now["node"], now["ended"], now["to"]) == (second, None, None)
    assert datetime.fromisoformat(before["from"]) < datetime.fromisoformat(before["to"])
    assert abs(datetime.now(UTC) - datetime.fromisoformat(now["from"])) < timedelta(minutes=5)
    assert before["from_time_ms"] <= before["to_time_ms"] == now["from_time_ms"]
    assert shown(shared, f"leaders --term {before['term']}") == [before]
    lines = shared.run("leaders").stdout.splitlines()
    assert lines[1].split() == [str(before["term"]), first, before["from"], before["to"], "transfer"]
    assert lines[2].split() == [str(now["term"]), second, now["from"], "-", "-"]


def test_the_history_is_the_same_wherever_it_is_asked(shared: Clusters, handed_over: tuple[str, str]) -> None:
    answers = []
    for node in NODES:
        with Client(endpoints=[f"ipc://{shared.directory}/run/{node}.client"], timeout_s=20) as client:
            answers.append(
                (client.history.elections(), client.history.leaders(), client.history.events(kinds=["vote"]))
            )
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0]
    assert answers[0][2]


def test_an_event_log_of_what_happened_by_time_and_type(shared: Clusters, handed_over: tuple[str, str]) -> None:
    first, second = handed_over
    events = shown(shared, "events")
    assert {event["node"] for event in events} == set(NODES)
    assert {"started", "stopping", "role", "vote", "candidacy", "membership", "transfer", "hook"} <= {
        event["kind"] for event in events
    }
    assert not {"status", "entry", "log", "heartbeat"} & {event["kind"] for event in events}
    assert [event["wall_ms"] for event in events] == sorted(event["wall_ms"] for event in events)
    told = [event["data"] for event in events if event["kind"] == "transfer"]
    assert told == [{"target": told[0]["target"], "done": True}]
    votes = shown(shared, "events --kind vote --kind candidacy")
    assert votes == [event for event in events if event["kind"] in ("vote", "candidacy")]
    assert {vote["data"].get("what") for vote in votes} >= {"requested", "granted"}
    own = shown(shared, f"events --node {first} --kind started")
    assert [event["node"] for event in own] == [first, first]
    moment = events[len(events) // 2]["wall_ms"]
    since = datetime.fromtimestamp(moment / 1_000, UTC).isoformat(timespec="milliseconds")
    assert shown(shared, f"events --since {since}") == [event for event in events if event["wall_ms"] >= moment]
    assert shown(shared, "events --since 1d") == events
    line = shared.run("events", "--node", second, "--kind", "candidacy").stdout.splitlines()[-1]
    assert f" {second} " in line and " won in term " in line and "; of n1 n2 n3" in line


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("elections --term 4711", 1, "term 4711: nothing is known of it"),
        ("leaders --term 4711", 1, "term 4711: nothing is known of it"),
        ("elections --term 0", 2, "--term"),
        ("events --kind foo", 2, "no event of the kind 'foo' is recorded; there are candidacy, "),
        ("events --node n7", 2, "there is no node 'n7'"),
        ("events --since whenever", 2, "'whenever' is no time"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(shared: Clusters, line: str, code: int, told: str) -> None:
    assert told in shared.run(*line.split(), code=code).stderr


def test_nothing_is_shown_of_a_cluster_that_does_not_run(clusters: Clusters) -> None:
    clusters.say("up", "--nodes", "3", "--detach")
    clusters.remember()
    clusters.say("down")
    for line in ("elections --timeout 1", "leaders --timeout 1", "events"):
        clusters.run(*line.split(), code=3)


class Follower:
    """`zraft events -f --json`, and the events that it has printed."""

    def __init__(self, clusters: Clusters, *words: str) -> None:
        self.process = subprocess.Popen(
            [*ZRAFT, "events", "-f", "--json", *words],
            cwd=clusters.place,
            env=clusters.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        clusters.pids.add(self.process.pid)
        self.events: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


def test_events_are_followed_through_kills_and_restarts_without_missing_one(clusters: Clusters) -> None:
    clusters.say("up", "--nodes", "3", "--detach")
    clusters.remember()
    follower = Follower(clusters, "--kind", "role", "--kind", "started", "--kind", "candidacy")
    eventually("what has been is shown", lambda: len(follower.events) >= 6)
    old = clusters.leader()
    clusters.say("kill", old)
    eventually("another leads", lambda: clusters.leader() != old)
    transfer(clusters)

    def key(event: dict[str, Any]) -> tuple[str, str, int]:
        return event["node"], event["boot_id"], event["seq"]

    def complete() -> bool:
        recorded = shown(clusters, "events --kind role --kind started --kind candidacy")
        return sorted(map(key, recorded)) == sorted(map(key, follower.events))

    eventually("all that is recorded has been shown, and nothing twice", complete)
    for node in NODES:
        own = [event for event in follower.events if event["node"] == node]
        boots = list(dict.fromkeys(event["boot_id"] for event in own))
        assert len(boots) == sum(event["kind"] == "started" for event in own)
        assert [key(event) for event in own] == sorted(map(key, own), key=lambda each: (boots.index(each[1]), each[2]))
    assert follower.end() == 130
    clusters.remember()
    clusters.say("down")


def test_heartbeats_are_recorded_when_that_is_configured(clusters: Clusters) -> None:
    clusters.run("cluster", "up", "--nodes", "3", "--detach", ZRAFT_EVENTS_HEARTBEATS="true")
    clusters.remember()
    leader = clusters.leader()

    def of_all() -> list[dict[str, Any]]:
        found = shown(clusters, "events --kind heartbeat")
        return found if {beat["node"] for beat in found} == set(NODES) else []

    beats = eventually("all have heard heartbeats", of_all)
    sent = {(beat["data"]["peer"], beat["data"]["round"]) for beat in beats if beat["data"]["what"] == "sent"}
    received = {(beat["node"], beat["data"]["round"]) for beat in beats if beat["data"]["what"] == "received"}
    assert received <= sent
    assert {beat["data"]["peer"] for beat in beats if beat["node"] != leader} == {leader}
    assert {event["kind"] for event in shown(clusters, "events")} > {"heartbeat", "role"}
    clusters.say("down")


def test_an_event_file_that_cannot_be_written_costs_events_and_nothing_else(clusters: Clusters) -> None:
    clusters.say("up", "--nodes", "3", "--detach")
    clusters.remember()
    clusters.say("down")
    events = clusters.directory / "data" / "n1" / "events"
    for file in events.iterdir():
        file.unlink()
    events.rmdir()
    events.write_text("in the way")
    clusters.run("cluster", "up", "--detach")
    clusters.remember()
    clusters.run("kv", "put", "a", "1")
    done = clusters.run("events", "--json")
    assert done.stderr.startswith("zraft: note: n1: the event file can't be read: ")
    assert {event["node"] for event in json.loads(done.stdout)} == {"n2", "n3"}
    log = (clusters.directory / "log" / "n1.log").read_text()
    assert log.count("events can't be recorded: ") == 1
    assert [election["leader"] for election in shown(clusters, "elections")][-1] == clusters.leader()
    clusters.say("down")
