"""A committed log, replayed through fresh machines by the simplest means: what ought to have come out of it.

This is the reference that all nodes are measured by, so it shares nothing with them but the classes of the machines and the format of the entries.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from zraft.errors import InvalidRequest
from zraft.machines.machine import Applied, Observer, StateMachine
from zraft.raft.types import Ballot, Entry, EntryKind, Membership
from zraft.requests import Answer, Batch, SessionChange
from zraft.simulation.checkers.expected_sessions import ExpectedSessions

OWN_SESSION = 0
"""Commands of the cluster's own have no session, and nothing keeps them from coming twice."""
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_change = msgspec.msgpack.Decoder(SessionChange).decode
_decode_ballot = msgspec.msgpack.Decoder(Ballot).decode
_decode_membership = msgspec.msgpack.Decoder(Membership).decode


class Outcome(msgspec.Struct, frozen=True):
    """What one entry brought about."""

    entry: Entry
    batch: Batch | None = None
    """The batch that it carries, if it carries one."""
    answers: list[bytes] | None = None
    """What the machines answered if the batch was carried out here: a `requests.Answer` and what belongs to it each."""


class Replay:
    """The replicated state, entry by entry.

    Parameters
    ----------
    log
        From index 1 on.
    machines
        Fresh, by name.
    """

    def __init__(self, log: Sequence[Entry], machines: Mapping[str, StateMachine]) -> None:
        self._log = log
        self.machines = machines
        """As of the entry that `outcomes` gave last."""
        self._observers = [machine for _, machine in sorted(machines.items()) if isinstance(machine, Observer)]
        self._sessions = ExpectedSessions()
        self._leader: str | None = None
        self._membership: Membership | None = None

    def outcomes(self) -> Iterator[Outcome]:
        """Apply entry after entry, and yield what each has brought about."""
        for entry in self._log:
            self._sessions.pass_time(entry.time_ms)
            yield self._apply(entry)

    def _apply(self, entry: Entry) -> Outcome:
        match entry.kind:
            case EntryKind.COMMAND:
                batch = _decode_batch(entry.data)
                return Outcome(entry, batch, self._carry_out(batch, entry))
            case EntryKind.SESSION:
                self._sessions.change(entry.index, _decode_change(entry.data), entry.time_ms)
            case EntryKind.NOOP:
                ballot = _decode_ballot(entry.data)
                self._leader = ballot.leader
                self._tell(lambda observer, at: observer.leader_elected(ballot, at), entry)
            case EntryKind.MEMBERSHIP:
                membership = self._membership = _decode_membership(entry.data)
                self._tell(lambda observer, at: observer.membership_changed(membership, at), entry)
        return Outcome(entry)

    def _tell(self, what: Callable[[Any, Applied], None], entry: Entry) -> None:
        for observer in self._observers:
            what(observer, self._at(entry, OWN_SESSION))

    def _at(self, entry: Entry, session: int) -> Applied:
        return Applied(entry.index, entry.term, entry.time_ms, session, self._leader, self._membership)

    def _carry_out(self, batch: Batch, entry: Entry) -> list[bytes] | None:
        own = batch.session == OWN_SESSION
        if not own and not self._sessions.admits(batch.session, batch.sequence, entry.time_ms):
            return None
        machine, at = self.machines[batch.machine], self._at(entry, batch.session)
        return [answer_to(batch.machine, lambda: machine.apply(command, at)) for command in batch.commands]  # noqa: B023

    def query(self, machine: str, query: bytes) -> bytes:
        """Return the answer to a query now."""
        target = self.machines[machine]
        return answer_to(machine, lambda: target.query(query))


def answer_to(name: str, ask: Callable[[], bytes]) -> bytes:
    """Return what a client is answered when a machine of that name is asked: its result, or why there is none."""
    try:
        return bytes([Answer.DONE]) + ask()
    except InvalidRequest as error:
        return bytes([Answer.INVALID]) + str(error).encode(errors="backslashreplace")
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - a machine under test may fail in any way, and its failure is the answer
        return bytes([Answer.INVALID]) + f"the machine {name} failed: {type(error).__name__}".encode()
