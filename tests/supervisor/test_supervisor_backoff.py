"""Delays between deaths; virtual time, no process."""

from random import Random

import pytest

from zraft.supervisor.backoff import Backoff


class NoJitter(Random):
    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def test_each_death_doubles_the_delay_from_the_lower_bound_to_the_upper():
    backoff = Backoff(200, 30_000, NoJitter())
    delays = [backoff.after_death() for _ in range(10)]
    assert delays == [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]


def test_a_reset_begins_at_the_lower_bound_again():
    backoff = Backoff(200, 30_000, NoJitter())
    for _ in range(5):
        backoff.after_death()
    backoff.reset()
    assert backoff.after_death() == 200


@pytest.mark.parametrize("seed", range(20))
def test_jitter_spreads_the_delays_and_stays_within_the_bounds(seed: int):
    backoff = Backoff(200, 30_000, Random(seed))
    for plain in [200 * 2**n for n in range(8)] + [30_000] * 2:
        delay = backoff.after_death()
        assert max(200, 0.8 * plain) <= delay <= min(30_000, 1.2 * plain)


def test_nodes_that_died_together_come_back_at_different_times():
    delays = set()
    for seed in range(20):
        backoff = Backoff(200, 30_000, Random(seed))
        backoff.after_death()
        delays.add(backoff.after_death())
    assert len(delays) == 20


def test_a_node_that_dies_for_ever_overflows_nothing():
    backoff = Backoff(200, 30_000, NoJitter())
    assert [backoff.after_death() for _ in range(5_000)][-1] == 30_000
