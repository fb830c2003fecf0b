"""What clients did and what came of it: the only thing, besides the committed log, that the checkers believe.

Time is a count of what clients noticed: each invocation and each return has a stamp of its own, so that of any two it is certain
which came first. Only clients write here, and only what they saw: no operation knows what truly became of it.
"""

from enum import Enum

import msgspec


class Kind(Enum):
    """What an operation is to the checkers."""

    OPEN = "open"
    """Registers a session; its answer is the session's number, and `Operation.session` too."""
    CLOSE = "close"
    """Ends a session."""
    WRITE = "write"
    """One command of a batch."""
    READ = "read"
    """One linearizable query."""
    STALE = "stale"
    """One query of whatever state a node has: it may lag, and must be some state that was."""


class Ending(Enum):
    """What a client knows of how its operation ended."""

    PENDING = "pending"
    """It has not ended. To a checker the same as `UNKNOWN`."""
    OK = "ok"
    """It took effect, once, between `invoked` and `returned`; `answer` and `index` say how and where."""
    FAILED = "failed"
    """It took no effect, and never will."""
    UNKNOWN = "unknown"
    """It may take effect, once, at any time after `invoked`, or never."""


class Operation(msgspec.Struct):
    """One thing that a client wanted: a session, a command, a query."""

    number: int
    """Its place in the history."""
    client: bytes
    kind: Kind
    invoked: int
    """Stamp of its invocation."""
    machine: str = ""
    """The machine that it concerns; empty for sessions."""
    request: bytes = b""
    """The command or query, as the machine takes it."""
    session: int = 0
    sequence: int = 0
    """The batch of that session that a command travels in."""
    position: int = 0
    """Its place in that batch, or in that request for queries."""
    ending: Ending = Ending.PENDING
    returned: int | None = None
    """Stamp of its return; None while it is pending, and for one that ended as UNKNOWN."""
    answer: bytes = b""
    """What came back when it is OK: a `requests.Answer`, and what belongs to it."""
    index: int = 0
    """The last entry that the answering node had applied when it answered, if it is OK."""
    term: int = 0
    """The term of that entry."""
    invoked_ms: float = 0.0
    """For people, as all times are."""
    returned_ms: float = 0.0

    @property
    def is_ok(self) -> bool:
        """Whether its client knows that it took effect."""
        return self.ending is Ending.OK

    @property
    def writes(self) -> bool:
        """Whether it has an entry in the log, if it took effect."""
        return self.kind in (Kind.OPEN, Kind.CLOSE, Kind.WRITE)


class History:
    """All operations of all clients, in the order of their invocation.

    Attributes
    ----------
    operations : list of Operation
        Each one's `number` is its place here.
    pending : int
        How many have not ended.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.pending = 0
        self._stamp = 0

    def invoke(
        self,
        client: bytes,
        kind: Kind,
        now_ms: float,
        *,
        machine: str = "",
        request: bytes = b"",
        session: int = 0,
    ) -> Operation:
        """Note that a client wants something from now on, and return what became of it so far."""
        self._stamp += 1
        operation = Operation(
            len(self.operations),
            client,
            kind,
            self._stamp,
            machine,
            request,
            session=session,
            invoked_ms=now_ms,
        )
        self.operations.append(operation)
        self.pending += 1
        return operation

    def succeed(self, operation: Operation, now_ms: float, answer: bytes, term: int, index: int) -> None:
        """Note the answer to an operation, and where the answering node stood."""
        operation.answer, operation.term, operation.index = answer, term, index
        self._end(operation, Ending.OK, now_ms)

    def fail(self, operation: Operation, now_ms: float) -> None:
        """Note that an operation took no effect and never will."""
        self._end(operation, Ending.FAILED, now_ms)

    def lose(self, operation: Operation, now_ms: float) -> None:
        """Note that nobody will ever know what became of an operation."""
        self._end(operation, Ending.UNKNOWN, now_ms)

    def _end(self, operation: Operation, ending: Ending, now_ms: float) -> None:
        assert operation.ending is Ending.PENDING, f"operation {operation.number} has ended already: {operation}"
        operation.ending, operation.returned_ms = ending, now_ms
        self.pending -= 1
        if ending is not Ending.UNKNOWN:
            self._stamp += 1
            operation.returned = self._stamp
