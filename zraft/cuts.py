"""Links that a drill has cut (`zraft cluster partition`), as one node keeps to them.

What it sends to some nodes is lost, and what some send is not heard: each end of a cut link keeps to it, so the link stays
cut when one of them is started again. In force only where `cluster.faults` is enabled.
"""

from collections.abc import Callable
from typing import Protocol

from zraft.events import Publisher
from zraft.raft.types import NodeId
from zraft.requests import CutLinks, Outcome, Reply


class Links(Protocol):
    """What keeps to the cuts: the node's transport."""

    lost_to: frozenset[NodeId]
    """To these, everything is lost."""
    deaf_to: frozenset[NodeId]
    """Of these, nothing is heard."""


class Cuts:
    """The cut links of one node.

    Parameters
    ----------
    enabled
        Whether any may be cut.
    links
        What keeps to them.
    publisher
        Tells subscribers.
    log
        Called with a line for the node's log.
    """

    def __init__(self, enabled: bool, links: Links, publisher: Publisher, log: Callable[[str], None]) -> None:
        self._enabled = enabled
        self._links = links
        self._publisher = publisher
        self._log = log

    def take(self, request: CutLinks) -> Reply:
        """Cut the links that `request` names, and no others from here on."""
        if not self._enabled:
            why = "faults are not enabled here; start the cluster with cluster.faults: enabled"
            return Reply(request.id, Outcome.INVALID, None, None, why)
        lost_to, deaf_to = frozenset(request.lost_to), frozenset(request.deaf_to)
        if (lost_to, deaf_to) != (self._links.lost_to, self._links.deaf_to):
            self._links.lost_to, self._links.deaf_to = lost_to, deaf_to
            self._log("; ".join(self.warnings) or "fault: all links are whole again")
            self._publisher.publish("fault", lost_to=sorted(lost_to), deaf_to=sorted(deaf_to))
        return Reply(request.id, Outcome.DONE)

    @property
    def warnings(self) -> list[str]:
        """What is cut, for people."""
        lost_to, deaf_to = self._links.lost_to, self._links.deaf_to
        both = lost_to & deaf_to
        told = [
            (both, "cut off from {}"),
            (lost_to - both, "what it sends to {} is lost"),
            (deaf_to - both, "it hears nothing from {}"),
        ]
        return [f"fault: {form.format(', '.join(sorted(nodes)))}" for nodes, form in told if nodes]
