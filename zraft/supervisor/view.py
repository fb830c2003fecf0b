"""What the nodes' states and answers amount to: who leads, what is wrong, what `zraft cluster status` prints; pure."""

from collections.abc import Mapping

from zraft.raft.types import NodeId
from zraft.requests import Status
from zraft.supervisor.election import Elected, elected
from zraft.supervisor.member import Member, State

STALE_MS = 3_000
"""An answer older than this says nothing about now."""

Members = Mapping[NodeId, Member]


def recent(members: Members, now_ms: float) -> dict[NodeId, Status]:
    """Return what the running nodes have answered, as far as it is recent."""
    found = {}
    for member in members.values():
        health = member.health
        if member.state is not State.RUNNING or member.process is None:
            continue
        if health.status is not None and health.heard_ms is not None and now_ms - health.heard_ms < STALE_MS:
            found[member.id] = health.status
    return found


def settled(members: Members, statuses: Mapping[NodeId, Status]) -> Elected | None:
    """Return the leader, once every node follows it that runs and has not died since the cluster was started."""
    found = elected(statuses, len(members))
    if found is None:
        return None
    awaited = (
        member
        for member in members.values()
        if member.state is State.RUNNING and member.restarts == 0 and takes_part(member.id, statuses[found.leader])
    )
    return found if all(member.id in found.agreeing for member in awaited) else None


def takes_part(node: NodeId, leader: Status) -> bool:
    """Whether a leader counts the node among its members; one that says nothing of them counts everybody."""
    return not leader.members or node in leader.members


def diagnosis(members: Members, statuses: Mapping[NodeId, Status]) -> str:
    """Say why the cluster is not ready."""
    found = elected(statuses, len(members))
    told = [f"{found.leader} leads, and not all follow it yet" if found else "no leader with a majority"]
    silent = [m.id for m in members.values() if m.state is State.RUNNING and m.id not in statuses]
    if silent:
        told.append(f"no answer from {', '.join(silent)}")
    down = [member for member in members.values() if member.state is not State.RUNNING]
    told += [f"{member.id} {member.state}{member.reason and f' ({member.reason})'}" for member in down]
    return "; ".join(told)


def describe(cluster: str, members: Members, statuses: Mapping[NodeId, Status]) -> dict[str, object]:
    """Return the keys of ``zraft cluster status --json``, and for each node also its `reason`."""
    return {"cluster": cluster, "nodes": [_row(member, statuses.get(member.id)) for member in members.values()]}


def _row(member: Member, status: Status | None) -> dict[str, object]:
    last = member.health.status if member.process else None
    return {
        "node": member.id,
        "pid": member.process.pid if member.process else None,
        "guard_pid": last.guard_pid if last else None,
        "state": member.state.value,
        "restarts": member.restarts,
        "role": status.role if status else None,
        "term": status.term if status else None,
        "reason": member.reason,
    }
