"""The log as its user sees it: what was written is there again, in one write and one sync per turn."""

import pytest
from crashfs import CrashFS
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from logmodel import DISK_ID, NODE, SEGMENT_BYTES, State, entry, open_log, recovered_state, write

from zraft.raft.messages import HeartbeatResponse
from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, HardState
from zraft.storage import Storage
from zraft.storage.header import BLOCK_BYTES
from zraft.storage.records import scan
from zraft.storage.segments import NextSegment, segment_name, serial_of


def segments_of(fs: CrashFS) -> list[str]:
    return [name for name in fs.list() if name != "lock"]


def test_a_blank_directory_gets_an_identity_that_is_durable_before_it_is_used() -> None:
    fs = CrashFS()
    minted: list[str] = []

    def mint() -> str:
        minted.append(DISK_ID)
        return DISK_ID

    storage = open_log(fs, new_disk_id=mint)
    assert storage.recovered.blank
    assert storage.disk_id == storage.recovered.disk_id == DISK_ID
    assert recovered_state(storage) == State()
    assert (storage.recovered.base, storage.recovered.membership) == (EntryId(0, 0), None)
    survived = fs.after_power_loss("lose_all")
    again = open_log(survived, new_disk_id=lambda: pytest.fail("minted twice"))
    assert again.disk_id == DISK_ID
    assert not again.recovered.blank
    assert minted == [DISK_ID]


def test_what_was_written_is_there_again() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    writes = [
        write(hard_state=HardState(1, "n1")),
        write(entry(1), entry(2, data=b"")),
        write(entry(3, data=bytes(range(256))), entry(4), hard_state=HardState(2, None)),
        write(entry(3, term=2, data=b"\n\0"), truncate_from=3, hard_state=HardState(3, "other.node_2-x")),
    ]
    for each in writes:
        storage.write([each])
    storage.close()
    assert recovered_state(open_log(fs)) == State().after(*writes)
    assert fs.open_files == 2 - 1, "the closed log left nothing open; the other one has its segment"


def test_all_waiting_writes_share_one_write_and_one_sync() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    while storage.prepare():
        pass
    del fs.log[:]
    batch = [write(entry(1), hard_state=HardState(1, "n1")), write(entry(2)), write(entry(2, term=2), truncate_from=2)]
    storage.write(batch)
    assert [what for what, _ in fs.log] == ["pwritev", "pwritev", "datasync"], (
        "the turn, and the slot of the one before"
    )
    assert recovered_state(open_log(fs.after_power_loss("lose_all"))) == State().after(*batch)


def test_the_disk_is_left_alone_when_nothing_is_for_it() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    del fs.log[:]
    storage.write([])
    storage.write([Write(1, 1, responses=[("n2", HeartbeatResponse(1, 1, DISK_ID))]), write()])
    assert fs.log == []


def test_a_full_segment_is_followed_by_one_made_ahead_at_the_same_cost() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    state = State()
    for index in range(1, 40):
        while storage.prepare():
            pass
        del fs.log[:]
        segments = len(storage.segments)
        turn = write(entry(index, data=bytes(700)))
        storage.write([turn])
        state = state.after(turn)
        writes = (
            ["pwritev"] if len(storage.segments) > segments else ["pwritev", "pwritev"]
        )  # The slot in the same block.
        assert [what for what, _ in fs.log] == [*writes, "datasync"], "no sync of a directory, no new file"
    assert len(storage.segments) > 5
    assert [start.first_index for start in storage.segments] == sorted({s.first_index for s in storage.segments})
    sizes = {fs.open(name).size() for name in segments_of(fs)}
    assert sizes == {SEGMENT_BYTES}, "full size from the beginning"
    assert recovered_state(open_log(fs.after_power_loss("lose_all"))) == state


def test_a_segment_that_nobody_prepared_is_made_when_it_is_due() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    turns = [write(entry(index, data=bytes(3_000))) for index in range(1, 8)]
    for turn in turns:
        storage.write([turn])
    assert recovered_state(open_log(fs.after_power_loss("lose_all"))) == State().after(*turns)


def test_every_segment_begins_with_the_hard_state_in_force() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(hard_state=HardState(7, "n3"))])
    for index in range(1, 10):
        storage.write([write(entry(index, term=7, data=bytes(3_000)))])
    for name in segments_of(fs)[1:]:
        first = next(scan(bytes(fs.visible[name].visible), serial_of(name)))
        assert first.value == HardState(7, "n3")


def test_a_write_bigger_than_a_segment_makes_that_segment_bigger() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    turns = [write(entry(1)), write(entry(2, data=bytes(5 * SEGMENT_BYTES))), write(entry(3)), write(entry(4))]
    for turn in turns:
        storage.write([turn])
    storage = open_log(fs.after_power_loss("lose_all"))
    assert recovered_state(storage) == State().after(*turns)
    storage.write([write(entry(5))])


def test_segments_of_the_least_size_hold_one_turn_each() -> None:
    fs = CrashFS()
    storage = open_log(fs, segment_bytes=1)
    turns = [write(entry(index)) for index in range(1, 6)]
    for turn in turns:
        storage.write([turn])
    assert recovered_state(open_log(fs, segment_bytes=1)) == State().after(*turns)


def test_opening_again_and_again_piles_nothing_up() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    turns = [write(entry(1)), write(entry(2), entry(3))]
    for turn in turns:
        storage.write([turn])
    for _ in range(10):
        storage.close()
        storage = open_log(fs)
        assert recovered_state(storage) == State().after(*turns)
    assert len(segments_of(fs)) == 2
    assert fs.visible[segments_of(fs)[0]].visible[BLOCK_BYTES:], "the first still has its part of the log"
    assert len(fs.visible[segments_of(fs)[0]].visible) < SEGMENT_BYTES, "and nothing made ahead"


def test_a_segment_made_ahead_is_taken_by_the_next_opening_under_a_new_number() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(entry(1))])
    while storage.prepare():
        pass
    assert segments_of(fs) == [segment_name(1), segment_name(2)]
    storage.close()
    created = [name for what, name in fs.log if what == "create"]
    open_log(fs)
    assert segments_of(fs) == [segment_name(1), segment_name(3)]
    assert [name for what, name in fs.log if what == "create"] == created


def test_an_unfinished_segment_is_completed_by_the_next_opening() -> None:
    fs = CrashFS()
    size = 1 << 20
    storage = open_log(fs, segment_bytes=size)
    storage.write([write(entry(1))])
    assert storage.prepare()
    storage.close()
    assert 0 < fs.open(segment_name(2)).size() < size
    open_log(fs, segment_bytes=size)
    assert fs.open(segment_name(3)).size() == size


def test_making_a_segment_ahead_goes_in_synced_steps() -> None:
    fs = CrashFS()
    ahead = NextSegment(fs, 5, 1 << 20)
    steps = 0
    while ahead.step():
        steps += 1
    assert steps == 4
    assert [what for what, _ in fs.log] == ["create", *["pwritev", "datasync"] * 4, "sync_directory"]
    assert not ahead.step()


@pytest.mark.parametrize("count", [19, 20])
def test_where_an_entry_lies_is_known_after_truncation_too(count: int) -> None:
    fs = CrashFS()
    storage = open_log(fs)
    for index in range(1, count):
        storage.write([write(entry(index, data=bytes(1_500)))])
    storage.write([write(entry(4, term=2, data=b"new"), truncate_from=4)])
    for index in range(5, 12):
        storage.write([write(entry(index, term=2, data=bytes(1_500)))])

    def assert_found(log: Storage, files: CrashFS) -> None:
        for index in range(1, 12):
            start = [start for start in log.segments if start.first_index <= index][-1]
            data = bytes(files.visible[segment_name(start.serial)].visible)
            values = [record.value for record in scan(data, start.serial)]
            found = [value for value in values if isinstance(value, Entry) and value.index == index]
            assert found[-1].term == (1 if index < 4 else 2)

    assert_found(storage, fs)
    storage.close()
    assert_found(open_log(fs), fs)


@pytest.mark.parametrize(
    "bad",
    [
        write(entry(2)),
        write(entry(1), entry(3)),
        write(truncate_from=2),
        write(hard_state=HardState(2)),
    ],
)
def test_a_write_that_contradicts_the_log_stops_the_node(bad: Write) -> None:
    storage = open_log(CrashFS())
    storage.write([write(hard_state=HardState(3))])
    with pytest.raises(AssertionError):
        storage.write([bad])


def test_progress_is_told_segment_by_segment() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    for index in range(1, 10):
        storage.write([write(entry(index, data=bytes(3_000)))])
    storage.close()
    lines: list[str] = []
    open_log(fs, progress=lines.append)
    assert lines[0] == f"recovering /data/n1: segment 1 of {len(lines)}"
    assert len(lines) == len(storage.segments)


class LogAgainstList(RuleBasedStateMachine):
    """The log against a list, through rolls, truncation and any number of reopenings."""

    @initialize(segment_bytes=st.sampled_from([1, 5_000, 8_192, 20_000]))
    def begin(self, segment_bytes: int) -> None:
        self.fs = CrashFS()
        self.segment_bytes = segment_bytes
        self.model = State()
        self.storage = open_log(self.fs, segment_bytes=segment_bytes)

    @rule(sizes=st.lists(st.integers(0, 2_500), min_size=1, max_size=5), rises=st.booleans())
    def append(self, sizes: list[int], rises: bool) -> None:
        term = max(1, self.model.hard_state.term + rises)
        first = len(self.model.entries) + 1
        entries = [entry(first + i, term=term, data=bytes([i]) * size) for i, size in enumerate(sizes)]
        self._write(write(*entries, hard_state=HardState(term, "n2") if rises else None))

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), count=st.integers(0, 3))
    def truncate(self, data: st.DataObject, count: int) -> None:
        index = data.draw(st.integers(1, len(self.model.entries)))
        term = self.model.hard_state.term + 1
        entries = [entry(index + i, term=term) for i in range(count)]
        self._write(write(*entries, truncate_from=index, hard_state=HardState(term)))

    @rule(batch=st.integers(2, 4))
    def several_at_once(self, batch: int) -> None:
        first = len(self.model.entries) + 1
        term = max(1, self.model.hard_state.term)
        self._write(*[write(entry(first + i, term=term)) for i in range(batch)])

    @rule(steps=st.integers(0, 3))
    def prepare(self, steps: int) -> None:
        for _ in range(steps):
            self.storage.prepare()

    @rule()
    def reopen(self) -> None:
        self.storage.close()
        self._recover(self.fs.after_kill())

    @rule()
    def lose_power(self) -> None:
        self._recover(self.fs.after_power_loss("lose_all"))

    def _recover(self, fs: CrashFS) -> None:
        self.fs = fs
        self.storage = open_log(fs, segment_bytes=self.segment_bytes)
        assert recovered_state(self.storage) == self.model
        assert self.storage.disk_id == DISK_ID
        assert self.storage.recovered.trimmed_bytes == 0

    def _write(self, *writes: Write) -> None:
        self.storage.write(writes)
        self.model = self.model.after(*writes)


LogAgainstList.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_the_log_against_a_list = LogAgainstList.TestCase


def test_a_node_is_named_in_every_segment() -> None:
    fs = CrashFS()
    open_log(fs)
    assert NODE.encode() in fs.visible[segment_name(1)].visible[:512]
