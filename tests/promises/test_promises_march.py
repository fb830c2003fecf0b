"""A march goes on when its leaders die, and the client that asked for it: each step is taken exactly once."""

import time
from functools import partial

import pytest
from promises_rig import LIMIT_S, Cluster, Led, figures, size, wait_for

from zraft import Client
from zraft.client.escort import Step

pytestmark = [pytest.mark.processes, pytest.mark.alone, pytest.mark.timeout(LIMIT_S)]

STEPS, KILLS = 100, 3
EVERY_MS, MARCHES = size((60, 1), (100, 10))
"""The pace, and how often there is a march: to [100, 0], and back, and so on. Twenty steps must take longer than it takes to
see who leads while a node that was killed does not answer (half a second)."""


def test_a_march_of_a_hundred_steps_survives_three_leaders_and_its_client(cluster: Cluster):
    cluster.up()
    led = cluster.whole()
    took: list[float] = []
    with cluster.client() as client:
        for number in range(MARCHES):
            began = time.monotonic()
            led = march(cluster, client, number, led)
            took.append(time.monotonic() - began)
            check(client.escort.history(), number + 1)
            assert len({step.leader for step in client.escort.history()[-STEPS:]}) > 1
        history = client.escort.history()
        cluster.kill()
        cluster.whole()
        assert client.escort.history() == history, "not the same after all nodes were killed"
    figures(
        "march",
        f"{MARCHES} marches of {STEPS} steps, one every {EVERY_MS} ms, through {MARCHES * KILLS} SIGKILLs of the leader and"
        f" {MARCHES} of the client, in {min(took):.1f} to {max(took):.1f} s each: each step once,"
        f" in {len({step.term for step in history})} terms",
    )


def march(cluster: Cluster, client: Client, number: int, led: Led) -> Led:
    """Have a process ask for the march, kill it and whoever leads on the way, and wait until all arrive; return who leads."""
    before, goal = number * STEPS, (0 if number % 2 else STEPS, 0)
    words = ["--to", str(goal[0]), str(goal[1]), "--every-ms", str(EVERY_MS), "--config", cluster.file]
    with cluster.place.running("escort", "march", *words) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"march {number + 1} to [{goal[0]}, 0]")
        for kill in range(1, KILLS + 1):
            wait_for("it gets on", partial(has_step, client, before + kill * STEPS // (KILLS + 2)), 60)
            assert not arrived(client), "the march was over before it was put to the test"
            if kill == KILLS - 1:
                assert process.poll() is None
                process.kill()
            newest = cluster.newer(led._replace(term=led.term - 1))
            assert newest is not None
            cluster.kill(newest.node)
            led = cluster.led(after=newest)
    wait_for("it arrives", partial(arrived, client), 60)
    assert client.escort.formation().step == before + STEPS
    return cluster.whole()


def has_step(client: Client, step: int) -> bool:
    return client.escort.formation().step >= step


def arrived(client: Client) -> bool:
    newest = client.escort.formation().march
    return newest is not None and newest.arrived


def check(history: list[Step], marches: int) -> None:
    """Check that the history holds each step of that many marches exactly once, in order."""
    assert [step.step for step in history] == list(range(1, marches * STEPS + 1))
    for number in range(marches):
        rows = history[number * STEPS : (number + 1) * STEPS]
        begin, delta = (STEPS, -1) if number % 2 else (0, 1)
        assert {row.move for row in rows} == {(delta, 0)}
        assert [row.leader_position for row in rows] == [(begin + delta * taken, 0) for taken in range(1, STEPS + 1)]
    leaders = {row.term: row.leader for row in history}
    assert all(leaders[row.term] == row.leader for row in history)
    assert [row.term for row in history] == sorted(row.term for row in history)
