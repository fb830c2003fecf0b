"""Where the nodes are reached, as one node knows: by its configuration, or by the membership for those who joined later."""

from collections.abc import Collection, Mapping

from zraft.raft.types import Endpoints, Membership, NodeId


class Addresses:
    """What a configuration says of endpoints, joined with what a membership says.

    Parameters
    ----------
    listed
        The nodes of the configuration.
    joined
        Those of them of which it says that they joined: it was written after that, so its word is the newer one.
    """

    def __init__(self, listed: Mapping[NodeId, Endpoints], joined: Collection[NodeId] = ()) -> None:
        self._listed = dict(listed)
        self._joined = frozenset(joined)

    def of(self, membership: Membership) -> dict[NodeId, Endpoints]:
        """Return where everybody is reached who takes part; while nobody does, everybody whom the configuration names.

        Whom neither names is missing.
        """
        members = dict.fromkeys((*membership.voters, *membership.outgoing, *membership.learners))
        found = {node: self._one(node, membership) for node in members or self._listed}
        return {node: at for node, at in found.items() if at is not None}

    def _one(self, node: NodeId, membership: Membership) -> Endpoints | None:
        listed = self._listed.get(node)
        if node in self._joined:
            return listed
        return membership.endpoints.get(node, listed)
