"""The shape of a configuration: one frozen struct per section, with every option, its default and its bounds.

`config/cluster.yaml` explains each option to people; a test holds the two together.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from zraft.raft.types import NodeId

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
"""A duration: at least 1 ms, at most a day."""
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
PRIORITY_MAX = 100
Priority = Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)]


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which cluster this is."""

    name: str = "zraft"
    """Shown to people and given to hooks."""
    id: str | None = None
    """16 hexadecimal digits that every message and file bears; without it, they are drawn from `name`."""
    faults: Literal["enabled", "disabled"] | None = None
    """Whether links between nodes may be cut for a drill; by default under `zraft cluster up` alone."""


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node and its three endpoints, each ``tcp://host:port`` or ``ipc://path``."""

    id: NodeId
    peer: str
    """Where other nodes reach it."""
    client: str
    """Where clients reach it."""
    events: str
    """Where monitors subscribe."""
    priority: Priority = 1
    """Who should lead rather than others; 0 votes, and does not lead."""
    join: bool = False
    """It begins no cluster: without data it waits to be added to one."""


class Membership(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How nodes join."""

    promote: str = "auto"
    """``auto``: whoever has joined becomes a voter once it has caught up. ``manual``: once somebody says so."""


class Election(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a follower waits for its leader."""

    timeout_lower_ms: Milliseconds = 500
    timeout_upper_ms: Milliseconds = 1_000


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a leader shows that it lives."""

    interval_ms: Milliseconds = 100


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may ask for."""

    value_bytes_max: Annotated[int, msgspec.Meta(ge=1, le=8 << 20)] = 1 << 20
    """At most half of what one message may hold, so that a batch with this one value in it always fits."""
    key_bytes_max: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] = 4_096


class Sessions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long and how many clients are remembered for exactly-once."""

    ttl_ms: Milliseconds = 600_000
    count_max: Count = 10_000


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how the log is kept."""

    directory: str = "data"
    """Each node has its own directory, named like it, in this one."""
    segment_bytes: Annotated[int, msgspec.Meta(ge=1 << 16, le=1 << 30)] = 16 << 20
    snapshot_bytes: Annotated[int, msgspec.Meta(ge=1 << 10, le=1 << 40)] = 16 << 20
    """How much the log grows, at the least, before a snapshot takes the place of what is before."""


class Hooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Programs that run when a node's role changes."""

    leader: str | None = None
    follower: str | None = None
    grace_ms: Milliseconds = 5_000
    """Between SIGTERM and SIGKILL when a script is to end."""
    timeout_ms: Milliseconds = 60_000
    """How long a `follower` script may take."""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log files for people."""

    directory: str = "log"
    level: str = "INFO"
    json: bool = False


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The event file of each node."""

    heartbeats: bool = False
    """Whether every heartbeat sent and received is recorded too."""


class Monitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The terminal monitor."""

    refresh_ms: Milliseconds = 500


class Supervisor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How ``zraft cluster`` keeps its nodes alive."""

    control: str = "ipc://supervisor.sock"
    hung_after_ms: Milliseconds = 10_000
    backoff_lower_ms: Milliseconds = 200
    backoff_upper_ms: Milliseconds = 30_000


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be configured; validated as a whole by `load`."""

    nodes: tuple[Node, ...]
    cluster: Cluster = Cluster()
    membership: Membership = Membership()
    election: Election = Election()
    heartbeat: Heartbeat = Heartbeat()
    limits: Limits = Limits()
    sessions: Sessions = Sessions()
    storage: Storage = Storage()
    hooks: Hooks = Hooks()
    log: Log = Log()
    events: Events = Events()
    monitor: Monitor = Monitor()
    supervisor: Supervisor = Supervisor()
    machines: dict[str, str] = {}
    """State machines of one's own: the name under which each is mounted, and its class as ``package.module:Class``."""
    path: str = ""
    """The file it was read from, absolute; set by `load`, never by the file."""
    warnings: tuple[str, ...] = ()
    """What is allowed and still worth a line, for whoever starts something; set by `load`, never by the file."""
    origins: dict[str, str] = {}
    """Option, ``nodes`` or ``machines``, to the variable or flag that set it; what the file or a default set is not in it."""

    @property
    def cluster_id(self) -> int:
        """The 64-bit number that every message and file bears."""
        text = self.cluster.id or hashlib.sha256(self.cluster.name.encode()).hexdigest()[:16]
        return int(text, 16)

    def node(self, node_id: NodeId) -> Node:
        """Return the node of that name; KeyError when the file has none."""
        return {node.id: node for node in self.nodes}[node_id]

    @property
    def founders(self) -> tuple[NodeId, ...]:
        """The nodes that the cluster begins with; a node that is to join begins none."""
        return tuple(node.id for node in self.nodes if not node.join)

    def data_directory(self, node_id: NodeId) -> Path:
        """Where that node keeps its log."""
        return Path(self.storage.directory) / node_id


SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.name: field.type
    for field in msgspec.structs.fields(Config)
    if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
}
"""The sections of the file by name; besides them it holds `nodes`, a list, and `machines`, a map with names of its own."""
OPTIONS: dict[str, msgspec.structs.FieldInfo] = {
    f"{section}.{field.name}": field for section, kind in SECTIONS.items() for field in msgspec.structs.fields(kind)
}
"""Every option, as ``section.key``."""
