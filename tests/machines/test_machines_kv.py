"""The key-value store against a plain dict, and against bytes that are no commands."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.errors import InvalidRequest
from zraft.machines.kv import commands
from zraft.machines.kv.commands import Delete, Deleted, Get, KeyValue, List, Put
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import Applied

AT = Applied(1, 1, 0, 1, "n1", None)
KEYS = st.binary(min_size=1, max_size=3)
encode = commands.encode


def put(store: KeyValueStore, key: bytes, value: bytes) -> int:
    return commands.decode_revision(store.apply(encode(Put(key, value)), AT))


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

    @rule(key=KEYS, value=st.binary(max_size=4))
    def put(self, key: bytes, value: bytes) -> None:
        self.revision += 1
        old = self.model.get(key)
        created, version = (old.create_revision, old.version + 1) if old else (self.revision, 1)
        self.model[key] = KeyValue(key, value, created, self.revision, version)
        assert put(self.store, key, value) == self.revision

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        existed = self.model.pop(key, None) is not None
        self.revision += existed
        result = commands.decode_deleted(self.store.apply(encode(Delete(key)), AT))
        assert result == Deleted(existed, self.revision)

    @rule(prefix=st.binary(max_size=2))
    def list(self, prefix: bytes) -> None:
        assert entries(self.store, prefix) == [self.model[key] for key in sorted(self.model) if key.startswith(prefix)]

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
    store = KeyValueStore(key_bytes_max=4, value_bytes_max=10)
    with pytest.raises(InvalidRequest, match=says):
        store.apply(encode(Put(key, value)), AT)
    assert (store.revision, entries(store)) == (0, [])
    assert put(store, b"1234", b"1234567890") == 1


@given(st.binary())
def test_bytes_that_are_no_command_are_refused(junk: bytes) -> None:
    for act in (lambda: KeyValueStore().apply(junk, AT), lambda: KeyValueStore().query(junk)):
        try:
            act()
        except InvalidRequest:
            continue
        decoded = msgspec.msgpack.decode(junk)
        assert decoded[0] in (0, 1), f"taken for a command: {junk!r}"


def test_a_command_with_unknown_fields_is_refused_rather_than_understood_differently() -> None:
    with pytest.raises(InvalidRequest):
        KeyValueStore().apply(msgspec.msgpack.encode([0, b"key", b"value", "lease"]), AT)
    deep = b"\x94\x00\xc4\x01a\xc4\x01b" + b"\x91" * 100_000
    with pytest.raises(InvalidRequest):
        KeyValueStore().apply(deep, AT)


def test_describe_shows_commands_to_people() -> None:
    assert commands.describe(encode(Put(b"a", bytes(256)))) == "put a=..(256 B)"
    assert commands.describe(encode(Delete("ключ".encode()))) == "delete ключ"
    assert commands.describe(encode(Put(b"a\n\x1b[2J\xff", b""))) == r"put a\n\x1b[2J\xff=..(0 B)"
    assert commands.describe(encode(Delete(b"k" * 65))) == "delete " + "k" * 64 + ".."


@given(st.binary())
def test_describe_never_raises(junk: bytes) -> None:
    assert commands.describe(junk).isprintable()
