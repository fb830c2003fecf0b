"""Power lost at every operation, with every treatment of what was not synced.

Recovery gives exactly a prefix with all that was acknowledged, and never half of a turn.
"""

import errno
from functools import partial
from itertools import count

import pytest
from crashfs import VARIANTS, CrashFS, PowerLoss
from logmodel import State, entry, open_log, openings_cut_off, recovered_state, write

from zraft.errors import StorageError
from zraft.raft.types import EntryId, HardState
from zraft.storage import Storage


class Run:
    """A scripted life of a log, and what of it was acknowledged when the power went."""

    def __init__(self, fs: CrashFS) -> None:
        self.fs = fs
        self.states = [State()]
        """The state after each turn acknowledged."""
        self.under_way: State | None = None
        """The state that the turn being written leads to."""

    def live(self) -> None:
        """Open, write, roll, truncate, close, open again, and write on; `PowerLoss` may end it anywhere."""
        storage = open_log(self.fs)
        self._turn(storage, write(hard_state=HardState(1, "n1")))
        self._turn(storage, write(entry(1), entry(2, data=bytes(1_300)), entry(3)))
        for index in range(4, 8):
            self._turn(storage, write(entry(index, data=bytes([index]) * 1_100)))
            storage.prepare()
            if index % 2:
                storage.settle()
        self._turn(storage, write(entry(6, term=2), truncate_from=6, hard_state=HardState(2, None)), write(entry(7, 2)))
        storage.close()
        storage = open_log(self.fs)
        self._turn(storage, write(hard_state=HardState(2, "n3")))
        storage.settle()
        self._turn(storage, write(entry(7, 3), truncate_from=7, hard_state=HardState(3)))
        for index in range(8, 11):
            self._turn(storage, write(entry(index, 3, bytes([index]) * 2_000)))
            storage.prepare()
        self._turn(storage, write(entry(11, 3, bytes(9_000)), entry(12, 3)))
        for index in range(13, 25):
            self._turn(storage, write(entry(index, 3, bytes([index]) * 2_400)))
            if index % 4 == 0:
                self._turn(storage, write(begins_after=EntryId(3, index - 3)))
            storage.prepare()
        while storage.prepare():
            pass
        self._turn(storage, write(begins_after=EntryId(3, 40)), write(entry(41, 4), hard_state=HardState(4)))
        storage.settle()
        storage.close()

    def _turn(self, storage: Storage, *writes) -> None:
        self.under_way = self.states[-1].after(*writes)
        storage.write(writes)
        self.states.append(self.under_way)
        self.under_way = None

    def allowed(self) -> list[State]:
        """Return what recovery may give: all that was acknowledged, and what was under way whole or not at all."""
        return [self.states[-1], *([self.under_way] if self.under_way else [])]


def crashed_at(point: int) -> Run | None:
    """Live until crash point `point`; None when life ends before."""
    run = Run(CrashFS())
    run.fs.crash_at = point
    try:
        run.live()
    except PowerLoss:
        return run
    return None


def every_crash() -> list[Run]:
    runs = []
    for point in count(1):
        run = crashed_at(point)
        if run is None:
            return runs
        runs.append(run)
    raise AssertionError("a script without an end")


RUNS = every_crash()


def test_the_script_passes_enough_places_to_crash_at() -> None:
    operations = {what for what, _ in RUNS[-1].fs.log}
    assert operations == {"create", "pwritev", "datasync", "sync_directory", "truncate", "rename", "unlink"}
    assert len(RUNS) > 250


@pytest.mark.parametrize("variant", [*VARIANTS, "kill"])
def test_a_crash_anywhere_loses_nothing_acknowledged_and_invents_nothing(variant: str) -> None:
    for point, run in enumerate(RUNS):
        for seed in range(1 if variant in ("lose_all", "keep_all", "zeros", "kill") else 8):
            fs = run.fs.after_kill() if variant == "kill" else run.fs.after_power_loss(variant, seed)
            storage = open_log(fs)
            state = recovered_state(storage)
            assert state in run.allowed(), f"point {point}, {variant} {seed}"
            assert not storage.recovered.damage, f"point {point}, {variant} {seed}: a crash is no damage"
            following = storage.recovered.base.index + len(state.entries) + 1
            storage.write([write(entry(following, 9), hard_state=HardState(9, "n1"))])
            after = state.after(write(entry(following, 9), hard_state=HardState(9, "n1")))
            assert recovered_state(open_log(fs.after_power_loss("lose_all"))) == after


@pytest.mark.parametrize("variant", [*VARIANTS, "kill"])
def test_a_crash_during_recovery_from_a_crash_changes_nothing(variant: str) -> None:
    for number, run in enumerate(RUNS[::5]):
        first = VARIANTS[number % len(VARIANTS)]
        expected = recovered_state(open_log(run.fs.after_power_loss(first, number)))
        crashed = partial(run.fs.after_power_loss, first, number)
        for point, fs in openings_cut_off(crashed, variant):
            assert recovered_state(open_log(fs)) == expected, f"{run.fs.points} {first}, {variant} at {point}"


def test_what_a_restart_gave_back_is_durable_though_nobody_had_synced_it() -> None:
    """A killed process leaves a write in memory; who acknowledges it after a restart must not lose it to the power."""
    seen_unsynced = False
    for run in RUNS:
        fs = run.fs.after_kill()
        given = recovered_state(open_log(fs))
        seen_unsynced = seen_unsynced or given == run.under_way
        for seed, variant in enumerate(VARIANTS):
            assert recovered_state(open_log(fs.after_power_loss(variant, seed))) == given
    assert seen_unsynced, "no crash left a write that was visible and not durable"


def test_a_sync_that_failed_once_is_not_believed_after_a_restart_either() -> None:
    """The kernel drops the write and calls its pages clean; the next sync of them "succeeds"."""
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(entry(1))])
    fs.fail["datasync"] = errno.EIO
    with pytest.raises(StorageError):
        storage.write([write(entry(2))])
    restarted = fs.after_kill()
    given = recovered_state(open_log(restarted))
    assert len(given.entries) == 2, "still in the page cache"
    assert recovered_state(open_log(restarted.after_power_loss("lose_all"))) == given


def test_a_torn_write_is_trimmed_and_counted() -> None:
    fs = CrashFS()
    storage = open_log(fs)
    storage.write([write(entry(1))])
    fs.crash_at = fs.points + 2
    with pytest.raises(PowerLoss):
        storage.write([write(entry(2, data=b"x" * 3_000))])
    torn = fs.after_power_loss("keep_all")
    torn.visible["0000000000000001.wal"].visible[5_700] ^= 1
    recovered = open_log(torn).recovered
    assert [each.index for each in recovered.entries] == [1]
    assert recovered.trimmed_bytes > 3_000
