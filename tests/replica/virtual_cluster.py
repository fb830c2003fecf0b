"""A cluster of real replicas in virtual time: real machines, hook decisions, codec and storage; a world that obeys the test.

Time passes only in `run` and `until`, from one event to the next. Every message goes through the codec, every write
through the write-ahead log on a disk in memory, and every message that leaves is checked against what is durable there.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from zraft.codec import PEER_KINDS, REPLY_KINDS, REQUEST_KINDS, Codec
from zraft.events import Event, Publisher
from zraft.hooks.decide import HookScheduler, HookSettings
from zraft.machines.kv.commands import Put, encode
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import StateMachine
from zraft.machines.mounts import DESCRIBERS
from zraft.machines.sessions import Machines, Result
from zraft.raft.messages import Message
from zraft.raft.state import Settings
from zraft.raft.types import Entry, Index, Membership, NodeId, Role, Term
from zraft.replica import Replica, World
from zraft.requests import Batch, Commands, OpenSession, Outcome, Queries, Reply, Status
from zraft.storage.starting import start_from
from zraft.storage.wal import Storage

sys.path.append(str(Path(__file__).parents[1] / "storage"))
from crashfs import CrashFS
from virtual_seams import CLUSTER_ID, Clock, Disk, Link, ListGuard, Packet

ELECTION_MS = (500, 1_000)
HEARTBEAT_MS = 100
PATIENCE_MS = 20_000
CLIENT = b"client"


class Watched(Machines):
    """The replicated state, which tells what it applies."""

    def __init__(self, node: "VirtualNode") -> None:
        options = node.cluster.options.get(node.id, {})
        self.store = KeyValueStore(**options.get("limits", {}))
        machines = {"kv": self.store, **node.cluster.mount()}
        super().__init__(machines, **{"ttl_ms": 60_000, **options.get("sessions", {})})
        self._node = node

    def apply(self, entry: Entry, *, batch: Batch | None = None) -> Result:
        self._node.effects.append(("apply", entry))
        self._node.cluster.check_applied(entry)
        return super().apply(entry, batch=batch)


class VirtualNode:
    """One node, up or down; its disk outlives it."""

    def __init__(self, cluster: "VirtualCluster", id: NodeId) -> None:
        self.cluster, self.id = cluster, id
        self.fs = CrashFS()
        self.boot_id = 0
        self.up = False
        self.paused = False
        """SIGSTOP: time passes, and nothing is handled."""
        self.effects: list[tuple[Any, ...]] = []
        """Everything that left the replica through a seam, in order."""
        self.events: list[Event] = []
        self.lines: list[tuple[str, str]] = []
        """Its log: level and line."""

    def start(self) -> None:
        self.boot_id += 1
        self.codec = Codec(CLUSTER_ID, self.id, self.boot_id)
        cluster = self.cluster
        disk_id = f"{cluster.random.getrandbits(128):032x}"
        storage = Storage.open(
            self.fs, cluster_id=CLUSTER_ID, node=self.id, segment_bytes=1 << 16, new_disk_id=lambda: disk_id
        )
        self.disk = Disk(self, storage)
        self.guard = ListGuard()
        self.machines = Watched(self)
        self.inbox: list[Packet] = []
        self.requests: list[tuple[bytes, Any, bytes | None]] = []
        self.publisher = Publisher("c", self.id, self.boot_id, lambda: 0, self.events.append)
        self.replica = Replica(
            Settings(self.id, storage.disk_id, *ELECTION_MS, HEARTBEAT_MS),
            start_from(storage, self.machines.restore, lambda line: self.lines.append(("ERROR", line))),
            Membership(
                () if self.id in cluster.spares else tuple(id for id in cluster.ids if id not in cluster.spares)
            ),
            world=World(Clock(cluster), Random(cluster.random.getrandbits(64)), Link(self), self.disk, self.guard),
            machines=self.machines,
            describers=DESCRIBERS,
            scheduler=HookScheduler(self._hooks()),
            publisher=self.publisher,
            host=self,
            log=lambda level, line: self.lines.append((level, line)),
            snapshot_bytes=cluster.snapshot_bytes,
        )
        self.up = True
        self.replica.turn()

    def _hooks(self) -> HookSettings:
        return HookSettings(
            node=self.id,
            cluster="c",
            scripts={"leader": ("/leader",), "follower": ("/follower",)},
            grace_ms=10,
            timeout_ms=10,
            base_env={},
            config_path="",
            endpoints={},
        )

    def hello(self) -> dict[str, Any]:
        return {"cluster": "c", "cluster_id": CLUSTER_ID}

    def warnings(self) -> list[str]:
        """Return nothing: all is well."""
        return []

    def health(self) -> dict[str, Any]:
        return {"endpoint": "nowhere", "healthy": True, "uptime_s": 0.0, "pid": 1}

    def hear(self, source: NodeId, message: Message) -> None:
        """Let a message arrive now, whoever really sent it."""
        self.inbox.append(Packet(0, source, self.id, Codec(CLUSTER_ID, source, 1).encode(message)))

    def kill(self) -> None:
        """End it as SIGKILL does: what it had not written is lost."""
        self.up = False
        self.fs = self.fs.after_kill()

    def wipe(self) -> None:
        """Lose the data directory, as a replaced disk does."""
        assert not self.up
        self.fs = CrashFS()

    @property
    def role(self) -> Role:
        return self.replica.raft.role.name

    @property
    def term(self) -> Term:
        return self.replica.raft.term

    def due(self) -> float:
        """When it has something to do."""
        if self.inbox or self.requests or self.replica.busy:
            return self.cluster.now
        times = [self.replica.deadline]
        if (disk := self.disk.due) is not None:
            times.append(disk)
        return min(times)

    def turn(self) -> None:
        """Turn the loop once, in the order in which `node.Node` does."""
        self.disk.sync()
        self.replica.tick()
        self.replica.disk_done()
        inbox, self.inbox = self.inbox, []
        for packet in inbox:
            self.replica.receive(packet.source, self.codec.decode(packet.frames, PEER_KINDS).message)
        requests, self.requests = self.requests, []
        for client, request, batch in requests:
            self.replica.request(client, request, batch)
        self.replica.turn()


class VirtualCluster:
    """Some nodes and what is between them.

    Parameters
    ----------
    count
        How many nodes, n1 to n9.
    seed
        Of all randomness.
    mount
        Makes the machines that a node has besides the key-value store.
    snapshot_bytes
        How much a log grows before a node takes a snapshot; by default, none ever does.
    spares
        How many nodes there are besides, which are no members until somebody adds them.
    """

    def __init__(
        self,
        count: int = 3,
        seed: int = 0,
        *,
        mount: Callable[[], Mapping[str, StateMachine]] = dict,
        snapshot_bytes: int = 1 << 30,
        spares: int = 0,
    ) -> None:
        self.mount = mount
        self.snapshot_bytes = snapshot_bytes
        self.options: dict[NodeId, dict[str, dict[str, int]]] = {}
        """Sections of the configuration, of nodes that start with others than the rest."""
        self.now = 1_000.0
        self.random = Random(seed)
        self.ids = [f"n{number}" for number in range(1, count + spares + 1)]
        self.spares = frozenset(self.ids[count:])
        """Nodes that wait to be added."""
        self.network: list[Packet] = []
        """Under way, in the order of sending, which is that of arriving."""
        self.cut: set[tuple[NodeId, NodeId]] = set()
        """Links, one way each, on which everything is lost."""
        self.refused: set[tuple[NodeId, NodeId]] = set()
        """Links whose socket takes nothing."""
        self.client_codec = Codec(CLUSTER_ID, "client", 1)
        self._answers: dict[int, Reply] = {}
        """What clients have been answered, by the request's id."""
        self._applied: dict[Index, Entry] = {}
        self._leaders: dict[Term, NodeId] = {}
        self._next_request = 1
        self._sequences: dict[int, int] = defaultdict(int)
        self.nodes = {id: VirtualNode(self, id) for id in self.ids}

    def __getitem__(self, id: NodeId) -> VirtualNode:
        return self.nodes[id]

    @property
    def running(self) -> list[VirtualNode]:
        return [node for node in self.nodes.values() if node.up and not node.paused]

    def start(self) -> "VirtualCluster":
        for node in self.nodes.values():
            node.start()
        return self

    # -- time ----------------------------------------------------------------------------------------------------------

    def run(self, for_ms: float) -> None:
        """Let that much time pass."""
        end = self.now + for_ms
        while (due := self._next()) <= end:
            self._advance(due)
        self.now = end

    def until(self, condition: Callable[[], Any], what: str = "it", within_ms: float = PATIENCE_MS) -> Any:
        """Let time pass until `condition` gives something true, and return that."""
        end = self.now + within_ms
        while not (found := condition()):
            due = self._next()
            assert due <= end, f"not within {within_ms} ms: {what}"
            self._advance(due)
        return found

    def _next(self) -> float:
        times = [node.due() for node in self.running]
        times += [packet.due for packet in self.network[:1]]
        return max(self.now, min(times, default=float("inf")))

    def _advance(self, due: float) -> None:
        self.now = due
        arrived = [packet for packet in self.network if packet.due <= due]
        del self.network[: len(arrived)]
        for packet in arrived:
            node = self.nodes[packet.target]
            if node.up and (packet.source, packet.target) not in self.cut:
                node.inbox.append(packet)
        for node in self.running:
            if node.due() <= due:
                node.turn()
                self._check(node)

    # -- what must always hold -----------------------------------------------------------------------------------------

    def _check(self, node: VirtualNode) -> None:
        if node.role == Role.LEADER:
            leader = self._leaders.setdefault(node.term, node.id)
            assert leader == node.id, f"{leader} and {node.id} both lead term {node.term}"

    def check_applied(self, entry: Entry) -> None:
        known = self._applied.setdefault(entry.index, entry)
        assert known == entry, f"applied at one node {known}, at another {entry}"

    # -- faults --------------------------------------------------------------------------------------------------------

    def isolate(self, id: NodeId) -> None:
        """Cut all links of a node, both ways."""
        self.cut |= {pair for other in self.ids for pair in ((id, other), (other, id))}

    def heal(self) -> None:
        self.cut.clear()
        self.refused.clear()

    # -- whoever uses it -----------------------------------------------------------------------------------------------

    def led(self, *, other_than: NodeId | None = None) -> VirtualNode:
        """Wait until somebody leads, has applied its no-op, and all who are connected to it follow."""

        def found() -> VirtualNode | None:
            leaders = [node for node in self.running if node.replica.raft.is_established and node.id != other_than]
            return max(leaders, key=lambda node: node.term, default=None)

        return self.until(found, "a leader")

    def settled(self) -> VirtualNode:
        """Wait until every running node follows one leader and has applied all that it has."""

        def found() -> bool:
            rafts = [node.replica.raft for node in self.running if node.replica.raft.memberships.current.voters]
            ends = {(raft.leader, raft.log.last_index, raft.log.last_applied) for raft in rafts}
            ((leader, last, applied),) = ends if len(ends) == 1 else {(None, 0, 0)}
            return leader is not None and last == applied

        self.until(found, "everybody in step")
        return self.led()

    def ask(self, node: VirtualNode, request: Any, batch: bytes | None = None, client: bytes = CLIENT) -> int:
        """Hand a request in at a node, through the codec; its id, which is returned, replaces the one that it has."""
        id, self._next_request = self._next_request, self._next_request + 1
        frames = self.client_codec.encode(msgspec.structs.replace(request, id=id), batch)
        received = node.codec.decode(frames, REQUEST_KINDS)
        node.requests.append((client, received.message, received.batch))
        return id

    def answer(self, id: int) -> Reply | None:
        """Return the reply to that request, once there is one."""
        return self._answers.get(id)

    def take_answer(self, frames: list[bytes]) -> None:
        """Let a reply reach its client."""
        reply = self.client_codec.decode(frames, REPLY_KINDS).message
        known = self._answers.setdefault(reply.id, reply)
        assert known is reply, f"answered more than once: {known}, {reply}"

    def answered(self, id: int) -> Reply:
        """Wait for the reply."""
        return self.until(lambda: self.answer(id), f"an answer to {id}")

    def call(self, node: VirtualNode, request: Any, batch: bytes | None = None) -> Reply:
        """Ask, and wait for the reply."""
        return self.answered(self.ask(node, request, batch))

    def open_session(self, node: VirtualNode) -> int:
        reply = self.call(node, OpenSession(0))
        assert reply.outcome == Outcome.DONE
        return reply.result

    def batch(self, session: int, *commands: Any, sequence: int | None = None, machine: str = "kv") -> bytes:
        """Encode commands as a client does; with the session's next sequence, unless it is given."""
        if sequence is None:
            self._sequences[session] += 1
            sequence = self._sequences[session]
        encoded = [command if isinstance(command, bytes) else encode(command) for command in commands]
        return msgspec.msgpack.encode(Batch(session, sequence, machine, encoded))

    def put(self, node: VirtualNode, session: int, key: bytes, value: bytes = b"v") -> int:
        """Hand a put in, and return the request's id."""
        return self.ask(node, Commands(0), self.batch(session, Put(key, value)))

    def read(self, node: VirtualNode, *queries: Any, machine: str = "kv") -> int:
        """Hand queries in, and return the request's id."""
        return self.ask(node, Queries(0, machine, [encode(query) for query in queries]))

    def status(self, node: VirtualNode, log: int = 0) -> Status:
        return node.replica.status(log)
