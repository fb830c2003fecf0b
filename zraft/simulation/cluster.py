"""A simulated cluster: all nodes, what is between them, who watches, and whoever makes things go wrong."""

from collections import Counter
from collections.abc import Callable, Iterator

from zraft.machines.machine import StateMachine
from zraft.raft.types import Entry, Index, NodeId, Term
from zraft.simulation.dice import Dice
from zraft.simulation.faults import Nemesis
from zraft.simulation.invariants import Witness
from zraft.simulation.machines import mounted
from zraft.simulation.network import Name, Network
from zraft.simulation.node import SimulatedNode
from zraft.simulation.plan import Plan
from zraft.simulation.process import Process
from zraft.simulation.timeline import Timeline

CLUSTER_ID = 0x51B


class Simulation:
    """All nodes, what is between them, and who watches.

    Parameters
    ----------
    plan
        All that it depends on.

    Attributes
    ----------
    ids, voters : tuple of str
        All nodes, and those that the cluster begins with.
    clients : list of bytes
        Everybody who has come with `add_client`.
    hits : Counter
        How often each kind of fault has happened.
    places : dict
        Term and index at which each answer was given, by client and body: one request may be answered twice, when it was repeated on its way.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cluster_id = CLUSTER_ID
        self.dice = Dice(plan.seed)
        self.timeline = Timeline()
        self.hits: Counter[str] = Counter()
        self.network = Network(self.timeline, plan, self.dice.of("net"), self.hits)
        self.witness = Witness(plan.digest_entries)
        self.places: dict[tuple[bytes, bytes], tuple[Term, Index]] = {}
        self.ids = tuple(f"n{number}" for number in range(1, plan.nodes + plan.spare + 1))
        self.voters = self.ids[: plan.nodes]
        self.clients: list[bytes] = []
        self.nodes = {id: SimulatedNode(self, id) for id in self.ids}
        self.nemesis = Nemesis(self)
        self.healed = False
        """All faults are over."""

    @property
    def now(self) -> float:
        """True time in milliseconds."""
        return self.timeline.now

    @property
    def committed(self) -> list[Entry]:
        """Everything that is committed, from index 1."""
        return self.witness.ledger

    def mount(self) -> dict[str, StateMachine]:
        """Return the machines of a node, empty."""
        return mounted(self.plan.machine)

    def note(self, text: str) -> None:
        """Fold what has happened into the trace."""
        self.timeline.note(text.encode())

    # -- clients -------------------------------------------------------------------------------------------------------

    def add_client(self, name: bytes, deliver: Callable[[list[bytes]], None]) -> None:
        """Let answers to `name` go to `deliver`, damaged ones too."""

        def receive(source: Name, frames: list[bytes], bad: bool) -> None:
            deliver(frames)

        self.clients.append(name)
        self.network.attach(name, receive)

    def request(self, client: bytes, node: NodeId, frames: list[bytes]) -> None:
        """Let a client's request leave for a node."""
        self.network.send(client, node, frames)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def running(self) -> Iterator[Process]:
        """Yield the processes that run, paused or not."""
        return (node.process for node in self.nodes.values() if node.process is not None)

    def leaders(self) -> Iterator[Process]:
        """Yield the processes that believe to lead and have applied their no-op."""
        return (process for process in self.running() if process.raft.leader == process.id)

    # -- time ----------------------------------------------------------------------------------------------------------

    def run_for(self, span_ms: float) -> None:
        """Let time pass."""
        self.run_until(lambda: False, span_ms)

    def run_until(self, condition: Callable[[], object], within_ms: float) -> bool:
        """Let time pass until `condition` holds, `within_ms` at most; return whether it does."""
        timeline = self.timeline
        end = timeline.now + within_ms
        while not condition():
            if timeline.next_at > end:
                timeline.now = end
                return bool(condition())
            timeline.step()
        return True
