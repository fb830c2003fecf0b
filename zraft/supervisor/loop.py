"""The supervisor as an actor: one loop over the nodes' output, their deaths, their answers, and commands."""

import math
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

import zmq

from zraft.client.sockets import Context
from zraft.config import Config
from zraft.errors import ZraftError
from zraft.hooks import linux
from zraft.hooks.linux import boot_ms
from zraft.raft.types import NodeId
from zraft.requests import Status
from zraft.supervisor import view
from zraft.supervisor.backoff import Backoff
from zraft.supervisor.control import Asked, Control
from zraft.supervisor.election import Elected, leading, ready_line
from zraft.supervisor.member import Member, State
from zraft.supervisor.output import OWN_NAME, Printer
from zraft.supervisor.polls import Polls
from zraft.supervisor.process import NodeProcess, Stream, dead_children, node_command
from zraft.supervisor.shutdown import Shutdown
from zraft.supervisor.tasks import Task
from zraft.supervisor.verbs import steps
from zraft.supervisor.wakeup import Wakeup

FAST_MS, SLOW_MS = 25, 1_000
"""Between two questions to a node: until it has begun to work, and from then on."""
FAST_FOR_MS = 15_000
"""How long a node may take to begin before it is asked at the slow rate."""
LATE_MS = 1_000
"""A turn that comes so much too late means that the supervisor itself did not run."""
STOP_MARGIN_MS = 10_000
"""Beyond what its scripts may take to end: what a clean stop of a node may take."""
UNREADY_MS = 15_000
"""After so long without a leader it is said why."""
_REQUESTS_PER_TURN = 32
_REJECTED_EVERY_MS = 10_000
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_BOUNCE_MS = 250
"""Two signals closer than this are one: wrappers pass a Ctrl-C on that the terminal has sent already."""


class Supervisor:
    """Keeps the nodes of one configuration running until it is told to stop them.

    Parameters
    ----------
    config
        The cluster.
    printer
        Where its lines go.
    environment
        Of the nodes.
    command
        Makes the command line of a node.
    born_ms
        When the command began, for the time that the cluster took to be ready.
    random
        For the jitter of back-off.
    """

    def __init__(
        self,
        config: Config,
        printer: Printer,
        *,
        environment: Mapping[str, str],
        command: Callable[[Config, NodeId], list[str]] = node_command,
        born_ms: float | None = None,
        random: Random | None = None,
    ) -> None:
        self.stop_ms: float = max(config.hooks.grace_ms, config.hooks.timeout_ms) + STOP_MARGIN_MS
        self.config = config
        self._printer = printer
        self.environment: Mapping[str, str] = {**environment, "PYTHONUNBUFFERED": "1"}
        self._command = command
        self._now_ms = boot_ms()
        """The time of this turn."""
        self._born_ms = self._now_ms if born_ms is None else born_ms
        self._poller = zmq.Poller()
        self._context: Context = zmq.Context()
        self._polls = Polls(self._context, self._poller, config)
        self._streams: dict[int, Stream] = {}
        """Pipes that have not ended, by descriptor; those of dead processes included."""
        self._tasks: list[Task] = []
        """Commands under way."""
        self._shutdown: Shutdown | None = None
        """Set once everything is being stopped."""
        self._exit_code = 0
        self._ready = False
        """Whether the cluster has been ready once."""
        self._unready_at_ms = self._now_ms + UNREADY_MS
        """When to say why it is not ready."""
        self._signalled_ms = -math.inf
        """When a signal last asked for the end."""
        self._rejected = (0, -math.inf)
        """Strange control messages that were reported, and when."""
        self._random = random or Random()  # noqa: S311 - jitter
        self.members: dict[NodeId, Member] = {}
        self.adopt(config)

    # What `zraft cluster up` calls.

    def run(self) -> int:
        """Start all nodes, and keep them running; return the exit code once everything has ended."""
        linux.become_subreaper()
        with Wakeup((*_ENDINGS, signal.SIGCHLD)) as wakeup:
            self._poller.register(wakeup.fd, zmq.POLLIN)
            try:
                self._control = Control(self._context, self.config.supervisor.control)
                self._poller.register(self._control.socket, zmq.POLLIN)
                for member in self.members.values():
                    member.start(self._now_ms)
                while self._shutdown is None or not self._shutdown.complete or self._tasks:
                    self._turn(wakeup)
                self._control.close()
            finally:
                self._context.destroy()
        return self._exit_code

    # What verbs see (`verbs.World`).

    @property
    def stopping(self) -> bool:
        """Whether everything is being stopped."""
        return self._shutdown is not None

    def now_ms(self) -> float:
        """Return the time of this turn."""
        return self._now_ms

    def hurry(self) -> None:
        """Ask all nodes for their status at once."""
        self._polls.hurry(self._now_ms)

    def fresh(self, since_ms: float) -> dict[NodeId, Status]:
        """Return the status of each running node that was asked at `since_ms` or later and has answered."""
        return {name: status for name, status in self._statuses().items() if self._polls.fresh(name, since_ms)}

    def elected(self) -> Elected | None:
        """Return the leader, once every node that runs well follows it."""
        return view.settled(self.members, self._statuses())

    def diagnosis(self) -> str:
        """Say why the cluster is not ready."""
        return view.diagnosis(self.members, self._statuses())

    def adopt(self, config: Config) -> None:
        """Take up nodes that the configuration has now, and forget those that it has no more, which do not run."""
        self.config = self._polls.config = config
        names = [node.id for node in config.nodes]
        for name in self.members.keys() - {*names}:
            assert self.members[name].process is None, f"{name} runs"
            del self.members[name]
        for name in names:
            self.members.setdefault(name, self._member(name))

    def shut_down(self) -> None:
        """Begin to stop everything."""
        if self._shutdown is None:
            leader = leading(self._statuses())
            hooks = self.config.hooks
            self._shutdown = Shutdown(
                self.members,
                leader.node if leader else None,
                scripts_ms=hooks.grace_ms + hooks.timeout_ms,
                note=self._note,
                now_ms=self._now_ms,
            )

    def empty(self) -> bool:
        """Whether nothing of the cluster runs any more."""
        return self._shutdown is not None and self._shutdown.complete

    def describe(self) -> dict[str, object]:
        """Return the keys of `zraft cluster status --json`, and for each node also its `reason`."""
        return view.describe(self.config.cluster.name, self.members, self._statuses())

    # One turn of the loop.

    def _turn(self, wakeup: Wakeup) -> None:
        timeout_ms = self._timeout_ms()
        events = dict(self._poller.poll(math.ceil(timeout_ms)))
        before_ms, self._now_ms = self._now_ms, boot_ms()
        if self._now_ms - before_ms > timeout_ms + LATE_MS:
            for member in self.members.values():
                member.health.forgive(self._now_ms)
        self._read(events)
        self._reap()
        self._hear()
        for number in wakeup.read():
            if number in _ENDINGS:
                self._signalled(number)
        self._receive()
        self._tick()
        self._announce()
        self._advance()

    def _timeout_ms(self) -> float:
        due = [self._now_ms + SLOW_MS, self._polls.deadline_ms(m.id for m in self._asked())]
        due += [member.deadline_ms for member in self.members.values() if member.deadline_ms is not None]
        due += [task.deadline_ms for task in self._tasks]
        if self._shutdown is not None:
            due.append(self._shutdown.deadline_ms)
        return max(0.0, min(due) - self._now_ms)

    def _read(self, events: Mapping[object, int]) -> None:
        for fd in [fd for fd in events if fd in self._streams]:
            self._read_stream(self._streams[fd])

    def _read_stream(self, stream: Stream) -> None:
        if not stream.read():
            self._poller.unregister(stream.fd)
            del self._streams[stream.fd]

    def _reap(self) -> None:
        for pid in dead_children():
            member = next((m for m in self.members.values() if m.process and m.process.pid == pid), None)
            if member is None:
                os.waitpid(pid, 0)  # A guard, or what a script left behind: adopted from a node that has ended.
                continue
            self._bury(member)

    def _bury(self, member: Member) -> None:
        process = member.process
        assert isinstance(process, NodeProcess), f"{member.id} has no process of ours"
        for stream in process.streams:
            if self._streams.get(stream.fd) is stream:
                self._read_stream(stream)
                stream.flush()
        process.reap()
        self._polls.close(member.id)
        member.died(self._now_ms)

    def _hear(self) -> None:
        for node_id, status in self._polls.answers():
            member = self.members[node_id]
            if member.process is not None and member.process.pid == status.pid:
                member.health.heard(status, self._now_ms)

    def _signalled(self, number: int) -> None:
        before_ms, self._signalled_ms = self._signalled_ms, self._now_ms
        if self._shutdown is None:
            self._exit_code = 130 if number == signal.SIGINT else 0
            self._note(f"{signal.Signals(number).name}: stopping all nodes; once more kills them now")
            self.shut_down()
        elif before_ms > -math.inf and self._now_ms - before_ms > _BOUNCE_MS:
            self._note("killing all nodes")
            self._shutdown.kill(self._now_ms)

    def _receive(self) -> None:
        for _ in range(_REQUESTS_PER_TURN):
            asked = self._control.receive()
            if asked is None:
                break
            self._begin(asked)
        reported, when_ms = self._rejected
        if self._control.rejected > reported and self._now_ms - when_ms >= _REJECTED_EVERY_MS:
            self._note(f"dropped {self._control.rejected - reported} strange messages on the control socket")
            self._rejected = (self._control.rejected, self._now_ms)

    def _begin(self, asked: Asked) -> None:
        request = asked.request
        if request.verb not in ("status", "wait"):
            self._note(f"command: {request.verb} {request.node or ''}".rstrip())
        try:
            self._tasks.append(Task(asked, steps(self, request)))
        except ZraftError as error:
            self._control.reply(asked, exit_code=error.exit_code, message=str(error))

    def _tick(self) -> None:
        for member in self.members.values():
            if self._shutdown is None or member.process is not None:
                member.tick(self._now_ms)
        if self._shutdown is not None:
            self._shutdown.tick(self._now_ms)
        for member in self._asked():
            self._polls.ask(member.id, self._now_ms, self._interval_ms(member))

    def _announce(self) -> None:
        """Say once that the cluster is ready, or why it is not; give up when no node can run at all."""
        if self._ready or self._shutdown is not None:
            return
        found = self.elected()
        if found is not None:
            self._ready = True
            seconds = (self._now_ms - self._born_ms) / 1_000
            self._printer.plain(ready_line(found, len(self.members), seconds))
        elif all(member.state is State.FAILED for member in self.members.values()):
            self._exit_code = next(iter(self.members.values())).exit_code or 1
            self._note("no node can run: giving up")
            self.shut_down()
        elif self._now_ms >= self._unready_at_ms:
            self._unready_at_ms = math.inf
            self._note(f"not ready yet: {self.diagnosis()}")

    def _advance(self) -> None:
        for task in self._tasks:
            task.advance(self._now_ms)
            if task.answer is not None:
                self._control.reply(task.asked, message=task.answer.message, result=task.answer.result)
            elif task.error is not None:
                self._control.reply(task.asked, exit_code=task.error.exit_code, message=str(task.error))
        self._tasks = [task for task in self._tasks if not task.ended]

    # Helpers.

    def _member(self, node_id: NodeId) -> Member:
        limits = self.config.supervisor
        return Member(
            node_id,
            self._spawn,
            Backoff(limits.backoff_lower_ms, limits.backoff_upper_ms, self._random),
            hung_after_ms=limits.hung_after_ms,
            stop_ms=self.stop_ms,
            note=self._note,
        )

    def _spawn(self, node_id: NodeId) -> NodeProcess:
        deliver = partial(self._printer.line, node_id)
        process = NodeProcess(self._command(self.config, node_id), self.environment, deliver)
        for stream in process.streams:
            self._streams[stream.fd] = stream
            self._poller.register(stream.fd, zmq.POLLIN)
        self._polls.open(node_id, self._now_ms)
        return process

    def _asked(self) -> list[Member]:
        if self._shutdown is not None:
            return []
        return [m for m in self.members.values() if m.process is not None and m.state is State.RUNNING]

    def _interval_ms(self, member: Member) -> float:
        begins = not member.answered or not self._ready
        if begins and self._now_ms - member.health.started_ms < FAST_FOR_MS:
            return FAST_MS
        return min(SLOW_MS, max(FAST_MS, self.config.supervisor.hung_after_ms / 4))

    def _statuses(self) -> dict[NodeId, Status]:
        return view.recent(self.members, self._now_ms)

    def _note(self, text: str) -> None:
        self._printer.line(OWN_NAME, text)
