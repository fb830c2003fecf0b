"""The search for an order, held against histories that everybody can see to be wrong, and against one that tries everything."""

import os
from random import Random

import pytest
from made_histories import Act, failed, is_possible, legal, lost, mutated, ok, operations

from zraft.machines.kv import commands as kv
from zraft.requests import Answer
from zraft.simulation import scroll
from zraft.simulation.checkers import linearizability
from zraft.simulation.checkers.linearizability import Verdict
from zraft.simulation.checkers.models import by_key
from zraft.simulation.history import Ending, Kind, Operation

HISTORIES = 100_000 if os.environ.get("ZRAFT_SOAK") else 1_600

LEGAL: dict[str, list[Act]] = {
    "nothing": [ok(1, 2, "get")],
    "a put is read": [ok(1, 2, "put", b"a"), ok(3, 4, "get", gave=(b"a", 1))],
    "a read beside a put may see it, or not": [
        ok(1, 6, "put", b"a"),
        ok(2, 3, "get"),
        ok(4, 5, "get", gave=(b"a", 1)),
    ],
    "puts at once, in either order": [
        ok(1, 4, "put", b"a"),
        ok(2, 3, "put", b"b"),
        ok(5, 6, "get", gave=(b"a", 2)),
    ],
    "a lost put is read late": [
        lost(1, "put", b"a"),
        ok(2, 3, "get"),
        ok(4, 5, "put", b"b"),
        ok(6, 7, "get", gave=(b"b", 1)),
        ok(8, 9, "get", gave=(b"a", 2)),
    ],
    "a lost put never happened": [lost(1, "put", b"a"), ok(2, 3, "get"), ok(4, 5, "get")],
    "a lost put shows in how often it was put alone": [
        lost(1, "put", b"a"),
        ok(2, 3, "put", b"b"),
        ok(4, 5, "get", gave=(b"b", 2)),
    ],
    "of two that compare one sets": [
        ok(1, 4, "cas", None, b"a", gave=False),
        ok(2, 3, "cas", None, b"b", gave=True),
        ok(5, 6, "get", gave=(b"b", 1)),
    ],
    "a key that was removed begins anew": [
        ok(1, 2, "put", b"a"),
        ok(3, 4, "delete", gave=True),
        ok(5, 6, "put", b"b"),
        ok(7, 8, "get", gave=(b"b", 1)),
    ],
    "removed on a condition": [ok(1, 2, "put", b"a"), ok(3, 4, "cas", b"a", None, gave=True), ok(5, 6, "get")],
    "appended in either order": [
        ok(1, 4, "append", b"a", gave=(b"b", b"a")),
        ok(2, 3, "append", b"b", gave=(b"b",)),
        ok(5, 6, "measure", gave=(b"b", b"a")),
    ],
}
ILLEGAL: dict[str, list[Act]] = {
    "read from nowhere": [ok(1, 2, "get", gave=(b"a", 1))],
    "stale read": [ok(1, 2, "put", b"a"), ok(3, 4, "put", b"b"), ok(5, 6, "get", gave=(b"a", 1))],
    "read of what was not there yet": [ok(1, 2, "get", gave=(b"a", 1)), ok(3, 4, "put", b"a")],
    "acknowledged and lost": [ok(1, 2, "put", b"a"), ok(3, 4, "get")],
    "done twice": [ok(1, 2, "put", b"a"), ok(3, 4, "get", gave=(b"a", 2))],
    "failed and done": [failed(1, 2, "put", b"a"), ok(3, 4, "get", gave=(b"a", 1))],
    "reads go back": [
        ok(1, 8, "put", b"a"),
        ok(2, 3, "get", gave=(b"a", 1)),
        ok(4, 5, "get"),
    ],
    "two readers disagree on the order of two puts": [
        ok(1, 4, "put", b"a"),
        ok(2, 3, "put", b"b"),
        ok(5, 6, "get", gave=(b"a", 2)),
        ok(7, 8, "get", gave=(b"b", 2)),
    ],
    "a lost put happens twice": [
        lost(1, "put", b"a"),
        ok(2, 3, "get", gave=(b"a", 1)),
        ok(4, 5, "put", b"b"),
        ok(6, 7, "get", gave=(b"a", 3)),
    ],
    "a lost put happens before it was asked for": [ok(1, 2, "get", gave=(b"a", 1)), lost(3, "put", b"a")],
    "a lost put is undone": [lost(1, "put", b"a"), ok(2, 3, "get", gave=(b"a", 1)), ok(4, 5, "get")],
    "both that compare set": [ok(1, 4, "cas", None, b"a", gave=True), ok(2, 3, "cas", None, b"b", gave=True)],
    "neither that compares sets": [ok(1, 4, "cas", None, b"a", gave=False), ok(2, 3, "cas", None, b"b", gave=False)],
    "set though it is another": [ok(1, 2, "put", b"a"), ok(3, 4, "cas", b"b", b"c", gave=True)],
    "not set though it is so": [ok(1, 2, "put", b"a"), ok(3, 4, "cas", b"a", b"c", gave=False)],
    "update lost": [
        ok(1, 2, "put", b"a"),
        ok(3, 6, "cas", b"a", b"b", gave=True),
        ok(4, 5, "cas", b"a", b"c", gave=True),
    ],
    "removed twice": [ok(1, 2, "put", b"a"), ok(3, 6, "delete", gave=True), ok(4, 5, "delete", gave=True)],
    "nothing removed though it was there": [ok(1, 2, "put", b"a"), ok(3, 4, "delete", gave=False)],
    "comes back to life": [
        ok(1, 2, "put", b"a"),
        ok(3, 4, "delete", gave=True),
        ok(5, 6, "get", gave=(b"a", 1)),
    ],
    "counts on after it was removed": [
        ok(1, 2, "put", b"a"),
        ok(3, 4, "delete", gave=True),
        ok(5, 6, "put", b"b"),
        ok(7, 8, "get", gave=(b"b", 2)),
    ],
    "appended twice": [ok(1, 2, "append", b"a", gave=(b"a", b"a"))],
    "appended and lost": [
        ok(1, 2, "append", b"a", gave=(b"a",)),
        ok(3, 4, "append", b"b", gave=(b"b",)),
    ],
    "appended in another order": [
        ok(1, 2, "append", b"a", gave=(b"a",)),
        ok(3, 4, "append", b"b", gave=(b"a", b"b")),
        ok(5, 6, "measure", gave=(b"b", b"a")),
    ],
    "two that append see each other": [
        ok(1, 4, "append", b"a", gave=(b"b", b"a")),
        ok(2, 3, "append", b"b", gave=(b"a", b"b")),
    ],
    "wrong after much that is right": [
        *(ok(4 * n + 1, 4 * n + 4, "put", b"v%d" % n) for n in range(6)),
        *(lost(4 * n + 2, "put", b"l%d" % n) for n in range(3)),
        ok(40, 41, "get", gave=(b"v5", 6)),
        ok(42, 43, "get", gave=(b"v4", 5)),
    ],
}


def judged(acts: list[Act]) -> Verdict:
    ((_, calls),) = by_key(operations(acts)).items() or [(None, [])]
    return linearizability.judge(calls)


@pytest.mark.parametrize("name", LEGAL)
def test_a_history_that_could_be_is_accepted(name: str) -> None:
    assert is_possible(LEGAL[name])
    assert judged(LEGAL[name]) is Verdict.LEGAL


@pytest.mark.parametrize("name", ILLEGAL)
def test_a_history_that_cannot_be_is_rejected(name: str) -> None:
    assert judged(ILLEGAL[name]) is Verdict.ILLEGAL
    if len(ILLEGAL[name]) < 8:
        assert not is_possible(ILLEGAL[name])


@pytest.mark.parametrize("machine", [kv.MACHINE, scroll.MACHINE])
def test_every_history_with_a_change_is_judged_as_by_whoever_tries_all_orders(machine: str) -> None:
    random = Random(f"mutations of {machine}")
    wrong, legal_ones = 0, 0
    for _ in range(HISTORIES // 2):
        acts = legal(random, random.randint(3, 6), machine=machine, width=2)
        assert verdict_of(acts) is Verdict.LEGAL, acts
        for _ in range(random.randint(1, 3)):
            acts = mutated(random, acts) if acts else acts
        possible = is_possible(acts)
        wrong += not possible
        legal_ones += possible
        assert verdict_of(acts) is (Verdict.LEGAL if possible else Verdict.ILLEGAL), acts
    assert wrong > HISTORIES // 10, f"{wrong} of {HISTORIES} were wrong: the changes change nothing"
    assert legal_ones > HISTORIES // 20


def verdict_of(acts: list[Act]) -> Verdict:
    verdicts = [linearizability.judge(calls) for calls in by_key(operations(acts)).values()]
    return verdicts[0] if verdicts else Verdict.LEGAL


@pytest.mark.parametrize("machine", [kv.MACHINE, scroll.MACHINE])
def test_long_histories_of_a_right_system_are_accepted(machine: str) -> None:
    random = Random(f"long histories of {machine}")
    for _ in range(3):
        assert judged(legal(random, 300, machine=machine, width=4, lost=0)) is Verdict.LEGAL


@pytest.mark.parametrize("machine", [kv.MACHINE, scroll.MACHINE])
def test_hints_find_the_way_through_what_was_lost(machine: str) -> None:
    random = Random(f"hints on {machine}")
    for _ in range(3):
        acts = legal(random, 300, machine=machine, width=4)
        happened = {act: (place, 0) for place, act in enumerate(acts) if act.ending in (Ending.OK, Ending.UNKNOWN)}
        places = {number: happened[act] for number, act in enumerate(sorted(acts)) if act in happened}
        (calls,) = by_key(operations(acts), places).values()
        assert linearizability.judge(calls, steps_max=5 * len(calls)) is Verdict.LEGAL


def test_a_wrong_hint_changes_no_verdict() -> None:
    random = Random("hints")
    for acts in [*LEGAL.values(), *ILLEGAL.values()]:
        found = operations(acts)
        places = {each.number: (random.randrange(100), 0) for each in found}
        (calls,) = by_key(found, places).values()
        assert linearizability.judge(calls) is judged(acts)


def test_who_gives_up_says_so() -> None:
    (calls,) = by_key(operations(ILLEGAL["wrong after much that is right"])).values()
    assert linearizability.judge(calls, steps_max=3) is Verdict.UNDECIDED


def test_the_culprit_is_whoever_returned_first_with_what_cannot_be() -> None:
    acts = ILLEGAL["wrong after much that is right"]
    acts = [*acts, ok(50, 51, "put", b"z"), ok(52, 53, "get", gave=(b"z", 7))]
    (calls,) = by_key(operations(acts)).values()
    assert linearizability.culprit(calls).returned == 43


def put_then_compare(expected: int, swapped: int | None) -> list[Operation]:
    put, compare = kv.encode(kv.Put(b"k", b"a")), kv.encode(kv.CompareAndSet(b"k", expected, b"b"))
    done = bytes([Answer.DONE])
    first = Operation(0, b"c", Kind.WRITE, 1, kv.MACHINE, put, ending=Ending.OK, returned=2, answer=done + kv.encode(4))
    second = Operation(1, b"c", Kind.WRITE, 3, kv.MACHINE, compare, ending=Ending.OK, returned=4)
    second.answer = done + kv.encode(swapped)
    return [first, second]


@pytest.mark.parametrize(
    ("expected", "swapped", "verdict"),
    [
        (4, 5, Verdict.LEGAL),
        (4, None, Verdict.ILLEGAL),
        (3, None, Verdict.LEGAL),
        (3, 5, Verdict.ILLEGAL),
    ],
)
def test_a_revision_stands_for_the_value_that_it_put(expected: int, swapped: int | None, verdict: Verdict) -> None:
    (calls,) = by_key(put_then_compare(expected, swapped)).values()
    assert linearizability.judge(calls) is verdict
