"""Five nodes are ready within two seconds of one command, and everything that tells roles tells the right ones."""

import re
import signal
import tempfile
import time
from pathlib import Path

import pytest
from promises_rig import LIMIT_S, NODES, PATIENCE_S, Cluster, Led, Place, figures, median, size

pytestmark = [pytest.mark.processes, pytest.mark.alone, pytest.mark.timeout(LIMIT_S)]

RUNS = size(1, 10)
READY = re.compile(r"cluster ready: (n\d) leads term (\d+) \(5 nodes, (\d+\.\d) s\)")


def test_five_nodes_are_ready_in_two_seconds_and_all_show_the_right_roles(place: Place):
    printed, measured = [], []
    for run in range(RUNS):
        with tempfile.TemporaryDirectory(prefix=f"{run}-", dir=place.path) as directory:
            cluster = Cluster(place)
            cluster.directory = Path(directory) / "r"
            cluster.file = cluster.directory / "cluster.yaml"
            said, seconds = once(cluster)
            printed.append(said)
            measured.append(seconds)
    figures(
        "2 ready",
        f"up --nodes 5, {RUNS} runs: printed median {median(printed):.1f} s, measured from outside median"
        f" {median(measured):.2f} s ({', '.join(f'{seconds:.2f}' for seconds in sorted(measured))})",
    )
    assert abs(median(printed) - median(measured)) < 0.3
    if RUNS == 10:
        assert median(measured) < 2


def once(cluster: Cluster) -> tuple[float, float]:
    """Bring it up in the foreground, look at it, and end it with Ctrl-C; return the time printed and that measured."""
    began = time.monotonic()
    with cluster.place.running(*cluster.up_words()) as process:
        assert process.stdout is not None
        ready = next(found for line in process.stdout if (found := READY.search(line)))
        seconds = time.monotonic() - began
        led = Led(ready[1], int(ready[2]))
        check_status(cluster, led)
        check_processes(cluster, led)
        check_monitor(cluster, led)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(PATIENCE_S) == 130
    assert cluster.place.remains() == {}
    return float(ready[3]), seconds


def roles(led: Led) -> dict[str, tuple[str, int]]:
    """Return the role and term that each node must show."""
    return {node: ("leader" if node == led.node else "follower", led.term) for node in NODES}


def check_status(cluster: Cluster, led: Led) -> None:
    rows = cluster.told()
    assert {node: (row["role"], row["term"]) for node, row in rows.items()} == roles(led)
    assert {row["leader"] for row in rows.values()} == {led.node}
    assert all(row["healthy"] for row in rows.values())


def check_processes(cluster: Cluster, led: Led) -> None:
    rows = cluster.processes()
    assert {node: (row["role"], row["term"]) for node, row in rows.items()} == roles(led)
    assert {(row["state"], row["restarts"]) for row in rows.values()} == {("running", 0)}


def check_monitor(cluster: Cluster, led: Led) -> None:
    header, *rows = cluster.place.zraft("monitor", "--once", "--config", cluster.file).splitlines()
    assert header.split()[:4] == ["NODE", "ROLE", "TERM", "LEADER"]
    told = {cells[0]: (cells[1], int(cells[2])) for cells in map(str.split, rows)}
    assert told == roles(led)
    assert {row.split()[3] for row in rows} == {led.node}
