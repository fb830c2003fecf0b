"""The planted bugs themselves: each fits the code, and is a line or two of it. ``scripts/planted`` has them found."""

import difflib
import re

import pytest
from planted_bug import ROOT, Bug, Misplaced, all_bugs
from planted_checks import CHECKS

BUGS = all_bugs()
BUGS_MIN = 50
CATALOGUE_MAX = 96
CHANGED_MAX = 4
"""Lines that a bug takes away, or puts in: one or two, and as many again when two things change places."""


def test_there_are_enough() -> None:
    assert len(BUGS) >= BUGS_MIN


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_fits_the_code(bug: Bug) -> None:
    sound = (ROOT / bug.file).read_text()
    planted = bug.planted(sound)
    changed = [line[0] for line in difflib.ndiff(sound.splitlines(), planted.splitlines()) if line[0] in "+-"]
    assert changed, "it changes nothing"
    assert max(changed.count("+"), changed.count("-")) <= CHANGED_MAX


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_says_what_it_is_and_where_it_comes_from(bug: Bug) -> None:
    assert re.fullmatch(r"[A-Z].*\.", bug.what), "a sentence"
    assert 1 <= bug.number <= CATALOGUE_MAX
    assert bug.source
    assert bug.checks
    assert {*bug.checks} <= CHECKS.keys()


def test_a_patch_that_fits_nowhere_is_told() -> None:
    bug = BUGS[0]._replace(before="no such line\n")
    with pytest.raises(Misplaced, match="0 times; correct the patch"):
        bug.planted("a\nb\n")


def test_a_patch_that_fits_twice_is_told() -> None:
    bug = BUGS[0]._replace(before="a = 1\n", after="a = 2\n")
    with pytest.raises(Misplaced, match="2 times"):
        bug.planted("a = 1\na = 1\n")


def test_a_failed_history_is_told_with_its_seed() -> None:
    finding = CHECKS["histories"].read("FAILED tests/raft/test_raft_schedules.py::test_random_history[7] - Broken: x\n")
    assert finding is not None
    assert (finding.seeds, finding.replay) == (8, "ZRAFT_SEED=7 python -m pytest tests/raft/test_raft_schedules.py")


def test_a_failed_test_is_told_with_its_name() -> None:
    spaced = CHECKS["scenarios"].read("FAILED tests/raft/test_raft_log.py::test_flaw[entry 5 follows 3] - assert\n")
    assert spaced is not None
    assert spaced.where == "tests/raft/test_raft_log.py::test_flaw[entry 5 follows 3]"
    finding = CHECKS["replica"].read("1 failed\nERROR tests/replica/test_replica_order.py - KeyError\n")
    assert finding is not None
    assert finding.replay == "python -m pytest 'tests/replica/test_replica_order.py'"
    assert CHECKS["replica"].read("243 passed in 13.87s\n") is None
