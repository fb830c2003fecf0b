"""The key-value store against a plain dict, and against bytes that are no commands."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.errors import InvalidRequest
from zraft.machines.kv import commands
from zraft.machines.kv.commands import CompareAndSet, Delete, Deleted, Get, KeyValue, List, Put, SetLimits
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import Applied, Errand

AT = Applied(1, 1, 0, 1, "n1", None)
OWN = Applied(1, 1, 0, 0, "n1", None)
KEY_LIST = [b"\x00", b"a", b"a\x00", b"aa", b"ab", b"b", b"\xff", b"\xffa", b"\xff\xff"]
KEYS = st.sampled_from(KEY_LIST)
VALUES = st.binary(max_size=1)
encode = commands.encode


def put(store: KeyValueStore, key: bytes, value: bytes) -> int:
    return commands.decode_revision(store.apply(encode(Put(key, value)), AT))


def limited(key_bytes_max: int = 4, value_bytes_max: int = 10) -> KeyValueStore:
    store = KeyValueStore()
    assert store.apply(encode(SetLimits(key_bytes_max, value_bytes_max)), OWN) == encode(None)
    return store


def entries(store: KeyValueStore, prefix: bytes = b"") -> list[KeyValue]:
    found: list[KeyValue] = []
    after = b""
    while True:
        page = commands.decode_page(store.query(encode(List(prefix, after))))
        found += page.entries
        if not page.more:
            return found
        after = page.entries[-1].key


class AgainstADict(RuleBasedStateMachine):
    """A dict and a counter do the same by the most obvious means."""

    def __init__(self) -> None:
        super().__init__()
        self.store = KeyValueStore()
        self.model: dict[bytes, KeyValue] = {}
        self.revision = 0

    @rule(key=KEYS, value=VALUES)
    def put(self, key: bytes, value: bytes) -> None:
        self.set(key, value)
        assert put(self.store, key, value) == self.revision

    def set(self, key: bytes, value: bytes) -> None:
        self.revision += 1
        old = self.model.get(key)
        created, version = (old.create_revision, old.version + 1) if old else (self.revision, 1)
        self.model[key] = KeyValue(key, value, created, self.revision, version)

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        existed = self.model.pop(key, None) is not None
        self.revision += existed
        result = commands.decode_deleted(self.store.apply(encode(Delete(key)), AT))
        assert result == Deleted(existed, self.revision)

    @rule(key=KEYS, expected=st.none() | VALUES | st.integers(1, 20), value=st.none() | VALUES)
    def compare_and_set(self, key: bytes, expected: bytes | int | None, value: bytes | None) -> None:
        if expected is None and value is None:
            return
        old = self.model.get(key)
        found = old and (old.mod_revision if isinstance(expected, int) else old.value)
        if found == expected and value is not None:
            self.set(key, value)
        elif found == expected:
            del self.model[key]
            self.revision += 1
        result = self.store.apply(encode(CompareAndSet(key, expected, value)), AT)
        assert commands.decode_swapped(result) == (self.revision if found == expected else None)

    @rule(key=KEYS, value=st.none() | VALUES)
    def compare_and_set_as_it_is(self, key: bytes, value: bytes | None) -> None:
        """Conditions that hold: drawn at random they seldom do."""
        old = self.model.get(key)
        self.compare_and_set(key, old and old.value, value)
        new = self.model.get(key)
        self.compare_and_set(key, new and new.mod_revision, value)

    @rule(prefix=st.sampled_from([b"", b"c", *KEY_LIST]), limit=st.integers(0, 5))
    def list(self, prefix: bytes, limit: int) -> None:
        expected = [self.model[key] for key in sorted(self.model) if key.startswith(prefix)]
        assert entries(self.store, prefix) == expected
        page = commands.decode_page(self.store.query(encode(List(prefix, limit=limit))))
        assert (page.entries, page.more) == (expected[: limit or None], bool(limit) and limit < len(expected))

    @rule()
    def restart_from_a_snapshot(self) -> None:
        chunks = list(self.store.snapshot())
        restored = KeyValueStore()
        put(restored, b"what was there before", b"is gone")
        restored.restore(iter(chunks))
        assert list(restored.snapshot()) == chunks
        self.store = restored

    @invariant()
    def every_key_reads_as_in_the_model(self) -> None:
        for key in self.model.keys() | {b"missing"}:
            assert commands.decode_entry(self.store.query(encode(Get(key)))) == self.model.get(key)


TestAgainstADict = AgainstADict.TestCase


def test_a_snapshot_is_of_the_moment_it_was_asked_for() -> None:
    store = KeyValueStore()
    put(store, b"a", b"1")
    before = list(store.snapshot())
    taken = store.snapshot()
    put(store, b"a", b"2")
    put(store, b"b", b"3")
    store.apply(encode(Delete(b"a")), AT)
    assert list(taken) == before


def test_restoring_from_nothing_empties_the_store() -> None:
    store = KeyValueStore()
    put(store, b"a", b"1")
    store.restore(())
    assert (store.revision, entries(store)) == (0, [])


def test_snapshots_and_listings_of_much_data_come_in_parts() -> None:
    store = KeyValueStore()
    for number in range(40):
        put(store, b"%03d" % number, bytes(100_000))
    chunks = list(store.snapshot())
    assert len(chunks) > 10
    assert max(map(len, chunks)) < 256 << 10
    first = commands.decode_page(store.query(encode(List(b""))))
    assert first.more
    assert len(first.entries) < 40
    assert [entry.key for entry in entries(store)] == [b"%03d" % number for number in range(40)]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [(b"", b"1", "empty"), (b"12345", b"1", "5 bytes"), (b"1", b"12345678901", "11 bytes")],
)
def test_a_key_or_value_beyond_the_limits_changes_nothing(key: bytes, value: bytes, says: str) -> None:
    store = limited()
    with pytest.raises(InvalidRequest, match=says):
        store.apply(encode(Put(key, value)), AT)
    assert (store.revision, entries(store)) == (0, [])
    assert put(store, b"1234", b"1234567890") == 1


@pytest.mark.parametrize(
    ("key", "expected", "value", "says"),
    [
        (b"", None, b"1", "empty"),
        (b"12345", 1, b"1", "5 bytes"),
        (b"1", b"", b"12345678901", "11 bytes"),
        (b"1", None, None, "neither"),
        (b"1", 0, None, "not a command"),
    ],
)
def test_a_condition_beyond_the_limits_or_about_nothing_changes_nothing(
    key: bytes, expected: bytes | int | None, value: bytes | None, says: str
) -> None:
    store = limited()
    with pytest.raises(InvalidRequest, match=says):
        store.apply(encode(CompareAndSet(key, expected, value)), AT)
    assert (store.revision, entries(store)) == (0, [])


def test_a_limit_that_falls_leaves_what_is_there_and_lets_it_shrink() -> None:
    store = KeyValueStore()
    put(store, b"12345", b"12345678901")
    store.apply(encode(SetLimits(4, 10)), OWN)
    assert [entry.key for entry in entries(store)] == [b"12345"]
    with pytest.raises(InvalidRequest, match=r"5 bytes; the limit is 4 \(limits.key_bytes_max\)"):
        put(store, b"12345", b"1")
    assert commands.decode_deleted(store.apply(encode(Delete(b"12345")), AT)) == Deleted(True, 2)


def test_limits_are_not_a_clients_to_set() -> None:
    store = KeyValueStore()
    with pytest.raises(InvalidRequest, match="limits are the leader's to propose"):
        store.apply(encode(SetLimits(4, 10)), AT)
    for command in ([3, 0, 1], [3, 1, 0], [3, 1], [3, 1, 1, 1]):
        with pytest.raises(InvalidRequest, match="not a command of kv"):
            store.apply(encode(command), OWN)
    assert store.limits == KeyValueStore().limits


def test_a_store_that_is_configured_otherwise_wants_its_limits_until_they_hold() -> None:
    assert KeyValueStore().errand(Random(1)) is None
    store = KeyValueStore(key_bytes_max=4, value_bytes_max=10)
    assert put(store, b"12345", b"12345678901") == 1, "what is configured decides nothing by itself"
    errand = store.errand(Random(1))
    assert errand == Errand(0, encode(SetLimits(4, 10)))
    store.apply(errand.command, OWN)
    assert store.errand(Random(1)) is None
    assert store.limits == SetLimits(4, 10)
    restored = KeyValueStore(key_bytes_max=4, value_bytes_max=10)
    restored.restore(store.snapshot())
    assert restored.errand(Random(1)) is None
    restored.restore(())
    assert restored.errand(Random(1)) == errand


def test_a_listing_of_before_there_was_a_limit_is_understood() -> None:
    store = KeyValueStore()
    put(store, b"a", b"1")
    assert len(commands.decode_page(store.query(msgspec.msgpack.encode([1, b"", b""]))).entries) == 1


@given(st.binary())
def test_bytes_that_are_no_command_are_refused(junk: bytes) -> None:
    for act in (lambda: KeyValueStore().apply(junk, AT), lambda: KeyValueStore().query(junk)):
        try:
            act()
        except InvalidRequest:
            continue
        decoded = msgspec.msgpack.decode(junk)
        assert decoded[0] in (0, 1, 2, 3), f"taken for a command: {junk!r}"


def test_a_command_with_unknown_fields_is_refused_rather_than_understood_differently() -> None:
    with pytest.raises(InvalidRequest):
        KeyValueStore().apply(msgspec.msgpack.encode([0, b"key", b"value", "lease"]), AT)
    deep = b"\x94\x00\xc4\x01a\xc4\x01b" + b"\x91" * 100_000
    with pytest.raises(InvalidRequest):
        KeyValueStore().apply(deep, AT)


def test_describe_shows_commands_to_people() -> None:
    assert commands.describe(encode(Put(b"a", bytes(256)))) == "put a=..(256 B)"
    assert commands.describe(encode(Delete("ключ".encode()))) == "delete ключ"
    assert commands.describe(encode(CompareAndSet(b"a", None, bytes(9)))) == "set a=..(9 B) if missing"
    assert commands.describe(encode(CompareAndSet(b"a", b"12", None))) == "set a=nothing if ..(2 B)"
    assert commands.describe(encode(CompareAndSet(b"a", 7, None))) == "set a=nothing if of revision 7"
    assert commands.describe(encode(SetLimits(4, 10))) == "limit keys to 4 B, values to 10 B"
    assert commands.describe(encode(Put(b"a\n\x1b[2J\xff", b""))) == r"put a\n\x1b[2J\xff=..(0 B)"
    assert commands.describe(encode(Delete(b"k" * 65))) == "delete " + "k" * 64 + ".."


@given(st.binary())
def test_describe_never_raises(junk: bytes) -> None:
    assert commands.describe(junk).isprintable()


def test_a_leap_lets_no_revision_come_twice_and_marks_what_was_before() -> None:
    store = KeyValueStore()
    put(store, b"a", b"1")
    put(store, b"b", b"1")
    store.leap(1_000_000)
    assert (store.revision, store.compacted) == (1_000_002, 1_000_002)
    restored = KeyValueStore()
    restored.restore(store.snapshot())
    assert (restored.revision, restored.compacted) == (1_000_002, 1_000_002)
    assert put(restored, b"a", b"2") == 1_000_003
    assert entries(restored)[1] == KeyValue(b"b", b"1", 2, 2, 1), "what is there keeps the revision that clients know"
    swap = encode(CompareAndSet(b"b", 3, b"2"))
    assert restored.apply(swap, AT) == encode(None), "revision 3 was another history's"


def test_a_snapshot_without_the_mark_is_read_as_one_of_a_store_that_never_leapt() -> None:
    store = KeyValueStore()
    store.restore([msgspec.msgpack.encode([7, [3, 5, 6]])])
    assert (store.revision, store.compacted, store.limits) == (7, 0, SetLimits(5, 6))
