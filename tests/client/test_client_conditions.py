"""What is one step though it reads and writes: compare-and-set, and what a dict makes of it, among others who do the same."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from fake_cluster import MUTE, SERVE, FakeCluster
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft import Client, DistDict, requests
from zraft.errors import InvalidRequest, OutcomeUnknown, Unavailable
from zraft.machines.kv.commands import Put, encode
from zraft.machines.machine import Applied

Connect = Callable[..., Client]
MISSING = DistDict.MISSING


def test_compare_and_set_goes_by_value_by_revision_and_by_absence(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    kv = connect().kv
    assert kv.compare_and_set("k", None, b"1") == 1
    assert kv.compare_and_set("k", None, b"2") is None
    assert kv.compare_and_set("k", b"1", b"2") == 2
    assert kv.compare_and_set("k", b"1", b"3") is None
    assert kv.compare_and_set("k", 2, b"2") == 3
    assert kv.compare_and_set("k", 2, b"4") is None, "changed there and back"
    assert kv.submit_compare_and_set("k", b"2", None).result() == 4
    assert kv.get("k") is None
    assert kv.compare_and_set("k", b"2", None) is None


@pytest.mark.parametrize(
    ("expected", "value", "says"),
    [
        (None, None, "neither a value"),
        (0, b"1", "a revision is a number from 1 on"),
        (True, b"1", "a revision is a number from 1 on"),
        ("text", b"1", "a value is bytes, not str"),
        (b"1", "text", "a value is bytes, not str"),
        (b"1", bytes((1 << 20) + 1), "1,048,577 bytes"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused_before_it_is_sent(
    cluster: FakeCluster, connect: Connect, expected: Any, value: Any, says: str
) -> None:
    cluster.start()
    with pytest.raises(InvalidRequest, match=says):
        connect().kv.compare_and_set("k", expected, value)
    assert not cluster.of(requests.Commands)


def test_a_retry_of_a_condition_is_told_what_came_of_it_the_first_time(
    cluster: FakeCluster, connect: Connect, brisk: None
) -> None:
    cluster.start()
    kv = connect().kv
    kv.put("k", b"old")
    seen = len(cluster.of(requests.Commands))
    cluster.behaviour = lambda *_: MUTE if len(cluster.of(requests.Commands)) == seen + 1 else SERVE
    assert kv.compare_and_set("k", b"old", b"new") == 2, "applied twice, the condition would be false"
    assert len(cluster.of(requests.Commands)) > seen + 1


def test_popping_what_is_not_answered_says_that_nobody_knows(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect(timeout_s=0.5))
    data["k"] = "v"
    cluster.behaviour = lambda _, request, __: MUTE if isinstance(request, requests.Commands) else SERVE
    with pytest.raises(OutcomeUnknown, match="once or never"):
        data.pop("k")


def interfere(cluster: FakeCluster, act: Callable[[], Any]) -> None:
    """Have `act` happen in the cluster between the next read and whatever follows it."""
    others = [act]

    def behaviour(_: str, request: Any, __: requests.Batch | None) -> str:
        if isinstance(request, requests.Commands) and others:
            others.pop()()
        return SERVE

    cluster.behaviour = behaviour


def forced(cluster: FakeCluster, key: bytes, value: bytes) -> Callable[[], Any]:
    """Return what makes another client's put happen within the state itself."""
    return lambda: cluster.store.apply(encode(Put(key, value)), Applied(0, 1, 0, 0, None, None))


def test_whoever_comes_between_is_seen(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect())
    data["k"] = 1
    interfere(cluster, forced(cluster, b"k", b"\x02"))
    assert data.pop("k") == 2
    interfere(cluster, forced(cluster, b"k", b"\x03"))
    assert data.setdefault("k", 9) == 3
    interfere(cluster, forced(cluster, b"k", b"\x04"))
    assert data.popitem() == ("k", 4)
    data["k"] = 5
    interfere(cluster, forced(cluster, b"k", b"\x06"))
    assert data.compare_and_set("k", 5, 7) is False
    assert data["k"] == 6
    interfere(cluster, forced(cluster, b"k", b"\x06"))
    assert data.compare_and_set("k", 6, 7) is True, "put anew, and still equal"
    assert dict(data) == {"k": 7}


def test_who_is_always_come_before_gives_up_in_time(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect(timeout_s=0.3))
    data["k"] = 1
    other = forced(cluster, b"k", b"\x02")
    cluster.behaviour = lambda _, request, __: (isinstance(request, requests.Commands) and other(), SERVE)[1]
    with pytest.raises(Unavailable, match="others changed the key each time"):
        data.pop("k")


def test_of_many_who_take_each_gets_something_else(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    mine = DistDict(connect())
    mine.update({f"{number:02}": number for number in range(30)})
    taken: list[list[int]] = [[], [], []]

    def take(into: list[int]) -> None:
        data = DistDict(connect())
        while len(data):
            try:
                into.append(data.popitem()[1])
            except KeyError:
                return

    threads = [threading.Thread(target=take, args=(into,)) for into in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(number for each in taken for number in each) == list(range(30))
    assert len(mine) == 0


def test_equal_is_what_python_calls_equal(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    data = DistDict(connect())
    data["k"] = {"a": 1, "b": (2, 3)}
    assert data.compare_and_set("k", {"b": (2, 3), "a": 1.0}, None)
    assert not data.compare_and_set("k", MISSING, 1), "None is a value"
    assert data.compare_and_set("k", None, MISSING)
    assert data.compare_and_set("k", MISSING, 1)
    assert not data.compare_and_set("other", None, 1)
    assert dict(data) == {"k": 1}


KEYS = st.text("abä", min_size=1, max_size=2)
VALUES = st.none() | st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=1)


class AgainstADict(RuleBasedStateMachine):
    """A dict of Python's, and another DistDict of another prefix, which nothing touches."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = FakeCluster(("n1",))
        self.cluster.start()
        self.client = Client(self.cluster.config)
        self.data, self.model = DistDict(self.client, prefix="d/"), dict[str, Any]()
        DistDict(self.client, prefix="e/")["a"] = "untouched"

    def same(self, act: Callable[[Any], Any]) -> None:
        assert outcome(act, self.data) == outcome(act, self.model)

    @rule(key=KEYS, value=VALUES)
    def set(self, key: str, value: Any) -> None:
        self.same(lambda each: each.__setitem__(key, value))

    @rule(key=KEYS, default=VALUES)
    def setdefault(self, key: str, default: Any) -> None:
        self.same(lambda each: each.setdefault(key, default))

    @rule(key=KEYS, defaults=st.tuples() | st.tuples(VALUES))
    def pop(self, key: str, defaults: tuple[Any, ...]) -> None:
        self.same(lambda each: each.pop(key, *defaults))

    @rule(key=KEYS, defaults=st.tuples() | st.tuples(VALUES))
    def read(self, key: str, defaults: tuple[Any, ...]) -> None:
        self.same(lambda each: (each.get(key, *defaults), key in each, each[key]))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.same(lambda each: each.__delitem__(key))

    @rule(pairs=st.dictionaries(KEYS, VALUES, max_size=3))
    def update(self, pairs: dict[str, Any]) -> None:
        self.same(lambda each: each.update(pairs, b=7))

    @rule()
    def popitem(self) -> None:
        expected = min(self.model.items(), key=lambda item: item[0].encode(), default=None)
        if expected is None:
            assert outcome(DistDict.popitem, self.data)[0] is KeyError
        else:
            self.model.pop(expected[0])
            assert self.data.popitem() == expected

    @rule()
    def clear(self) -> None:
        self.same(lambda each: each.clear())

    @rule(key=KEYS, expected=VALUES | st.just(MISSING), value=VALUES)
    def compare_and_set(self, key: str, expected: Any, value: Any) -> None:
        is_so = self.model.get(key, MISSING) == expected
        if is_so:
            self.model[key] = value
        assert self.data.compare_and_set(key, expected, value) == is_so

    @rule(prefix=KEYS)
    def go_through_a_prefix(self, prefix: str) -> None:
        part = {key: value for key, value in self.model.items() if key.startswith(prefix)}
        keys, items, values = self.data.keys(prefix), self.data.items(prefix), self.data.values(prefix)
        assert list(items) == sorted(part.items(), key=lambda item: item[0].encode())
        assert (list(keys), list(values)) == ([key for key, _ in items], [value for _, value in items])
        assert len(keys) == len(items) == len(values) == len(part)
        assert all((key in keys) == (key in part) for key in [*self.model, "none"])
        assert all((item in items) == (item[0] in part) for item in self.model.items())
        assert all(value in values for value in part.values())

    @invariant()
    def equal(self) -> None:
        assert self.data == self.model
        assert list(self.data) == sorted(self.model, key=str.encode)

    def teardown(self) -> None:
        untouched = dict(DistDict(self.client, prefix="e/"))
        self.client.close()
        self.cluster.close()
        assert untouched == {"a": "untouched"}


def outcome(act: Callable[[Any], Any], on: Any) -> tuple[Any, Any]:
    """Return what an act gave, or which exception it raised about which key."""
    try:
        return None, act(on)
    except KeyError as error:
        return KeyError, error.args


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_what_no_dict_has_put_there_is_named(cluster: FakeCluster, connect: Connect) -> None:
    cluster.start()
    client = connect()
    client.kv.put("k", b"\xc1")
    data = DistDict(client)
    for act in (lambda: data["k"], lambda: data.pop("k"), lambda: list(data.values()), data.popitem):
        with pytest.raises(InvalidRequest, match="value of k is not msgpack: it was not put by a DistDict"):
            act()
    assert list(data) == ["k"]
    assert client.kv.get("k") == b"\xc1", "what cannot be read is not taken away"
