"""Events in, rows of a table out: what is known of each node, and never more leaders than there can be.

Events of different nodes arrive in any order, and one that was paused goes on believing what it last knew. So a node is
shown as leader only while no newer leader has been seen, only if it was the first seen to lead that term, and only while
it is heard of.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from zraft.events import Event
from zraft.raft.types import NodeId, Role

DOWN_AFTER_MS = 3_000
"""A node publishes its status every second; after three that were missed it is taken for down."""


class Row(msgspec.Struct, frozen=True):
    """What the table shows of one node; None where nothing is known."""

    node: NodeId
    state: str
    """``up``, ``down`` (silent, or never heard of) or ``stopped`` (it said so)."""
    role: str | None = None
    """Only while it is up, and not what a newer leader has made obsolete."""
    term: int | None = None
    leader: NodeId | None = None
    voted_for: NodeId | None = None
    commit_index: int | None = None
    last_applied: int | None = None
    last_index: int | None = None
    healthy: bool = False
    age_ms: float | None = None
    """Since it was last heard of."""
    warnings: tuple[str, ...] = ()
    """What it warned of when it was last heard of."""


class View:
    """The state behind the table.

    Parameters
    ----------
    nodes
        Names of the nodes, in the order of the rows; events of others are ignored.
    """

    def __init__(self, nodes: Iterable[NodeId]) -> None:
        self._nodes = {name: _Known() for name in nodes}
        self._newest_term = 0
        """The newest term that was seen to have a leader."""
        self._newest_leader: NodeId | None = None
        """Who was first seen to lead it."""
        self._emptied: set[NodeId] = set()
        """Nodes that came back in an older term than they had: their data directory was emptied."""

    def see(self, event: Event, now_ms: float) -> None:
        """Take in one event; `now_ms` is the watcher's own clock."""
        known = self._nodes.get(event.node)
        if known is None or not known.is_current(event.boot_id):
            return
        known.seen_at = now_ms
        if event.kind == "stopping":
            known.stopped = True
        elif event.kind == "entry":
            known.applied_up_to(_number(event.data, "index"))
        elif event.kind in ("role", "status"):
            self._learn(event.node, known, event.data)

    def meet(self, node: NodeId) -> None:
        """Show one more node."""
        self._nodes.setdefault(node, _Known())

    def touch(self, node: NodeId, now_ms: float) -> None:
        """Note that the node has answered."""
        known = self._nodes.get(node)
        if known is not None:
            known.seen_at = now_ms

    def rows(self, now_ms: float) -> list[Row]:
        """Return the table as of `now_ms`."""
        return [self._row(name, known, now_ms) for name, known in self._nodes.items()]

    def _learn(self, node: NodeId, known: "_Known", data: dict[str, Any]) -> None:
        term = _number(data, "term")
        if term is None or (term < known.term and known.has_told):
            return
        if term < known.term:
            self._emptied.add(node)
        known.take(term, data)
        if 2 * len(self._emptied) > len(self._nodes):
            self._begin_anew()
        self._claim(node, known)

    def _claim(self, node: NodeId, known: "_Known") -> None:
        leader = node if known.role == Role.LEADER else known.leader
        if leader is not None and known.term > self._newest_term:
            self._newest_term, self._newest_leader = known.term, leader

    def _begin_anew(self) -> None:
        # Terms never fall; where they fell on most nodes it is another cluster, started afresh under the same names.
        self._newest_term, self._newest_leader = 0, None
        for name in self._emptied:
            self._claim(name, self._nodes[name])
        self._emptied.clear()

    def _row(self, name: NodeId, known: "_Known", now_ms: float) -> Row:
        if known.seen_at is None:
            return Row(name, "down")
        age = max(0.0, now_ms - known.seen_at)
        state = "stopped" if known.stopped else "up" if age <= DOWN_AFTER_MS else "down"
        leads = name == self._newest_leader and known.term == self._newest_term
        obsolete = known.role == Role.LEADER and not leads
        follows = known.term == self._newest_term and known.leader == self._newest_leader
        return Row(
            node=name,
            state=state,
            role=known.role if state == "up" and not obsolete else None,
            term=known.term if known.has_told else None,
            leader=known.leader if state == "up" and follows else None,
            voted_for=known.voted_for,
            commit_index=known.commit_index,
            last_applied=known.last_applied,
            last_index=known.last_index,
            healthy=known.healthy and state == "up",
            age_ms=age,
            warnings=known.warnings if state == "up" else (),
        )


class _Known:
    """What one node has said of itself."""

    def __init__(self) -> None:
        self.boot_id: str | None = None
        self.former_boots: set[str] = set()
        """Earlier starts of its process: what still comes from them is past."""
        self.has_told = False
        """Whether the current process has told its term yet."""
        self.term = 0
        self.role: str | None = None
        self.leader: NodeId | None = None
        self.voted_for: NodeId | None = None
        self.commit_index: int | None = None
        self.last_applied: int | None = None
        self.last_index: int | None = None
        self.healthy = False
        self.warnings: tuple[str, ...] = ()
        self.seen_at: float | None = None
        self.stopped = False

    def is_current(self, boot_id: str) -> bool:
        """Whether an event of that process start is news; the first of a new one ends the one before."""
        if boot_id in self.former_boots:
            return False
        if boot_id != self.boot_id:
            if self.boot_id is not None:
                self.former_boots.add(self.boot_id)
            self.boot_id = boot_id
            self.role = self.leader = None
            self.has_told = self.stopped = self.healthy = False
        return True

    def take(self, term: int, data: dict[str, Any]) -> None:
        """Take over what a role or status event says; what it does not mention stays, but for another term."""
        if term != self.term:
            self.voted_for = None
        self.has_told, self.term = True, term
        self.role, self.leader = _text(data, "role"), _text(data, "leader")
        if "healthy" in data:
            self.healthy = data["healthy"] is True
            told = data.get("warnings")
            self.warnings = tuple(map(str, told)) if isinstance(told, list) else ()
            self.voted_for = _text(data, "voted_for")
            self.commit_index = _number(data, "commit_index")
            self.last_applied = _number(data, "last_applied")
            self.last_index = _number(data, "last_index")

    def applied_up_to(self, index: int | None) -> None:
        """Note that the entry at `index` was committed and applied."""
        if index is not None:
            self.commit_index = max(index, self.commit_index or 0)
            self.last_applied = max(index, self.last_applied or 0)
            self.last_index = max(index, self.last_index or 0)


def _number(data: dict[str, Any], key: str) -> int | None:
    value = data.get(key)
    return value if isinstance(value, int) and value >= 0 else None


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) else None
