"""The loop of ``zraft leader --watch``: tells of each change of leader, and has a command follow, until somebody ends it."""

import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from zraft.config import Config
from zraft.errors import ConfigError
from zraft.monitor.command import Command, how_it_ended
from zraft.monitor.leadership import SILENT_MS, Leader, Leadership
from zraft.monitor.reaction import Reaction
from zraft.stopsignals import StopSignals

DEAF_MS = 2 * SILENT_MS
"""Nobody has told anything for so long, though all were asked in the midst of it."""
GRACE_MS = 5_000
"""Between SIGTERM and SIGKILL for a command that runs when the watch ends."""


def watch(
    config: Config, show: Callable[[Leader], None], arguments: Sequence[str] = (), *, complain: Callable[[str], None]
) -> int:
    """Follow the leader until SIGINT, SIGTERM or SIGHUP; return the exit code.

    Parameters
    ----------
    config
        Where the nodes are.
    show
        Called with the leader at the start, and with each newer one; terms rise.
    arguments
        A command to run for each of them, one run at a time: see `reaction`.
    complain
        Called with a line for each run that failed, and when no node answers any more, or yet.

    Raises
    ------
    ConfigError
        There is no such command.
    """
    if arguments and shutil.which(arguments[0]) is None:
        raise ConfigError(f"{arguments[0]}: no such command; give the path of an executable file, or a name on PATH")
    signals = StopSignals()
    signals.heed(() if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,))
    leadership = Leadership(config, _now_ms())
    nobody = (
        f"no node of {config.cluster.name} answers ({config.path}); watching until one does; see zraft cluster status"
    )
    listener = _Listener(leadership, lambda: complain(nobody))
    follower = _Follower(arguments, leadership.poller, complain)
    leadership.poller.register(signals.fileno(), zmq.POLLIN)
    try:
        _run(leadership, listener, follower, signals, show)
        follower.end(signals)
    finally:
        follower.kill()
        leadership.close()
    return 128 + signal.SIGINT if signal.SIGINT in signals.numbers else 0


def _run(
    leadership: Leadership,
    listener: "_Listener",
    follower: "_Follower",
    signals: StopSignals,
    show: Callable[[Leader], None],
) -> None:
    while not signals.numbers:
        due = min(leadership.deadline(_now_ms()), follower.due_ms)
        ready = [source for source, _ in leadership.poller.poll(max(0, math.ceil(due - _now_ms())))]
        signals.take()
        leader = leadership.take(ready, _now_ms())
        listener.turn(_now_ms())
        if leader is not None:
            show(leader)
            follower.changed(leader)
        follower.turn(ready)


class _Listener:
    """Says once that nobody answers, and again only when somebody has meanwhile."""

    def __init__(self, leadership: Leadership, say: Callable[[], None]) -> None:
        self._leadership = leadership
        self._say = say
        self._said_at = -math.inf
        """What was heard last when it was said."""

    def turn(self, now_ms: float) -> None:
        """Say it if it is so."""
        heard_at = self._leadership.heard_at
        if heard_at > self._said_at and now_ms - heard_at >= DEAF_MS:
            self._said_at = heard_at
            self._say()


class _Follower:
    """Runs the command, if there is one."""

    def __init__(self, arguments: Sequence[str], poller: zmq.Poller, complain: Callable[[str], None]) -> None:
        self._arguments = list(arguments)
        self._poller = poller
        self._complain = complain
        self._reaction = Reaction()
        self._command: Command | None = None

    @property
    def due_ms(self) -> float:
        """When to call `turn` though nothing has happened."""
        return math.inf if self._reaction.due_ms is None else self._reaction.due_ms

    def changed(self, leader: Leader) -> None:
        """Hear of a new leader."""
        if self._arguments:
            self._reaction.changed(leader, _now_ms())

    def turn(self, ready: list[Any]) -> None:
        """See whether the command has ended, and start it if it is due."""
        if self._command is not None and self._command.fd in ready:
            code = self._finish(self._command)
            self._ended("" if code == 0 else how_it_ended(code))
        leader = self._reaction.next(_now_ms())
        if leader is not None:
            self._start(leader)

    def _start(self, leader: Leader) -> None:
        environment = {
            "ZRAFT_LEADER": leader.node,
            "ZRAFT_LEADER_ENDPOINT": leader.endpoint,
            "ZRAFT_TERM": str(leader.term),
        }
        try:
            self._command = Command(self._arguments, os.environ | environment)
        except OSError as error:
            self._ended(f"cannot be run: {error.strerror}")
        else:
            self._poller.register(self._command.fd, zmq.POLLIN)

    def _ended(self, failure: str) -> None:
        leader = self._reaction.running
        assert leader is not None, "ended for nobody"
        again_ms = self._reaction.ended(_now_ms(), well=not failure)
        if failure:
            then = "a newer one leads" if again_ms is None else f"again in {again_ms / 1_000:g} s"
            self._complain(f"{self._arguments[0]} for {leader.node}, term {leader.term}: {failure}; {then}")

    def _finish(self, command: Command) -> int:
        self._poller.unregister(command.fd)
        self._command = None
        return command.finish()

    def end(self, signals: StopSignals) -> None:
        """End a command that runs: SIGTERM to its group, and SIGKILL to what is left when it has ended, or not in time."""
        if self._command is None:
            return
        self._command.signal_group(signal.SIGTERM)
        poller = zmq.Poller()
        for descriptor in (self._command.fd, signals.fileno()):
            poller.register(descriptor, zmq.POLLIN)
        until = _now_ms() + GRACE_MS
        while not signals.wanted() and (left := until - _now_ms()) > 0:
            if self._command.fd in dict(poller.poll(math.ceil(left))):
                break
        self.kill()

    def kill(self) -> None:
        """Leave nothing of the command."""
        if self._command is not None:
            self._command.signal_group(signal.SIGKILL)
            self._finish(self._command)


def _now_ms() -> float:
    return time.monotonic() * 1_000
