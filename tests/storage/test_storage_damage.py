"""Damage at rest: no changed entry or vote is ever taken for true; what a crash can't explain is refused by name."""

import os
import random
from collections.abc import Callable

import pytest
from crashfs import SECTOR, VARIANTS, CrashFS, PowerLoss
from logmodel import SEGMENT_BYTES, State, entry, lay, open_log, recovered_state, write

from zraft.errors import StorageError
from zraft.raft.ready import Write
from zraft.raft.types import HardState
from zraft.storage import Truncate
from zraft.storage.header import BLOCK_BYTES
from zraft.storage.records import Value, turns
from zraft.storage.segments import segment_name, serial_of
from zraft.storage.wal import Storage

SOAK = bool(os.environ.get("ZRAFT_SOAK"))
"""Every bit, where otherwise some are tried."""


class Grown:
    """A log of several segments, with the state after each turn on disk, the opening's being the first.

    Parameters
    ----------
    settled
        Whether a slot tells of the last turn too.
    """

    def __init__(self, *, settled: bool) -> None:
        self.fs = CrashFS()
        self.states = [State()]
        storage = open_log(self.fs)
        self._turn(storage, write(hard_state=HardState(1, "n1")))
        for index in range(1, 9):
            self._turn(storage, write(entry(index, data=bytes([index]) * 900)))
        self._turn(storage, write(entry(5, 2), truncate_from=5, hard_state=HardState(2, "n3")))
        self._turn(storage, write(entry(6, 2, bytes(600)), entry(7, 2, b"\xff" * 700)))
        if settled:
            storage.settle()
        self.told = len(self.states) - 1 if settled else len(self.states) - 2
        """The last state that a slot tells of."""
        self.names = [segment_name(start.serial) for start in storage.segments]
        self.last = self.names[-1]
        """The segment in use."""
        self.turns = {name: list(turns(self.content(name), serial_of(name))) for name in self.names}
        assert sum(map(len, self.turns.values())) == len(self.states)
        assert len(self.names) > 1
        assert len(self.turns[self.last]) > 1

    def _turn(self, storage: Storage, *writes: Write) -> None:
        storage.write(writes)
        self.states.append(self.states[-1].after(*writes))

    def content(self, name: str) -> bytes:
        return bytes(self.fs.visible[name].visible)

    def with_content(self, name: str, content: bytes) -> CrashFS:
        fs = self.fs.after_kill()
        fs.visible[name].visible[:] = content
        return fs

    def keeps_promises(self, found: State, told: int) -> bool:
        """Whether `found` is what some turn led to, and forgets nothing of what the turn of state `told` had."""
        least, turns_found = self.states[told], [state.entries for state in self.states]
        if found.entries not in turns_found or found.last < least.last:
            return False
        theirs, ours = least.hard_state, found.hard_state
        return ours.term > theirs.term or (ours.term == theirs.term and theirs.voted_for in (None, ours.voted_for))


GROWN = Grown(settled=False)
SETTLED = Grown(settled=True)
NAMES = GROWN.names


def outcome(fs: CrashFS) -> State | str:
    """Return what opening gives: a state, or the line of the refusal; a refusal leaves everything as it is."""
    fs.lock("lock")
    before = {name: bytes(inode.visible) for name, inode in fs.visible.items()}
    try:
        return recovered_state(open_log(fs))
    except StorageError as refusal:
        assert {name: bytes(inode.visible) for name, inode in fs.visible.items()} == before
        return str(refusal)


def assert_harmless(grown: Grown, name: str, offset: int, found: State | str) -> None:
    """Damage within sector-sized distance of `offset` was refused, did not matter, or cost the last turn.

    If it cost the last turn, and a slot had told of that, what is lost is known.
    """
    if isinstance(found, str):
        assert found.startswith(f"/data/n1/{name}: "), found
        assert "zraft member replace n1" in found or "a format that this zraft does not know" in found
    elif name == grown.last and offset >= grown.turns[name][-1].offset:
        assert found.entries in (grown.states[-1].entries, grown.states[-2].entries)
        assert grown.keeps_promises(found, grown.told)
    else:
        assert found == grown.states[-1], f"{name} at {offset}"


@pytest.mark.parametrize("grown", [GROWN, SETTLED], ids=["", "settled"])
def test_flipped_bits_are_never_taken_for_true(grown: Grown) -> None:
    every = [(name, bit) for name in NAMES for bit in range(8 * len(grown.content(name)))]
    for name, bit in every if SOAK else random.Random(1).sample(every, 2_500):
        content = bytearray(grown.content(name))
        content[bit // 8] ^= 1 << bit % 8
        assert_harmless(grown, name, bit // 8, outcome(grown.with_content(name, content)))


def test_a_flipped_bit_in_a_record_that_others_follow_is_refused_with_its_place() -> None:
    for name in NAMES:
        for turn in GROWN.turns[name][:-1] if name == GROWN.last else GROWN.turns[name]:
            for record in turn.records:
                content = bytearray(GROWN.content(name))
                content[record.end - 1] ^= 4
                found = outcome(GROWN.with_content(name, content))
                assert isinstance(found, str)
                if turn.offset > BLOCK_BYTES or name != GROWN.last:
                    assert f"{name}: damaged at offset {turn.offset}:" in found


@pytest.mark.parametrize("grown", [GROWN, SETTLED], ids=["", "settled"])
@pytest.mark.parametrize("filling", ["zeros", "noise"])
def test_a_lost_sector_is_refused_unless_it_is_the_last_turns(filling: str, grown: Grown) -> None:
    for name in NAMES:
        for offset in range(0, len(grown.content(name)), SECTOR):
            content = bytearray(grown.content(name))
            content[offset : offset + SECTOR] = (
                bytes(SECTOR) if filling == "zeros" else random.Random(2).randbytes(SECTOR)
            )
            assert_harmless(grown, name, offset, outcome(grown.with_content(name, content)))


@pytest.mark.parametrize("grown", [GROWN, SETTLED], ids=["", "settled"])
def test_the_last_segment_cut_anywhere_gives_its_whole_turns_and_forgets_none_that_a_slot_tells_of(
    grown: Grown,
) -> None:
    content, all_turns = grown.content(grown.last), grown.turns[grown.last]
    before = len(grown.states) - len(all_turns)
    for size in range(all_turns[-1].end):
        whole = sum(turn.records[-1].end <= size for turn in all_turns)
        found = outcome(grown.with_content(grown.last, content[:size]))
        assert isinstance(found, State)
        assert found.entries == grown.states[before + whole - 1].entries, f"cut to {size}"
        # Cut off before the slots, what the slots of the segment before tell is left.
        assert grown.keeps_promises(found, grown.told if size >= 3 * SECTOR else before - 1), f"cut to {size}"


def test_an_earlier_segment_cut_anywhere_is_refused() -> None:
    for name in NAMES[:-1]:
        end = GROWN.turns[name][-1].records[-1].end
        for size in [*range(0, end, 97), end - 1]:
            assert isinstance(outcome(GROWN.with_content(name, GROWN.content(name)[:size])), str)
        assert outcome(GROWN.with_content(name, GROWN.content(name)[:end])) == GROWN.states[-1]


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_missing_segment_is_refused(name: str) -> None:
    fs = GROWN.fs.after_kill()
    del fs.visible[name]
    found = outcome(fs)
    assert isinstance(found, str)
    assert name in found
    assert "missing" in found


def test_a_segment_under_a_lower_number_is_refused() -> None:
    fs = GROWN.fs.after_kill()
    fs.visible[NAMES[0]], fs.visible[NAMES[1]] = fs.visible[NAMES[1]], fs.visible[NAMES[0]]
    found = outcome(fs)
    assert f"{NAMES[0]}: damaged at offset 0: segment 2 under a wrong name" in found


def test_a_segment_of_another_directory_is_refused() -> None:
    fs = CrashFS()
    end = lay(fs, 1, [HardState(1)], [entry(1)], disk_id="ff" * 16)
    lay(fs, 2, [HardState(1), entry(2)], previous_serial=1, previous_end=end, first_index=2)
    assert "a segment of another data directory" in outcome(fs)


def test_a_chain_in_circles_is_refused() -> None:
    fs = CrashFS()
    lay(fs, 1, [HardState(1)], previous_serial=2)
    lay(fs, 2, [HardState(1)], previous_serial=1, previous_end=BLOCK_BYTES)
    assert "circles" in outcome(fs)


@pytest.mark.parametrize(
    ("group", "complaint"),
    [
        ([entry(4)], "entry 4 where entry 3 is due"),
        ([entry(2)], "entry 2 where entry 3 is due"),
        ([entry(3, 1)], "entry 3 of term 1 behind one of term 2"),
        ([HardState(1)], "the term falls from 2 to 1"),
        ([HardState(2, "n2")], "the vote in term 2 changes from n1 to n2"),
        ([HardState(2)], "the vote in term 2 changes from n1 to None"),
        ([Truncate(4)], "truncation from 4 of a log from 1 to 2"),
        ([Truncate(0)], "truncation from 0"),
    ],
)
def test_intact_records_that_contradict_each_other_are_refused(group: list[Value], complaint: str) -> None:
    fs = CrashFS()
    lay(fs, 1, [HardState(2, "n1")], [entry(1, 2), entry(2, 2)], group)
    found = outcome(fs)
    assert complaint in found
    assert found.startswith(f"/data/n1/{segment_name(1)}: damaged at offset ")


def test_a_segment_that_begins_at_the_wrong_entry_is_refused() -> None:
    fs = CrashFS()
    end = lay(fs, 1, [HardState(1)], [entry(1)])
    lay(fs, 2, [HardState(1)], previous_serial=1, previous_end=end, first_index=3)
    assert "begins at entry 3, though 2 is due" in outcome(fs)


def recycled_log() -> tuple[CrashFS, Storage, State]:
    """Return a log whose segment in use is a recycled file, full of old and once valid records."""
    fs = GROWN.fs.after_kill()
    old = fs.visible[NAMES[0]].copy()
    fs.visible[segment_name(9)] = fs.durable[segment_name(9)] = old
    storage = open_log(fs)
    assert storage.segments[-1].serial == 10
    assert BLOCK_BYTES + SECTOR < len(old.visible.rstrip(b"\0")), "the old records are still there"
    return fs, storage, GROWN.states[-1]


def test_old_records_in_a_recycled_segment_are_never_believed() -> None:
    fs, storage, state = recycled_log()
    for index in range(8, 16):
        turn = write(entry(index, 2, bytes(500)))
        storage.write([turn])
        state = state.after(turn)
        storage_again = open_log(fs.after_kill())
        assert recovered_state(storage_again) == state
        assert storage_again.recovered.trimmed_bytes == 0, "old is not torn"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_write_torn_over_old_records_is_trimmed(variant: str) -> None:
    for seed in range(20):
        fs, storage, state = recycled_log()
        turn = write(entry(8, 2, bytes(2_000)))
        fs.crash_at = fs.points + 2
        with pytest.raises(PowerLoss):
            storage.write([turn])
        assert recovered_state(open_log(fs.after_power_loss(variant, seed))) in (state, state.after(turn))


def test_a_recycled_segment_damaged_in_the_middle_is_refused() -> None:
    fs, storage, _ = recycled_log()
    for index in range(8, 11):
        storage.write([write(entry(index, 2))])
    content = fs.visible[segment_name(10)].visible
    middle = list(turns(bytes(content), 10))[-2]
    content[middle.offset + 20] ^= 1
    assert f"damaged at offset {middle.offset}" in outcome(fs)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda content: content.__setitem__(0, 0), "damaged at offset 0: unreadable"),
        (lambda content: content.__setitem__(BLOCK_BYTES + 5, 1), f"damaged at offset {BLOCK_BYTES}: unreadable"),
    ],
)
def test_a_segment_that_was_used_is_not_taken_for_unused(change: Callable[[bytearray], None], complaint: str) -> None:
    content = bytearray(GROWN.content(GROWN.last))
    change(content)
    found = outcome(GROWN.with_content(GROWN.last, content))
    assert complaint in found
    assert "though a later write at" in found


def test_the_only_segment_with_its_header_gone_is_not_taken_for_a_blank_directory() -> None:
    fs = CrashFS()
    storage = open_log(fs, segment_bytes=4 * SEGMENT_BYTES)
    for index in range(1, 5):
        storage.write([write(entry(index))])
    fs.visible[segment_name(1)].visible[:SECTOR] = bytes(SECTOR)
    assert "damaged at offset 0" in outcome(fs)


def test_the_first_turn_after_a_restart_lost_costs_nothing_since_the_old_segment_has_it_still() -> None:
    fs = GROWN.fs.after_kill()
    open_log(fs).close()
    newest = max(name for name in fs.list() if serial_of(name))
    fs.visible[newest].visible[BLOCK_BYTES + 20] ^= 1
    assert outcome(fs) == GROWN.states[-1]
