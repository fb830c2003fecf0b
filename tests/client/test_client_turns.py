"""Who turns the client's wire: a caller who is alone does so himself, and neither he nor a signal gets in others' way."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import zmq
from fake_cluster import SERVE, SWALLOW, FakeCluster

from zraft import requests
from zraft.client.client import Client
from zraft.errors import OutcomeUnknown, Unavailable, ZraftError
from zraft.machines.kv import commands

Connect = Callable[..., Client]
WAIT_S = 10.0


class Interrupt(BaseException):
    """What a signal handler raises."""


def get(client: Client, read: Callable[[bytes], object]) -> object:
    return client.query("kv", commands.encode(commands.Get(b"a")), read)


def submit_get(client: Client, read: Callable[[bytes], object]) -> "Future[object]":
    return client.submit_query("kv", commands.encode(commands.Get(b"a")), read)


def sessions(cluster: FakeCluster) -> set[int]:
    return {seen.batch.session for seen in cluster.of(requests.Commands) if seen.batch}


def reader(_: bytes) -> int:
    return threading.get_ident()


def interrupt(_: bytes) -> None:
    raise Interrupt


def test_a_caller_who_is_alone_carries_his_call_himself(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    assert get(connect(), reader) == threading.get_ident()


def test_the_thread_of_the_client_carries_what_nobody_waits_for(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    carrier = submit_get(client, reader).result()
    assert carrier not in (threading.get_ident(), None)
    assert submit_get(client, reader).result() == carrier


def test_a_caller_who_is_not_alone_leaves_it_to_the_one_who_turns(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    go = threading.Event()
    held = submit_get(client, lambda _: (go.wait(WAIT_S), threading.get_ident())[1])
    second: list[object] = []
    thread = threading.Thread(target=lambda: second.append(get(client, reader)))
    thread.start()
    go.set()
    thread.join(WAIT_S)
    assert second == [held.result()]


def test_what_others_hand_over_meanwhile_is_carried_on_when_the_caller_has_his_answer(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    client = connect(timeout_s=WAIT_S)
    client.kv.put("a", b"1")
    later: list[Future[int]] = []

    def hand_over(_: bytes) -> int:
        later.extend(client.kv.submit_put("b", b"%d" % n) for n in range(3))
        return threading.get_ident()

    assert get(client, hand_over) == threading.get_ident()
    assert [future.result(WAIT_S) for future in later] == [2, 3, 4]


def test_many_threads_that_wait_and_do_not_wait_all_get_their_own_answers(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    client = connect(timeout_s=WAIT_S)
    wrong: list[object] = []

    def work(name: str) -> None:
        for n in range(40):
            value = f"{name} {n}".encode()
            client.kv.put(name, value)
            futures = [client.kv.submit_get(name) for _ in range(n % 3)]
            wrong.extend(found for found in [client.kv.get(name), *(f.result() for f in futures)] if found != value)

    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []
    assert len(sessions(cluster)) == 1


def test_a_callback_on_the_callers_own_thread_must_not_wait_for_the_client(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    client = connect()
    with pytest.raises(ZraftError, match="a callback must not wait"):
        get(client, lambda _: client.kv.get("a"))
    assert client.kv.get("a") is None


def test_a_signal_while_the_caller_sleeps_leaves_everything_under_way(
    cluster: FakeCluster, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.start()
    client = connect(timeout_s=WAIT_S)
    client.kv.put("a", b"1")
    sleep, main = zmq.zmq_poll, threading.get_ident()

    def sleep_and_be_interrupted(*sources: Any) -> Any:
        if threading.get_ident() == main:
            raise Interrupt
        return sleep(*sources)

    monkeypatch.setattr(zmq, "zmq_poll", sleep_and_be_interrupted)
    with pytest.raises(Interrupt):
        client.kv.put("b", b"1")
    monkeypatch.undo()
    # It was handed over, and the client's thread sees to it: commands of one client are applied in their order.
    assert client.kv.put("c", b"1") == 3
    assert len(sessions(cluster)) == 1


def test_an_interrupt_in_the_midst_of_a_turn_fails_what_is_under_way_and_nothing_else(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    client = connect(timeout_s=WAIT_S)
    client.kv.put("a", b"1")
    others: list[Future[object]] = []

    def hand_over_and_fall(_: bytes) -> None:
        others.append(submit_get(client, bytes))
        raise Interrupt

    with pytest.raises(Interrupt):
        get(client, hand_over_and_fall)
    assert others[0].result(WAIT_S) is not None, "what only waited is carried by what was made anew"
    assert client.kv.put("b", b"1") == 2
    assert len(sessions(cluster)) == 2, "nobody knows how far the old session had got"


def test_calls_of_others_that_were_under_way_at_the_interrupt_do_not_wait_for_ever(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    client = connect(timeout_s=60)
    client.kv.put("a", b"1")
    others: list[Future[int]] = []

    def behave(_: str, request: object, __: object) -> str:
        # Queries are answered once the other's command is under way, and that one never.
        return SERVE if isinstance(request, requests.Queries) and cluster.of(requests.Commands)[1:] else SWALLOW

    def hand_over() -> None:
        cluster.wait_for(lambda: cluster.of(requests.Queries))
        others.append(client.kv.submit_put("b", b"1"))

    cluster.behaviour = behave
    thread = threading.Thread(target=hand_over)
    thread.start()
    with pytest.raises(Interrupt):
        get(client, interrupt)
    thread.join(WAIT_S)
    with pytest.raises(OutcomeUnknown, match="interrupted"):
        others[0].result(WAIT_S)


def test_closing_ends_the_wait_of_a_caller_who_carries_his_own_call(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect(timeout_s=60)
    client.kv.put("a", b"1")
    cluster.behaviour = lambda _, request, __: SWALLOW if isinstance(request, requests.Queries) else SERVE
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            client.kv.get("a")
        except ZraftError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    cluster.wait_for(lambda: cluster.of(requests.Queries))
    client.close()
    thread.join(WAIT_S)
    assert [type(error) for error in failed] == [Unavailable]


def test_a_call_ends_with_its_time_though_others_are_still_under_way(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect(timeout_s=60)
    client.kv.put("a", b"1")
    cluster.behaviour = lambda *_: SWALLOW

    def hand_over() -> None:
        cluster.wait_for(lambda: cluster.of(requests.Queries))
        client._timeout_s = 60
        client.kv.submit_put("b", b"1")

    thread = threading.Thread(target=hand_over)
    thread.start()
    client._timeout_s = 0.2  # Of the read alone; the command that joins it has a minute.
    with pytest.raises(Unavailable):
        client.kv.get("a")
    thread.join(WAIT_S)
    assert len(cluster.of(requests.Commands)) >= 2, "the command was under way when the read was given up"
