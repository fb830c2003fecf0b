"""One life of a node's process: the production replica over its seams, and the loop around it, as `zraft.node` turns it.

Three actors, with queues between them: the loop, the thread that writes, and the guard. So a disk can stall while the loop
goes on, and a loop can stand still while scripts run.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from zraft.codec import PEER_KINDS, REQUEST_KINDS, Codec
from zraft.errors import ProtocolError, StorageError
from zraft.events import Event, Publisher
from zraft.hooks.decide import HookScheduler, HookSettings
from zraft.machines.mounts import DESCRIBERS
from zraft.machines.sessions import Machines
from zraft.raft.progress import Progress
from zraft.raft.state import Settings
from zraft.raft.types import EntryId, Index, Membership, NodeId, Role, Term
from zraft.replica import Replica, World
from zraft.requests import PastEvents
from zraft.simulation.diskthread import DiskThread
from zraft.simulation.machines import OWN
from zraft.simulation.network import Name
from zraft.simulation.scripts import SimulatedGuard
from zraft.simulation.seams import Links, WitnessedMachines, WitnessedWrites
from zraft.simulation.timeline import STALE
from zraft.simulation.violation import Violation
from zraft.storage.starting import start_from
from zraft.storage.wal import Storage

if TYPE_CHECKING:
    from zraft.simulation.node import SimulatedNode

MESSAGES_PER_TURN_MAX = 256
"""From peers, and again from clients: what one turn takes."""
LEAST_SLEEP_MS = 0.001
"""Rounding must not make a deadline come again and again without being there."""
LINES_KEPT = 30
NEVER = float("inf")


class Look(NamedTuple):
    """As much of a node as the witness compares with the next turn."""

    term: Term
    voted_for: NodeId | None
    role: Role
    last: EntryId
    commit_index: Index
    last_applied: Index


class Process:
    """One process, from recovery to its end.

    Parameters
    ----------
    node
        The node whose process it is.
    storage
        Its log, opened.

    Attributes
    ----------
    seen, committed, matches, asked, turns
        The witness's notes on this process.
    """

    def __init__(self, node: "SimulatedNode", storage: Storage) -> None:
        self.node, self.id, self.cluster = node, node.id, node.cluster
        cluster = self.cluster
        self.witness = cluster.witness
        assert node.durable is not None, "a process has a data directory"
        self.durable = node.durable
        dice = cluster.dice
        self.codec = Codec(cluster.cluster_id, node.id, node.boots)
        self.clock = node.clock
        self.storage = storage
        self.slowness = 1.0
        """By what the time that a turn takes is multiplied."""
        self.paused = False
        self.rejected = 0
        """Messages that were no messages."""
        self.lines: deque[tuple[float, str]] = deque(maxlen=LINES_KEPT)
        """The newest of its log, for whoever looks into a failure."""
        self._peers_in: deque[tuple[Name, list[bytes], bool]] = deque()
        self._clients_in: deque[tuple[Name, list[bytes], bool]] = deque()
        self._reports: deque[dict[str, Any]] = deque()
        self._commands: deque[Callable[[], object]] = deque()
        """What somebody at this node orders, for the next turn."""
        self._turn_at = NEVER
        """When the next turn is planned."""
        self._busy_until = 0.0
        self._stop_by: float | None = None
        """Being stopped: when it ends though nobody has taken over."""
        self.ended = False
        self.disk_thread = self._open_disk_thread()
        started = partial(self.witness.script_started, node.id)
        self.guard = SimulatedGuard(cluster.timeline, dice.of(f"scripts/{node.id}"), self._reported, started)
        self.mounted = cluster.mount()
        """Its machines, by name."""
        self.machines = WitnessedMachines(self.mounted, ttl_ms=cluster.plan.session_ttl_ms, on_failure=_machine_failed)
        self.machines.process = self
        self.asked: dict[tuple[bytes, int], list[Index]] = {}
        self.matches: dict[NodeId, tuple[Progress, Index]] = {}
        self.turns = 0
        self.replica = self._assemble(storage, dice.of(f"core/{node.id}"))
        self.raft = self.replica.raft
        self.committed: Index = self.raft.log.commit_index
        self.seen = self.look()

    def _open_disk_thread(self) -> DiskThread:
        cluster = self.cluster
        return DiskThread(
            *(self.storage, self.node.disk, self.durable),
            timeline=cluster.timeline,
            plan=cluster.plan,
            random=cluster.dice.of(f"disk/{self.id}"),
            ring=self.wake,
        )

    def _assemble(self, storage: Storage, random: Random) -> Replica:
        cluster, id = self.cluster, self.id
        plan, voters = cluster.plan, cluster.voters
        settings = Settings(
            id=id,
            disk_id=storage.disk_id,
            election_timeout_lower_ms=plan.election_lower_ms,  # type: ignore[arg-type]
            election_timeout_upper_ms=plan.election_upper_ms,  # type: ignore[arg-type]
            heartbeat_interval_ms=plan.heartbeat_ms,  # type: ignore[arg-type]
            append_bytes_max=plan.append_bytes_max,
            apply_bytes_max=plan.apply_bytes_max,
            inflight_max=plan.inflight_max,
            uncommitted_bytes_max=plan.uncommitted_bytes_max,
            priority=plan.priorities[cluster.ids.index(id)],
            disk_stall_ms=plan.disk_stall_ms,
            wall_ms_at_zero=self.clock.wall_offset_ms,
        )
        return Replica(
            settings,
            start_from(storage, self.machines.restore, self._told_of_damage),
            Membership(voters if id in voters and not self.node.joins else ()),
            world=World(
                self.clock,
                Random(random.getrandbits(64)),  # noqa: S311 - dice
                Links(self),
                WitnessedWrites(self, self.disk_thread),
                self.guard,
            ),
            machines=self.machines,
            describers=DESCRIBERS,
            scheduler=HookScheduler(_hooks(id)),
            publisher=Publisher("simulated", id, self.node.boots, self.clock.wall_ms, _unheard, has_audience=_nobody),
            host=self,
            snapshot_bytes=plan.snapshot_bytes,
            log=lambda level, line: self.lines.append((cluster.timeline.now, f"{level} {line}")),
        )

    def _told_of_damage(self, line: str) -> None:
        if not self.node.rotten:
            raise Violation("I17", line)

    # -- what the replica asks of its host ---------------------------------------------------------------------------------

    def hello(self) -> dict[str, Any]:
        """Return what a client must know of the cluster."""
        return {"cluster": "simulated", "cluster_id": self.cluster.cluster_id, "nodes": {}, "limits": {}}

    def warnings(self) -> list[str]:
        """Return nothing: all is well."""
        return []

    def health(self) -> dict[str, Any]:
        """Return the fields of `Status` that concern the process."""
        return {"endpoint": self.id, "healthy": self.disk_thread.failure is None, "uptime_s": 0.0, "pid": 1}

    # -- what the witness asks ---------------------------------------------------------------------------------------------

    def look(self) -> Look:
        """Return how this node stands."""
        raft = self.raft
        log = raft.log
        return Look(raft.term, raft.voted_for, raft.role.name, log.last, log.commit_index, log.last_applied)

    def others(self) -> Iterator["Process"]:
        """Yield the other processes that run."""
        return (node.process for node in self.cluster.nodes.values() if node.process not in (None, self))

    def blank_machines(self) -> Machines:
        """Return the same machines, empty."""
        return Machines(self.cluster.mount(), ttl_ms=self.cluster.plan.session_ttl_ms)

    # -- what reaches it ---------------------------------------------------------------------------------------------------

    def hear(self, source: Name, frames: list[bytes], bad: bool) -> None:
        """Let a message arrive in the socket that it is for."""
        queue = self._clients_in if isinstance(source, bytes) else self._peers_in
        queue.append((source, frames, bad))
        self.wake()

    def _reported(self, report: dict[str, Any]) -> None:
        if not self.ended:
            self._reports.append(report)
            self.wake()

    def wake(self, at_ms: float = 0.0) -> None:
        """Turn the loop at that time, or as soon as it can."""
        due = max(at_ms, self.cluster.timeline.now, self._busy_until)
        if due < self._turn_at and not self.paused and not self.ended:
            self._turn_at = due
            self.cluster.timeline.at(due, self._turn)

    def command(self, action: Callable[[], object]) -> None:
        """Do something with the core in the next turn, when time has passed and messages were heard."""
        self._commands.append(action)
        self.wake()

    def resume(self) -> None:
        """Go on after a pause."""
        self.paused = False
        self._turn_at = NEVER
        self.wake()

    def stop(self) -> None:
        """Begin to stop cleanly: hand leadership over, end scripts, exit."""
        if self.paused or self.ended or self._stop_by is not None:
            return
        self._stop_by = self.cluster.timeline.now
        if self.replica.hand_over():
            self._stop_by += self.cluster.plan.election_upper_ms
        self.wake()

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def _turn(self) -> object:
        timeline = self.cluster.timeline
        if self.ended or self.paused or self._turn_at != timeline.now:
            return STALE
        self._turn_at = NEVER
        replica = self.replica
        handled = 1
        try:
            replica.tick()
            replica.disk_done()
            self._look_at_commit()
            handled += self._hear_peers() + self._hear_clients()
            while self._commands:
                self._commands.popleft()()
                self._look_at_commit()
            while self._reports:
                replica.guard_reported(self._reports.popleft())
            replica.turn()
        except StorageError as error:
            self.node.failed(error)
            return None
        self.witness.turned(self)
        self._busy_until = timeline.now + self.cluster.plan.turn_ms * self.slowness * handled
        if self._stop_by is not None and (self.raft.leader != self.id or timeline.now >= self._stop_by):
            replica.stop_hooks()
            self.node.stopped()
            return None
        self._plan_next()
        return None

    def _plan_next(self) -> None:
        if self.replica.busy or self._peers_in or self._clients_in:
            self.wake()
            return
        due = self.replica.deadline
        if due < NEVER:
            self.wake(max(self.clock.true_time(due), self.cluster.timeline.now + LEAST_SLEEP_MS))
        if self._stop_by is not None:
            self.wake(self._stop_by)

    def _hear_peers(self) -> int:
        count = min(len(self._peers_in), MESSAGES_PER_TURN_MAX)
        for _ in range(count):
            source, frames, bad = self._peers_in.popleft()
            received = self._decoded(frames, bad, PEER_KINDS)
            if received is not None:
                self.replica.receive(str(source), received.message)
                self._look_at_commit()
        return count

    def _hear_clients(self) -> int:
        count = min(len(self._clients_in), MESSAGES_PER_TURN_MAX)
        for _ in range(count):
            source, frames, bad = self._clients_in.popleft()
            received = self._decoded(frames, bad, REQUEST_KINDS)
            if received is None or isinstance(received.message, PastEvents):
                continue
            assert isinstance(source, bytes), "only clients have sockets here"
            self.witness.requested(self, source, received.message, received.message.id)
            self.replica.request(source, received.message, received.batch)
        return count

    def _decoded(self, frames: list[bytes], bad: bool, kinds: dict[int, Any]) -> Any:
        try:
            received = self.codec.decode(frames, kinds)
        except ProtocolError:
            self.rejected += 1
            if bad:
                self.witness.checked["I22"] += 1
                return None
            raise
        if bad:
            raise Violation("I22", f"{self.id} takes a damaged message for {received}")
        return received

    def _look_at_commit(self) -> None:
        if self.raft.log.commit_index != self.committed:
            self.witness.committed(self)


def _hooks(node: NodeId) -> HookSettings:
    return HookSettings(
        node=node,
        cluster="simulated",
        scripts={"leader": ("/leader",), "follower": ("/follower",)},
        grace_ms=50,
        timeout_ms=500,
        base_env={},
        config_path="",
        endpoints={},
    )


def _machine_failed(name: str, error: BaseException) -> None:
    if name == OWN:
        return  # Whatever it raises is the answer, on every node: see `zraft.machines.machine`.
    raise Violation("I22", f"the machine {name} raised {error!r}")


def _unheard(event: Event) -> None:
    raise AssertionError(f"nobody listens: {event}")


def _nobody() -> bool:
    return False
