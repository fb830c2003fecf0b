"""Changes of membership at random, as operators make them: several at once, also where they make no sense, at whoever leads."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from zraft.raft.changes import Change, Refused
from zraft.raft.leader import Leader
from zraft.raft.types import Endpoints, Membership, NodeId
from zraft.simulation.process import Process
from zraft.simulation.timeline import STALE

if TYPE_CHECKING:
    from zraft.simulation.cluster import Simulation

VOTERS_MAX = 7
NOWHERE = Endpoints("", "", "")
"""Where nodes are reached: by their names, here."""


class Operator:
    """Somebody who changes who takes part, and sees to nodes that have lost their data.

    Attributes
    ----------
    ailing : str or None
        The node that has lost data, and is not a voter again yet, or has not got it back. While there is one, no other voter
        is taken away: one more could be one too many, for ever.
    """

    def __init__(self, cluster: "Simulation", random: Random) -> None:
        self._cluster = cluster
        self._random = random
        self.ailing: NodeId | None = None

    def change(self, kind: str) -> bool:
        """Ask everybody who believes to lead for a change of that kind; whether there was anybody to ask."""
        asked = False
        for process in self._cluster.leaders():
            change = self._draw(kind, process)
            if change is not None:
                asked = True
                process.command(self._asking(process, change, kind))
        return asked

    def wipe(self) -> bool:
        """Have a node lose its data."""
        victim = self._expendable()
        if victim is None:
            return False
        self._cluster.nodes[victim].wipe()
        self._begin_to_tend(victim)
        return True

    def rot(self) -> bool:
        """Have a bit flip on the disk of a node while it is down."""
        victim = self._expendable()
        if victim is None or not self._cluster.nodes[victim].rot():
            return False
        self._begin_to_tend(victim)
        return True

    def _expendable(self) -> NodeId | None:
        """Return a node that may lose its data: all the others know which directories count; see the essay in `zraft.raft`."""
        nodes = self._cluster.nodes
        processes = [node.process for node in nodes.values() if node.process is not None]
        if self.ailing is not None or len(processes) < len(nodes):
            return None
        voters: set[NodeId] = set()
        for process in processes:
            current = process.raft.memberships.current
            if current.voters and not self._is_safe(current):
                return None
            voters |= {*current.voters}
        if not voters:
            return None
        victim = self._random.choice(sorted(voters))
        priorities = dict(zip(self._cluster.ids, self._cluster.plan.priorities, strict=True))
        known = [process.raft.memberships.current.voters for process in processes]
        if any(victim in each and not any(priorities[other] for other in each if other != victim) for each in known):
            return None  # The others may not lead, and no leader gives up the only voter that may: it must be kept.
        return victim

    def _begin_to_tend(self, victim: NodeId) -> None:
        self.ailing = victim
        self._cluster.timeline.after(self._cluster.plan.election_upper_ms, self._tend)

    def _is_safe(self, current: Membership) -> bool:
        known = all(self._cluster.nodes[node].is_registered_in(current) for node in current.voters)
        return len(current.voters) > 2 and not current.outgoing and known  # noqa: PLR2004 - two of three are left

    def _tend(self) -> object:
        """Take the node up anew, until it is a voter again or no member any more."""
        ailing = self.ailing
        if ailing is None:
            return STALE
        node = self._cluster.nodes[ailing]
        for process in self._cluster.leaders():
            current = process.raft.memberships.current
            settled = not process.raft.memberships.open_change(process.raft.log.commit_index)
            member = ailing in current.voters or ailing in current.learners
            back = node.has_all and node.is_registered_in(current) and ailing in current.voters
            if process.raft.is_established and settled and (back or not member):
                self.ailing = None
                return None
            if isinstance(process.raft.role, Leader) and ailing in process.raft.role.roster.lost:
                process.command(self._asking(process, Change(renew=(ailing,)), ""))
            elif ailing in current.learners and ailing in current.manual:
                process.command(self._asking(process, Change(promote=(ailing,)), ""))
        self._cluster.timeline.after(self._cluster.plan.election_upper_ms, self._tend)
        return None

    def _asking(self, process: Process, change: Change, kind: str) -> Callable[[], object]:
        def ask() -> None:
            try:
                process.raft.change_membership(change, process.clock.now_ms())
            except Refused:
                counted = "member_refused"
            else:
                counted = kind
            if kind:
                self._cluster.hits[counted] += 1

        return ask

    def _draw(self, kind: str, process: Process) -> Change | None:
        random = self._random
        current = process.raft.memberships.current
        members = [*current.voters, *current.learners]
        strangers = [id for id in self._cluster.ids if id not in members]
        manual = random.random() < 0.4  # noqa: PLR2004 - some stay learners
        if self.ailing is not None:
            return None
        change = None
        match kind:
            case "member_add" if strangers and len(members) < VOTERS_MAX:
                change = Change(add={random.choice(strangers): NOWHERE}, manual=manual)
            case "member_replace" if strangers:
                new = random.choice(strangers)
                change = Change(add={new: NOWHERE}, replacing={new: random.choice(current.voters)})
            case "member_demote" if len(current.voters) > 1:
                change = Change(demote=(random.choice(current.voters),))
            case "member_promote" if current.learners:
                change = Change(promote=(random.choice(current.learners),))
            case "member_remove" if len(members) > 1:
                change = Change(remove=(random.choice(members),))
            case "member_remove_leader" if len(current.voters) > 1:
                change = Change(remove=(process.id,))
            case "member_several" if len(members) > 2:  # noqa: PLR2004
                gone, other = random.sample(members, 2)
                promoted = (other,) if other in current.learners else ()
                change = Change(add=dict.fromkeys(strangers, NOWHERE), remove=(gone,), promote=promoted, manual=manual)
        return change
