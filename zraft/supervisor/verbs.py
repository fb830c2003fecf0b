"""What `zraft cluster` commands do to the nodes: each verb acts, waits for the effect, and says in a line what it did."""

from collections.abc import Callable, Generator, Mapping
from typing import Protocol

from zraft.config import Config, nodelist
from zraft.errors import InvalidRequest, NotFound, Unavailable
from zraft.raft.types import NodeId, Role
from zraft.requests import Status
from zraft.supervisor.control import Request
from zraft.supervisor.election import Elected, leading
from zraft.supervisor.member import Member, State
from zraft.supervisor.tasks import Answer, Steps, Wait

_ROLES = (Role.LEADER, Role.FOLLOWER)
_ELECTION_MS = 10_000
"""How long `leader` waits for there to be one."""
_ROUND_MS = 300
"""How long a round of questions waits for those that are slow to answer."""
_EFFECT_MS = 5_000
"""For what the system does itself: a death by SIGKILL, a pause."""


class World(Protocol):
    """What verbs see of the supervisor."""

    members: dict[NodeId, Member]
    stop_ms: float
    config: Config
    environment: Mapping[str, str]
    """Of the nodes."""

    @property
    def stopping(self) -> bool:
        """Whether everything is being stopped."""

    def now_ms(self) -> float:
        """Return the time of this turn."""

    def hurry(self) -> None:
        """Ask all nodes for their status at once."""

    def fresh(self, since_ms: float) -> dict[NodeId, Status]:
        """Return the status of each running node that was asked at `since_ms` or later and has answered."""

    def elected(self) -> Elected | None:
        """Return the leader, once the cluster is ready."""

    def diagnosis(self) -> str:
        """Say why the cluster is not ready."""

    def adopt(self, config: Config) -> None:
        """Take up nodes that the configuration has now, and forget those that it has no more, which do not run."""

    def shut_down(self) -> None:
        """Begin to stop everything."""

    def empty(self) -> bool:
        """Whether nothing of the cluster runs any more."""

    def describe(self) -> dict[str, object]:
        """Return the keys of `zraft cluster status --json`, and for each node also its `reason`."""


def steps(world: World, request: Request) -> Steps:
    """Return the steps that carry out `request`."""
    verb = VERBS.get(request.verb)
    if verb is None:
        raise InvalidRequest(f"{request.verb}: no such verb; this supervisor knows {', '.join(VERBS)}")
    if world.stopping and request.verb not in ("status", "down"):
        raise Unavailable("the cluster is being stopped")
    return verb(world, request)


def _status(world: World, request: Request) -> Steps:
    yield from _round(world)
    return Answer("", world.describe())


def _wait(world: World, request: Request) -> Steps:
    yield Wait(lambda: world.elected() is not None or world.stopping, request.timeout_ms)
    found = world.elected()
    if found is None:
        raise Unavailable(world.diagnosis())
    return Answer("", {"leader": found.leader, "term": found.term, "agreeing": list(found.agreeing)})


def _down(world: World, request: Request) -> Steps:
    world.shut_down()
    if not (yield Wait(world.empty, request.timeout_ms)):
        raise Unavailable("the nodes are still ending; see: zraft cluster status")
    return Answer(f"{_count(len(world.members))} stopped; nothing of the cluster runs")


def _kill(world: World, request: Request) -> Steps:
    member = yield from _living(world, request)
    process, pid = member.process, _pid(member)
    member.kill(world.now_ms())
    yield from _until(lambda: member.process is not process, _EFFECT_MS, f"{member.id} (pid {pid}) has not died yet")
    return Answer(f"{member.id} (pid {pid}) killed; it is started again")


def _stop(world: World, request: Request) -> Steps:
    member = yield from _member(world, request)
    if member.process is None:
        before = member.state
        member.stop(world.now_ms())
        return Answer(
            f"{member.id} {'was stopped already' if before is State.STOPPED else f'stopped; it was in {before}'}"
        )
    pid = _pid(member)
    yield from _end(world, member)
    return Answer(f"{member.id} (pid {pid}) stopped; start it with: zraft cluster start {member.id}")


def _start(world: World, request: Request) -> Steps:
    member = yield from _member(world, request)
    if member.state is State.PAUSED:
        raise NotFound(f"{member.id} is paused, not stopped; let it go on with: zraft cluster resume {member.id}")
    if member.process is not None:
        return Answer(f"{member.id} runs already (pid {_pid(member)})")
    member.start(world.now_ms())
    yield from _answers(world, member, request)
    return Answer(f"{member.id} started (pid {_pid(member)})")


def _restart(world: World, request: Request) -> Steps:
    member = yield from _member(world, request)
    process = member.process
    if process is None:
        member.start(world.now_ms(), again=True)
    else:
        member.restart(world.now_ms())
        limit_ms = world.stop_ms + _EFFECT_MS
        yield from _until(lambda: member.process is not process, limit_ms, f"{member.id} has not ended yet")
    yield from _answers(world, member, request)
    return Answer(f"{member.id} restarted (pid {_pid(member)})")


def _pause(world: World, request: Request) -> Steps:
    member = yield from _living(world, request)
    if member.state is State.PAUSED:
        return Answer(f"{member.id} is paused already")
    process, pid = member.process, _pid(member)
    member.pause()
    yield from _until(
        lambda: member.process is not process or member.frozen(), _EFFECT_MS, f"{member.id} has not stopped running yet"
    )
    if member.process is not process:
        raise NotFound(f"{member.id} (pid {pid}) died before it could be paused")
    return Answer(f"{member.id} (pid {pid}) paused; let it go on with: zraft cluster resume {member.id}")


def _resume(world: World, request: Request) -> Steps:
    member = yield from _living(world, request)
    if member.state is not State.PAUSED:
        return Answer(f"{member.id} is not paused")
    member.resume(world.now_ms())
    yield from _answers(world, member, request)
    return Answer(f"{member.id} (pid {_pid(member)}) goes on")


def _which(world: World, request: Request) -> Steps:
    member = yield from _member(world, request)
    return Answer(member.id, {"node": member.id})


def _add(world: World, request: Request) -> Steps:
    name = request.node or nodelist.next_name(world.config)
    if name not in world.members:
        data = world.config.data_directory(name)
        if data.exists():
            raise InvalidRequest(f"{data} is left of a node that was removed; move it away, or give another name")
        world.adopt(nodelist.with_node(world.config, name, world.environment))
    member = world.members[name]
    if member.state is State.PAUSED:
        raise NotFound(f"{name} is paused; let it go on with: zraft cluster resume {name}")
    if member.process is None:
        member.start(world.now_ms())
    try:
        yield from _answers(world, member, request)
    except Unavailable as error:
        raise Unavailable(
            f"{error}; it is no member yet: zraft cluster add --name {name} tries again, zraft cluster remove {name} takes it away"
        ) from error
    node = world.config.node(name)
    return Answer(
        f"{name} started (pid {_pid(member)})",
        {"node": name, "endpoints": [node.peer, node.client, node.events]},
    )


def _forget(world: World, request: Request) -> Steps:
    name = request.node or ""
    member = world.members.get(name)
    if member is None:
        return Answer(f"{name} is no node of this cluster any more")
    if member.process is not None:
        yield from _end(world, member)
    else:
        member.stop(world.now_ms())
    if world.stopping or name not in world.members:
        raise Unavailable(f"{name} stopped, and with it the cluster; its configuration still names it")
    data = world.config.data_directory(name)
    world.adopt(nodelist.without_node(world.config, name, world.environment))
    return Answer(f"{name} stopped and taken out of the configuration; its data is left in {data}")


VERBS: dict[str, Callable[[World, Request], Steps]] = {
    "status": _status,
    "wait": _wait,
    "down": _down,
    "kill": _kill,
    "stop": _stop,
    "start": _start,
    "restart": _restart,
    "pause": _pause,
    "resume": _resume,
    "which": _which,
    "add": _add,
    "forget": _forget,
}
"""Every verb by its name on the wire."""


def _member(world: World, request: Request) -> Generator[Wait, bool, Member]:
    """Return the node that the request names, by its name or by its role."""
    name = request.node or ""
    if name in world.members:
        return world.members[name]
    if name not in _ROLES:
        known = ", ".join(world.members)
        raise InvalidRequest(f"{name or 'no name'}: no such node; there are {known}, and leader and follower")
    deadline_ms = world.now_ms() + min(_ELECTION_MS, request.timeout_ms)
    while True:
        statuses = yield from _round(world)
        found = _by_role(statuses, name)
        if found is not None:
            return world.members[found]
        if world.now_ms() >= deadline_ms:
            raise Unavailable(f"no node is {name} now: {world.diagnosis()}")
        yield Wait(lambda: False, 20)


def _by_role(statuses: dict[NodeId, Status], role: str) -> NodeId | None:
    """Return the leader of the newest term, or the first node that follows it."""
    leader = leading(statuses)
    if leader is None:
        return None
    if role == Role.LEADER:
        return leader.node
    followers = (s.node for s in statuses.values() if s.role == Role.FOLLOWER and s.leader == leader.node)
    return next(followers, None)


def _round(world: World) -> Generator[Wait, bool, dict[NodeId, Status]]:
    """Ask all running nodes, and return the answers of those that are not slow."""
    since_ms = world.now_ms()
    world.hurry()
    running = [member.id for member in world.members.values() if member.answered and member.state is State.RUNNING]
    yield Wait(lambda: world.fresh(since_ms).keys() >= set(running), _ROUND_MS)
    return world.fresh(since_ms)


def _living(world: World, request: Request) -> Generator[Wait, bool, Member]:
    member = yield from _member(world, request)
    if member.process is None:
        raise NotFound(f"{member.id} does not run ({member.state}); start it with: zraft cluster start {member.id}")
    return member


def _end(world: World, member: Member) -> Generator[Wait, bool, None]:
    process = member.process
    member.stop(world.now_ms())
    limit_ms = world.stop_ms + _EFFECT_MS
    yield from _until(lambda: member.process is not process, limit_ms, f"{member.id} has not ended yet")


def _answers(world: World, member: Member, request: Request) -> Generator[Wait, bool, None]:
    """Wait until a node that was told to run answers, or is found not to be able to."""
    since_ms = world.now_ms()
    world.hurry()
    over = (State.FAILED, State.STOPPED, State.BACKOFF)
    yield Wait(lambda: member.state in over or member.id in world.fresh(since_ms), request.timeout_ms)
    if member.state in over:
        raise Unavailable(f"{member.id} does not run ({member.state}): {member.reason or 'stopped by command'}")
    if member.id not in world.fresh(since_ms):
        raise Unavailable(f"{member.id} (pid {_pid(member)}) runs and does not answer yet")


def _until(condition: Callable[[], bool], timeout_ms: float, late: str) -> Generator[Wait, bool, None]:
    if not (yield Wait(condition, timeout_ms)):
        raise Unavailable(late)


def _pid(member: Member) -> int:
    assert member.process is not None, f"{member.id} has no process"
    return member.process.pid


def _count(nodes: int) -> str:
    return "1 node" if nodes == 1 else f"{nodes} nodes"
