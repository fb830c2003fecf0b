"""What the established leader proposes by itself, so that things happen in the replicated state though no client writes.

Two kinds of things: the errands of machines (`zraft.machines.machine.Proactive`), and a TICK when a session has outlived
its time and no other entry carries the log's time past that.

Both are due in cluster time, which moves when a quorum answers a heartbeat round. So nothing is polled: the leader sleeps until
the moment at which a round would bring the time that is due, and starts one then, unless the next heartbeat is
due at that very moment. A cluster with nothing to do has no such moment.
"""

from random import Random

import msgspec

from zraft.machines.machine import Errand
from zraft.machines.sessions import OWN_SESSION, Machines
from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.ready import ReadReady
from zraft.raft.types import EntryKind, Index, Term
from zraft.requests import Batch

TICK_EVERY_MS = 1_000
"""Sessions that expire within the same such span of cluster time share one TICK."""
ROUND = 0
"""The context of the rounds asked for here; those of clients' reads begin with 1."""
_encode = msgspec.msgpack.Encoder().encode


class Upkeep:
    """What is due at one node, while it leads.

    Parameters
    ----------
    raft
        The node's core.
    machines
        The replicated state: sessions, and machines that may have errands.
    random
        The dice for machines.
    """

    def __init__(self, raft: Raft, machines: Machines, random: Random) -> None:
        self._raft = raft
        self._machines = machines
        self._random = random
        self._term: Term = 0
        """The term in which all that follows was found out; whoever leads another begins anew."""
        self._errands: dict[str, Errand] = {}
        """What machines want, by name."""
        self._under_way: dict[str, Index] = {}
        """Their errands that are in the log and not applied yet."""
        self._asked_at: Index = 0
        """Up to where the log was applied when they were asked last."""
        self._due_ms: int | None = None
        """Cluster time at which the next thing is due, as of the end of the last turn."""
        self._round_asked = False
        """Whether a round was asked for, to move cluster time, and is not confirmed yet."""
        self._held_back = False
        """Whether something is due and the core takes no proposals; every heartbeat tries again."""

    def propose(self, now: float) -> None:
        """Propose what is due, and ask for the round that cluster time needs; the first thing in a turn."""
        leader = self._established()
        if leader is None or self._due_ms is None:
            return
        self._held_back = False
        time_ms = leader.time_ms
        if self._due_ms <= time_ms:
            self._propose_due(time_ms, now)
        elif self._round_due_at(leader, self._due_ms) <= now:
            self._round_asked = self._raft.read_index(ROUND, now)

    def confirmed(self, reads: list[ReadReady]) -> list[ReadReady]:
        """Take the round asked for here out of the reads that are confirmed; return those of others."""
        others = [read for read in reads if read.context != ROUND]
        if len(others) < len(reads):
            self._round_asked = False
        return others

    def deadline(self, now: float) -> float:
        """Ask the machines what they want if anything was applied since; return when to turn for `propose`."""
        leader = self._established()
        if leader is None:
            return float("inf")
        self._ask()
        due_ms = self._due_ms = self._next_due_ms()
        if due_ms is None or self._held_back:
            return float("inf")
        return now if due_ms <= leader.time_ms else self._round_due_at(leader, due_ms)

    def _established(self) -> Leader | None:
        """Return the role if it is that of an established leader, having forgotten what belonged to another term."""
        raft = self._raft
        if not raft.is_established:
            return None
        if self._term != raft.term:
            self._term = raft.term
            self._errands, self._under_way, self._asked_at = {}, {}, 0
            self._due_ms = None
            self._round_asked = self._held_back = False
        assert isinstance(raft.role, Leader), "established in another role"
        return raft.role

    def _ask(self) -> None:
        applied = self._raft.log.last_applied
        if applied == self._asked_at:
            return
        self._asked_at = applied
        for name in self._machines.proactive:
            if self._under_way.get(name, 0) > applied:
                continue
            self._under_way.pop(name, None)
            errand = self._machines.errand(name, self._random)
            if errand is None:
                self._errands.pop(name, None)
            else:
                self._errands[name] = errand

    def _propose_due(self, time_ms: int, now: float) -> None:
        for name, errand in list(self._errands.items()):
            if errand.due_ms <= time_ms:
                self._propose_errand(name, errand, now)
        tick_due_ms = self._tick_due_ms()
        if tick_due_ms is not None and tick_due_ms <= time_ms:
            self._held_back |= self._raft.propose(EntryKind.TICK, b"", now) is None

    def _propose_errand(self, name: str, errand: Errand, now: float) -> None:
        data = _encode(Batch(OWN_SESSION, 0, name, [errand.command]))
        id = self._raft.propose(EntryKind.COMMAND, data, now)
        if id is None:
            self._held_back = True
            return
        del self._errands[name]
        self._under_way[name] = id.index

    def _next_due_ms(self) -> int | None:
        due_ms = self._tick_due_ms()
        for errand in self._errands.values():
            if due_ms is None or errand.due_ms < due_ms:
                due_ms = errand.due_ms
        return due_ms

    def _tick_due_ms(self) -> int | None:
        """Cluster time at which a TICK is due, unless an entry that is in the log already will do."""
        lives_until_ms = self._machines.sessions.next_expiry_ms
        if lives_until_ms is None or self._raft.log.last_time_ms > lives_until_ms:
            return None
        return (lives_until_ms // TICK_EVERY_MS + 1) * TICK_EVERY_MS

    def _round_due_at(self, leader: Leader, due_ms: int) -> float:
        """When to start a round, so that cluster time moves on to `due_ms`."""
        if self._round_asked:
            return float("inf")
        moment = leader.moment_of(due_ms)
        # A round sent since then does it: its quorum, or the next heartbeat, will turn the loop.
        return float("inf") if leader.rounds.newest_sent_at >= moment else moment
