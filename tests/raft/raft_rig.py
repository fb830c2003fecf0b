"""A cluster of bare cores: virtual time, a network that does as it is told, disks that finish when told.

It carries out each `Ready` in the order of its fields, as `replica` does, and tells the witness of everything.
"""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from raft_disk import Disk, contents, snapshot_of
from raft_witness import Witness

from zraft.raft import describe
from zraft.raft.changes import Change, Refused
from zraft.raft.core import Raft
from zraft.raft.messages import InstallSnapshot, Message, PreVote, flaw
from zraft.raft.ready import Note, Ready, Write
from zraft.raft.state import Settings
from zraft.raft.types import EntryId, EntryKind, Membership, NodeId

TURNS_MAX = 20_000
"""A cluster that is busy for longer than this without time passing will never be still."""
NOTES_TOLD = {
    "vote_refused",
    "data_lost",
    "strange",
    "transfer",
    "membership",
    "membership_change",
    "round_lost",
    "entries_lost",
    "refilled",
    "candidacy_lost",
    "disk_stalled",
    "snapshot_sent",
    "snapshot_installed",
}
"""The notes that the lines of messages and states do not say already."""


class Packet(NamedTuple):
    """A message under way."""

    source: NodeId
    target: NodeId
    message: Message


class Rig:
    """Some cores, their disks and what is between them.

    Parameters
    ----------
    count
        How many nodes, n1 to n9.
    registered
        Whether the membership that the cluster begins with knows all data directories.
    seed
        Of all randomness.
    say
        Called with each line of the transcript; None for silence.
    settings
        Fields of `Settings` for every node.
    spare
        How many further nodes are there, members of nothing yet.
    """

    def __init__(
        self,
        count: int,
        *,
        registered: bool = True,
        seed: int | str = 0,
        say: Callable[[str], None] | None = None,
        spare: int = 0,
        **settings: Any,
    ) -> None:
        self.now = 0.0
        self.ids = [f"n{number}" for number in range(1, count + spare + 1)]
        self.disks = {id: Disk(f"{id}-a") for id in self.ids}
        members = tuple(self.ids[:count])
        known = {id: self.disks[id].disk_id for id in members}
        self.bootstrap = Membership(members, disk_ids=known if registered else {})
        self.witness = Witness(self.bootstrap)
        self.witness.disks = {(id, disk.disk_id): disk for id, disk in self.disks.items()}
        self.rafts: dict[NodeId, Raft] = {}
        """The nodes that run."""
        self.network: list[Packet] = []
        """Under way, oldest first."""
        self.cut: set[tuple[NodeId, NodeId]] = set()
        """Links, one way each, on which everything is lost."""
        self.slow: set[tuple[NodeId, NodeId]] = set()
        """Links on which nothing arrives unless it is told to."""
        self.priorities: dict[NodeId, int] = {}
        """Of nodes started from now on; the others have the default."""
        self.chunk_bytes = 1 << 18
        """How much of a snapshot goes into one message."""
        self.say = say
        self.confirmed: list[int] = []
        """Reads that may be answered."""
        self.turns_now: Callable[[], bool] = lambda: True
        """Whether a node carries out what is ready after this event, or takes more events in first, as a real loop does."""
        self._settings = settings
        self._seed = seed
        self._boots = 0
        self._contexts = 0

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def start(self, id: NodeId) -> Raft:
        """Start a node from what its disk holds."""
        self._boots += 1
        disk = self.disks[id]
        random = Random(f"{self._seed}/{id}/{self._boots}")
        own = {"priority": self.priorities[id]} if id in self.priorities else {}
        settings = Settings(id, disk.disk_id, **self._settings, **own)
        bootstrap = self.bootstrap if id in self.bootstrap.voters else Membership(())
        raft = Raft(settings, disk.recovered, bootstrap, random, self.now)
        self.rafts[id] = raft
        self.witness.started(raft)
        self._carry_out_all(raft)
        return raft

    def crash(self, id: NodeId, survivors: int = 0) -> None:
        """End a node and lose what it had not made durable."""
        del self.rafts[id]
        self.witness.stopped(id)
        self.disks[id].crash(survivors)

    def wipe(self, id: NodeId) -> None:
        """Give a node that is down a blank data directory."""
        assert id not in self.rafts, "a running node keeps its directory"
        generation = chr(ord(self.disks[id].disk_id[-1]) + 1)
        self.disks[id] = Disk(f"{id}-{generation}")
        self.witness.disks[id, self.disks[id].disk_id] = self.disks[id]

    @property
    def leaders(self) -> list[Raft]:
        """Who believes to lead, the newest term last."""
        return sorted((raft for raft in self.rafts.values() if raft.role.name == "leader"), key=lambda raft: raft.term)

    # -- what happens to them ------------------------------------------------------------------------------------------

    def tick(self, id: NodeId) -> None:
        """Let a node's timer run."""
        raft = self.rafts[id]
        raft.tick(self.now)
        self._happened(raft)

    def campaign(self, id: NodeId) -> None:
        """Let a node's election timer run out now."""
        self.rafts[id].role.timeout_ms = 0
        self.tick(id)

    def propose(self, id: NodeId, data: bytes) -> EntryId | None:
        """Hand a command to a node."""
        raft = self._awake(id)
        made = raft.propose(EntryKind.COMMAND, data, self.now)
        self._tell(lambda: f"{id}@{raft.term} " + (self._appended(raft, made) if made else "refuses the proposal"))
        self._happened(raft)
        return made

    def change(self, id: NodeId, change: Change) -> EntryId | None:
        """Ask a node for a change of membership."""
        raft = self._awake(id)
        made = None
        try:
            made = raft.change_membership(change, self.now)
            self._tell(lambda: f"{id}@{raft.term} {self._appended(raft, made)}")
        except Refused as why:
            self._tell(lambda why=why: f"{id}@{raft.term} refuses the change: {why}")
        self._happened(raft)
        return made

    def read(self, id: NodeId, *, follower: bool = False) -> int | None:
        """Hand a read to a node; return its context, or None when refused."""
        raft = self._awake(id)
        self._contexts += 1
        context = self._contexts
        self.witness.read_asked(context)
        taken = raft.read_index(context, self.now, follower=follower)
        self._tell(lambda: f"{id}@{raft.term} {'takes' if taken else 'refuses'} read {context}")
        self._happened(raft)
        return context if taken else None

    def transfer(self, id: NodeId, target: NodeId | None) -> NodeId | None:
        """Ask a node to hand its leadership over."""
        raft = self._awake(id)
        chosen = raft.transfer(target, self.now)
        self._tell(lambda: f"{id}@{raft.term} " + (f"hands over to {chosen}" if chosen else "refuses to hand over"))
        self._happened(raft)
        return chosen

    def snapshot(self, id: NodeId) -> None:
        """Let a node take a snapshot of what it has applied; its disk has it later."""
        log, disk = self.rafts[id].log, self.disks[id]
        if log.last_applied and log.last_applied > max([0, *(save.snapshot.last.index for save in disk.snapshots)]):
            membership = self.rafts[id].memberships.at(log.last_applied)
            disk.waiting.append(snapshot_of(self.witness.ledger[: log.last_applied], membership))

    def refuse(self, source: NodeId, target: NodeId) -> None:
        """Lose what a node has sent to `target`, and tell it that its own socket refused that."""
        self.network = [packet for packet in self.network if packet[:2] != (source, target)]
        raft = self.rafts[source]
        raft.unreachable(target)
        self._happened(raft)

    def deliver(self, packet: Packet) -> None:
        """Hand a message to its target, if that runs."""
        if packet.target not in self.rafts:
            return
        raft = self._awake(packet.target)
        before = (raft.term, raft.voted_for, raft.role, raft.deadline)
        raft.step(packet.source, packet.message, self.now)
        if isinstance(packet.message, PreVote):
            after = (raft.term, raft.voted_for, raft.role, raft.deadline)
            assert after == before, f"a pre-vote changed {raft.id} (thesis §9.6)"
        self._happened(raft)

    def turn(self, id: NodeId) -> None:
        """Let a node carry out what is ready."""
        self._carry_out_all(self.rafts[id])

    def disk_step(self, id: NodeId) -> None:
        """Let a node's disk finish its oldest job; responses leave, then the core hears of it."""
        job = self.disks[id].complete_next()
        raft = self.rafts[id]
        match job:
            case Write():
                self._written(raft, job)
            case InstallSnapshot():
                raft.stored(job.snapshot, len(self.disks[id].partial), self.now)
            case _:
                self._tell(lambda: f"{id}@{raft.term} disk has a snapshot of all up to {job.snapshot.last.index}")
                raft.snapshot_taken(job.snapshot)
        self._happened(raft)

    def _written(self, raft: Raft, write: Write) -> None:
        id = raft.id
        if write.touches_disk:
            self._tell(lambda: f"{id}@{raft.term} disk has {_written(write)}")
        if write.term == raft.term:
            self._send(raft, write.responses)
        elif write.responses:
            self._tell(lambda: f"{id}@{raft.term} drops {len(write.responses)} messages of term {write.term}")
        raft.written(write.id, self.now)

    # -- time and quiet ------------------------------------------------------------------------------------------------

    def arriving(self) -> list[Packet]:
        """Messages under way on links that are not slow."""
        return [packet for packet in self.network if (packet.source, packet.target) not in self.slow]

    def stabilize(self) -> None:
        """Finish writes and deliver messages, oldest first, until nothing is left that moves by itself."""
        for _ in range(TURNS_MAX):
            busy = [id for id in self.rafts if self.disks[id].waiting and not self.disks[id].held]
            if busy:
                self.disk_step(busy[0])
                continue
            packets = self.arriving()
            if not packets:
                return
            self.network.remove(packets[0])  # Equal messages are as good as each other.
            self.deliver(packets[0])
        raise AssertionError(f"not still after {TURNS_MAX} turns")

    def elapse(self, span_ms: float, *, flowing: bool) -> None:
        """Let time pass, timers running; with `flowing`, disks and network work meanwhile."""
        until = self.now + span_ms
        for _ in range(TURNS_MAX):
            due = min(((raft.deadline, id) for id, raft in self.rafts.items()), default=(until + 1, ""))
            if due[0] > until:
                self.now = until
                return
            self.now = max(self.now, due[0])
            self.tick(due[1])
            assert self.rafts[due[1]].deadline > self.now, f"{due[1]} did at {self.now} nothing about what was due"
            if flowing:
                self.stabilize()
        raise AssertionError(f"timers ran {TURNS_MAX} times within {span_ms} ms")

    # -- the one safe order --------------------------------------------------------------------------------------------

    def _awake(self, id: NodeId) -> Raft:
        # A node that handles anything after a gap in time ticks first.
        raft = self.rafts[id]
        if self.now >= raft.deadline:
            self.tick(id)
        return raft

    def _happened(self, raft: Raft) -> None:
        self.witness.stepped(raft)
        if self.turns_now():
            self._carry_out_all(raft)

    def _carry_out_all(self, raft: Raft) -> None:
        while (ready := raft.ready()) is not None:
            self._carry_out(raft, ready)
            self.witness.stepped(raft)

    def _carry_out(self, raft: Raft, ready: Ready) -> None:
        self._send(raft, ready.sends)
        if ready.write is not None:
            self.disks[raft.id].waiting.append(ready.write)
        self.disks[raft.id].waiting.extend(ready.pieces)
        if ready.install is not None:
            (held,) = (save for save in self.disks[raft.id].snapshots if save.snapshot == ready.install)
            self.witness.installed(raft, contents(held.data))
            self._tell(lambda: f"{raft.id}@{raft.term} begins anew behind {ready.install.last.index}")
        if ready.committed:
            self.witness.applied(raft, ready.committed)
            self._tell(lambda: f"{raft.id}@{raft.term} applies {describe.entries(ready.committed)}")
            raft.applied(ready.committed[-1].index)
        for read in ready.reads:
            self.witness.read_confirmed(raft, read)
            self.confirmed.append(read.context)
            self._tell(lambda read=read: f"{raft.id}@{raft.term} {describe.read(read)}")
        for context in ready.lost_reads:
            self.witness.read_lost(context)
            self._tell(lambda context=context: f"{raft.id}@{raft.term} can't confirm read {context}")
        for note in ready.notes:
            self._tell_note(raft, note)
        change = ready.role_change
        if change is not None:
            self._tell(lambda: describe.role_change(raft.id, change))

    def _send(self, raft: Raft, messages: list[tuple[NodeId, Message]]) -> None:
        for target, asked in messages:
            message = asked
            if isinstance(asked, InstallSnapshot):
                message = self.disks[raft.id].piece(asked, self.chunk_bytes)
                if message is None:
                    self._tell(lambda t=target: f"{raft.id}@{raft.term} keeps the snapshot for {t} no more")
                    raft.unreachable(target)
                    continue
            assert flaw(message) is None, f"{raft.id} sends what nobody may: {flaw(message)}"
            self.witness.sent(raft, target, message)
            lost = (raft.id, target) in self.cut
            if not lost:
                self.network.append(Packet(raft.id, target, message))
            mark = "  (lost)" if lost else ""
            self._tell(lambda t=target, m=message, k=mark: describe.sent(raft.id, raft.term, t, m) + k)

    # -- the transcript ------------------------------------------------------------------------------------------------

    def _tell(self, line: Callable[[], str]) -> None:
        if self.say is not None:
            self.say(line())

    def _tell_note(self, raft: Raft, note: Note) -> None:
        if note.kind in NOTES_TOLD:
            self._tell(lambda: f"{raft.id}@{raft.term} notes {describe.note(note)}")

    def _appended(self, raft: Raft, id: EntryId) -> str:
        return f"append {describe.entry(raft.log.entry(id.index), bytes.decode)}"


def _written(write: Any) -> str:
    parts = []
    if write.truncate_from is not None:
        parts.append(f"nothing from {write.truncate_from} on")
    if write.begins_after is not None:
        parts.append(f"nothing up to {write.begins_after.last.index}")
    if write.entries:
        parts.append(describe.entries(write.entries))
    if write.hard_state is not None:
        parts.append(f"term={write.hard_state.term} vote={write.hard_state.voted_for or '-'}")
    return ", ".join(parts)
