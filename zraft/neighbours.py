"""Whom a node talks to, as its membership changes; and what it says when it is no member itself."""

from collections.abc import Callable

from zraft.addresses import Addresses
from zraft.config import Config
from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.types import Endpoints, Membership, NodeId
from zraft.transport import Transport


class Neighbours:
    """Keeps the links to the peers in step with the membership in force.

    Parameters
    ----------
    config
        The cluster's: where nodes are until the membership says otherwise.
    node_id
        Which node this is.
    transport
        Whose links to keep.
    say
        Called with level and line, for the node's log.
    """

    def __init__(self, config: Config, node_id: NodeId, transport: Transport, say: Callable[[str, str], None]) -> None:
        listed = {node.id: Endpoints(node.peer, node.client, node.events) for node in config.nodes}
        self.addresses = Addresses(listed, [node.id for node in config.nodes if node.join])
        self.clients: dict[NodeId, str] = {}
        """Where clients reach everybody who takes part; changes in place."""
        self._id = node_id
        self._transport = transport
        self._say = say
        self._seen: Membership | None = None
        """The membership that the links are in step with."""
        self._takes_part: bool | None = None
        """Whether this node is a member, as it was said last."""

    def look(self, raft: Raft) -> None:
        """Meet whoever is new; once a turn."""
        current = raft.memberships.current
        if current is self._seen:
            return
        self._seen = current
        endpoints = self.addresses.of(current)
        self.clients.clear()
        self.clients.update({node: at.client for node, at in endpoints.items()})
        self._transport.links.meet({node: at.peer for node, at in endpoints.items() if node != self._id})
        self._tell(current)

    def part(self, raft: Raft) -> None:
        """Let go of whoever has left; now and then, since a leader goes on telling them so for a while."""
        leaving = raft.role.progress if isinstance(raft.role, Leader) else ()
        self._transport.links.part({*self.clients, *leaving})

    def _tell(self, current: Membership) -> None:
        takes_part = self._id in (*current.voters, *current.outgoing, *current.learners)
        if takes_part is self._takes_part:
            return
        if not current.voters:
            self._say("INFO", f"no member of a cluster yet: waits to be added, with zraft member add {self._id}")
        elif not takes_part:
            self._say("WARNING", "no member of the cluster any more: takes part in nothing, and may be stopped")
        elif self._takes_part is not None:
            self._say("INFO", "is a member of the cluster now")
        self._takes_part = takes_part
