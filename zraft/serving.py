"""What clients wait for at one node: commands until they are applied, reads until they are confirmed and their index applied.

Every request ends in exactly one reply, or in none when the reply is lost; then the client asks again under the same
session and sequence, and gets what the first application gave.

How much may wait is bounded in every respect, so that no client can fill a node's memory, nor make whoever comes after it wait for
long: what is too much is refused as by a node that does not lead, and clients come back with it later.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from zraft.admissions import Admissions
from zraft.copies import Copies
from zraft.machines.sessions import Machines, Result
from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.ready import ReadReady
from zraft.raft.types import Endpoints, Entry, EntryId, EntryKind, Index, NodeId
from zraft.requests import (
    BATCH_BYTES_MAX,
    CALLS_MAX,
    Batch,
    CloseSession,
    Commands,
    From,
    MembershipChange,
    MembersRequest,
    OpenSession,
    Outcome,
    Queries,
    Reply,
    TransferRequest,
)
from zraft.seams import Network
from zraft.statepieces import CopyState

ANSWERING_MS_MAX = 20
"""How long one turn may answer reads, so that no heartbeat waits for longer."""
REQUESTS_MAX = 16_384
"""Requests that wait at one node."""
COMMANDS_MAX = 262_144
"""Commands that wait in all batches together; of their bytes the core keeps account, with all else that is not committed."""
QUERIES_MAX, QUERIES_BYTES_MAX = 262_144, 64 << 20
"""Queries that wait, and their bytes."""
SESSION_BATCHES_MAX = 64
"""Batches of one session that wait. A client has one under way, and repeats it when it hears nothing."""
_encode = msgspec.msgpack.Encoder().encode


class _Proposed(Batch, frozen=True):
    """A batch as it may come in at the door.

    The log takes any batch, so that all nodes read it alike whatever their limits; what is too much for one turn must
    therefore never get into it.
    """

    session: Annotated[int, msgspec.Meta(ge=1)]
    """Session 0 is the cluster's own."""
    machine: Annotated[str, msgspec.Meta(max_length=64)]
    commands: Annotated[list[bytes], msgspec.Meta(max_length=CALLS_MAX)]


_decode_batch = msgspec.msgpack.Decoder(_Proposed).decode


class _Proposal(msgspec.Struct, frozen=True):
    """An entry in the log that a client waits for."""

    id: EntryId
    client: bytes
    request: int
    batch: Batch | None
    """What the entry's data says, decoded when it was checked at the door."""


class _Read(msgspec.Struct, frozen=True):
    """Queries that wait for a heartbeat round, and then for their index."""

    client: bytes
    asked: Queries
    led: bool
    """Whether this node led when it took them; if not, the core says what becomes of them (`reads_lost`)."""


class Serving:
    """The requests under way at one node.

    Parameters
    ----------
    raft
        The node's core.
    machines
        The replicated state: sessions and machines.
    network
        Where replies leave.
    endpoints
        Where everybody is reached who takes part now.
    """

    def __init__(
        self,
        raft: Raft,
        machines: Machines,
        network: Network,
        endpoints: Callable[[], Mapping[NodeId, Endpoints]] = dict,
    ) -> None:
        self._raft = raft
        self._machines = machines
        self._network = network
        self._proposals: dict[Index, _Proposal] = {}
        self._reads: dict[int, _Read] = {}
        self._confirmed: deque[tuple[Index, _Read]] = deque()
        self._commands_waiting = 0
        self._batches_waiting: Counter[int] = Counter()
        """By session."""
        self._queries_waiting = 0
        self._query_bytes_waiting = 0
        self._next_context = 1
        self._admissions = Admissions(raft, network, endpoints)
        """Requests about the membership."""
        self._copies = Copies(raft, machines, network)
        """Copies of the whole state under way."""

    @property
    def count(self) -> int:
        """How many requests wait."""
        return (
            len(self._proposals) + len(self._reads) + len(self._confirmed) + self._admissions.count + self._copies.count
        )

    def request(self, client: bytes, request: Any, batch: bytes | None, now: float) -> None:
        """Take a request that concerns the replicated state, or leadership."""
        match request:
            case Commands():
                self._commands(client, request, batch or b"", now)
            case Queries():
                self._queries(client, request, now)
            case OpenSession():
                self._session_change(client, request.id, 0, now)
            case CloseSession():
                if request.session:
                    self._session_change(client, request.id, request.session, now)
                else:
                    self._refuse(client, request.id, Outcome.INVALID, "no session has the number 0")
            case TransferRequest():
                self._transfer(client, request, now)
            case MembersRequest() | MembershipChange():
                self._admissions.request(client, request, now)
            case CopyState():
                self._copies.request(client, request, now)

    def applied(self, entry: Entry, result: Result) -> None:
        """Answer whoever waits for `entry`, now that it is applied."""
        self._admissions.applied(entry)
        proposal = self._proposals.pop(entry.index, None)
        if proposal is None:
            return
        if proposal.batch is not None:
            self._count_batch(proposal.batch, -1)
        if proposal.id != entry.id:
            self._refuse(proposal.client, proposal.request, Outcome.UNKNOWN, "another leader's entry took its place")
            return
        reply = Reply(proposal.request, result.outcome, result.value, self._raft.leader, result.message)
        self._network.reply(proposal.client, reply)

    def batch_of(self, entry: Entry) -> Batch | None:
        """Return the decoded batch of an entry that was proposed here, so that it is decoded once."""
        proposal = self._proposals.get(entry.index)
        return proposal.batch if proposal is not None and proposal.id == entry.id else None

    def confirmed(self, reads: list[ReadReady]) -> None:
        """Take reads that a round has confirmed."""
        for read in self._admissions.confirmed(self._copies.confirmed(reads)):
            self._confirmed.append((read.index, self._reads.pop(read.context)))

    def answer_reads(self, now_ms: Callable[[], float]) -> bool:
        """Answer the confirmed reads whose index is applied, for a bounded time; True when more could be at once."""
        self._copies.proceed(now_ms())
        if not self._confirmed:
            return False
        until = now_ms() + ANSWERING_MS_MAX
        while self._confirmed and self._confirmed[0][0] <= self._raft.log.last_applied:  # Indices rise along the queue.
            if now_ms() > until:
                return True
            _, read = self._confirmed.popleft()
            self._count_queries(read.asked, -1)
            asked = read.asked
            result = self._machines.query_all(asked.machine, asked.queries)
            self._network.reply(
                read.client, Reply(asked.id, result.outcome, result.value, self._raft.leader, result.message)
            )
        return False

    def reads_lost(self, contexts: list[int]) -> None:
        """Refuse reads that this node took as a follower and cannot answer: its leader is another by now."""
        for context in self._copies.reads_lost(contexts):
            read = self._reads.pop(context)
            self._count_queries(read.asked, -1)
            self._refuse(read.client, read.asked.id, Outcome.REFUSED, "leadership moved")

    def leadership_lost(self) -> None:
        """Tell everybody who waits that this node can't finish it: reads never happened, commands may yet commit."""
        self._admissions.leadership_lost()
        self._copies.leadership_lost()
        proposals, self._proposals = self._proposals, {}
        self._commands_waiting = 0
        self._batches_waiting.clear()
        for proposal in proposals.values():
            self._refuse(proposal.client, proposal.request, Outcome.UNKNOWN, "leadership moved while it was under way")
        reads = {context: read for context, read in self._reads.items() if read.led}
        for context, read in reads.items():
            del self._reads[context]
            self._count_queries(read.asked, -1)
            self._refuse(read.client, read.asked.id, Outcome.REFUSED, "leadership moved")

    def _commands(self, client: bytes, request: Commands, data: bytes, now: float) -> None:
        if len(data) > BATCH_BYTES_MAX:
            self._refuse(
                client, request.id, Outcome.INVALID, f"a batch of {len(data)} bytes; {BATCH_BYTES_MAX} at most"
            )
            return
        try:
            batch = _decode_batch(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._refuse(client, request.id, Outcome.INVALID, f"not a batch of commands: {error}")
            return
        if not self._machines.has(batch.machine):
            self._refuse(client, request.id, Outcome.INVALID, f"no machine {batch.machine!r} is mounted")
            return
        self._propose(client, request.id, EntryKind.COMMAND, data, now, batch=batch)

    def _session_change(self, client: bytes, request: int, closes: int, now: float) -> None:
        self._propose(client, request, EntryKind.SESSION, _encode(self._machines.session_change(closes)), now)

    def _propose(
        self, client: bytes, request: int, kind: EntryKind, data: bytes, now: float, *, batch: Batch | None = None
    ) -> None:
        too_much = self._too_much(batch)
        if too_much:
            self._refuse(client, request, Outcome.REFUSED, too_much)
            return
        id = self._raft.propose(kind, data, now)
        if id is None:
            self._refuse(client, request, Outcome.REFUSED, "this node does not lead, or is handing over")
            return
        self._proposals[id.index] = _Proposal(id, client, request, batch)
        if batch is not None:
            self._count_batch(batch, 1)

    def _too_much(self, batch: Batch | None) -> str:
        """Say why there is no room for another proposal; nothing when there is."""
        if self.count >= REQUESTS_MAX:
            return f"busy: {self.count:,} requests wait already"
        if batch is None:
            return ""
        if self._commands_waiting + len(batch.commands) > COMMANDS_MAX:
            return f"busy: {self._commands_waiting:,} commands wait already"
        if self._batches_waiting[batch.session] >= SESSION_BATCHES_MAX:
            return f"busy: {SESSION_BATCHES_MAX} batches of session {batch.session} wait already"
        return ""

    def _count_batch(self, batch: Batch, one: int) -> None:
        self._commands_waiting += one * len(batch.commands)
        self._batches_waiting[batch.session] += one
        if not self._batches_waiting[batch.session]:
            del self._batches_waiting[batch.session]

    def _queries(self, client: bytes, request: Queries, now: float) -> None:
        context = self._next_context
        size = sum(map(len, request.queries))
        if (
            self.count >= REQUESTS_MAX
            or self._queries_waiting + len(request.queries) > QUERIES_MAX
            or self._query_bytes_waiting + size > QUERIES_BYTES_MAX
        ):
            why = f"busy: {self.count:,} requests with {self._queries_waiting:,} queries wait already"
            self._refuse(client, request.id, Outcome.REFUSED, why)
        elif request.source == From.STALE:
            self._confirmed.appendleft(
                (0, _Read(client, request, False))
            )  # From whatever is applied: no index to wait for.
            self._count_queries(request, 1)
        elif self._raft.read_index(context, now, follower=request.source == From.ANY):
            self._next_context += 1
            self._reads[context] = _Read(client, request, isinstance(self._raft.role, Leader))
            self._count_queries(request, 1)
        else:
            why = "this node knows no leader" if request.source == From.ANY else "this node does not lead"
            self._refuse(client, request.id, Outcome.REFUSED, why)

    def _count_queries(self, asked: Queries, one: int) -> None:
        self._queries_waiting += one * len(asked.queries)
        self._query_bytes_waiting += one * sum(map(len, asked.queries))

    def _transfer(self, client: bytes, request: TransferRequest, now: float) -> None:
        role = self._raft.role
        if not isinstance(role, Leader):
            self._refuse(client, request.id, Outcome.REFUSED, "this node does not lead")
            return
        target = self._raft.transfer(request.target, now)
        if target is None:
            why = "nobody can take over" if request.target is None else role.handover.why_not(request.target)
            under_way = role.handover.transfer
            if not why and under_way is not None:
                why = f"leadership is on its way to {under_way.target}; wait for that, an election timeout at most"
            self._refuse(client, request.id, Outcome.INVALID, why)
        else:
            self._network.reply(client, Reply(request.id, Outcome.DONE, target, self._raft.leader))

    def _refuse(self, client: bytes, request: int, outcome: Outcome, message: str) -> None:
        leader = self._raft.leader
        hint = leader if leader != self._raft.id else None
        self._network.reply(client, Reply(request, outcome, None, hint, message))
