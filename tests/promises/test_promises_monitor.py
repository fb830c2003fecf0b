"""A role change is seen in `zraft monitor --json` as soon as it happens."""

import pytest
from promises_monitor import Monitor, monitoring
from promises_rig import LIMIT_S, Cluster, Led, figures, median, percentile, size, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.alone, pytest.mark.timeout(LIMIT_S)]

CHANGES, KILLS = size((5, 1), (100, 5))
LATE_MS = 200


def test_a_role_change_is_seen_within_200_ms(cluster: Cluster):
    cluster.up()
    with monitoring(cluster) as monitor:
        led = cluster.whole()
        past = len(monitor.roles())
        for change in range(CHANGES):
            led = changed(cluster, monitor, led, kill=change % (CHANGES // KILLS) == 0)
        changes = monitor.roles()[past:]
    delays = [seen.at_ms - seen.event.wall_ms for seen in changes]
    new = [seen.at_ms - seen.event.wall_ms for seen in changes if seen.event.role == "leader"]
    figures(
        "4 monitor",
        f"{len(new)} changes of leader ({KILLS} by SIGKILL): seen after median {median(new):.1f} ms, p99"
        f" {percentile(new, 99):.1f} ms, max {max(new):.1f} ms; all {len(delays)} role changes: p99 {percentile(delays, 99):.1f} ms",
    )
    assert len(new) >= CHANGES
    assert percentile(new, 99) < LATE_MS
    assert percentile(delays, 99) < LATE_MS


def changed(cluster: Cluster, monitor: Monitor, old: Led, *, kill: bool) -> Led:
    """Force another leader; return whom the monitor shows, once all nodes follow it."""
    if kill:
        cluster.kill(old.node)
    else:
        cluster.hand_over(old)
    wait_for("the monitor shows another leader", lambda: max(monitor.leaders()) > old.term)
    return cluster.whole()
