"""The replicated state as a whole: the machines and the sessions that make commands exactly-once (thesis §6.3).

Every committed entry goes through `Machines.apply`, whatever its kind, in the order of the log. A command is applied
only if its session is known and its batch is newer than the session's newest; the newest again gets the answers it got
before; an older one is never applied, and its answers are gone. Since the table of sessions changes with log entries
alone, the limits that it keeps included, and goes into the snapshot, all nodes decide alike. Session 0 is the cluster's own, in no table: see
`machine.Proactive`.

No leader lets a command for a machine that it does not have into the log. So a node that meets one there has fewer machines
than others have, and stops: were it to pass the command over, its state would no longer be theirs.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from random import Random

import msgspec

from zraft.errors import ConfigError, InvalidRequest, ZraftError
from zraft.machines import depth, failures, snapshots
from zraft.machines.machine import Applied, Errand, Numbering, Observer, Proactive, StateMachine
from zraft.machines.table import KEPT_BYTES_MAX, Session, Table
from zraft.raft.types import Ballot, Entry, EntryId, EntryKind, Index, Membership, NodeId, Term
from zraft.requests import ANSWERS_BYTES_MAX, SESSION_TTL_MS, SESSIONS_MAX, Answer, Batch, Outcome, SessionChange

REPLY_BYTES_MAX = 1 << 20
"""Answers to queries behind this much in one reply are deferred: the client asks again for them.

They are answered in one go, and a machine may need 25 ms for a page of this size: more would hold up heartbeats.
"""

OWN_SESSION = 0
"""The session of what the cluster proposes by itself; no client has it."""
_DONE = bytes([Answer.DONE])
_INVALID = bytes([Answer.INVALID])
_DEFERRED = bytes([Answer.DEFERRED])
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_change = msgspec.msgpack.Decoder(SessionChange).decode
_decode_ballot = msgspec.msgpack.Decoder(Ballot).decode
_decode_membership = msgspec.msgpack.Decoder(Membership).decode
_decode_answers = msgspec.msgpack.Decoder(list[bytes]).decode
_encode = msgspec.msgpack.Encoder().encode


class Result(msgspec.Struct, frozen=True, gc=False):
    """How an entry or a bunch of queries ended; becomes the `requests.Reply` to whoever asked."""

    outcome: int
    """A `requests.Outcome`."""
    value: list[bytes] | int | None = None
    """Of commands and queries one `requests.Answer` each; of a registration the session's number; else None."""
    message: str = ""
    """Why not, for people."""


_NOTHING = Result(Outcome.DONE)


class Machines:
    """The replicated state of one node.

    Parameters
    ----------
    machines
        Mounted by name; the same on every node.
    ttl_ms, count_max
        How long and how many sessions this node wants kept. It is what the node proposes while it leads, and decides nothing
        here: the entries say what holds.
    answers_bytes_max
        See `Table`.
    on_failure
        Hears of every exception inside a machine that is not an InvalidRequest, for the node's log; changes nothing.
    """

    def __init__(
        self,
        machines: dict[str, StateMachine],
        *,
        ttl_ms: int = SESSION_TTL_MS,
        count_max: int = SESSIONS_MAX,
        answers_bytes_max: int = KEPT_BYTES_MAX,
        on_failure: Callable[[str, BaseException], None] | None = None,
    ) -> None:
        self._machines = dict(machines)
        self._observers = [machine for _, machine in sorted(machines.items()) if isinstance(machine, Observer)]
        """Those of them that hear of leaders and memberships, by name."""
        self._proactive = {name: each for name, each in sorted(machines.items()) if isinstance(each, Proactive)}
        self.sessions = Table(answers_bytes_max)
        self._ttl_ms, self._count_max = ttl_ms, count_max
        self._on_failure = on_failure
        self.index: Index = 0
        """The last entry applied."""
        self.term: Term = 0
        """Its term."""
        self.time_ms = 0
        """Cluster time: its time."""
        self.leader: NodeId | None = None
        """Who opened its term, from the term's ballot."""
        self.membership: Membership | None = None
        """The last committed one."""

    def apply(self, entry: Entry, *, batch: Batch | None = None) -> Result:
        """Apply the next committed entry.

        Parameters
        ----------
        entry
            The one right behind the last.
        batch
            What a COMMAND entry decodes to, if the caller has it already.

        Raises
        ------
        ConfigError
            It is for a machine that is not mounted.
        ZraftError
            A machine had not the memory for it.
        """
        assert entry.index == self.index + 1, f"entry {entry.index} applied right after {self.index}"
        assert entry.time_ms >= self.time_ms, f"time fell from {self.time_ms} to {entry.time_ms} at {entry.index}"
        self.index = entry.index
        self.term = entry.term
        self.time_ms = entry.time_ms
        self.sessions.expire(entry.time_ms)
        if entry.kind == EntryKind.COMMAND:
            return self._command(entry, batch)
        if entry.kind == EntryKind.SESSION:
            return self._session_change(entry)
        if entry.kind == EntryKind.NOOP:
            ballot = _decode_ballot(entry.data)
            self.leader = ballot.leader
            for observer in self._observers:
                observer.leader_elected(ballot, self._at(entry, 0))
        elif entry.kind == EntryKind.MEMBERSHIP:
            self.membership = _decode_membership(entry.data)
            for observer in self._observers:
                observer.membership_changed(self.membership, self._at(entry, 0))
        return _NOTHING

    def _at(self, entry: Entry, session: int) -> Applied:
        return Applied(entry.index, entry.term, entry.time_ms, session, self.leader, self.membership)

    def _command(self, entry: Entry, batch: Batch | None) -> Result:
        if batch is None:
            try:
                batch = _decode_batch(entry.data)
            except (msgspec.MsgspecError, ValueError):
                return Result(Outcome.INVALID, message="not a batch of commands")
        if batch.session == OWN_SESSION:
            return self._carry_out(batch, entry)
        session = self.sessions.use(batch.session, entry.time_ms)
        if session is None:
            return Result(Outcome.SESSION_EXPIRED, message=f"session {batch.session} is gone")
        if batch.sequence > session.sequence:
            return self._newer(session, batch, entry)
        if batch.sequence == session.sequence and session.sequence:
            return Result(Outcome.DONE, _decode_answers(session.answers))
        return Result(
            Outcome.UNKNOWN, message=f"batch {batch.sequence} comes after {session.sequence}: not applied now"
        )

    def _newer(self, session: Session, batch: Batch, entry: Entry) -> Result:
        result = self._carry_out(batch, entry)
        if result.outcome == Outcome.DONE:
            self.sessions.answered(session, batch.sequence, _encode(result.value))
        return result

    def _carry_out(self, batch: Batch, entry: Entry) -> Result:
        machine = self._machines.get(batch.machine)
        if machine is None:
            raise ConfigError(
                f"entry {entry.index} of the log is for the machine {batch.machine!r}, which this node does not have; "
                "mount it here as on the other nodes (machines, in the configuration)"
            )
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(depth.here() + depth.FRAMES_MAX)
        try:
            return Result(Outcome.DONE, self._answers(machine, batch, self._at(entry, batch.session)))
        finally:
            sys.setrecursionlimit(limit)

    def _answers(self, machine: StateMachine, batch: Batch, at: Applied) -> list[bytes]:
        """Return the answers to all commands of a batch; the same on every node, whatever the machine does."""
        answers: list[bytes] = []
        size = 0
        apply = machine.apply
        for command in batch.commands:
            try:
                try:
                    answer = _DONE + apply(command, at)
                except InvalidRequest as refusal:
                    answer = _refused(refusal)
            except MemoryError as error:
                raise ZraftError(
                    f"entry {at.index} of the log: the machine {batch.machine!r} had not the memory for command "
                    f"{len(answers) + 1} of {len(batch.commands)}; this node stops rather than differ from the others: "
                    "give it more, and start it again"
                ) from error
            except BaseException as error:  # noqa: BLE001 - were one to pass, a single command would end node after node
                failures.let_interrupts_pass(error)
                answer = self._failed(batch.machine, error)
            if size + len(answer) > ANSWERS_BYTES_MAX:
                answer = self._too_long(batch.machine, size + len(answer), "it was carried out, but ")
            size += len(answer)
            answers.append(answer)
        return answers

    def _too_long(self, name: str, size: int, done: str = "") -> bytes:
        """Return the answer in place of one that no reply could hold, and tell of it."""
        error = failures.too_long(name, size)
        if self._on_failure is not None:
            self._on_failure(name, error)
        return _INVALID + f"{done}{error}".encode(errors="backslashreplace")

    def _failed(self, name: str, error: BaseException) -> bytes:
        """Return the answer for a mistake in a machine, and tell of it."""
        if self._on_failure is not None:
            self._on_failure(name, error)
        return _INVALID + failures.answer(name, error)

    def _session_change(self, entry: Entry) -> Result:
        try:
            change = _decode_change(entry.data)
        except (msgspec.MsgspecError, ValueError):
            return Result(Outcome.INVALID, message="not a change of a session")
        self.sessions.limit(change.ttl_ms, change.count_max, entry.time_ms)
        if change.closes:
            self.sessions.end(change.closes)
            return _NOTHING
        self.sessions.register(entry.index, entry.time_ms)
        return Result(Outcome.DONE, entry.index)

    def session_change(self, closes: int = 0) -> SessionChange:
        """Return what this node, when it leads, proposes to register a session, or to end the one with that number."""
        return SessionChange(closes, self._ttl_ms, self._count_max)

    def has(self, name: str) -> bool:
        """Whether a machine of that name is mounted."""
        return name in self._machines

    @property
    def proactive(self) -> Iterable[str]:
        """The names of the machines that may have errands."""
        return self._proactive.keys()

    def errand(self, name: str, random: Random) -> Errand | None:
        """Ask a proactive machine what is to happen next; a machine that fails at that has no errand."""
        try:
            return failures.checked(self._proactive[name].errand(random))
        except BaseException as error:  # noqa: BLE001 - the next leader would be asked the same
            failures.let_interrupts_pass(error)
            self._failed(name, error)
            return None

    def query(self, machine: str, query: bytes) -> bytes:
        """Return the `requests.Answer` to one query, from the state as it is."""
        target = self._machines.get(machine)
        if target is None:
            return _INVALID + f"no machine {machine!r} is mounted".encode()
        try:
            try:
                answer = _DONE + target.query(query)
            except InvalidRequest as refusal:
                answer = _refused(refusal)
        except BaseException as error:  # noqa: BLE001 - the client would ask the next node the same, and end that too
            failures.let_interrupts_pass(error)
            return self._failed(machine, error)
        return answer if len(answer) <= ANSWERS_BYTES_MAX else self._too_long(machine, len(answer))

    def query_all(self, machine: str, queries: list[bytes]) -> Result:
        """Answer a `requests.Queries`, deferring what would not fit into one reply; the first is always answered."""
        answers: list[bytes] = []
        size = 0
        for query in queries:
            answer = self.query(machine, query) if size < REPLY_BYTES_MAX else _DEFERRED
            size += len(answer)
            answers.append(answer)
        return Result(Outcome.DONE, answers)

    def snapshot(self) -> Iterator[bytes]:
        """Return the whole state as of this call, in pieces of at most 256 KiB; equal on all nodes for one index."""
        limits = (self.sessions.ttl_ms, self.sessions.count_max)
        head = snapshots.Head(self.index, self.term, self.time_ms, self.leader, self.membership, *limits)
        parts = [(name, self._machines[name].snapshot()) for name in sorted(self._machines)]
        return snapshots.write(head, self.sessions.copy(), parts)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the whole state by the one that `snapshot` gave; the bytes may come cut in other places.

        Raises
        ------
        StorageError
            They are not a whole snapshot, or hold a machine that is not mounted. What is left is half a state.
        """
        head, sessions = snapshots.read(chunks, self._machines)
        self.index, self.term, self.time_ms = head.index, head.term, head.time_ms
        self.leader, self.membership = head.leader, head.membership
        self.sessions.restore(sessions, head.session_ttl_ms, head.sessions_max)

    def leap(self, last: EntryId, membership: Membership, by: int, *, keeps_sessions: bool) -> None:
        """Let the state stand for all up to `last`, which no history ever reached, and for a new membership.

        For a state that begins anew although more may once have happened: what was given out then must not be given out again.

        Parameters
        ----------
        last
            Behind the last entry applied, in a later term.
        membership
            Who takes part from here on.
        by
            How far machines leap that have numbers of their own.
        keeps_sessions
            Whether clients go on under the sessions that they have.
        """
        assert last.index > self.index and last.term > self.term, f"no leap: {last} after {self.index}@{self.term}"
        self.index, self.term = last.index, last.term
        self.leader, self.membership = None, membership
        if not keeps_sessions:
            self.sessions.restore((), self.sessions.ttl_ms, self.sessions.count_max)
        at = Applied(last.index, last.term, self.time_ms, 0, None, membership)
        for observer in self._observers:
            observer.membership_changed(membership, at)
        for _, machine in sorted(self._machines.items()):
            if isinstance(machine, Numbering):
                machine.leap(by)


def _refused(refusal: InvalidRequest) -> bytes:
    return _INVALID + str(refusal).encode(errors="backslashreplace")
