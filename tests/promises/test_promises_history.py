"""What `zraft elections`, `zraft leaders` and `zraft events` tell is what happened, also after all nodes were killed at once."""

import json
from typing import Any

import pytest
from promises_monitor import Monitor, monitoring
from promises_rig import LIMIT_S, NODES, Cluster, Led, figures, size, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.timeout(LIMIT_S)]

FORCED = size(5, 100)
KINDS = ("role", "vote", "candidacy")
ENDINGS = {"transfer": {"transfer"}, "kill": {"timeout"}, "pause": {"timeout"}}
"""How a leadership may end in the history, by what was done to the leader."""


def how(number: int) -> str:
    """Say how the next election is forced: mostly by a transfer, and seldom by a kill, for each delays the next restart."""
    return "kill" if number % 25 == 1 else "pause" if number % 10 == 3 else "transfer"


def force(cluster: Cluster, led: Led, way: str) -> Led:
    """Have another leader elected; return whom all follow then."""
    if way == "kill":
        cluster.kill(led.node)
        cluster.led(after=led)
    elif way == "pause":
        cluster.say("pause", led.node)
        cluster.led(after=led)
        cluster.say("resume", led.node)
    else:
        cluster.hand_over(led)
        cluster.led(after=led)
    return cluster.whole()


def told(cluster: Cluster, *words: str) -> list[dict[str, Any]]:
    """Return what `zraft WORDS --json` prints."""
    found = json.loads(cluster.place.zraft(*words, "--json", "--config", cluster.file, "--timeout", "30"))
    assert isinstance(found, list)
    return found


def test_the_history_is_what_happened(cluster: Cluster):
    cluster.up()
    with monitoring(cluster) as monitor:
        led = [cluster.whole()]
        ways: dict[int, str] = {}
        for number in range(FORCED):
            ways[led[-1].term] = how(number)
            led.append(force(cluster, led[-1], how(number)))
        ways[led[-1].term] = "kill"
        cluster.kill()
        led.append(restarted(cluster, led[-1]))
        wait_for("the monitor has seen the last leader", lambda: led[-1].term in monitor.leaders())
        elections, leaders = told(cluster, "elections"), told(cluster, "leaders")
        check_elections(elections, monitor)
        check_leaders(leaders, led, ways, elections)
        check_events(cluster, monitor)
    lost = sum(each["outcome"] != "won" for election in elections for each in election["candidates"])
    figures(
        "history",
        f"{FORCED} forced elections and a restart of all nodes: {len(leaders)} leaders in {len(elections)} terms, {lost} lost"
        " candidacies; elections, leaders and events are what the monitor saw",
    )


def restarted(cluster: Cluster, before: Led) -> Led:
    """Wait until all nodes are there again, and one leads."""

    def found() -> Led | None:
        led = cluster.whole()
        return led if led.term > before.term else None

    return wait_for("all nodes are back", found, 60)


def check_elections(elections: list[dict[str, Any]], monitor: Monitor) -> None:
    won = {election["term"]: {election["leader"]} for election in elections if election["leader"] is not None}
    assert won == monitor.leaders()
    for election in elections:
        assert election["expected"] in ([*NODES], []), election
        for each in election["candidates"]:
            assert not set(each["votes_for"]) & set(each["votes_against"]), election
            assert each["outcome"] != "won" or len(each["votes_for"]) > len(NODES) // 2, election
    candidacies = {(e["term"], each["node"], each["outcome"]) for e in elections for each in e["candidates"]}
    seen = [seen.event for seen in list(monitor.seen) if seen.event.kind == "candidacy"]
    assert {(event.data["term"], event.node, event.data["outcome"]) for event in seen} <= candidacies


def check_leaders(
    leaders: list[dict[str, Any]], led: list[Led], ways: dict[int, str], elections: list[dict[str, Any]]
) -> None:
    history = [Led(each["node"], each["term"]) for each in leaders]
    assert set(led) <= set(history), "somebody led whom the history does not know"
    elected = [Led(election["leader"], election["term"]) for election in elections if election["leader"]]
    assert history == [each for each in elected if each in set(history)]
    for each, following in zip(leaders, [*leaders[1:], None], strict=True):
        assert each["to"] == (following["from"] if following else None)
        assert (each["ended"] is None) is (following is None)
        if each["term"] in ways:
            assert each["ended"] in ENDINGS[ways[each["term"]]], (each, ways[each["term"]])


def check_events(cluster: Cluster, monitor: Monitor) -> None:
    words = [word for kind in KINDS for word in ("--kind", kind)]
    recorded = {(each["node"], each["boot_id"], each["seq"]) for each in told(cluster, "events", *words)}
    seen = {(s.event.node, s.event.boot_id, s.event.seq) for s in list(monitor.seen) if s.event.kind in KINDS}
    assert seen <= recorded, "the monitor saw what no event file has"
