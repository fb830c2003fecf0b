"""Two of five nodes may be stopped, or freeze, and nobody notices but themselves."""

import time

import pytest
from promises_rig import LIMIT_S, NODES, Cluster, Led, Worker, figures, median, size, wait_for

from zraft import Client

pytestmark = [pytest.mark.processes, pytest.mark.alone, pytest.mark.timeout(LIMIT_S)]

WRITES = size(500, 10_000)
WRITES_PER_S, PER_STEP = 1_000, 20
PUTS = size(200, 2_000)
SLOWER_MAX = size(3.0, 1.5)
CATCH_UP_S = size(5.0, 2.0)
MANY, PAUSES = size(5, 9), size(2, 60)
PAUSED_S, PERIOD_S = 3.0, size(5.0, 10.0)


def two_followers(led: Led) -> list[str]:
    return [node for node in NODES if node != led.node][:2]


class Writes:
    """A writer that puts a few values, waits for them, and goes on at a steady pace; it never fails."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._next_at = time.monotonic()
        self.done = 0

    def step(self) -> None:
        """Put a few."""
        futures = [self._client.kv.submit_put(f"key{(self.done + n) % 1_000}", b"v" * 256) for n in range(PER_STEP)]
        for future in futures:
            future.result()
        self.done += len(futures)
        self._next_at += PER_STEP / WRITES_PER_S
        time.sleep(max(0.0, self._next_at - time.monotonic()))  # The pace of the load.


def test_two_stopped_followers_change_nothing_and_catch_up_within_two_seconds(cluster: Cluster):
    cluster.up()
    led = cluster.whole()
    away = two_followers(led)
    with cluster.client() as client:
        writes = Writes(client)
        with Worker(writes.step):
            for node in away:
                cluster.say("stop", node)
            before = writes.done
            wait_for(f"{WRITES} writes go on", lambda: writes.done >= before + WRITES, 120)
            assert cluster.whole(len(NODES) - 2) == led
            while_away = writes.done - before
            seconds = [caught_up(cluster, led, node) for node in away]
            after = writes.done
            wait_for("writes go on", lambda: writes.done > after)
    assert cluster.whole() == led
    figures(
        "6 stop",
        f"2 of 5 stopped for {while_away:,} writes: leader and term unchanged; caught up"
        f" {' and '.join(f'{s:.2f} s' for s in seconds)} after `start`, while writes went on",
    )
    assert max(seconds) < CATCH_UP_S


def caught_up(cluster: Cluster, led: Led, node: str) -> float:
    """Start a node; return the seconds until it has applied what was committed when it was started, and more."""
    began = time.monotonic()
    with cluster.place.running("cluster", "start", node, "--dir", cluster.directory) as start:
        goal = cluster.statuses(led.node)[led.node].commit_index

        def there() -> bool:
            status = cluster.statuses(node, wait_s=0.05).get(node)
            return status is not None and status.last_applied >= goal

        wait_for(f"{node} has caught up", there)
        seconds = time.monotonic() - began
        assert start.wait(20) == 0
    return seconds


def test_two_paused_nodes_do_not_slow_writes_down(cluster: Cluster):
    cluster.up()
    led = cluster.whole()
    with cluster.client() as client:
        before = put_times(client)
        for node in two_followers(led):
            cluster.say("pause", node)
        during = put_times(client)
        assert cluster.whole(len(NODES) - 2) == led
        for node in two_followers(led):
            cluster.say("resume", node)
        assert cluster.whole() == led
        after = put_times(client)
    ratio = median(during) / median(before)
    figures(
        "6 two paused",
        f"median of {PUTS} puts: before {median(before) * 1e3:.2f} ms, with 2 of 5 paused {median(during) * 1e3:.2f} ms"
        f" ({ratio:.2f} times; slowest {max(during) * 1e3:.0f} ms), after {median(after) * 1e3:.2f} ms; leader and term unchanged",
    )
    assert ratio < SLOWER_MAX


def put_times(client: Client) -> list[float]:
    times = []
    for number in range(PUTS):
        began = time.perf_counter()
        client.kv.put(f"key{number % 100}", b"v" * 256)
        times.append(time.perf_counter() - began)
    return times


def test_a_follower_that_pauses_again_and_again_changes_neither_leader_nor_term(cluster: Cluster):
    """It finds its leader alive on each return (leader stickiness, pre-vote), and is fed while all others go on."""
    cluster.up(nodes=MANY)
    led = cluster.whole(MANY)
    follower = next(node.id for node in cluster.config.nodes if node.id != led.node)
    with cluster.client() as client:
        writes = Writes(client)
        with Worker(writes.step):
            for _ in range(PAUSES):
                cluster.say("pause", follower)
                time.sleep(PAUSED_S)  # The length of the pause.
                cluster.say("resume", follower)
                time.sleep(PERIOD_S - PAUSED_S)  # The time between two.
    assert cluster.whole(MANY) == led
    figures(
        "4 paused follower",
        f"{MANY} nodes, {writes.done:,} writes, one follower paused {PAUSES} times for {PAUSED_S:.0f} s: leader {led.node}"
        f" and term {led.term} unchanged",
    )
    assert writes.done > PAUSES * PERIOD_S * WRITES_PER_S / 10
