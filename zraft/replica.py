"""One node without a world: joins core, disk, machines, clients and hooks over the seams.

It holds the only function that carries out a `Ready` (`Replica._carry_out`). The node gives it real seams, a simulator
virtual ones; the code between is the same.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from zraft import narration
from zraft.addresses import Addresses
from zraft.compaction import Compaction
from zraft.events import Publisher
from zraft.excerpt import excerpt
from zraft.hooks.decide import HookScheduler, Standing
from zraft.machines.sessions import Machines
from zraft.narration import Describer, entry_text, hook_line, line
from zraft.raft import invariants
from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.messages import Heartbeat, InstallSnapshot, Message
from zraft.raft.ready import Note, Ready, RoleChange, Write
from zraft.raft.state import Settings
from zraft.raft.types import Endpoints, Entry, EntryKind, Index, Membership, NodeId, Recovered
from zraft.requests import Hello, Outcome, RecentEvents, Reply, Status, StatusRequest
from zraft.seams import Clock, Guard, Network, Random, WriteQueue
from zraft.serving import Serving
from zraft.upkeep import Upkeep

HOOK_REASONS = {"disk_stalled": "check_failed", "membership": "election"}
"""What scripts are told for reasons that they have no word for."""
SNAPSHOT_BYTES = 16 << 20
"""How much the log grows, at the least, before a snapshot is taken, unless configured otherwise."""
ENTRY_KEPT_BYTES_MAX = 16 << 10
"""Of a larger entry, its text is made at once: an event that waits for a reader would keep all of it in memory."""


class World(msgspec.Struct, frozen=True):
    """The seams, as one value."""

    clock: Clock
    random: Random
    network: Network
    disk: WriteQueue
    guard: Guard


class Host(Protocol):
    """What only the node itself knows."""

    def hello(self) -> dict[str, Any]:
        """Return what a client must know of the cluster: its name, id, endpoints and limits."""

    def health(self) -> dict[str, Any]:
        """Return the fields of `Status` that concern the process."""

    def warnings(self) -> list[str]:
        """Return what is wrong with the process, in words for people."""


class Replica:
    """One member of the cluster.

    Parameters
    ----------
    settings
        What the core knows of itself.
    recovered
        What the disk held.
    bootstrap
        The membership that the cluster began with.
    world
        The five seams.
    machines
        Sessions and state machines: empty, or as the newest snapshot in `recovered` has them.
    describers
        How commands of each machine read.
    scheduler
        Which hook is due.
    publisher
        Events, for the monitor.
    host
        What only the node knows.
    log
        Called with level and line, for the node's log.
    heartbeats
        Publish every heartbeat too, for the event file.
    snapshot_bytes
        How much the log grows, at the least, before a snapshot is taken.
    addresses
        Where nodes are reached.
    """

    def __init__(
        self,
        settings: Settings,
        recovered: Recovered,
        bootstrap: Membership,
        *,
        world: World,
        machines: Machines,
        describers: Mapping[str, Describer],
        scheduler: HookScheduler,
        publisher: Publisher,
        host: Host,
        log: Callable[[str, str], None],
        heartbeats: bool = False,
        snapshot_bytes: int = SNAPSHOT_BYTES,
        addresses: Addresses | None = None,
    ) -> None:
        self._world = world
        now = world.clock.now_ms()
        self.raft = Raft(settings, recovered, bootstrap, world.random, now)
        self._now = now
        """When this turn began: what it takes in came before that, or as good as."""
        self._machines = machines
        self._describers = describers
        self._scheduler = scheduler
        self._publisher = publisher
        self._host = host
        self._log = log
        self.heartbeats = heartbeats
        """Whether every heartbeat is published."""
        self._news_from = self.raft.log.last_index + 1
        """Entries before this one were recovered: whoever was interested has heard of them."""
        self._addresses = addresses or Addresses({})
        self.serving = Serving(self.raft, machines, world.network, self.endpoints)
        self._upkeep = Upkeep(self.raft, machines, world.random)
        self._compaction = Compaction(
            self.raft, machines, world.disk, world.network, world.clock, bytes_min=snapshot_bytes, log=log
        )
        self._waiting: deque[Write] = deque()
        """Writes whose responses wait for the disk, in order."""
        self._led = False
        """Whether the last role told was leader."""
        self._was_established = False
        """Whether hooks know that this node leads and has applied its no-op."""
        self._reason = "startup"
        """Why role or term are what they are."""
        self.deadline = self.raft.deadline
        """When to turn, if nothing happens before."""
        self.busy = False
        """More is ready than one turn may do: turn again at once, after looking at the sockets."""

    # -- in ------------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let time pass; first in every turn, so that no message is handled in the belief that it is still earlier."""
        self._now = self._world.clock.now_ms()
        if self._now >= self.deadline:
            self.raft.tick(self._now)

    def receive(self, source: NodeId, message: Message) -> None:
        """Take a message from a peer."""
        if self.heartbeats and isinstance(message, Heartbeat):
            self._publisher.publish("heartbeat", what="received", peer=source, round=message.round)
        self.raft.step(source, message, self._now)

    def request(self, client: bytes, request: Any, batch: bytes | None) -> None:
        """Take a request from a client."""
        match request:
            case Hello():
                hello = {"node": self.raft.id, "leader": self.raft.leader, **self._host.hello()}
                self._world.network.reply(client, Reply(request.id, Outcome.DONE, hello, self.raft.leader))
            case StatusRequest():
                status = msgspec.to_builtins(self.status(request.log, request.until))
                self._world.network.reply(client, Reply(request.id, Outcome.DONE, status, self.raft.leader))
            case RecentEvents():
                recent = [msgspec.to_builtins(event) for event in self._publisher.recent(request.count)]
                self._world.network.reply(client, Reply(request.id, Outcome.DONE, recent, self.raft.leader))
            case _:
                self.serving.request(client, request, batch, self._now)

    def disk_done(self) -> None:
        """Look what has become durable: send what waited for it, then let the core count it."""
        for id in self._world.disk.completed():
            write = self._waiting.popleft()
            assert write.id == id, f"write {id} completed before {write.id}"
            if write.term == self.raft.term:  # A promise of a past term leaves unchanged, or not at all.
                self._send(write.responses)
            self.raft.written(id, self._world.clock.now_ms())
        self._compaction.hear()

    def guard_reported(self, report: dict[str, Any]) -> None:
        """Take what the guard says of a script, and tell people."""
        event = self._scheduler.reported(report)
        if event is None:
            return
        self._publisher.publish("hook", **event)
        self._log(*hook_line(event))

    def stop_hooks(self) -> None:
        """Order what a clean stop runs: the `leader` script ends, then `stop` or `follower` runs."""
        for order in self._scheduler.stop(self._standing("shutdown")):
            self._world.guard.tell(order)

    def hand_over(self) -> bool:
        """Begin to give leadership away before a clean stop; False when there is nothing to give, or nobody to take it."""
        return self.raft.transfer(None, self._world.clock.now_ms()) is not None

    # -- the turn ------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Carry out all that is ready, except that entries are applied, and reads answered, a bounded amount at a time."""
        self.busy = False
        self._upkeep.propose(self._world.clock.now_ms())
        while not self.busy and (ready := self.raft.ready()) is not None:
            self._carry_out(ready)
            self.busy = bool(ready.committed) and self.raft.log.last_applied < self.raft.log.commit_index
        self._compaction.take_if_due()
        self.busy = self.serving.answer_reads(self._world.clock.now_ms) or self.busy
        invariants.check(self.raft)
        if self.raft.is_established != self._was_established:
            self._was_established = self.raft.is_established
            self._observe(self._reason)
        self.deadline = min(self.raft.deadline, self._upkeep.deadline(self._world.clock.now_ms()))

    def _carry_out(self, ready: Ready) -> None:
        """Carry out `ready`, in the order of its fields: that order is a safety rule."""
        self._send(ready.sends)
        if ready.write is not None:
            self._waiting.append(ready.write)
            self._world.disk.submit(ready.write)
            self.disk_done()  # A small write may be durable by now: its responses need not wait for the machines.
        for piece in ready.pieces:
            self._world.disk.receive(piece)
        if ready.install is not None:
            self._compaction.install(ready.install)
        for entry in ready.committed:
            self._apply(entry)
        if ready.committed:
            self.raft.applied(ready.committed[-1].index)
        self.serving.confirmed(self._upkeep.confirmed(ready.reads))
        self.serving.reads_lost(ready.lost_reads)
        for note in ready.notes:
            self._tell(note)
        if ready.role_change is not None:
            self._change_role(ready.role_change)

    def _send(self, messages: list[tuple[NodeId, Message]]) -> None:
        for target, message in messages:
            if self.heartbeats and isinstance(message, Heartbeat):
                self._publisher.publish("heartbeat", what="sent", peer=target, round=message.round)
            if isinstance(message, InstallSnapshot):
                self._compaction.fetch(target, message)
            elif not self._world.network.send(target, message):
                self.raft.unreachable(target)

    def _apply(self, entry: Entry) -> None:
        result = self._machines.apply(entry, batch=self.serving.batch_of(entry))
        self.serving.applied(entry, result)
        self._compaction.applied(entry)
        if len(entry.data) > ENTRY_KEPT_BYTES_MAX:
            data = self._entry_data(entry)
            self._publisher.publish_made("entry", lambda: data)
        else:
            self._publisher.publish_made("entry", lambda: self._entry_data(entry))
        if entry.kind == EntryKind.MEMBERSHIP and entry.index >= self._news_from:
            self._publisher.publish("membership", **narration.membership_data(entry))

    def _entry_data(self, entry: Entry) -> dict[str, Any]:
        kind = EntryKind(entry.kind).name.lower()
        return {"index": entry.index, "term": entry.term, "kind": kind, "text": entry_text(entry, self._describers)}

    def _change_role(self, change: RoleChange) -> None:
        leads = change.leader == self.raft.id
        if self._led and not (leads and change.term == self._publisher.term):
            self.serving.leadership_lost()
        before, self._led = self._publisher.role, leads
        self._publisher.term, self._publisher.role = change.term, change.role
        self._publisher.publish(
            "role",
            role=change.role,
            term=change.term,
            leader=change.leader,
            reason=change.reason,
            prev_role=before,
        )
        self._was_established = self.raft.is_established
        self._reason = change.reason
        self._observe(change.reason)
        self.publish_status()

    def _observe(self, reason: str) -> None:
        for order in self._scheduler.observe(self._standing(reason)):
            self._world.guard.tell(order)

    def _standing(self, reason: str) -> Standing:
        raft = self.raft
        told = HOOK_REASONS.get(reason, reason)
        return Standing(raft.role.name, raft.term, raft.leader, raft.is_established, raft.log.commit_index, told)

    def _tell(self, note: Note) -> None:
        level, text = line(note)
        self._log(level, text)
        told = narration.event(note)
        if told is not None:
            self._publisher.publish(told[0], **told[1])

    def endpoints(self) -> dict[NodeId, Endpoints]:
        """Return where everybody is reached who takes part now."""
        return self._addresses.of(self.raft.memberships.current)

    # -- what people see -----------------------------------------------------------------------------------------------

    def status(self, log: int = 0, until: Index = 0) -> Status:
        """Return this node's own view of itself, with `log` entries up to index `until`, or up to the last; see `excerpt`."""
        raft = self.raft
        role = raft.role
        return Status(
            node=raft.id,
            role=role.name,
            term=raft.term,
            leader=raft.leader,
            voted_for=raft.voted_for,
            commit_index=raft.log.commit_index,
            last_applied=raft.log.last_applied,
            last_index=raft.log.last_index,
            election_timer_ms=self._election_timer_ms(),
            election_timeout_ms=int(role.timeout_ms),
            warnings=self._warnings() + self._host.warnings(),
            first_index=raft.log.first_index,
            log=excerpt(raft.log, log, until, self._describers),
            members=self.endpoints(),
            **self._host.health(),
        )

    def _warnings(self) -> list[str]:
        """Return what a leader knows to be wrong now; others hear of nobody but the leader."""
        lost = self.raft.role.roster.lost if isinstance(self.raft.role, Leader) else ()
        return [line(Note("data_lost", {"node": node}))[1] for node in sorted(lost)]

    def publish_status(self) -> None:
        """Publish what `status` says."""
        status = msgspec.to_builtins(self.status())
        status.pop("log")
        self._publisher.publish("status", **status)

    def _election_timer_ms(self) -> int:
        role = self.raft.role
        since = role.rounds.confirmed_sent_at if isinstance(role, Leader) else role.timer_from
        return max(0, int(self._world.clock.now_ms() - since))
