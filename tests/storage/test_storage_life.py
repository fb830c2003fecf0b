"""A data directory from its first write to its end: power lost at every operation, and lives drawn by hypothesis.

Log and snapshots are looked at together, as a node that starts does.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from functools import cache, partial
from itertools import count

import pytest
from crashfs import VARIANTS, CrashFS, PowerLoss
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from logmodel import open_log, openings_cut_off
from nodelife import NodeLife, found

from zraft.raft.types import Entry

SOAK = bool(os.environ.get("ZRAFT_SOAK"))
"""More lives are drawn."""
AFTERWARDS = [*VARIANTS, "kill"]
"""What a crash leaves: see `CrashFS.after_power_loss`; or the process alone is gone."""


def live(life: NodeLife) -> None:
    """Append, roll, truncate, change the membership, take snapshots, compact, fall behind, and be sent a snapshot."""
    life.vote(1, "n1")
    life.append(b"one", bytes(1_300), b"three", term=1)
    life.change(["n1", "n2", "n3", "n4"], term=1)
    life.append(*(bytes([number]) * 1_100 for number in range(4)), term=1)
    life.begin_snapshot(6)
    while life.step():
        if len(life.held.entries) < 12:
            life.append(bytes(700), term=1)
    life.change(["n1", "n4", "n5"], term=2)
    life.append(b"in place of that change", term=3, keeps=len(life.held.entries) - 1)
    life.snapshot_by_process(10, between=written_meanwhile(life))
    life.compact()
    life.change(["n1", "n3", "n4"], term=3)
    life.restart()
    life.vote(4, "n3")
    for number in range(12):
        life.append(bytes([number]) * 2_300, term=4)
        life.step()
    life.snapshot_by_process(len(life.held.entries) - 3)
    life.compact()
    while life.step():
        pass
    life.storage.settle()
    theirs = [*life.held.entries[:20], *(Entry(5, index, 1, index * 10, bytes(300)) for index in range(21, 33))]
    life.install(theirs, 5, pieces=2)
    life.append(b"meanwhile", term=4)
    life.install(theirs, 5)
    life.append(b"behind it", b"and more", term=5)
    life.begin_snapshot(33)
    while life.step():
        pass
    life.compact()
    for number in range(8):
        life.append(bytes([number]) * 2_500, term=5)
    while life.step():
        pass
    life.storage.settle()
    life.restart()
    life.append(b"the last", term=6)


def written_meanwhile(life: NodeLife) -> Iterator[None]:
    for _ in range(3):
        life.append(bytes(800), term=3)
        yield


@cache
def every_crash() -> list[NodeLife]:
    lives = []
    for point in count(1):
        fs = CrashFS()
        fs.crash_at = point
        life: NodeLife | None = None
        try:
            life = NodeLife(fs)
            live(life)
        except PowerLoss:
            if life is not None:
                lives.append(life)
        else:
            return lives
    raise AssertionError("a script without an end")


def tries(variant: str) -> int:
    """Return how often a variant is drawn after each crash."""
    return 2 if variant in ("sectors", "torn") else 1


def left(life: NodeLife, variant: str, seed: int) -> CrashFS:
    return life.fs.after_kill() if variant == "kill" else life.fs.after_power_loss(variant, seed)


def test_the_script_goes_everywhere() -> None:
    whole = every_crash()[-1]
    done = {what for what, _ in whole.fs.log}
    assert done == {"create", "pwritev", "datasync", "sync_directory", "truncate", "rename", "unlink"}
    assert any(what == "rename" and name.endswith(".wal") for what, name in whole.fs.log), "no segment was recycled"
    states = len(every_crash()) * sum(map(tries, AFTERWARDS))
    assert states > 5_000


@pytest.mark.parametrize("variant", AFTERWARDS)
def test_after_a_crash_anywhere_the_directory_is_what_it_must_be(variant: str) -> None:
    for point, life in enumerate(every_crash()):
        for seed in range(tries(variant)):
            fs = left(life, variant, seed)
            survivor = copy(life)
            try:
                survivor.recover(fs)
                survivor.append(b"life goes on", term=9)
                survivor.recover(fs.after_power_loss("lose_all"))
            except AssertionError as error:
                raise AssertionError(f"point {point}, {variant} {seed}") from error


@pytest.mark.parametrize("variant", AFTERWARDS)
def test_a_crash_while_that_is_opened_changes_nothing(variant: str) -> None:
    for number, life in enumerate(every_crash()[::18]):
        first = VARIANTS[number % len(VARIANTS)]
        crashed = partial(left, life, first, number)
        expected, _ = found(open_log(crashed()))
        for point, fs in openings_cut_off(crashed, variant):
            assert found(open_log(fs))[0] == expected, f"{life.fs.points} {first}, {variant} at {point}"


class ALife(RuleBasedStateMachine):
    """Log and snapshots against a list, through compaction, restarts and crashes of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.life = NodeLife(CrashFS())
        self.saving = False

    @property
    def term(self) -> int:
        return max(1, self.life.held.hard_state.term)

    @property
    def committed(self) -> int:
        """How far snapshots go; nothing of that is ever truncated."""
        return self.life.saved[-1].last.index if self.life.saved else 0

    @rule(sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=4), newer=st.booleans())
    def append(self, sizes: list[int], newer: bool) -> None:
        self.life.append(*map(bytes, sizes), term=self.term + newer)

    @rule(members=st.sets(st.sampled_from(["n1", "n2", "n3", "n4", "n5"]), min_size=1))
    def change(self, members: set[str]) -> None:
        self.life.change(sorted(members), self.term)

    @precondition(lambda self: not self.saving and len(self.life.held.entries) > self.committed)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        keeps = data.draw(st.integers(self.committed, len(self.life.held.entries) - 1))
        self.life.append(b"in their place", term=self.term + 1, keeps=keeps)

    @rule(candidate=st.sampled_from(["n1", "n2"]))
    def vote(self, candidate: str) -> None:
        self.life.vote(self.term + 1, candidate)

    @precondition(lambda self: not self.saving and len(self.life.held.entries) > self.committed)
    @rule(data=st.data(), process=st.booleans())
    def snapshot(self, data: st.DataObject, process: bool) -> None:
        index = data.draw(st.integers(self.committed + 1, len(self.life.held.entries)))
        if process:
            self.life.snapshot_by_process(index)
        else:
            self.life.begin_snapshot(index)
            self.saving = True

    @rule(steps=st.integers(1, 30))
    def step(self, steps: int) -> None:
        before = len(self.life.saved)
        for _ in range(steps):
            self.life.step()
        self.saving = self.saving and len(self.life.saved) == before

    @rule()
    def compact(self) -> None:
        self.life.compact()

    @precondition(lambda self: not self.saving)
    @rule(data=st.data(), more=st.integers(1, 12), pieces=st.none() | st.integers(1, 3))
    def install(self, data: st.DataObject, more: int, pieces: int | None) -> None:
        keeps = data.draw(st.integers(self.committed, len(self.life.held.entries)))
        term = self.term + 1
        theirs = [Entry(term, keeps + number, 1, (keeps + number) * 10, bytes(90)) for number in range(1, more + 1)]
        self.life.install([*self.life.held.entries[:keeps], *theirs], term, pieces=pieces)

    @rule()
    def settle(self) -> None:
        self.life.storage.settle()

    @rule()
    def restart(self) -> None:
        self.life.restart()
        self.saving = False

    @rule(variant=st.sampled_from(AFTERWARDS), seed=st.integers(0, 9), within=st.integers(1, 40))
    def crash(self, variant: str, seed: int, within: int) -> None:
        """Go on until the power is lost, a few operations later; or at once, when there is too little to do."""
        fs = self.life.fs
        fs.crash_at = fs.points + within
        with suppress(PowerLoss):
            for number in range(4):
                self.life.append(bytes(700 * number), term=self.term)
                self.life.step()
                self.life.compact()
        fs.crash_at = None
        self.life.recover(left(self.life, variant, seed))
        self.saving = False


ALife.TestCase.settings = settings(max_examples=3_000 if SOAK else 100, stateful_step_count=30, deadline=None)
TestALife = ALife.TestCase
