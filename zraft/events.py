"""Typed events: what a node publishes about itself, for the monitor, for `--json`, and for its event file (`eventfile`).

On the XPUB socket an event is ``[topic, body]``: topic ``node/kind`` in UTF-8, body a msgpack map of `Event`. `seq` rises
by one per event of one `boot_id`, so that a subscriber sees what it has missed. A node keeps its newest events in memory
and gives them to whoever asks (`requests.RecentEvents`), so that a late subscriber need not wait for the next change. Of statuses
and heartbeats it keeps the newest alone, or an idle node would soon remember nothing else: where numbers are missing between
the events of one answer, there were such.

Kinds, and the `data` that each carries:

================  ======================================================================================
kind              data
================  ======================================================================================
role              role, term, leader, reason, prev_role: the node's role, term or leader changed
status            the keys of `requests.Status` without `log`: at each change of role, and every second
entry             index, term, kind, text: an entry was committed and applied here
log               level, message: a line of the node's log
hook              hook, seq, event, state (started, output, ended, killed, skipped, failed), and as they apply:
                  line, stream, exit_code, signal, reason, term, duration_ms
vote              what (requested, granted, refused), term, pre, and as they apply: candidate, reason, transfer
candidacy         term, outcome (won, timeout, refused, another_leads, higher_term), votes_for, votes_against,
                  expected, cause, duration_ms: the node's own candidacy has ended; see `raft.types.Ballot`
membership        index, term, voters, outgoing, learners, registered: a membership was committed
transfer          target, done: the leader has told its successor to stand, or given that up
data_lost         node: it has come back without its data
heartbeat         what (sent, received), peer, round: only with events.heartbeats
rejected          socket, count, reason: input that was dropped, at a bounded rate
started           version, pid, entries: the node's process has recovered so many entries, and serves
stopping          reason
================  ======================================================================================
"""

import secrets
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from zraft.errors import ProtocolError
from zraft.raft.types import NodeId

KINDS = (
    *("role", "status", "entry", "log", "hook", "vote", "candidacy", "membership", "transfer", "data_lost"),
    *("heartbeat", "rejected", "fault", "started", "stopping"),
)
RECORDED = frozenset(KINDS) - {"status", "entry", "log", "rejected"}
"""Kinds that go into the event file: the others repeat themselves, or are in the log, or come at a stranger's pleasure."""
PERIODIC = frozenset(("status", "heartbeat"))
"""Kinds that come all the time: the newest of each takes the place of those before it."""
RECENT_MAX = 1_000
"""Events that a node keeps in memory for late subscribers, besides the newest periodic ones."""


class Event(msgspec.Struct, frozen=True):
    """One thing that happened at one node."""

    v: int
    """Version of this record; 1."""
    cluster: str
    """Name of the cluster."""
    node: NodeId
    boot_id: str
    """The process start, as 16 hexadecimal digits."""
    seq: int
    """Rises by one within a `boot_id`, from 1."""
    wall_ms: int
    """Milliseconds since 1970 by the node's own clock: for people."""
    term: int
    role: str | None
    """The node's term and role when it happened."""
    kind: str
    data: dict[str, Any]

    @property
    def topic(self) -> bytes:
        """What a subscriber filters on: ``node/kind``."""
        return f"{self.node}/{self.kind}".encode()


def is_recorded(event: Event) -> bool:
    """Whether the event belongs into the event file; what scripts print does not, it is in the log."""
    return event.kind in RECORDED and event.data.get("state") != "output"


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode
as_json = msgspec.json.Encoder(enc_hook=repr).encode
"""Returns the whole record as one line of JSON, without a newline."""
_read_json = msgspec.json.Decoder(Event).decode


def encode(event: Event) -> list[bytes]:
    """Return the frames to publish: topic and body."""
    return [event.topic, _encode(event)]


def decode(frames: list[bytes]) -> Event:
    """Turn the frames of a SUB socket back into an event, or raise `ProtocolError`."""
    if len(frames) != 2:  # noqa: PLR2004
        raise ProtocolError(f"an event of {len(frames)} frames")
    try:
        return _decode(frames[1])
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not an event: {error}") from error


def read_json(line: bytes) -> Event:
    """Turn what `as_json` gave back into an event, or raise `ProtocolError`."""
    try:
        return _read_json(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not an event: {error}") from error


class Publisher:
    """Numbers events and hands them to `emit`; keeps the newest for late subscribers.

    Parameters
    ----------
    cluster, node
        Names that every record bears.
    boot_id
        64-bit number of this process start.
    wall_ms
        The clock for people.
    emit
        Called with every event, in order; must not block.
    has_audience
        Whether anybody would receive what is emitted.
    record
        Called with every event that belongs into the event file, in order; must not block.
    """

    def __init__(
        self,
        cluster: str,
        node: NodeId,
        boot_id: int,
        wall_ms: Callable[[], int],
        emit: Callable[[Event], None],
        *,
        has_audience: Callable[[], bool] = lambda: True,
        record: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._boot_id = f"{boot_id:016x}"
        self._wall_ms = wall_ms
        self._emit = emit
        self._has_audience = has_audience
        self._record = record
        self._seq = 0
        self.term = 0
        """Term and role that the next event bears; kept up to date by the replica."""
        self.role: str | None = None
        self._recent: deque[Callable[[], Event]] = deque(maxlen=RECENT_MAX)
        """The newest events, oldest first, without the periodic ones."""
        self._newest: dict[str, Callable[[], Event]] = {}
        """The newest event of each periodic kind."""

    def publish(self, kind: str, /, **data: Any) -> None:
        """Make the next event and emit it."""
        self.publish_made(kind, lambda: data)

    def publish_made(self, kind: str, make: Callable[[], dict[str, Any]]) -> None:
        """Do as `publish`, but make the data only when somebody is there to read it, now or later."""
        assert kind in KINDS, f"an event kind that no reader knows: {kind}"
        self._seq += 1
        known = (1, self._cluster, self._node, self._boot_id, self._seq, self._wall_ms(), self.term, self.role, kind)
        has_audience = self._has_audience()
        if not has_audience and kind not in RECORDED:
            self._keep(kind, lambda: Event(*known, make()))
            return
        event = Event(*known, make())
        self._keep(kind, lambda: event)
        if is_recorded(event):
            self._record(event)
        if has_audience:
            self._emit(event)

    def recent(self, count: int) -> Iterable[Event]:
        """Return the newest `count` events that are kept, oldest first."""
        if count <= 0:
            return []
        kept = [event() for event in (*list(self._recent)[-count:], *self._newest.values())]
        return sorted(kept, key=lambda event: event.seq)[-count:]

    def _keep(self, kind: str, event: Callable[[], Event]) -> None:
        if kind in PERIODIC:
            self._newest[kind] = event
        else:
            self._recent.append(event)


def new_boot_id() -> int:
    """Draw a number for this process start."""
    return secrets.randbits(64)
