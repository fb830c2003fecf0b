"""What a client does when nodes refuse, fall silent, die or forget: what it tries, and what it tells its user."""

import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import pytest
from fake_cluster import MUTE, SERVE, SWALLOW, FakeCluster

from zraft import requests
from zraft.client.client import Client
from zraft.client.kv import KeyValueClient
from zraft.codec import Codec
from zraft.errors import OutcomeUnknown, SessionExpired, Unavailable
from zraft.requests import Outcome, Reply

Connect = Callable[..., Client]
SHORT_S = 0.15


def within(timeout_s: float, client: Client) -> KeyValueClient:
    """Give every later call that much time: little, once what must not fail is done."""
    client._timeout_s = timeout_s
    return client.kv


def first_times(kind: type, count: int, wish: Any) -> Callable[..., Any]:
    """Behave like `wish` for the first `count` requests of a kind, then well."""
    left = itertools.repeat(wish, count)
    return lambda _, request, __: next(left, SERVE) if isinstance(request, kind) else SERVE


def batches(cluster: FakeCluster) -> list[tuple[int, int]]:
    """Return session and sequence of each batch that reached the leader of its time."""
    return [(seen.batch.session, seen.batch.sequence) for seen in cluster.of(requests.Commands) if seen.batch]


# Nothing happened


def test_unavailable_when_no_connection_stands(cluster: FakeCluster, connect: Connect) -> None:
    client = connect(timeout_s=SHORT_S)
    started = time.monotonic()
    futures = [client.kv.submit_put("a", b"1"), client.kv.submit_get("a")]
    for future in futures:
        with pytest.raises(
            Unavailable, match="n1 not connected, n2 not connected, n3 not connected.*nothing happened.*cluster up"
        ):
            future.result()
    assert SHORT_S <= time.monotonic() - started < SHORT_S + 1


def test_waiting_for_a_connection_costs_no_time_of_the_processor(cluster: FakeCluster, connect: Connect) -> None:
    client = connect(timeout_s=0.5)
    started = time.process_time()
    with pytest.raises(Unavailable):
        client.kv.put("a", b"1")
    assert time.process_time() - started < 0.15


def test_endpoints_that_nobody_answers_at_are_named(connect: Connect) -> None:
    kv = connect(endpoints=["tcp://127.0.0.1:1"], timeout_s=SHORT_S).kv
    with pytest.raises(Unavailable, match="tcp://127.0.0.1:1 not connected"):
        kv.get("a")


def test_unavailable_when_everybody_refuses(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.get("a")
    cluster.leader = None
    kv = within(0.5, client)  # Room for several pauses, which double.
    for future in (kv.submit_put("a", b"1"), kv.submit_get("a")):
        with pytest.raises(Unavailable, match="n1 does not lead"):
            future.result()
    assert {seen.node for seen in cluster.of(requests.OpenSession)} == {"n1", "n2", "n3"}


def test_a_batch_that_was_always_refused_did_not_happen(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.put("a", b"1")
    cluster.leader = None
    with pytest.raises(Unavailable, match="nothing happened"):
        within(SHORT_S, client).put("a", b"2")
    assert len(batches(cluster)) > 1


def test_a_silent_read_did_not_happen_either(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.get("a")
    cluster.behaviour = lambda *_: SWALLOW
    with pytest.raises(Unavailable):
        within(SHORT_S, client).get("a")
    assert len(cluster.of(requests.Queries)) > 1


def test_a_command_that_waits_for_its_session_did_not_happen(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.get("a")
    cluster.behaviour = lambda *_: SWALLOW
    with pytest.raises(Unavailable):
        within(SHORT_S, client).put("a", b"1")
    assert cluster.of(requests.OpenSession)
    assert not cluster.of(requests.Commands)


# Nobody knows


def test_a_command_that_stays_unanswered_is_unknown(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.put("a", b"1")
    kv = within(SHORT_S, client)
    cluster.behaviour = lambda _, request, __: MUTE if isinstance(request, requests.Commands) else SERVE
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="once or never"):
        kv.put("a", b"2")
    assert SHORT_S <= time.monotonic() - started < SHORT_S + 1


@pytest.mark.usefixtures("brisk")
def test_a_command_stays_unknown_though_others_refuse_it_later(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect(timeout_s=0.5).kv
    kv.put("a", b"1")
    cluster.behaviour = lambda _, request, __: MUTE if isinstance(request, requests.Commands) else SERVE
    future = kv.submit_put("a", b"2")
    cluster.wait_for(lambda: len(batches(cluster)) > 1)
    cluster.leader = None
    with pytest.raises(OutcomeUnknown):
        future.result()


@pytest.mark.usefixtures("brisk")
def test_after_an_unknown_outcome_the_next_batch_overtakes_the_abandoned_one(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    client = connect()
    client.kv.put("a", b"1")
    leader = cluster.nodes["n1"]
    leader.hold = True
    with pytest.raises(OutcomeUnknown):
        within(SHORT_S, client).put("a", b"2")
    kv = within(5, client)
    overtaken, leader.kept = leader.kept, []
    leader.hold = False
    assert kv.put("a", b"3") == 2
    leader.kept = overtaken
    cluster.wait_for(lambda: not leader.kept and len(batches(cluster)) > 2)
    assert kv.get("a") == b"3"
    assert cluster.store.revision == 2


# Sessions end


def test_a_session_that_expired_while_idle_is_replaced_silently(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("a", b"1")
    with cluster.changed:
        cluster.machines.sessions.end(1)
    assert kv.put("a", b"2") == 2
    assert batches(cluster) == [(1, 1), (1, 2), (3 + 1, 1)]


@pytest.mark.usefixtures("brisk")
def test_a_session_that_expired_with_a_command_under_way_is_reported(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("a", b"1")
    cluster.behaviour = first_times(requests.Commands, 1, SWALLOW)
    future = kv.submit_put("a", b"2")
    cluster.wait_for(lambda: len(batches(cluster)) > 1)
    with cluster.changed:
        cluster.machines.sessions.end(1)
    with pytest.raises(SessionExpired, match="applied before that or never"):
        future.result()
    assert kv.put("a", b"3") == 2, "later calls go on in a session of their own"


# Time, strangers, ends


def test_calls_time_out_in_the_order_in_which_they_were_made(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    cluster.leader = None
    kv = within(SHORT_S, connect())
    order: list[int] = []

    def note(number: int) -> None:
        with cluster.changed:
            order.append(number)
            cluster.changed.notify_all()

    for number in range(20):
        future = kv.submit_get("a") if number % 2 else kv.submit_put("a", b"")
        future.add_done_callback(lambda done, number=number: note(number if done.exception(0) else -1))
    cluster.wait_for(lambda: len(order) == 20)
    assert [number for number in order if number % 2] == list(range(1, 20, 2))
    assert [number for number in order if not number % 2] == list(range(0, 20, 2))


def test_nonsense_from_a_node_is_told_and_changes_nothing(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("a", b"1")
    cluster.behaviour = lambda *_: Reply(0, Outcome.DONE, ["not bytes"])
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        kv.put("a", b"2")
    with pytest.raises(Unavailable, match="cannot be read"):
        kv.get("a")
    cluster.behaviour = lambda *_: Reply(0, Outcome.DONE, [])
    with pytest.raises(OutcomeUnknown, match="makes no sense"):
        kv.put("a", b"2")
    cluster.behaviour = lambda *_: SERVE
    assert kv.put("a", b"3") == 2


def test_messages_of_another_cluster_are_not_believed(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    for node in cluster.nodes.values():
        stranger = Codec(7, node.name, 1)
        node.codec = Masked(node.codec, stranger)  # type: ignore[assignment]
    with pytest.raises((Unavailable, OutcomeUnknown), match="a message of cluster 0000000000000007"):
        connect(timeout_s=0.25).kv.put("a", b"1")


class Masked:
    """Decodes as one cluster and answers as another."""

    def __init__(self, ears: Codec, mouth: Codec) -> None:
        self.decode, self.encode = ears.decode, mouth.encode


def test_a_call_under_way_at_close_is_unknown_and_a_waiting_one_did_not_happen(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    client = connect()
    kv = client.kv
    kv.put("a", b"1")
    cluster.nodes["n1"].hold = True
    under_way, reading = kv.submit_put("a", b"2"), kv.submit_get("a")
    cluster.wait_for(lambda: len(cluster.nodes["n1"].kept) > 1)
    waiting = kv.submit_put("a", b"3")
    client.close()
    assert isinstance(under_way.exception(0), OutcomeUnknown)
    assert isinstance(reading.exception(0), Unavailable)
    assert isinstance(waiting.exception(0), Unavailable)


def test_a_client_is_refused_in_a_forked_child(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.put("a", b"1")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            client.kv.put("a", b"2")
        except Unavailable as error:
            code = 0 if "forked" in str(error) else 2
        finally:
            client.close()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.kv.get("a") == b"1"


@pytest.mark.processes
def test_a_program_that_forgets_to_close_still_ends(cluster: FakeCluster) -> None:
    cluster.start()
    program = f"""
        from zraft import Client
        client = Client(endpoints=["{cluster.config.node("n1").client}"])
        print(client.kv.put("a", b"1"))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1\n", "")
