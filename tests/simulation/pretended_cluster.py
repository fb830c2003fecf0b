"""What clients of a simulation see of one, served by a single process that can be told to do wrong."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from zraft.codec import REQUEST_KINDS, Codec
from zraft.errors import ProtocolError
from zraft.machines.sessions import Machines, Result
from zraft.raft.types import Entry, EntryKind
from zraft.requests import Batch, CloseSession, Commands, OpenSession, Outcome, Queries, Reply
from zraft.simulation.dice import Dice, chance
from zraft.simulation.machines import mounted
from zraft.simulation.plan import Plan
from zraft.simulation.scroll import Scroll
from zraft.simulation.timeline import Timeline

LEADER, OTHER = "n1", "n2"
BUG_SHARE = 0.1
BUGS = {
    "lost": "a batch is answered, and neither in the log nor in the state",
    "twice": "the commands of a batch are carried out twice",
    "retried": "what a client repeats is carried out again",
    "stale": "a query is answered from an older state, which says so",
    "stale, and silent": "a query is answered from an older state, which passes for the newest",
    "too early": "a batch is answered as if it had been carried out, and is later",
    "displaced": "an answer is given to another batch",
    "invented": "a batch is in the log that nobody has asked for",
    "refused, and done": "a client is refused, and what it asked for is done",
}
"""What may be wrong with a system, from outside."""


class PretendedCluster:
    """A cluster of two names; behind both is one state. See `zraft.simulation.cluster.Simulation`.

    Parameters
    ----------
    plan
        What clients it has.
    bug
        One of `BUGS`, or nothing.
    loss
        Messages, of a hundred, that get lost in either direction; as many are delivered twice if the plan says so.
    """

    def __init__(self, plan: Plan, *, bug: str = "", loss: int = 0) -> None:
        self.plan, self._bug, self._loss = plan, bug, loss / 100
        self.cluster_id = 7
        self.dice = Dice(plan.seed)
        self.timeline = Timeline()
        self.hits: Counter[str] = Counter()
        self.places: dict[tuple[bytes, bytes], tuple[int, int]] = {}
        self.nodes = {LEADER: None, OTHER: None}
        self.healed = False
        self.committed: list[Entry] = []
        self.mounted = mounted(plan.machine)
        self.machines = Machines(self.mounted, ttl_ms=plan.session_ttl_ms)
        self.requests: list[tuple[bytes, str, Any, Batch | None]] = []
        """All that arrived: client, node, request, batch."""
        self.wrong = 0
        """How often the bug has struck."""
        self._random = self.dice.of("pretended")
        self._clients: dict[bytes, Callable[[list[bytes]], None]] = {}
        self._codecs = {node: Codec(self.cluster_id, node, 1) for node in self.nodes}
        self._older = Machines(mounted(plan.machine))
        self._given: list[bytes] | None = None
        """What the batch before was answered."""

    @property
    def now(self) -> float:
        return self.timeline.now

    @property
    def lists(self) -> dict[bytes, list[bytes]]:
        scroll = self.mounted["scroll"]
        assert isinstance(scroll, Scroll)
        return scroll.lists

    def run(self, until: float) -> None:
        while self.timeline.next_at <= until:
            self.timeline.step()

    # -- the network ---------------------------------------------------------------------------------------------------

    def add_client(self, name: bytes, deliver: Callable[[list[bytes]], None]) -> None:
        self._clients[name] = deliver

    def request(self, client: bytes, node: str, frames: list[bytes]) -> None:
        self._send(lambda: self._arrive(client, node, frames))

    def _send(self, arrive: Callable[[], None]) -> None:
        copies = 2 if "duplicate" in self.plan.faults and chance(self._random, self._loss) else 1
        for _ in range(copies):
            if not chance(self._random, self._loss):
                self.timeline.after(self._random.uniform(0.5, 3), arrive)

    def _reply(self, client: bytes, node: str, reply: Reply) -> None:
        frames = self._codecs[node].encode(reply)
        self.places[client, frames[1]] = self.machines.term, self.machines.index
        self._send(lambda: self._clients[client](frames))

    def damaged(self, client: bytes) -> None:
        """Let something arrive at a client that is no reply."""
        self._clients[client]([b"zR", b"nonsense"])

    def unasked(self, client: bytes) -> None:
        """Let a reply arrive at a client that has not asked."""
        self._clients[client](self._codecs[LEADER].encode(Reply(1_000_000, Outcome.DONE, [])))

    # -- the server ----------------------------------------------------------------------------------------------------

    def _arrive(self, client: bytes, node: str, frames: list[bytes]) -> None:
        try:
            received = self._codecs[node].decode(frames, REQUEST_KINDS)
        except ProtocolError as error:
            raise AssertionError(f"a client has sent {frames}") from error
        request = received.message
        batch = None if received.batch is None else msgspec.msgpack.decode(received.batch, type=Batch)
        self.requests.append((client, node, request, batch))
        if node != LEADER:
            self._reply(client, node, Reply(request.id, Outcome.REFUSED, None, LEADER, "n1 leads"))
            return
        match request:
            case Commands():
                assert received.batch is not None and batch is not None
                self._commands(client, request.id, received.batch, batch)
            case Queries():
                self._queries(client, request)
            case OpenSession():
                self._answer(client, request.id, self._append(EntryKind.SESSION, self._session_change(0)))
            case CloseSession():
                self._answer(client, request.id, self._append(EntryKind.SESSION, self._session_change(request.session)))

    def _answer(self, client: bytes, id: int, result: Result) -> None:
        self._reply(client, LEADER, Reply(id, result.outcome, result.value, LEADER, result.message))

    def _session_change(self, closes: int) -> bytes:
        return msgspec.msgpack.encode(self.machines.session_change(closes))

    def _append(self, kind: EntryKind, data: bytes) -> Result:
        if chance(self._random, 0.05):
            self._older.restore(self.machines.snapshot())
        entry = Entry(1, len(self.committed) + 1, kind, int(self.now), data)
        self.committed.append(entry)
        return self.machines.apply(entry)

    def _strikes(self, bug: str) -> bool:
        if self._bug != bug or not chance(self._random, BUG_SHARE):
            return False
        self.wrong += 1
        return True

    def _commands(self, client: bytes, id: int, data: bytes, batch: Batch) -> None:
        if self._strikes("too early"):
            self._answer(client, id, Result(Outcome.DONE, self._tried(data).value))
            self.timeline.after(200, lambda: self._append(EntryKind.COMMAND, data))
        elif self._strikes("lost"):
            self._answer(client, id, self._tried(data))
        elif self._strikes("refused, and done"):
            self._append(EntryKind.COMMAND, data)
            self._answer(client, id, Result(Outcome.SESSION_EXPIRED))
        else:
            self._carry_out(client, id, data, batch)

    def _carry_out(self, client: bytes, id: int, data: bytes, batch: Batch) -> None:
        known = [each for each in self.machines.sessions if each.number == batch.session]
        if self._bug == "retried" and known and known[0].sequence == batch.sequence:
            known[0].sequence = 0
            self.wrong += 1
        if self._strikes("invented"):
            session = self._append(EntryKind.SESSION, self._session_change(0)).value
            invented = Batch(session, 1, batch.machine, batch.commands)  # type: ignore[arg-type]
            self._append(EntryKind.COMMAND, msgspec.msgpack.encode(invented))
        result = self._append(EntryKind.COMMAND, data)
        if result.outcome == Outcome.DONE and self._strikes("twice"):
            for command in batch.commands:
                self.mounted[batch.machine].apply(command, None)  # type: ignore[arg-type]
        given, self._given = self._given, result.value if isinstance(result.value, list) else None
        if (
            given is not None
            and given != result.value
            and len(given) == len(batch.commands)
            and self._strikes("displaced")
        ):
            result = Result(Outcome.DONE, given)
        self._answer(client, id, result)

    def _tried(self, data: bytes) -> Result:
        """Return what a batch would be answered, and leave everything as it is."""
        other = Machines(mounted(self.plan.machine))
        other.restore(self.machines.snapshot())
        return other.apply(Entry(1, other.index + 1, EntryKind.COMMAND, int(self.now), data))

    def _queries(self, client: bytes, request: Queries) -> None:
        silent = self._strikes("stale, and silent")
        if not silent and not self._strikes("stale"):
            self._answer(client, request.id, self.machines.query_all(request.machine, request.queries))
            return
        result = self._older.query_all(request.machine, request.queries)
        reply = Reply(request.id, result.outcome, result.value, LEADER, result.message)
        frames = self._codecs[LEADER].encode(reply)
        stood = self.machines if silent else self._older
        self.places[client, frames[1]] = stood.term, stood.index
        self._send(lambda: self._clients[client](frames))
