"""YAML and environment to one frozen `Config`; every mistake reported at once, with its key.

Precedence: command-line flag, environment, file, default. Every option ``section.key`` has the variable
``ZRAFT_SECTION_KEY``. Relative paths in the file are relative to the file's own directory.
"""

import hashlib
from pathlib import Path

import msgspec

from zraft.raft.types import NodeId


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which cluster this is."""

    name: str = "zraft"
    """Shown to people and given to hooks."""
    id: str | None = None
    """16 hexadecimal digits that every message and file bears; without it, they are drawn from `name`."""


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node and its three endpoints, each ``tcp://host:port`` or ``ipc://path``."""

    id: NodeId
    peer: str
    """Where other nodes reach it."""
    client: str
    """Where clients reach it."""
    events: str
    """Where monitors subscribe."""


class Election(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a follower waits for its leader."""

    timeout_lower_ms: int = 500
    timeout_upper_ms: int = 1_000


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a leader shows that it lives."""

    interval_ms: int = 100


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may ask for."""

    value_bytes_max: int = 1 << 20
    key_bytes_max: int = 4_096


class Sessions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long and how many clients are remembered for exactly-once."""

    ttl_ms: int = 600_000
    count_max: int = 10_000


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how the log is kept."""

    directory: str = "data"
    """Each node has its own directory, named like it, in this one."""
    segment_bytes: int = 16 << 20


class Hooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Programs that run when a node's role changes."""

    leader: str | None = None
    follower: str | None = None
    grace_ms: int = 5_000
    """Between SIGTERM and SIGKILL when a script is to end."""
    timeout_ms: int = 60_000
    """How long a `follower` script may take."""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log files for people."""

    directory: str = "log"
    level: str = "INFO"
    json: bool = False


class Monitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The terminal monitor."""

    refresh_ms: int = 500


class Supervisor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How ``zraft cluster`` keeps its nodes alive."""

    control: str = "ipc://supervisor.sock"
    hung_after_ms: int = 10_000
    backoff_lower_ms: int = 200
    backoff_upper_ms: int = 30_000


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be configured; validated as a whole by `load`."""

    nodes: tuple[Node, ...]
    cluster: Cluster = Cluster()
    election: Election = Election()
    heartbeat: Heartbeat = Heartbeat()
    limits: Limits = Limits()
    sessions: Sessions = Sessions()
    storage: Storage = Storage()
    hooks: Hooks = Hooks()
    log: Log = Log()
    monitor: Monitor = Monitor()
    supervisor: Supervisor = Supervisor()
    path: str = ""
    """The file it was read from, absolute; set by `load`, never by the file."""

    @property
    def cluster_id(self) -> int:
        """The 64-bit number that every message and file bears."""
        text = self.cluster.id or hashlib.sha256(self.cluster.name.encode()).hexdigest()[:16]
        return int(text, 16)

    def node(self, node_id: NodeId) -> Node:
        """Return the node of that name; KeyError when the file has none."""
        return {node.id: node for node in self.nodes}[node_id]

    def data_directory(self, node_id: NodeId) -> Path:
        """Where that node keeps its log."""
        return Path(self.storage.directory) / node_id
