"""The clients of a simulation: they open sessions, send batches and queries, ask again when they hear nothing, and note what they hear.

One kind of client asks for one thing after the other (closed loop). The other kind asks at moments of its own, whatever it waits
for (open loop): reads go out at once, and what it wants written meanwhile goes into one batch. Both have one batch under way
at a time, as a session demands.

A client may die; whoever takes its place knows nothing of it. It may lose patience, and goes on under the same session. It may be idle for so long that its session expires.
"""

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from zraft.codec import REPLY_KINDS, Codec
from zraft.errors import ProtocolError
from zraft.raft.types import NodeId
from zraft.requests import Answer, Batch, CloseSession, Commands, From, OpenSession, Queries, Reply
from zraft.simulation.asking import Asking
from zraft.simulation.dice import chance
from zraft.simulation.history import History, Kind, Operation
from zraft.simulation.timeline import STALE
from zraft.simulation.violation import Violation
from zraft.simulation.wishes import Wishes

if TYPE_CHECKING:
    from zraft.simulation.cluster import Simulation

WAITING_MAX = 32
"""Commands that a client of the open loop lets wait; more it does not ask for."""
ANYWHERE_SHARE = 0.2
"""Requests that go to whatever node comes to mind instead of the leader."""
SOURCES = (6, 3, 1)
"""How often queries are for the leader, for any node, and for whatever a node has."""
CLOSING_SHARE = 0.01
"""Batches after which a client ends its session, and begins another."""
_encode = msgspec.msgpack.Encoder().encode


class Workload:
    """All clients of a simulation.

    Parameters
    ----------
    simulation
        Where they live.

    Attributes
    ----------
    history : History
        What they did.
    """

    def __init__(self, simulation: "Simulation") -> None:
        self.simulation = simulation
        self.history = History()
        random = simulation.dice.of("wishes")
        self.wishes = Wishes(simulation.plan, random)
        self.opening = random.uniform(0, 1)
        """The share of clients of the open loop."""
        self.over = False
        """Nobody asks for anything new."""
        self.clients = [Client(self, number) for number in range(1, simulation.plan.clients + 1)]

    def start(self) -> None:
        """Let all clients begin."""
        for client in self.clients:
            client.think()

    def finish(self) -> None:
        """Ask for nothing new; what was asked for goes on until it is answered."""
        self.over = True

    @property
    def pending(self) -> int:
        """How many operations have not ended."""
        return self.history.pending


class Client:
    """One client, under one name after the other.

    Parameters
    ----------
    workload
        Whose history it writes.
    number
        Which one it is.
    """

    def __init__(self, workload: Workload, number: int) -> None:
        self._workload = workload
        self.simulation = workload.simulation
        self.random = self.simulation.dice.of(f"client/{number}")
        self._number = number
        self._lives = 0
        self._is_open = chance(self.random, workload.opening)
        self._faults = self.simulation.plan.faults
        self._begin()

    def _begin(self) -> None:
        """Begin a life: another name, no session, and no memory."""
        self._lives += 1
        name = f"c{self._number}.{self._lives}"
        self.name = name.encode()
        self.codec = Codec(self.simulation.cluster_id, name, self._lives)
        self.leader: NodeId | None = None
        """Who leads, as it was told last."""
        self._session = 0
        self._sequence = 0
        self._next_id = 0
        self._asked: dict[int, Asking] = {}
        """Requests under way, by the ids of their attempts."""
        self._waiting: deque[Operation] = deque()
        """Commands that are in no batch yet."""
        self._writing: Asking | None = None
        """What is under way under its session, or to get one."""
        self._thinking = False
        self.simulation.add_client(self.name, self._hearing(self._lives))

    @property
    def now(self) -> float:
        """True time, which is no more to a client than any clock that it has."""
        return self.simulation.now

    # -- asking --------------------------------------------------------------------------------------------------------

    def think(self) -> None:
        """Want something after a while."""
        if self._thinking or self._workload.over:
            return
        self._thinking = True
        plan, life = self.simulation.plan, self._lives
        delay = self.random.expovariate(1 / plan.client_think_ms)
        if self._strikes("client_idle"):
            delay += plan.session_ttl_ms * self.random.uniform(0.9, 2)

        def wish() -> Any:
            if life != self._lives or self._workload.over:
                return STALE
            self._thinking = False
            return self._wish()

        self.simulation.timeline.after(delay, wish)

    def _wish(self) -> None:
        kind, (machine, requests) = self._workload.wishes.next()
        if kind is Kind.READ:
            source = self.random.choices(list(From), SOURCES)[0]
            kind = Kind.STALE if source is From.STALE else kind
            operations = [self._invoke(kind, machine, request, place) for place, request in enumerate(requests)]
            self._ask(Queries(0, machine, requests, source), operations)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.extend(self._invoke(kind, machine, request) for request in requests)
            self._write()
        if self._is_open:
            self.think()

    def _invoke(self, kind: Kind, machine: str = "", request: bytes = b"", position: int = 0) -> Operation:
        history = self._workload.history
        operation = history.invoke(self.name, kind, self.now, machine=machine, request=request)
        operation.position = position
        return operation

    def _write(self) -> None:
        """Send the next batch, or get a session for it, unless one is under way."""
        if self._writing is not None or not self._waiting:
            return
        if not self._session:
            self._writing = self._ask(OpenSession(0), [self._invoke(Kind.OPEN)])
            return
        machine = self._waiting[0].machine
        operations: list[Operation] = []
        while self._waiting and self._waiting[0].machine == machine:
            operations.append(self._waiting.popleft())
        self._sequence += 1
        for position, operation in enumerate(operations):
            operation.session, operation.sequence, operation.position = self._session, self._sequence, position
        batch = Batch(self._session, self._sequence, machine, [operation.request for operation in operations])
        self._writing = self._ask(Commands(0), operations, _encode(batch))

    def _ask(self, message: msgspec.Struct, operations: list[Operation], batch: bytes | None = None) -> Asking:
        patience = float("inf")
        if self._strikes("client_gives_up"):
            # In half of the cases none at all: the first refusal is the last word, and must be true.
            patience = max(0.0, self.random.uniform(-5, 5)) * self.simulation.plan.client_timeout_ms
        asking = Asking(self, message, operations, batch=batch, patience_ms=patience)
        leads = self.leader is not None and asking.is_for_leader and not chance(self.random, ANYWHERE_SHARE)
        asking.send(self.leader if leads and self.leader is not None else self.some_node())
        if self._strikes("client_crash"):
            self._die_after(self.random.expovariate(1 / self.simulation.plan.client_timeout_ms))
        return asking

    def some_node(self) -> NodeId:
        """Return any node."""
        return self.random.choice(list(self.simulation.nodes))

    def new_id(self, asking: Asking) -> int:
        """Return the id of another attempt."""
        self._next_id += 1
        self._asked[self._next_id] = asking
        return self._next_id

    def _strikes(self, kind: str) -> bool:
        """Throw the dice for a fault of clients, and count it if it happens."""
        if self.simulation.healed or not chance(self.random, self._faults.get(kind, 0.0)):
            return False
        self.simulation.hits[kind] += 1
        return True

    # -- hearing -------------------------------------------------------------------------------------------------------

    def _hearing(self, life: int) -> Any:
        def deliver(frames: list[bytes]) -> None:
            if life == self._lives:
                self._hear(frames)

        return deliver

    def _hear(self, frames: list[bytes]) -> None:
        try:
            reply: Reply = self.codec.decode(frames, REPLY_KINDS).message
        except ProtocolError:
            return  # Damaged on its way; the attempt times out.
        asking = self._asked.get(reply.id)
        if asking is None:
            raise Violation("I20", f"{self.name.decode()} is answered {reply}, and has not asked")
        asking.answered(reply, self.simulation.places[self.name, frames[1]])

    def succeeded(self, asking: Asking, result: Any, place: tuple[int, int]) -> None:
        """Take a result: one answer for each operation, or the number of a session."""
        match asking.message:
            case OpenSession():
                asking.operations[0].session = self._session = result
                self._sequence = 0
                answers = [b""]
            case CloseSession():
                answers = [b""]
            case _:
                answers = result
        if len(answers) != len(asking.operations):
            raise Violation("I20", f"{len(asking.operations)} operations are answered by {answers}")
        history = self._workload.history
        for operation, answer in zip(asking.operations, answers, strict=True):
            if operation.machine and answer[0] == Answer.DEFERRED:
                history.lose(operation, self.now)
                continue
            history.succeed(operation, self.now, answer, *place)
            self._workload.wishes.saw(operation)
        self._ended(asking)

    def rejected(self, asking: Asking, reply: Reply) -> None:
        """Take it that a request can't succeed any more: its session is gone, or what it asks for is invalid."""
        if asking.operations[0].session == self._session:
            self._session = 0
        self._fail(asking)

    def gives_up(self, asking: Asking) -> None:
        """Take it that a request was asked for in vain for long enough."""
        self._fail(asking)

    def _fail(self, asking: Asking) -> None:
        """End a request without a result; whoever is certain that it did nothing says so.

        Nobody is where the network repeats messages: what was refused once may be on its way a second time.
        """
        repeats = "duplicate" in self._faults or "late_duplicate" in self._faults
        end = self._workload.history.lose if asking.open or repeats else self._workload.history.fail
        for operation in asking.operations:
            end(operation, self.now)
        self._ended(asking)

    def _ended(self, asking: Asking) -> None:
        asking.has_ended = True
        if asking is self._writing:
            self._writing = None
            if self._session and isinstance(asking.message, Commands) and chance(self.random, CLOSING_SHARE):
                self._close()
        self._write()
        if not self._waiting and self._writing is None:
            self.think()

    def _close(self) -> None:
        session, self._session = self._session, 0
        operation = self._invoke(Kind.CLOSE)
        operation.session = session
        self._writing = self._ask(CloseSession(0, session), [operation])

    # -- dying ---------------------------------------------------------------------------------------------------------

    def _die_after(self, delay_ms: float) -> None:
        life = self._lives

        def die() -> Any:
            if life != self._lives:
                return STALE
            return self._die()

        self.simulation.timeline.after(delay_ms, die)

    def _die(self) -> None:
        history = self._workload.history
        for asking in dict.fromkeys(self._asked.values()):
            if not asking.has_ended:
                asking.has_ended = True
                for operation in asking.operations:
                    history.lose(operation, self.now)
        for operation in self._waiting:
            history.fail(operation, self.now)
        self._begin()
        self.think()
