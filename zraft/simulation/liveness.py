"""The second phase: faults have ended, and now things must be done, in time (L1 to L4).

In half of the runs a majority alone is mended at first; the others are dead, or linked in one direction, or to one of the majority
alone, and must not keep it from its work (L2). Then all is mended: there is a leader, everything asked for ends,
and all members become equal (L1, L4). Last, in some runs, the leader's disk stalls, and another must take over (L3).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from zraft.raft.leader import Leader
from zraft.raft.state import RELUCTANCE_TIMEOUTS
from zraft.raft.types import EntryKind, Membership, NodeId
from zraft.simulation.network import Pair, between
from zraft.simulation.process import Process
from zraft.simulation.timeline import STALE
from zraft.simulation.violation import Violation

if TYPE_CHECKING:
    from zraft.simulation.cluster import Simulation

LEADER_TIMEOUTS = 10
PROGRESS_TIMEOUTS = 20
CHANGES_MAX = 2
WATCHED_TIMEOUTS = 10
"""For how long a majority that makes progress is watched: it must not change its leader all the time."""
SETTLE_TIMEOUTS = 60
"""How long requests that are under way, and nodes far behind, may take once all is mended."""
STALL_TIMEOUTS = 3


class Ending(Protocol):
    """Whoever makes the requests."""

    def finish(self) -> None:
        """Ask for nothing new."""

    @property
    def pending(self) -> int:
        """How many requests have not ended."""


class Liveness:
    """The phase, in its order.

    Parameters
    ----------
    cluster
        The simulation, at the end of its safety phase.
    workload
        Who makes the requests; None when nobody does.
    """

    def __init__(self, cluster: "Simulation", workload: Ending | None) -> None:
        self._cluster = cluster
        self._workload = workload
        self._random = cluster.dice.of("liveness")
        plan = cluster.plan
        slowest = plan.election_upper_ms / (1 - plan.clock_drift)
        self._timeout_ms = slowest * (1 + RELUCTANCE_TIMEOUTS * (0 in plan.priorities))
        """An election timeout in true time, at its longest."""

    def run(self) -> None:
        """Live through it; raises `Violation` when something is not done in time."""
        cluster = self._cluster
        cluster.nemesis.stop()
        cluster.healed = True
        cluster.note("healed")
        if self._random.random() < 0.5:  # noqa: PLR2004 - half of the runs
            self._start(list(cluster.ids))  # Who is down may have the newest membership in its log.
            majority = self._majority()
            if majority is not None:
                self._mend_majority(majority)
        self._mend_all()
        if self._random.random() < 0.3:  # noqa: PLR2004 - some of the runs
            self._stall_leader()

    # -- a majority ----------------------------------------------------------------------------------------------------

    def _majority(self) -> list[NodeId] | None:
        """Choose nodes that are a majority by every membership that anybody may act on; None when all are needed."""
        cluster = self._cluster
        running = list(cluster.running())
        if len(running) < len(cluster.ids):
            return None
        known = [process.raft.memberships.current for process in running]
        whole = [id for id in cluster.ids if id != cluster.nemesis.operator.ailing]
        # Of whom a membership has registered nothing yet, the vote does not count; only in a fresh cluster everybody's does.
        halves = [
            (voters, [id for id in whole if not each.disk_ids or cluster.nodes[id].is_registered_in(each)])
            for each in known
            for voters in (each.voters, each.outgoing)
            if voters
        ]
        chosen: list[NodeId] = []
        for id in self._random.sample(whole, len(whole)):
            if all(len({*voters} & {*able} & {*chosen}) > len(voters) // 2 for voters, able in halves):
                return chosen if halves else None
            chosen.append(id)
        return None

    def _mend_majority(self, majority: list[NodeId]) -> None:
        cluster = self._cluster
        cluster.witness.checked["L2"] += 1
        rest = [id for id in cluster.ids if id not in majority]
        if not self._can_lead(majority):
            return
        cut: list[Pair] = between(rest, majority)
        for id in rest:
            match self._random.choice(("dead", "deaf", "mute", "one_link")):
                case "dead":
                    cluster.nodes[id].held_down = True
                    cluster.nodes[id].kill()
                case "deaf":
                    cut = [pair for pair in cut if pair[0] != id]
                case "mute":
                    cut = [pair for pair in cut if pair[1] != id]
                case "one_link":
                    friend = self._random.choice(majority)
                    cut = [pair for pair in cut if pair not in ((id, friend), (friend, id))]
        mend = cluster.network.cut(cut)
        self._start(majority)
        known, within = len(cluster.committed), PROGRESS_TIMEOUTS * self._timeout_ms
        self._nudge(cluster.now + within)
        # By whomever: one of the others may still lead, through the links that it has.
        if not cluster.run_until(lambda: len(cluster.committed) > known and self._writable(cluster.ids), within):
            raise Violation("L2", f"{', '.join(majority)} are connected, and make none within {within:.0f} ms")
        led = len(cluster.witness.leaders)
        cluster.run_for(WATCHED_TIMEOUTS * cluster.plan.election_upper_ms)
        changes = len(cluster.witness.leaders) - led
        # Where priorities differ it is not counted: a leader hands over to a preferred node that it reaches, though nobody
        # else may reach that node; ever less often, but at first more often than this.
        if changes > CHANGES_MAX and len({*cluster.plan.priorities}) == 1:
            raise Violation("L2", f"{', '.join(majority)} are connected, and have changed {changes} times")
        mend()

    def _nudge(self, until: float) -> object:
        """Have whoever leads commit something now and then, so that progress shows though no client is connected."""
        cluster = self._cluster
        if cluster.now > until:
            return STALE
        for process in cluster.leaders():
            process.command(partial(_tick, process))
        cluster.timeline.after(self._timeout_ms, lambda: self._nudge(until))
        return None

    def _can_lead(self, majority: list[NodeId]) -> bool:
        """Whether one of them may lead: not all have priority 0."""
        cluster = self._cluster
        return any(cluster.plan.priorities[cluster.ids.index(id)] for id in majority)

    # -- everybody -----------------------------------------------------------------------------------------------------

    def _mend_all(self) -> None:
        cluster, timeout = self._cluster, self._timeout_ms
        cluster.witness.checked["L1"] += 1
        cluster.witness.checked["L4"] += 1
        self._start(list(cluster.ids))
        if not cluster.run_until(lambda: self._writable(cluster.ids), LEADER_TIMEOUTS * timeout):
            raise Violation("L1", f"nobody leads {LEADER_TIMEOUTS * timeout:.0f} ms after the last fault")
        if self._workload is not None:
            self._workload.finish()
            self._expect(lambda: not self._ending.pending, "L1", lambda: f"{self._ending.pending} requests do not end")
        self._expect(self._settled, "L4", self._differences)
        self._compare()

    @property
    def _ending(self) -> Ending:
        assert self._workload is not None, "somebody makes requests"
        return self._workload

    def _expect(self, condition: Callable[[], object], id: str, found: Callable[[], str]) -> None:
        within = SETTLE_TIMEOUTS * self._timeout_ms + self._cluster.plan.client_timeout_ms * 20
        if not self._cluster.run_until(condition, within):
            raise Violation(id, f"{within:.0f} ms after the last fault: {found()}")

    def _start(self, ids: list[NodeId]) -> None:
        cluster = self._cluster
        for id in ids:
            node = cluster.nodes[id]
            node.held_down, node.doomed = False, ""
            node.disk.recover()
            if node.process is None:
                node.start_now()
            elif node.process.slowness > 1:
                node.process.slowness = 1.0

    def _writable(self, among: Sequence[NodeId]) -> bool:
        for process in self._cluster.leaders():
            role = process.raft.role
            able = isinstance(role, Leader) and process.raft.is_established and role.handover.transfer is None
            if able and process.id in among and process.raft.term == max(self._cluster.witness.leaders):
                return True
        return False

    def _members(self) -> list[Process]:
        """Return those who must hold everything: the members by the newest membership, but for who has lost its data."""
        cluster = self._cluster
        newest = max(cluster.leaders(), key=lambda process: process.raft.term, default=None)
        if newest is None:
            return []
        current: Membership = newest.raft.memberships.current
        ids = {*current.voters, *current.learners, *current.outgoing}
        return [process for process in cluster.running() if process.id in ids]

    def _settled(self) -> bool:
        members, upto = self._members(), len(self._cluster.committed)
        if not members or self._cluster.nemesis.operator.ailing is not None:
            return False
        return all(process.raft.log.last_applied == process.raft.log.last_index == upto for process in members)

    def _differences(self) -> str:
        standing = [f"{process.id} {process.look()}" for process in self._cluster.running()]
        lost = self._cluster.nemesis.operator.ailing
        return f"{len(self._cluster.committed)} are committed; {'; '.join(standing)}; without data: {lost}"

    def _compare(self) -> None:
        """Compare the whole states of members that have all applied the same."""
        states = {process.machines.index: [] for process in self._members()}  # type: dict[int, list[bytes]]
        for process in self._members():
            states[process.machines.index].append(b"".join(process.machines.snapshot()))
        if any(len({*equal}) > 1 for equal in states.values()):
            raise Violation("L1", f"{', '.join(process.id for process in self._members())} hold different states")

    # -- the leader's disk ---------------------------------------------------------------------------------------------

    def _stall_leader(self) -> None:
        """Let the leader's disk stall in the midst of a write; somebody else must lead soon, if anybody else may."""
        cluster = self._cluster
        leader = max(cluster.leaders(), key=lambda process: process.raft.term, default=None)
        if leader is None or not isinstance(leader.raft.role, Leader):
            return
        others = [id for id in leader.raft.memberships.current.voters if id != leader.id]
        if len(others) < 2 or leader.raft.memberships.current.outgoing or not self._can_lead(others):  # noqa: PLR2004
            return
        cluster.witness.checked["L3"] += 1
        go_on = leader.disk_thread.stall()
        leader.command(partial(_tick, leader))
        plan = cluster.plan
        within = plan.disk_stall_ms / (1 - plan.clock_drift) + STALL_TIMEOUTS * self._timeout_ms
        if not cluster.run_until(lambda: self._writable(others), within):
            raise Violation("L3", f"{leader.id} leads on with a disk that has stalled {within:.0f} ms ago")
        go_on()


def _tick(process: Process) -> None:
    """Have a leader write something."""
    process.raft.propose(EntryKind.TICK, b"", process.clock.now_ms())
