"""What a client's calls return when all is well, and how they travel."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest
from fake_cluster import FakeCluster

from zraft import requests
from zraft.client.client import Client
from zraft.client.conversation import BATCH_BYTES_MAX, BATCH_COUNT_MAX
from zraft.errors import ConfigError, InvalidRequest, Unavailable, ZraftError
from zraft.machines.kv import commands
from zraft.machines.kv.commands import KeyValue

Connect = Callable[..., Client]


def test_each_call_returns_what_it_promises(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    assert kv.get("a") is None
    assert kv.entry("a") is None
    assert kv.delete("a") is False
    assert [kv.put("a", b"1"), kv.put("a", b"2"), kv.put(b"\xff", b"")] == [1, 2, 3]
    assert kv.get(b"a") == b"2"
    assert kv.entry("a") == KeyValue(b"a", b"2", 1, 2, 2)
    assert kv.list() == [KeyValue(b"a", b"2", 1, 2, 2), KeyValue(b"\xff", b"", 3, 3, 1)]
    assert kv.list("b") == []
    assert kv.delete("a") is True
    assert kv.get("\udcff") == b"", "a key that is not text can be named as Python names it"


def test_every_call_has_a_twin_that_returns_a_future(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    assert kv.submit_put("a", b"1").result() == 1
    futures: list[Future[Any]] = [kv.submit_get("a"), kv.submit_entry("a"), kv.submit_list("a"), kv.submit_get("b")]
    entry = KeyValue(b"a", b"1", 1, 1, 1)
    assert [future.result() for future in futures] == [b"1", entry, [entry], None]
    assert kv.submit_delete("a").result() is True


def test_reads_need_no_session_and_writes_share_one(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.get("a")
    assert cluster.of(requests.OpenSession) == []
    client.kv.put("a", b"1")
    client.kv.put("a", b"2")
    assert len([seen for seen in cluster.of(requests.OpenSession) if seen.node == cluster.leader]) == 1
    batches = [seen.batch for seen in cluster.of(requests.Commands) if seen.batch]
    assert [(batch.session, batch.sequence) for batch in batches] == [(1, 1), (1, 2)]


def test_what_is_submitted_while_a_batch_is_under_way_leaves_as_one_frame(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("first", b"")
    leader = cluster.nodes["n1"]
    leader.hold = True
    futures = [kv.submit_put("under way", b"")]
    cluster.wait_for(lambda: leader.kept)
    futures += [kv.submit_put(f"{number}", b"") for number in range(50)]
    futures += [kv.submit_delete(f"{number}") for number in range(50)]
    leader.hold = False
    results = [future.result() for future in futures]
    assert results == [*range(2, 53), *[True] * 50]
    batches = [seen.batch for seen in cluster.of(requests.Commands) if seen.batch]
    assert [len(batch.commands) for batch in batches] == [1, 1, 100]


def test_reads_are_batched_too_and_do_not_wait_for_writes(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect(timeout_s=10).kv
    kv.put("a", b"1")
    cluster.behaviour = lambda _, request, __: "swallow" if isinstance(request, requests.Commands) else "serve"
    kv.submit_put("a", b"2")
    assert kv.get("a") == b"1"
    leader = cluster.nodes["n1"]
    leader.hold = True
    futures = [kv.submit_get("a")]
    cluster.wait_for(lambda: any(isinstance(kept[1], requests.Queries) for kept in leader.kept))
    futures += [kv.submit_get("a") for _ in range(20)]
    leader.hold = False
    assert {future.result() for future in futures} == {b"1"}
    assert [len(seen.request.queries) for seen in cluster.of(requests.Queries) if seen.node == "n1"][-2:] == [1, 20]


def test_a_batch_is_bounded_in_count_and_bytes(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("first", b"")
    leader = cluster.nodes["n1"]
    leader.hold = True
    futures = [kv.submit_put("under way", b"")]
    cluster.wait_for(lambda: leader.kept)
    futures += [kv.submit_put("small", b"") for _ in range(BATCH_COUNT_MAX + 1)]
    futures += [kv.submit_put("large", bytes(400_000)) for _ in range(3)]
    futures += [kv.submit_put("largest", bytes(BATCH_BYTES_MAX))]
    leader.hold = False
    for future in futures:
        future.result()
    batches = [seen.batch for seen in cluster.of(requests.Commands) if seen.batch]
    assert [len(batch.commands) for batch in batches] == [1, 1, 1_024, 3, 1, 1]


def test_a_long_listing_comes_in_pages_and_a_full_reply_defers_the_rest(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    value = bytes(900_000)
    for future in [kv.submit_put(f"{number:02}", value) for number in range(20)]:
        future.result()
    assert [entry.key for entry in kv.list()] == [b"%02d" % number for number in range(20)]
    assert [entry.key for entry in kv.list(limit=17)] == [b"%02d" % number for number in range(17)]
    assert len(cluster.of(requests.Queries)) > 5
    leader = cluster.nodes["n1"]
    leader.hold = True
    futures = [kv.submit_get("00")]
    cluster.wait_for(lambda: leader.kept)
    futures += [kv.submit_get(f"{number:02}") for number in range(20)]
    leader.hold = False
    assert all(future.result() == value for future in futures)


def test_many_threads_share_one_client(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    revisions: list[int] = []

    def work(name: int) -> None:
        for number in range(50):
            revisions.append(kv.put(f"{name}/{number}", b"%d" % number))
            assert kv.get(f"{name}/{number}") == b"%d" % number

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(revisions) == list(range(1, 401))


def test_what_can_never_succeed_is_refused_before_it_is_sent(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    for key, value, says in [
        ("", b"", "empty"),
        ("k" * 4_097, b"", "4,097 bytes; the limit is 4,096"),
        ("k", bytes(1_048_577), "1,048,577 bytes; the limit is 1,048,576"),
        ("k", "text", "a value is bytes, not str"),
        (7, b"", "a key is str or bytes, not int"),
    ]:
        with pytest.raises(InvalidRequest, match=says):
            kv.submit_put(key, value)  # type: ignore[arg-type]
    assert cluster.of(requests.Commands) == []
    assert kv.put("k" * 4_096, bytes(1_048_576)) == 1


def test_one_refused_command_of_a_batch_does_not_harm_the_others(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    kv = client.kv
    leader = cluster.nodes["n1"]
    kv.put("a", b"1")
    leader.hold = True
    kv.submit_put("under way", b"")
    cluster.wait_for(lambda: leader.kept)
    good = kv.submit_put("b", b"1")
    bad = client.submit_command("kv", b"junk")
    more = kv.submit_put("c", b"1")
    leader.hold = False
    with pytest.raises(InvalidRequest, match="not a command of kv"):
        bad.result()
    assert (good.result(), more.result()) == (3, 4)


def test_a_machine_of_ones_own_is_reached_by_its_name(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    command = commands.encode(commands.Put(b"a", b"1"))
    assert client.submit_command("kv", command).result() == msgspec.msgpack.encode(1)
    with pytest.raises(InvalidRequest, match="no machine 'other' is mounted"):
        client.submit_command("other", command).result()
    with pytest.raises(InvalidRequest, match="no machine 'other' is mounted"):
        client.submit_query("other", b"").result()
    assert client.submit_query("kv", commands.encode(commands.Get(b"a"))).result() != b""


def test_what_a_reader_of_ones_own_raises_reaches_its_caller_alone(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    command = commands.encode(commands.Put(b"a", b"1"))
    with pytest.raises(KeyError):
        client.submit_command("kv", command, lambda result: {}[result]).result()
    assert client.kv.get("a") == b"1"


def test_endpoints_alone_are_enough(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    cluster.leader = "n3"
    client = connect(endpoints=[cluster.config.node("n2").client])
    assert client.limits is None
    assert client.kv.put("a", b"1") == 1
    assert client.kv.get("a") == b"1"
    assert client.limits == cluster.config.limits
    roles = {node: status and status.role for node, status in client.status().items()}
    assert roles == {"n1": "follower", "n2": "follower", "n3": "leader"}


def test_endpoints_that_come_up_later_are_found(cluster: FakeCluster, connect: Connect) -> None:
    client = connect(endpoints=[node.client for node in cluster.config.nodes])
    future = client.kv.submit_put("a", b"1")
    cluster.start("n1")
    assert future.result() == 1


def test_a_client_that_cannot_be_made_says_why() -> None:
    with pytest.raises(ConfigError, match="either config= or endpoints="):
        Client()
    with pytest.raises(ConfigError, match="empty"):
        Client(endpoints=[])
    with pytest.raises(ConfigError, match="nonsense"):
        Client(endpoints=["nonsense"])
    with pytest.raises(ConfigError, match="above 0"):
        Client(endpoints=["tcp://127.0.0.1:1"], timeout_s=0)


def test_a_callback_that_waits_for_its_own_client_is_told_so(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("a", b"1")
    leader = cluster.nodes["n1"]
    leader.hold = True
    told: Future[str] = Future()

    def nested(_: Future[Any]) -> None:
        try:
            kv.get("a")
        except ZraftError as error:
            told.set_result(str(error))

    kv.submit_get("a").add_done_callback(nested)
    leader.hold = False
    assert "must not wait for its own client" in told.result(10)


def test_a_cancelled_call_is_never_sent(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("a", b"1")
    leader = cluster.nodes["n1"]
    leader.hold = True
    under_way = kv.submit_put("a", b"2")
    cluster.wait_for(lambda: leader.kept)
    waiting, kept = kv.submit_put("a", b"3"), kv.submit_put("b", b"4")
    assert waiting.cancel()
    assert not under_way.cancel()
    leader.hold = False
    assert kept.result() == 3
    assert kv.get("a") == b"2"


def test_close_ends_the_session_and_fails_what_waits(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.put("a", b"1")
    before = threading.active_count()
    client.close()
    assert threading.active_count() == before - 1
    assert len(cluster.machines.sessions) == 0
    for act in (lambda: client.kv.put("a", b"2"), lambda: client.kv.get("a"), client.status):
        with pytest.raises(Unavailable, match="closed"):
            act()
    client.close()


def test_close_is_bounded_though_nobody_answers(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.put("a", b"1")
    cluster.nodes["n1"].hold = True
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 1.5
