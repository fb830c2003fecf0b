"""One question to all nodes."""

import time

from fake_cluster import FakeCluster

from zraft import requests
from zraft.client.survey import survey


def test_whoever_answers_is_heard_and_the_others_are_none(cluster: FakeCluster) -> None:
    cluster.start("n1", "n3")
    answers = survey(cluster.config, requests.Hello, timeout_s=0.2)
    assert list(answers) == ["n1", "n2", "n3"]
    assert answers["n2"] is None
    assert [answers[name].result["node"] for name in ("n1", "n3")] == ["n1", "n3"]  # type: ignore[union-attr]


def test_it_ends_as_soon_as_all_have_answered(cluster: FakeCluster) -> None:
    cluster.start()
    started = time.monotonic()
    answers = survey(cluster.config, requests.Hello, nodes=["n2", "n1"], timeout_s=30)
    assert time.monotonic() - started < 10
    assert list(answers) == ["n2", "n1"]
    assert None not in answers.values()


def test_a_silent_node_does_not_keep_it_longer_than_its_time(cluster: FakeCluster) -> None:
    cluster.start()
    cluster.nodes["n2"].hold = True
    started = time.monotonic()
    answers = survey(cluster.config, requests.Hello, timeout_s=0.2)
    assert 0.2 <= time.monotonic() - started < 2
    assert [name for name, answer in answers.items() if answer is None] == ["n2"]
