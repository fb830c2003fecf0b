"""One simulation from its plan to its report: a safety phase with all faults, then a liveness phase without.

In the safety phase nothing must ever be wrong, whatever happens; nothing need ever be done. In the liveness phase faults have
ended, and things must be done in time. Then the checkers judge what clients were told.
"""

import os
import traceback
from collections import Counter

from zraft.machines.machine import StateMachine
from zraft.raft.invariants import Broken
from zraft.raft.types import NodeId
from zraft.simulation.checkers import Judgement, judge
from zraft.simulation.clients import Workload
from zraft.simulation.cluster import Simulation
from zraft.simulation.liveness import Liveness
from zraft.simulation.plan import Plan
from zraft.simulation.report import Report
from zraft.simulation.violation import SENTENCES, Violation


def run(plan: Plan) -> Report:
    """Live through a plan and report what came of it; never raises what goes wrong in it."""
    cluster = Simulation(plan)
    workload = Workload(cluster)
    judgement: Judgement | None = None
    violation = broken = where = ""
    try:
        live(cluster, workload)
        judgement = _judge(cluster, workload)
    except Violation as error:
        violation, broken = str(error), error.id
    except Broken as error:
        violation, broken = str(error), "core"
    except Exception as error:  # noqa: BLE001 - whatever is raised in a simulation is what it was run to find
        violation, broken, where = f"{type(error).__name__}: {error}", type(error).__name__, _place(error)
    return Report(
        seed=plan.seed,
        events=cluster.timeline.events,
        virtual_ms=cluster.now,
        trace=cluster.timeline.trace,
        hits=dict(sorted(cluster.hits.items())),
        checked=_checked(cluster, judgement),
        operations=len(workload.history.operations),
        judged=judgement.both if judgement else 0,
        undecided=judgement.undecided if judgement else 0,
        violation=" ".join(violation.split()),
        broken=broken,
        where=where,
    )


def live(cluster: Simulation, workload: Workload) -> None:
    """Live through both phases.

    Raises
    ------
    Violation
        An invariant does not hold.
    Exception
        Whatever the code that is simulated raises, and must not.
    """
    plan, timeline = cluster.plan, cluster.timeline
    for node in cluster.nodes.values():
        node.start_after(node.random.uniform(0, plan.election_upper_ms))
    workload.start()
    cluster.nemesis.start()
    while timeline.events < plan.events and timeline.now < plan.safety_ms:
        timeline.step()
    Liveness(cluster, workload).run()


def _judge(cluster: Simulation, workload: Workload) -> Judgement:
    states: dict[NodeId, dict[str, StateMachine]] = {
        process.id: process.mounted for process in cluster.running() if process.machines.index == len(cluster.committed)
    }
    return judge(workload.history.operations, cluster.committed, cluster.mount(), states=states)


def _checked(cluster: Simulation, judgement: Judgement | None) -> dict[str, int]:
    """Return how often each invariant was checked, in their order."""
    counts = Counter(cluster.witness.checked)
    if judgement is not None:
        counts.update(C1=judgement.operations, C2=judgement.both, C3=judgement.tokens)
    return {id: counts[id] for id in SENTENCES if counts[id]}


def _place(error: Exception) -> str:
    """Return the file and line where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{os.path.basename(frame.filename)}:{frame.lineno}"
