"""All checkers on whole histories: those of a right system pass, and each way of being wrong is seen by those who can see it."""

from typing import Any

import msgspec
import pytest
from pretended_cluster import BUGS, PretendedCluster

from zraft.raft.types import EntryKind
from zraft.simulation.checkers import judge, linearizability, tokens
from zraft.simulation.checkers.linearizability import Verdict
from zraft.simulation.checkers.models import by_key
from zraft.simulation.checkers.witness import Witness
from zraft.simulation.clients import Workload
from zraft.simulation.history import Ending, Kind, Operation
from zraft.simulation.machines import mounted
from zraft.simulation.plan import draw
from zraft.simulation.violation import Violation

SEEDS = range(2)
SEEN_BY = {
    "lost": {"C1", "C2", "C3"},
    "twice": {"C1", "C2", "C3"},
    "retried": {"C1", "C2", "C3"},
    "stale": {"C1", "C2"},
    "stale, and silent": {"C1", "C2"},
    "too early": {"C1", "C2"},
    "displaced": {"C1", "C2"},
    "invented": {"C1", "C2", "C3"},
    "refused, and done": {"C1"},
}
"""Who must see each bug, in one seed at least. Who is not named there may see it, or not."""


def lived(seed: int, *, bug: str = "", loss: int = 3, **changes: Any) -> tuple[PretendedCluster, Workload]:
    plan = msgspec.structs.replace(
        draw(seed, nodes=3, faults=[]),
        clients=5,
        keys=3,
        client_think_ms=5,
        client_timeout_ms=20,
        session_ttl_ms=5_000,
        **changes,
    )
    cluster = PretendedCluster(plan, bug=bug, loss=loss)
    workload = Workload(cluster)  # type: ignore[arg-type]
    workload.start()
    cluster.run(1_000)
    workload.finish()
    cluster.run(10_000)
    assert not workload.pending
    return cluster, workload


def seen_by(cluster: PretendedCluster, operations: list[Operation]) -> set[str]:
    """Return the checkers that object, each on its own."""
    found = set()
    witness = Witness(operations, cluster.committed, mounted())
    try:
        witness.check()
    except Violation as violation:
        found.add(violation.id)
    if any(linearizability.judge(calls) is Verdict.ILLEGAL for calls in by_key(operations).values()):
        found.add("C2")
    try:
        tokens.check(operations, cluster.lists)
    except Violation as violation:
        found.add(violation.id)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_right_system_is_right_to_all(seed: int) -> None:
    cluster, workload = lived(seed)
    operations = workload.history.operations
    judgement = judge(operations, cluster.committed, mounted(), states={"n1": cluster.mounted})
    assert judgement.undecided == 0
    assert judgement.both > 100
    assert judgement.tokens > 10
    assert {each.kind for each in operations} >= {Kind.OPEN, Kind.WRITE, Kind.READ}


@pytest.mark.parametrize("bug", BUGS)
def test_each_bug_is_seen_by_whoever_can_see_it(bug: str) -> None:
    seen: set[str] = set()
    for seed in SEEDS:
        cluster, workload = lived(seed, bug=bug, loss=10)
        assert cluster.wrong, "the bug has struck"
        found = seen_by(cluster, workload.history.operations)
        assert "C1" in found, f"seed {seed}: the witness sees all of them"
        seen |= found
    assert seen >= SEEN_BY[bug]


def test_a_right_system_is_seen_by_nobody() -> None:
    for seed in SEEDS:
        cluster, workload = lived(seed)
        assert seen_by(cluster, workload.history.operations) == set()


# -- lies about a right system ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth() -> tuple[PretendedCluster, Workload]:
    return lived(1)


def a_write(operations: list[Operation]) -> Operation:
    return next(each for each in operations[50:] if each.kind is Kind.WRITE and each.is_ok and each.machine == "kv")


def a_read(operations: list[Operation]) -> Operation:
    return next(each for each in operations[50:] if each.kind is Kind.READ and len(each.answer) > 2)


def an_opening(operations: list[Operation]) -> Operation:
    return next(each for each in operations if each.kind is Kind.OPEN and each.is_ok)


def lie(operation: Operation, **changes: Any) -> None:
    for name, value in changes.items():
        assert getattr(operation, name) != value
        setattr(operation, name, value)


LIES = {
    "another answer": lambda of: lie(a_write(of), answer=b"\x00\xcd\x7f\xff"),
    "another value read": lambda of: lie(a_read(of), answer=b"\x00\xc0"),
    "no such index": lambda of: lie(a_read(of), index=1_000_000),
    "before the first entry": lambda of: lie(a_write(of), index=0),
    "a later place": lambda of: lie(a_write(of), index=a_write(of).index + 1),
    "another term": lambda of: lie(a_write(of), term=2),
    "failed": lambda of: lie(a_write(of), ending=Ending.FAILED),
    "another batch": lambda of: lie(a_write(of), sequence=10_000),
    "another command": lambda of: lie(a_write(of), request=a_write(of).request + b"x"),
    "another machine": lambda of: lie(a_write(of), machine="scroll"),
    "another session": lambda of: lie(an_opening(of), session=10_000),
    "it was asked for later than that": lambda of: lie(a_write(of), invoked=10_000_000, returned=10_000_001),
    "it had ended before that": lambda of: lie(of[-1] if of[-1].is_ok else a_read(of), invoked=0, returned=1),
    "read later than that": lambda of: lie(a_read(of), invoked=10_000_000, returned=10_000_001),
}


@pytest.mark.parametrize("name", LIES)
def test_the_witness_sees_a_lie(truth: tuple[PretendedCluster, Workload], name: str) -> None:
    cluster, workload = truth
    operations = [msgspec.structs.replace(each) for each in workload.history.operations]
    LIES[name](operations)
    with pytest.raises(Violation, match="C1 does not hold"):
        Witness(operations, cluster.committed, mounted()).check()


def test_the_witness_sees_that_an_entry_is_missing(truth: tuple[PretendedCluster, Workload]) -> None:
    cluster, workload = truth
    place = next(each.index for each in workload.history.operations if each.kind is Kind.WRITE and each.is_ok)
    log = list(cluster.committed)
    log[place - 1] = msgspec.structs.replace(log[place - 1], kind=EntryKind.TICK, data=b"")
    with pytest.raises(Violation, match="C1"):
        Witness(workload.history.operations, log, mounted()).check()


def test_a_node_in_another_state_is_seen(truth: tuple[PretendedCluster, Workload]) -> None:
    cluster, workload = truth
    with pytest.raises(Violation, match="the machine kv of n2 is not in the state"):
        judge(workload.history.operations, cluster.committed, mounted(), states={"n2": mounted()})


def test_a_stale_read_may_lag_and_must_be_a_state_that_was(truth: tuple[PretendedCluster, Workload]) -> None:
    cluster, workload = truth
    operations = [msgspec.structs.replace(each) for each in workload.history.operations]
    late = a_read(operations)
    lie(late, kind=Kind.STALE, invoked=10_000_000, returned=10_000_001)
    Witness(operations, cluster.committed, mounted()).check()
    lie(late, answer=b"\x00\xc0")
    with pytest.raises(Violation, match="C1"):
        Witness(operations, cluster.committed, mounted()).check()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda tokens: tokens.append(tokens[0]), "twice"),
        (lambda tokens: tokens.pop(3), "is not in"),
        (lambda tokens: tokens.append(b"nobody's"), "nobody has asked"),
        (lambda tokens: tokens.reverse(), "asked for after place"),
    ],
)
def test_tokens_that_are_not_as_they_ought_to_be_are_seen(
    truth: tuple[PretendedCluster, Workload], change: Any, found: str
) -> None:
    cluster, workload = truth
    lists = {key: list(tokens) for key, tokens in cluster.lists.items()}
    change(lists[b"k1"])
    with pytest.raises(Violation, match=found):
        tokens.check(workload.history.operations, lists)
