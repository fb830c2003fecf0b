"""The index witness: everything that clients were told is held against a replay of the committed log, in linear time.

===========  =============================================================================================================
answers      What was answered is what the replay answers at that place.
once         What succeeded is in the log, what failed is not, and nothing is there that no client has asked for.
real time    What returned before something else was invoked stands before it: a read sees it, a write comes behind it.
place        Each answer bears the index and term of an entry of the log; that to a command, of one which is that command.
===========  =============================================================================================================

It needs more than a linearizability checker does, the log and an index for each answer, and so decides what that one cannot:
several keys and machines at once, thousands of operations on each.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from zraft.machines.machine import StateMachine
from zraft.raft.types import Entry, EntryKind
from zraft.requests import Batch, SessionChange
from zraft.simulation.checkers.replay import OWN_SESSION, Outcome, Replay
from zraft.simulation.history import Ending, Kind, Operation
from zraft.simulation.violation import Violation

NUMBER = "C1"
_READS = (Kind.READ, Kind.STALE)
_decode_change = msgspec.msgpack.Decoder(SessionChange).decode
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
Place = tuple[int, int]
"""Where something happened: an index of the log, and a place in that entry."""


class Witness:
    """One history beside its log.

    Parameters
    ----------
    operations
        The history.
    log
        All that was committed, from index 1 on.
    machines
        Fresh, by name.

    Attributes
    ----------
    places : dict
        Where each operation happened, by its number; without those that did not. Complete once `check` has returned.
    machines : mapping
        The machines; as all nodes must have them in the end, once `check` has returned.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        log: Sequence[Entry],
        machines: Mapping[str, StateMachine],
    ) -> None:
        self._operations = operations
        self._log = log
        self._replay = Replay(log, machines)
        self.machines = machines
        self.places: dict[int, Place] = {}
        self._batches: defaultdict[tuple[int, int], list[Operation]] = defaultdict(list)
        """The commands of each batch, by session and sequence."""
        self._reads: defaultdict[int, list[Operation]] = defaultdict(list)
        """The queries that were answered behind each index."""

    def check(self) -> None:
        """Check everything.

        Raises
        ------
        Violation
            Something is not as it must be; the first thing found.
        """
        for number, entry in enumerate(self._log, 1):
            assert entry.index == number, f"entry {entry.index} stands at place {number} of the log"
        for operation in self._operations:
            self._sort_in(operation)
        self._answer(self._reads.get(0, []))
        for outcome in self._replay.outcomes():
            if outcome.answers is not None and outcome.batch is not None and outcome.batch.session != OWN_SESSION:
                self._carried_out(outcome, outcome.batch)
            self._answer(self._reads.get(outcome.entry.index, []))
        for operation in self._operations:
            if operation.kind is Kind.WRITE and operation.is_ok and operation.number not in self.places:
                raise _violation(operation, "it is not in the log, or was not carried out there")
        self._in_real_time()

    def _sort_in(self, operation: Operation) -> None:
        if operation.kind is Kind.WRITE:
            self._batches[operation.session, operation.sequence].append(operation)
        if not operation.is_ok:
            return
        self._stands_where_it_says(operation)
        if operation.kind in _READS:
            self._reads[operation.index].append(operation)
        elif operation.kind is not Kind.WRITE:
            self.places[operation.number] = (operation.index, 0)

    def _stands_where_it_says(self, operation: Operation) -> None:
        """Check that an answer bears the index and term of an entry, and to whatever writes, of the right one."""
        if not 0 <= operation.index <= len(self._log):
            raise _violation(operation, f"the log ends at {len(self._log)}")
        if not operation.index:
            if operation.writes:
                raise _violation(operation, "it was answered before there was any entry")
            return
        entry = self._log[operation.index - 1]
        if entry.term != operation.term:
            raise _violation(operation, f"entry {entry.index} is of term {entry.term}")
        if operation.kind is Kind.WRITE and not _is_batch(entry, operation):
            raise _violation(operation, f"entry {entry.index} is not its batch")
        if operation.kind is Kind.OPEN and not _opens(entry, operation):
            raise _violation(operation, f"entry {entry.index} does not open that session")
        if operation.kind is Kind.CLOSE and not _closes(entry, operation):
            raise _violation(operation, f"entry {entry.index} does not end that session")

    def _carried_out(self, outcome: Outcome, batch: Batch) -> None:
        """Compare a batch that is carried out here for the first time, and so for the last."""
        index = outcome.entry.index
        asked = self._batches.get((batch.session, batch.sequence), [])
        if [operation.request for operation in asked] != batch.commands:
            raise Violation(NUMBER, f"entry {index} is a batch that nobody has asked for: {batch}")
        for operation, answer in zip(asked, outcome.answers or [], strict=True):
            self.places[operation.number] = (index, operation.position)
            if operation.machine != batch.machine:
                raise _violation(operation, f"entry {index} gives it to the machine {batch.machine}")
            if operation.ending is Ending.FAILED:
                raise _violation(operation, f"it was carried out at {index}")
            if operation.is_ok and operation.answer != answer:
                raise _violation(operation, f"the answer at {index} is {answer!r}")
            if operation.is_ok and operation.index < index:
                raise _violation(operation, f"it was answered before it was carried out at {index}")

    def _answer(self, reads: list[Operation]) -> None:
        """Compare what was read from the state as it is now."""
        for read in reads:
            self.places[read.number] = (read.index, read.position)
            answer = self._replay.query(read.machine, read.request)
            if answer != read.answer:
                raise _violation(read, f"the answer there is {answer!r}")

    def _in_real_time(self) -> None:
        """Check that whatever had returned when an operation was invoked stands before it."""
        events = [(each.invoked, each, False) for each in self._operations if each.number in self.places]
        events += [(each.returned, each, True) for each in self._operations if each.is_ok and each.returned is not None]
        events.sort(key=lambda event: event[0])
        newest: Operation | None = None
        floor = 0
        """The highest index among all that has returned: `newest` has it."""
        for _, operation, returns in events:
            index = self.places[operation.number][0]
            if returns and index > floor:
                floor, newest = index, operation
            elif not returns and newest is not None and _comes_too_early(operation, index, floor):
                raise _violation(operation, f"it happened at {index}, though this had returned before: {shown(newest)}")


def _comes_too_early(operation: Operation, index: int, floor: int) -> bool:
    if operation.kind is Kind.STALE:
        return False
    return index <= floor if operation.writes else index < floor


def _is_batch(entry: Entry, operation: Operation) -> bool:
    if entry.kind != EntryKind.COMMAND:
        return False
    batch = _decode_batch(entry.data)
    return (batch.session, batch.sequence) == (operation.session, operation.sequence)


def _opens(entry: Entry, operation: Operation) -> bool:
    return (
        entry.kind == EntryKind.SESSION and not _decode_change(entry.data).closes and operation.session == entry.index
    )


def _closes(entry: Entry, operation: Operation) -> bool:
    return entry.kind == EntryKind.SESSION and _decode_change(entry.data).closes == operation.session


def _violation(operation: Operation, why: str) -> Violation:
    return Violation(NUMBER, f"{shown(operation)}: {why}")


def shown(operation: Operation) -> str:
    """Return an operation for people, on one line."""
    what = f"{operation.kind.value} of {operation.client.decode(errors='backslashreplace')}"
    batch = f" batch {operation.session}/{operation.sequence}.{operation.position}" if operation.sequence else ""
    place = f" at {operation.index}@{operation.term} answered {operation.answer!r}" if operation.is_ok else ""
    when = f"{operation.invoked_ms:.3f} ms"
    return f"#{operation.number} {what}{batch} {operation.machine} {operation.request!r} ({when}) {operation.ending.value}{place}"
