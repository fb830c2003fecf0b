"""The guard of one process, and the scripts that it runs: in virtual time, with the orders and reports of `hooks.wire`.

It goes on while its node is stopped, and ends what runs when the node is gone, as the real one does. Scripts take their time,
end by themselves, fail, or ignore that they are told to end until they are killed.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from zraft.raft.types import Term
from zraft.simulation.timeline import STALE, Action, Timeline

PIPE_MS = 0.2
"""What an order or report takes on its way."""
RUN_MS = 300.0
"""How long a script runs, on average."""
STUBBORN = 0.2
"""How many scripts ignore SIGTERM."""


class SimulatedGuard:
    """The `Guard` seam of one process.

    Parameters
    ----------
    timeline, random
        When scripts end.
    report
        Called with each report.
    started
        Called with the fencing token of each `leader` script that starts.
    """

    def __init__(
        self,
        timeline: Timeline,
        random: Random,
        report: Callable[[dict[str, Any]], None],
        started: Callable[[Term], None],
    ) -> None:
        self._timeline = timeline
        self._random = random
        self._report = report
        self._started = started
        self._running: dict[str, Any] | None = None
        """The order whose script runs."""
        self._stubborn = False
        self._ending = ""
        """Why it is being ended; empty while it is not."""
        self._waiting: dict[str, Any] | None = None
        """The newest order that waits."""
        self._stopping = False
        self._gone = False
        self._asleep = False
        """The machine sleeps: nothing happens."""
        self._missed: list[Action] = []
        """What would have happened meanwhile."""
        self.last_told: tuple[str, str] | None = None
        """Event and term of the newest script that was ordered."""

    def tell(self, order: dict[str, object]) -> None:
        """Take an order; it arrives a little later."""
        if order["kind"] == "run":
            environment: Any = order["env"]
            self.last_told = (str(order["event"]), environment["ZRAFT_TERM"])
        self._after(PIPE_MS, lambda: self._take(order))

    def orphaned(self) -> None:
        """Find that the node is gone: end what runs, run nothing more."""
        self._stopping, self._waiting = True, None
        self._end("node_died")

    def kill(self) -> None:
        """Die: whatever runs is killed with it, by the node that finds the guard gone."""
        self._gone = True

    def sleep(self) -> None:
        """Stand still, since the machine does."""
        self._asleep = True

    def wake(self) -> None:
        """Go on; all timers that have run out meanwhile ring."""
        self._asleep = False
        missed, self._missed = self._missed, []
        for action in missed:
            action()

    @property
    def leads(self) -> bool:
        """Whether a `leader` script runs."""
        return not self._gone and self._running is not None and self._running["event"] == "leader"

    def _take(self, order: dict[str, Any]) -> object:
        if self._gone or self._stopping:
            return STALE
        if order["kind"] == "end":
            self._skip("end")
            if self.leads:
                self._end("end")
            return None
        self._skip("newer")
        self._waiting = order
        if self._running is None:
            self._start()
        elif self.leads:
            self._end("replaced")
        return None

    def _skip(self, reason: str) -> None:
        if self._waiting is not None:
            self._tell({"kind": "skipped", "seq": self._waiting["seq"], "reason": reason})
            self._waiting = None

    def _start(self) -> None:
        order, self._waiting = self._waiting, None
        if order is None:
            return
        self._running, self._ending = order, ""
        self._stubborn = self._random.random() < STUBBORN
        if order["event"] == "leader":
            self._started(int(order["env"]["ZRAFT_FENCING_TOKEN"]))
        self._tell({"kind": "started", "seq": order["seq"], "pid": 1})
        runs_ms = self._random.expovariate(1 / RUN_MS) * (20 if order["event"] == "leader" else 1)
        if order["timeout_ms"] and order["timeout_ms"] < runs_ms:
            self._after(order["timeout_ms"], lambda: self._end_if(order, "timeout"))
        else:
            self._after(runs_ms, lambda: self._over(order, "exit"))

    def _end_if(self, order: dict[str, Any], why: str) -> object:
        if self._running is not order or self._gone:
            return STALE
        self._end(why)
        return None

    def _end(self, why: str) -> None:
        """Send SIGTERM; SIGKILL comes after the grace."""
        order = self._running
        if order is None or self._ending:
            return
        self._ending = why
        delay = order["grace_ms"] if self._stubborn else self._random.uniform(0, order["grace_ms"])
        self._after(delay, lambda: self._over(order, why))

    def _over(self, order: dict[str, Any], why: str) -> object:
        if self._running is not order or self._gone:
            return STALE
        self._running = None
        result = {"exit_code": 0, "signal": None} if why == "exit" else {"exit_code": None, "signal": 15}
        self._tell({"kind": "ended", "seq": order["seq"], **result, "duration_ms": 1, "reason": why})
        self._start()
        return None

    def _tell(self, report: dict[str, Any]) -> None:
        def arrives() -> object:
            if self._gone:
                return STALE
            self._report(report)
            return None

        self._after(PIPE_MS, arrives)

    def _after(self, delay_ms: float, action: Action) -> None:
        """Let `action` happen, later if the machine sleeps then."""

        def due() -> object:
            if self._asleep:
                self._missed.append(action)
                return STALE
            return action()

        self._timeline.after(delay_ms, due)
