"""What came of one simulation, as plain data: it crosses from one process to another, and is what `--json` prints."""

import msgspec


class Report(msgspec.Struct, frozen=True):
    """One seed."""

    seed: int
    events: int = 0
    """Things that happened: messages, turns, syncs, faults, what clients did."""
    virtual_ms: float = 0.0
    """How long it took, in the time that was simulated."""
    trace: str = ""
    """The hash over everything that happened."""
    hits: dict[str, int] = {}
    """How often each kind of fault happened."""
    checked: dict[str, int] = {}
    """How often each invariant was checked."""
    operations: int = 0
    """What clients asked for."""
    judged: int = 0
    """How much of that two checkers have judged."""
    undecided: int = 0
    """Keys whose operations were too many for the linearizability checker."""
    violation: str = ""
    """What does not hold, on one line; empty when everything holds."""
    broken: str = ""
    """The number of the invariant that does not hold; the type of an exception that was raised instead."""
    where: str = ""
    """Where that exception was raised, if it was one."""
