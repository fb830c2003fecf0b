"""The nemesis: makes the faults of a plan happen, each at times of its own, and counts those that did."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from zraft.raft.types import NodeId
from zraft.simulation import network
from zraft.simulation.dice import log_uniform
from zraft.simulation.membership import Operator
from zraft.simulation.network import Name
from zraft.simulation.plan import (
    CAPACITY_FAULTS,
    CLIENT_FAULTS,
    COMMAND_FAULTS,
    FAULTS,
    MESSAGE_FAULTS,
    POWER_FAULTS,
)
from zraft.simulation.process import Process
from zraft.simulation.timeline import STALE

if TYPE_CHECKING:
    from zraft.simulation.cluster import Simulation
    from zraft.simulation.node import SimulatedNode

CLOG_MS = 5_000.0
WALL_JUMPS_MS = (1_000, 60_000, 3_600_000, 31_557_600_000, 315_576_000_000)
"""Wall time jumps by so much, forwards or back: from a second to ten years."""
SHAPES = ("isolate", "split", "one_way", "bridge", "ring", "chain", "single_link")
COUNTED_ELSEWHERE = frozenset(
    (*COMMAND_FAULTS, "write_error", "short_write", "sync_error", "read_error", "kill_in_recovery", "full", "read_only")
) - {"transfer"}
"""Kinds that count when they bite: these are only laid out here."""


class Nemesis:
    """Whatever goes wrong, one kind at a time or several at once.

    Parameters
    ----------
    cluster
        Whose nodes, links and plan.
    """

    def __init__(self, cluster: "Simulation") -> None:
        self._cluster = cluster
        self._random = cluster.dice.of("faults")
        self.operator = Operator(cluster, cluster.dice.of("membership"))
        self._undo: list[Callable[[], object]] = []
        """What ends the faults that last."""
        self._over = False
        self._acts = self._acts_by_kind()

    def start(self) -> None:
        """Plan the first fault of each kind."""
        for kind, rate in self._cluster.plan.faults.items():
            if kind not in (*MESSAGE_FAULTS, *CAPACITY_FAULTS, *CLIENT_FAULTS):
                self._plan(kind, rate)

    def stop(self) -> None:
        """End all faults, also those that were to last longer."""
        self._over = True
        for undo in self._undo:
            undo()
        self._undo.clear()
        self._cluster.network.calm()

    def _plan(self, kind: str, rate: float) -> None:
        # By dice of its own, so that a kind that is taken out of a plan leaves the times of the others as they were.
        delay = self._cluster.dice.of(f"faults/{kind}").expovariate(1 / rate)
        self._cluster.timeline.after(delay, lambda: self._strike(kind, rate))

    def _strike(self, kind: str, rate: float) -> object:
        if self._over:
            return STALE
        happened = self._acts[kind]()
        if happened and kind not in COUNTED_ELSEWHERE:
            self._cluster.hits[kind] += 1
            self._cluster.note(kind)
        self._plan(kind, rate)
        return None

    def _acts_by_kind(self) -> dict[str, Callable[[], bool]]:
        """Return what makes each kind happen; each tells whether it did."""
        acts: dict[str, Callable[[], bool]] = {
            "client_side": self._hide_from_clients,
            "kind_filter": self._filter_kind,
            "swizzle": self._swizzle,
            "clog": self._clog,
            "slow_link": self._slow_link,
            "transfer": self._transfer,
            "wipe": self.operator.wipe,
            "bit_rot": self.operator.rot,
            "clock_rate": self._change_rate,
            "wall_jump": self._jump,
            "kill_all": lambda: self._end_all("kill"),
            "blackout": lambda: self._end_all("blackout"),
        }
        acts |= {kind: partial(self._partition, kind) for kind in SHAPES}
        acts |= {kind: partial(self.operator.change, kind) for kind in COMMAND_FAULTS if kind not in acts}
        acts |= {kind: partial(self._restrict, kind) for kind in ("full", "read_only")}
        acts |= {kind: partial(self._doom, kind) for kind in ("kill_in_recovery", "read_error")}
        acts |= {kind: partial(self._end_some, kind) for kind in ("kill", *POWER_FAULTS)}
        return {kind: acts.get(kind, partial(self._trouble_process, kind)) for kind in FAULTS}

    # -- links ---------------------------------------------------------------------------------------------------------

    def _partition(self, kind: str) -> bool:
        pairs = network.shape(kind, self._cluster.ids, self._random)
        return bool(pairs) and self._last(self._cluster.network.cut(pairs))

    def _hide_from_clients(self) -> bool:
        ids = self._cluster.ids
        seen = self._random.sample(ids, (len(ids) - 1) // 2)
        hidden = [id for id in ids if id not in seen]
        return self._last(self._cluster.network.cut(network.between(self._cluster.clients, hidden)))

    def _filter_kind(self) -> bool:
        net = self._cluster.network
        net.filtered = frozenset((network.some_kind(self._random),))
        return self._last(lambda: setattr(net, "filtered", frozenset()))

    def _clog(self) -> bool:
        link = self._some_link()
        if link is not None:
            link.clogged_until = self._cluster.timeline.now + self._random.uniform(0, CLOG_MS)
        return link is not None

    def _slow_link(self) -> bool:
        link = self._some_link()
        if link is None:
            return False
        link.slowness = log_uniform(self._random, 10, 100)
        return self._last(lambda: setattr(link, "slowness", 1.0))

    def _some_link(self) -> network.Link | None:
        ids = self._cluster.ids
        return self._cluster.network.link(*self._random.sample(ids, 2)) if len(ids) > 1 else None

    def _swizzle(self) -> bool:
        cluster, random = self._cluster, self._random
        ids = list(cluster.ids)
        random.shuffle(ids)
        span = self._span()
        ends = [cluster.timeline.now + span * (1 + random.random()) for _ in ids]
        for position, id in enumerate(ids):
            everybody: list[Name] = [other for other in ids if other != id]
            links = [cluster.network.link(*pair) for pair in network.between([id], everybody)]

            def clog(links: list[network.Link] = links, until: float = ends[position]) -> object:
                if self._over:
                    return STALE
                for link in links:
                    link.clogged_until = max(link.clogged_until, until)
                return None

            cluster.timeline.after(span * position / len(ids), clog)
        return True

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _some_node(self) -> "SimulatedNode":
        return self._random.choice(list(self._cluster.nodes.values()))

    def _end_some(self, kind: str) -> bool:
        return self._end(self._some_node(), kind)

    def _end_all(self, kind: str) -> bool:
        ended = [self._end(node, kind) for node in self._cluster.nodes.values()]
        return any(ended)

    def _end(self, node: "SimulatedNode", kind: str) -> bool:
        if kind == "kill":
            return node.kill()
        return node.lose_power(self._random.choice(POWER_FAULTS) if kind == "blackout" else kind)

    def _doom(self, kind: str) -> bool:
        node = self._some_node()
        node.doomed = kind
        return node.kill()

    def _restrict(self, kind: str) -> bool:
        node = self._some_node()
        setattr(node.disk, kind, True)
        return self._last(lambda: setattr(node.disk, kind, False))

    def _change_rate(self) -> bool:
        node, drift = self._some_node(), self._cluster.plan.clock_drift
        node.clock.run_at(1 + self._random.uniform(-drift, drift))
        if node.process is not None:
            node.process.wake()  # Its timers are planned by the rate that was.
        return True

    def _jump(self) -> bool:
        jump = self._random.choice(WALL_JUMPS_MS) * self._random.choice((-1, 1))
        self._some_node().clock.wall_offset_ms += jump
        return True

    def _trouble_process(self, kind: str) -> bool:
        node = self._some_node()
        process = node.process
        if process is None:
            return False
        lasts: Callable[[], object] | None = None
        match kind:
            case "write_error":
                node.disk.failing["pwritev"] = kind
            case "sync_error":
                node.disk.failing["datasync"] = kind
            case "short_write":
                node.disk.short_by = self._random.choice((1, 100, 512, 600))
            case "stall":
                lasts = process.disk_thread.stall()
            case "slow_disk":
                process.disk_thread.slowness_ms = log_uniform(self._random, 1, 1_000)
                lasts = partial(setattr, process.disk_thread, "slowness_ms", 0.0)
            case "slow":
                process.slowness = log_uniform(self._random, 10, 100)
                lasts = partial(setattr, process, "slowness", 1.0)
            case "pause" | "suspend":
                return self._halt(process, asleep=kind == "suspend")
            case "clean_stop":
                process.stop()
            case "kill_guard":
                process.guard.kill()
                node.kill()  # A node without a guard stops.
        return lasts is None or self._last(lasts)

    def _halt(self, process: Process, *, asleep: bool) -> bool:
        """Stop a process, and the machine under it too if it is `asleep`, for a span."""
        if process.paused:
            return False
        process.paused = True
        if asleep:
            go_on = process.disk_thread.stall()
            process.guard.sleep()

        def resume() -> None:
            if asleep:
                process.guard.wake()
                go_on()
            process.resume()

        return self._last(resume)

    def _transfer(self) -> bool:
        leaders = list(self._cluster.leaders())
        for process in leaders:
            target = self._random.choice((None, *self._cluster.ids))
            process.command(partial(_hand_over, process, target))
        return bool(leaders)

    # -- spans ---------------------------------------------------------------------------------------------------------

    def _span(self) -> float:
        return self._cluster.plan.election_upper_ms * log_uniform(self._random, 0.3, 6)

    def _last(self, undo: Callable[[], object]) -> bool:
        """Let a fault last for a while; True, since it happened."""
        self._undo.append(undo)

        def end() -> object:
            if undo not in self._undo:
                return STALE
            self._undo.remove(undo)
            undo()
            return None

        self._cluster.timeline.after(self._span(), end)
        return True


def _hand_over(process: Process, target: NodeId | None) -> None:
    process.raft.transfer(target, process.clock.now_ms())
