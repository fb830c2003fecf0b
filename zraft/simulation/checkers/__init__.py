"""The checkers, who ask whether clients saw one system that never forgets and does everything once.

Three of them, which know different things and share no code with what they check: `witness` has the log, `linearizability`
nothing but the operations on one key, `tokens` nothing but what nodes have in the end. Read `models` for what a key may do,
`replay` for what a log ought to bring about.
"""

from collections.abc import Mapping, Sequence

import msgspec

from zraft.machines.machine import StateMachine
from zraft.raft.types import Entry, NodeId
from zraft.simulation import scroll
from zraft.simulation.checkers import linearizability, tokens
from zraft.simulation.checkers.linearizability import Verdict
from zraft.simulation.checkers.models import by_key
from zraft.simulation.checkers.witness import Witness, shown
from zraft.simulation.history import Operation
from zraft.simulation.violation import Violation

States = Mapping[NodeId, Mapping[str, StateMachine]]
"""The machines of each node, by name."""


class Judgement(msgspec.Struct, frozen=True):
    """What the checkers found right."""

    operations: int
    """Operations of clients, those that never ended included."""
    both: int
    """How many of them both the witness and the linearizability checker have judged."""
    keys: int
    """Keys whose operations are linearizable."""
    undecided: int
    """Keys at which the search gave up; they count for nothing."""
    tokens: int
    """Tokens found as often as they ought to be."""


def judge(
    operations: Sequence[Operation],
    log: Sequence[Entry],
    machines: Mapping[str, StateMachine],
    *,
    states: States | None = None,
) -> Judgement:
    """Judge a history.

    Parameters
    ----------
    operations
        The history.
    log
        All that was committed, from index 1 on.
    machines
        Fresh ones, by name; they are used up.
    states
        The machines of all nodes that have applied all of `log`.

    Raises
    ------
    Violation
        C1, C2 or C3 does not hold.
    """
    witness = Witness(operations, log, machines)
    witness.check()
    calls = by_key(operations, witness.places)
    verdicts = {}
    for (machine, key), each in calls.items():
        verdicts[machine, key] = verdict = linearizability.judge(each)
        if verdict is Verdict.ILLEGAL:
            found = shown(linearizability.culprit(each).operation)
            raise Violation("C2", f"on {key!r} of {machine} there is no order from this on: {found}")
    legal = [key for key, verdict in verdicts.items() if verdict is Verdict.LEGAL]
    return Judgement(
        operations=len(operations),
        both=sum(len(calls[key]) for key in legal),
        keys=len(legal),
        undecided=len(verdicts) - len(legal),
        tokens=_ended_alike(operations, witness, states or {}),
    )


def _ended_alike(operations: Sequence[Operation], witness: Witness, states: States) -> int:
    """Check the state in which nodes are; return how many tokens each must have."""
    expected = {name: b"".join(machine.snapshot()) for name, machine in witness.machines.items()}
    for node, machines in states.items():
        for name, snapshot in expected.items():
            if b"".join(machines[name].snapshot()) != snapshot:
                raise Violation("C1", f"the machine {name} of {node} is not in the state to which the log leads")
    lists = [machines[scroll.MACHINE] for machines in states.values()] or [witness.machines[scroll.MACHINE]]
    count = 0
    for each in lists:
        assert isinstance(each, scroll.Scroll), "another machine has taken the scroll's name"
        count = tokens.check(operations, each.lists)
    return count
