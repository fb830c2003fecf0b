"""A dict in the cluster behaves like a dict."""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from fake_cluster import FakeCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zraft
from zraft import Client, DistDict, requests
from zraft.errors import InvalidRequest, Unavailable
from zraft.machines.kv.commands import SetLimits

Connect = Callable[..., Client]


def test_it_is_a_mutable_mapping(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect(), prefix="app/")
    assert (len(data), list(data), "a" in data, data.get("a"), data.get("a", 7)) == (0, [], False, None, 7)
    data["b"] = [1, {"x": None}]
    data["a"] = "text"
    data["none"] = None
    assert dict(data) == {"a": "text", "b": [1, {"x": None}], "none": None}
    assert list(data.items()) == [("a", "text"), ("b", [1, {"x": None}]), ("none", None)]
    assert list(data.values()) == ["text", [1, {"x": None}], None]
    assert ("none" in data, "c" in data, 7 in data) == (True, False, False)
    assert ("a", "text") in data.items()
    assert data.pop("a") == "text"
    assert data.setdefault("a", 5) == 5
    del data["a"]
    for act in (lambda: data["a"], lambda: data.pop("a"), lambda: data.__delitem__("a")):
        with pytest.raises(KeyError, match="a"):
            act()
    assert data == {"b": [1, {"x": None}], "none": None}


def test_dicts_with_different_prefixes_do_not_meet(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    one, other, whole = DistDict(client, prefix="ä/"), DistDict(client, prefix="b/"), DistDict(client)
    one["k"], other["k"] = 1, 2
    assert dict(whole) == {"b/k": 2, "ä/k": 1}
    one.clear()
    assert (dict(one), dict(other)) == ({}, {"k": 2})


def test_going_through_it_is_one_question_and_update_few(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect())
    data["first"] = 0
    before = len(cluster.of(requests.Commands))
    data.update({f"{number:02}": number for number in range(50)}, more=1)
    assert len(cluster.of(requests.Commands)) - before < 10
    before = len(cluster.of(requests.Queries))
    assert len(dict(data.items())) == 52
    assert len(cluster.of(requests.Queries)) - before == 1


def test_it_makes_a_client_of_its_own_and_closes_it(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    endpoint = cluster.config.node("n1").client
    for where in (cluster.config, endpoint, [endpoint]):
        with DistDict(where) as data:
            data["a"] = 1
        with pytest.raises(Unavailable, match="closed"):
            data["a"]
    client = connect()
    with DistDict(client) as data:
        data["a"] = 2
    assert client.kv.get("a") is not None


def test_what_cannot_be_stored_is_refused(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect())
    odd = ({1, 2}, frozenset(), datetime.now(UTC), Decimal(1), UUID(int=1), {Decimal(1): 0}, [[{"deep": ({1},)}]])
    for value in (object(), 1 << 64, *odd):
        with pytest.raises(InvalidRequest, match="msgpack cannot hold"):
            data["a"] = value
        with pytest.raises(InvalidRequest, match="msgpack cannot hold"):
            data.compare_and_set("a", value, 1)
    data["a"] = [(1, bytearray(b"b"), memoryview(b"c")), {None: True, 1.5: "text", b"k": ()}]
    assert data["a"] == [[1, b"b", b"c"], {None: True, 1.5: "text", b"k": []}]
    with pytest.raises(TypeError, match="str, not int"):
        data[7]  # type: ignore[index]
    with pytest.raises(InvalidRequest, match="empty"):
        data[""] = 1


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def test_a_value_that_never_ends_or_is_no_text_is_refused_by_every_way_of_writing_it(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.start()
    data = DistDict(connect())
    data["there"] = 1
    for value in (endless(), "\ud800", {"\ud800": 1}, 1 << 64):
        for write in (
            lambda value=value: data.__setitem__("a", value),
            lambda value=value: data.setdefault("a", value),
            lambda value=value: data.update(b=1, a=value),
            lambda value=value: data.compare_and_set("a", DistDict.MISSING, value),
            lambda value=value: data.compare_and_set("there", value, 2),
        ):
            with pytest.raises(InvalidRequest, match="msgpack cannot hold"):
                write()
    assert dict(data) == {"there": 1}, "of an update that makes no sense nothing is sent"
    assert data.setdefault("there", endless()) == 1, "the default does not matter"


@pytest.mark.parametrize("key", ["", "x" * 4_097, "x" * 70_000, "\ud800", "a\ud800"])
def test_a_key_that_no_store_takes_is_missing_and_cannot_be_written(
    cluster: FakeCluster, connect: Connect, key: str
) -> None:
    cluster.start()
    data = DistDict(connect())
    data["first"] = 0
    assert (key in data, data.get(key), data.get(key, 7), data.pop(key, 8)) == (False, None, 7, 8)
    assert (key in data.keys(), (key, 1) in data.items()) == (False, False)  # noqa: SIM118 - the view is meant
    for act in (lambda: data[key], lambda: data.pop(key), lambda: data.__delitem__(key)):
        with pytest.raises(KeyError):
            act()
    for write in (
        lambda: data.__setitem__(key, 1),
        lambda: data.setdefault(key, 1),
        lambda: data.update({"other": 1, key: 1}),
        lambda: data.compare_and_set(key, DistDict.MISSING, 1),
    ):
        with pytest.raises(InvalidRequest):
            write()
    assert dict(data) == {"first": 0}


def test_what_was_put_under_larger_limits_is_still_read_and_removed(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect(), prefix="p/")
    for key in ("long", "longer", "longest"):
        data[key] = 1
    cluster.store.limits = SetLimits(3, 3)
    assert (data["long"], "longer" in data, dict(data)) == (1, True, {"long": 1, "longer": 1, "longest": 1})
    assert data.pop("long") == 1
    del data["longer"]
    assert data.compare_and_set("longest", 1, DistDict.MISSING)
    with pytest.raises(InvalidRequest, match="the limit is 3"):
        data["long"] = 1
    assert dict(data) == {}


def test_an_update_waits_for_all_and_then_says_what_failed_first(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect())
    data["first"] = 0
    cluster.store.limits = SetLimits(3, 3)
    with pytest.raises(InvalidRequest, match=r"the key has 4 bytes; the limit is 3"):
        data.update({"a": 1, "long": 1, "b": 2, "longer": 1, "c": 3})
    assert dict(data) == {"first": 0, "a": 1, "b": 2, "c": 3}


def test_an_update_that_fails_leaves_nothing_under_way(
    cluster: FakeCluster, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []

    class Settled(Future[int]):
        def result(self, timeout: float | None = None) -> int:
            waited.append(id(self))
            return super().result(timeout)

    futures = [Settled() for _ in range(3)]
    futures[0].set_exception(Unavailable("the first"))
    futures[1].set_exception(Unavailable("the second"))
    futures[2].set_result(1)
    client = connect()
    monkeypatch.setattr(client.kv, "submit_puts", lambda entries: futures)
    with pytest.raises(Unavailable, match="the first"):
        DistDict(client).update(a=1, b=2, c=3)
    assert waited == [id(each) for each in futures]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(min_size=1, max_size=20), value=VALUES)
def test_every_value_comes_back(cluster: FakeCluster, connect: Connect, key: str, value: Any) -> None:
    if cluster.nodes["n1"].thread is None:
        cluster.start()
        cluster.kept_client = connect()  # type: ignore[attr-defined]
    data = DistDict(cluster.kept_client)  # type: ignore[attr-defined]
    data[key] = value
    assert data[key] == value
    assert (key, value) in list(data.items())


def test_the_package_exports_lazily() -> None:
    assert {"Client", "DistDict", "ZraftError"} <= set(zraft.__all__)
    assert all(getattr(zraft, name) is not None for name in zraft.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        zraft.nothing  # noqa: B018
