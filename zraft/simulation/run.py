"""One simulation from its plan to its report: a safety phase with all faults, then a liveness phase without.

In the safety phase nothing must ever be wrong, whatever happens; nothing need ever be done. In the liveness phase faults have
ended, and things must be done in time.
"""

from zraft.simulation.cluster import Simulation
from zraft.simulation.liveness import Liveness
from zraft.simulation.plan import Plan


def live(plan: Plan) -> Simulation:
    """Live through a plan; raises what goes wrong."""
    cluster = Simulation(plan)
    for node in cluster.nodes.values():
        node.start_after(node.random.uniform(0, plan.election_upper_ms))
    cluster.nemesis.start()
    timeline = cluster.timeline
    while timeline.events < plan.events and timeline.now < plan.safety_ms:
        timeline.step()
    Liveness(cluster, None).run()
    return cluster
