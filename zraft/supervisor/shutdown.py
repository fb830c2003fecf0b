"""Stopping everything in good order: followers, then the leader, then whatever their guards still run."""

import math
import os
import signal
from collections.abc import Callable, Mapping

from zraft.hooks import linux
from zraft.raft.types import NodeId
from zraft.supervisor.member import Member, State
from zraft.supervisor.process import childless

LEADER_LAST_MS = 1_000
"""How long the leader waits for its followers to end.

It goes last because it then has nobody left to hand over to: were it first, another node would be elected and would
start its leader script, only to be stopped as well.
"""
_REPORT_MS = 5_000
_SECOND_MS = 50
"""After the leader's SIGTERM: when it is told not to wait for somebody to take over."""


class Shutdown:
    """One shutdown, from its begin until nothing is left.

    Parameters
    ----------
    members
        The nodes.
    leader
        Who leads, if anybody.
    scripts_ms
        How long hook scripts may take once their node has ended, before they are killed.
    note
        Called with each line for the log.
    """

    def __init__(
        self,
        members: Mapping[NodeId, Member],
        leader: NodeId | None,
        *,
        scripts_ms: float,
        note: Callable[[str], None],
        now_ms: float,
    ) -> None:
        self._members = members
        self._leader = leader
        self._scripts_ms = scripts_ms
        self._note = note
        self._leader_at_ms = now_ms + LEADER_LAST_MS
        """When the leader is stopped even though followers have not ended."""
        self._alone_at_ms: float | None = None
        """When the leader, which has been stopped, is told that nobody is left to hand over to."""
        self._report_at_ms = now_ms + _REPORT_MS
        """When to say next what is being waited for."""
        self._kill_at_ms: float | None = None
        """When whatever the nodes left behind is killed; set once they have all ended."""
        self.complete = False
        """Whether nothing of the cluster runs any more."""
        for member in members.values():
            if member.id != leader:
                member.stop(now_ms)

    @property
    def deadline_ms(self) -> float:
        """When `tick` has something to do next, at the latest."""
        leader_at_ms = None if self._leader is None else self._leader_at_ms
        due = (self._report_at_ms, leader_at_ms, self._alone_at_ms, self._kill_at_ms)
        return min(at_ms for at_ms in due if at_ms is not None)

    def tick(self, now_ms: float) -> None:
        """Go on with it; called after every death, and at `deadline_ms`."""
        living = [member for member in self._members.values() if member.process is not None]
        for member in self._members.values():
            if member.process is None and member.state in (State.BACKOFF, State.FAILED):
                member.stop(now_ms)
        self._stop_leader(alone={member.id for member in living} <= {self._leader}, now_ms=now_ms)
        if not living:
            self._scripts(now_ms)
        if now_ms >= self._report_at_ms and not self.complete:
            self._report_at_ms = now_ms + _REPORT_MS
            self._note(f"waiting for {', '.join(m.id for m in living) or 'hook scripts'} to end; Ctrl-C kills them now")

    def kill(self, now_ms: float) -> None:
        """End it now: SIGKILL to all."""
        self._leader = self._alone_at_ms = None
        for member in self._members.values():
            member.abort(now_ms)
        self._scripts_ms = 0
        self._kill_at_ms = None

    def _stop_leader(self, *, alone: bool, now_ms: float) -> None:
        if self._leader is None:
            return
        if self._alone_at_ms is not None and now_ms >= self._alone_at_ms:
            self._members[self._leader].alone()
            self._leader = self._alone_at_ms = None
        elif self._alone_at_ms is None and (alone or now_ms >= self._leader_at_ms):
            self._members[self._leader].stop(now_ms)
            self._leader_at_ms, self._alone_at_ms = math.inf, now_ms + _SECOND_MS

    def _scripts(self, now_ms: float) -> None:
        """Wait for what the nodes left behind; kill it when its time is over."""
        self.complete = childless()
        if self.complete:
            return
        if self._kill_at_ms is None:
            self._kill_at_ms = now_ms + self._scripts_ms
        if now_ms >= self._kill_at_ms:
            self._kill_at_ms = now_ms + 100  # Whoever was just being started is met by the next round.
            for pid in linux.descendants(os.getpid()):
                linux.send(pid, signal.SIGKILL)
