"""A dict in the cluster behaves like a dict."""

from collections.abc import Callable
from typing import Any

import pytest
from fake_cluster import FakeCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zraft
from zraft import Client, DistDict, requests
from zraft.errors import InvalidRequest, Unavailable

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
    for value in (object(), 1 << 64):
        with pytest.raises(InvalidRequest, match="msgpack cannot hold"):
            data["a"] = value
    with pytest.raises(TypeError, match="str, not int"):
        data[7]  # type: ignore[index]
    with pytest.raises(InvalidRequest, match="empty"):
        data[""] = 1


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
