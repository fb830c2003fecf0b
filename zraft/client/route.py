"""Which node to ask next: the leader if one is known, otherwise each in turn."""

from collections.abc import Iterable

from zraft.raft.types import NodeId

_NOT_CONNECTED = "not connected"


class Route:
    """What the client believes of its nodes.

    Parameters
    ----------
    nodes
        All of them.
    suspicion_s
        How long a node that stayed silent is passed over though others name it the leader: they may not know yet.
    cluster
        What to call the cluster, for people.
    """

    def __init__(self, nodes: Iterable[NodeId], suspicion_s: float, cluster: str = "") -> None:
        self._nodes = list(nodes)
        self.whose = f" of {cluster}" if cluster else ""
        """Follows the word node."""
        self._suspicion_s = suspicion_s
        self.leader: NodeId | None = None
        """Who leads, by the last word that was heard."""
        self._suspected_until: dict[NodeId, float] = {}
        self._out_of_reach_since: dict[NodeId, float] = {}
        """Since when no connection stands, of those for which none did when they were tried last."""
        self._reasons: dict[NodeId, str] = {}
        """Why each node did not serve when it was last asked; absent when it did."""

    def order(self, now: float, avoid: NodeId | None) -> list[NodeId]:
        """Return all nodes, best first: the leader, then those not asked for longest, at last the suspected and `avoid`."""
        return sorted(self._nodes, key=lambda node: self._rank(node, now, avoid))

    def order_of_any(self, now: float, avoid: NodeId | None) -> list[NodeId]:
        """Return all nodes for a read that any may answer, best first: the leader has enough to do without it."""
        return sorted(self._nodes, key=lambda node: (self._rank(node, now, avoid) or 1.5, node == avoid))

    def _rank(self, node: NodeId, now: float, avoid: NodeId | None) -> int:
        if self._suspected_until.get(node, 0.0) > now:
            return 3
        if node == avoid:
            return 2
        return 0 if node == self.leader else 1

    def meet(self, node: NodeId) -> None:
        """Take up a node that joined later; it is asked before all others, as far as nobody leads."""
        self._nodes.insert(0, node)

    def asked(self, node: NodeId) -> None:
        """Note that `node` was asked just now: its turn comes again after all the others."""
        self._nodes.remove(node)
        self._nodes.append(node)

    def served(self, node: NodeId) -> None:
        """Note that `node` did as asked, so it leads."""
        self.leader = node
        self._reasons.pop(node, None)
        self._suspected_until.pop(node, None)

    def refused(self, node: NodeId, leader: NodeId | None, why: str, now: float) -> bool:
        """Note that `node` said no and named `leader`; True when that is news, worth following at once."""
        self._reasons[node] = why or "refused"
        self._suspected_until.pop(node, None)
        if leader is None or leader == node or leader not in self._nodes:
            self._forget(node)
            return False
        news = leader != self.leader and self._suspected_until.get(leader, 0.0) <= now
        self.leader = leader
        return news

    def could_not(self, node: NodeId, why: str) -> None:
        """Note that `node` could not answer what any node may; who leads, that does not say."""
        self._reasons[node] = why or "refused"
        self._suspected_until.pop(node, None)

    def silent(self, node: NodeId, now: float) -> None:
        """Note that `node` did not answer in time."""
        self._reasons[node] = "silent"
        self._suspected_until[node] = now + self._suspicion_s
        self._forget(node)

    def gone(self, node: NodeId, now: float) -> None:
        """Note that the connection to `node` broke."""
        self._reasons[node] = "connection lost"
        self._out_of_reach_since.setdefault(node, now)
        self._forget(node)

    def unreachable(self, node: NodeId, now: float) -> None:
        """Note that the local socket refused, since no connection to `node` stands."""
        self._reasons[node] = _NOT_CONNECTED
        self._out_of_reach_since.setdefault(node, now)

    def connected(self, node: NodeId) -> None:
        """Note that the local socket took something for `node`."""
        self._out_of_reach_since.pop(node, None)

    def is_out_of_reach(self, node: NodeId, now: float) -> bool:
        """Whether no connection to `node` stood whenever it was tried, for as long as a silent one would be suspected."""
        return now - self._out_of_reach_since.get(node, now) >= self._suspicion_s

    def strange(self, node: NodeId, why: str) -> None:
        """Note that `node` sent something that is no answer."""
        self._reasons[node] = f"answers strangely ({why})"

    def _forget(self, node: NodeId) -> None:
        if self.leader == node:
            self.leader = None

    @property
    def cut_off(self) -> bool:
        """Whether no connection stands to anybody, as far as was tried."""
        return bool(self._reasons) and all(why == _NOT_CONNECTED for why in self._reasons.values())

    def reasons(self) -> str:
        """Return why no node served, for people."""
        return ", ".join(f"{node} {why}" for node, why in sorted(self._reasons.items())) or "nobody was asked yet"
