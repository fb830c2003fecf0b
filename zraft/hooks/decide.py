"""Which script is due, with which arguments and environment; pure.

A node leads or does not lead: a lost candidacy, or a change of leader elsewhere, is no role change. `follower` is due when
the node starts and whenever it no longer leads; `leader` when it leads and its no-op is applied, once per term and never
again in it. Since a term has one leader, and a node that returns to leading does so in a newer term, at most one `leader`
script is started per term in the whole cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from zraft.raft.types import Index, NodeId, Role, Term

HOOK_API = 1
"""Version of what a program gets; raised when a variable or argument changes its meaning."""

EVENTS = ("leader", "follower", "stop")
"""What a script can be configured for."""

VARIABLES = (
    "ZRAFT_HOOK_API",
    "ZRAFT_EVENT",
    "ZRAFT_ROLE",
    "ZRAFT_PREV_ROLE",
    "ZRAFT_REASON",
    "ZRAFT_CLUSTER",
    "ZRAFT_NODE",
    "ZRAFT_TERM",
    "ZRAFT_FENCING_TOKEN",
    "ZRAFT_LEADER",
    "ZRAFT_LEADER_ENDPOINT",
    "ZRAFT_PREV_LEADER",
    "ZRAFT_COMMIT_INDEX",
    "ZRAFT_HOOK_SEQ",
    "ZRAFT_TIMEOUT_MS",
    "ZRAFT_GRACE_MS",
    "ZRAFT_CONFIG",
)
"""The variables that a program gets from us. None but ZRAFT_CONFIG is ever read as configuration."""

REASONS = (
    "startup",
    "election",
    "transfer",
    "higher_term",
    "quorum_lost",
    "removed",
    "hook_failed",
    "check_failed",
    "node_died",
    "shutdown",
    "recovery",
)
"""Every value of ZRAFT_REASON."""

PASSED_THROUGH = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR")
"""What a program sees of the node's own environment, besides ``LC_*``."""

_STATES = {"started": "started", "output": "output", "exited": "output", "dropped": "output", "stuck": "output"}


@dataclass(frozen=True)
class HookSettings:
    """What the scheduler must know; plain values, so that it runs in a simulator too."""

    node: NodeId
    cluster: str
    """Name of the cluster."""
    scripts: Mapping[str, tuple[str, ...]]
    """Event to program and its own arguments; an event that is absent runs nothing."""
    grace_ms: int
    """Between SIGTERM and SIGKILL."""
    timeout_ms: int
    """How long a `follower` or `stop` script may take. A `leader` script may go on as long as the node leads, and
    finds ZRAFT_TIMEOUT_MS=0."""
    base_env: Mapping[str, str]
    """The node's environment, of which PASSED_THROUGH is passed on."""
    config_path: str
    endpoints: Mapping[NodeId, str]
    """Where clients reach each node."""
    cwd: str = "/"
    """Working directory of the scripts."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that the configuration adds."""


class Standing(NamedTuple):
    """How a node stands, as its replica sees it."""

    role: Role | None
    term: Term
    leader: NodeId | None
    """Who leads `term`, as far as known."""
    established: bool
    """This node leads `term` and has applied its no-op of that term."""
    commit_index: Index
    reason: str
    """Why role or term are what they are: of the last `RoleChange`."""


class _Ordered(NamedTuple):
    """A run that was ordered and has not ended."""

    event: str
    hook: str
    term: Term


class HookScheduler:
    """Turns how a node stands into orders for its guard, and the guard's reports into events.

    Level-triggered: `observe` may be called as often as one likes, and orders only what has not been ordered.
    """

    def __init__(self, settings: HookSettings) -> None:
        self._settings = settings
        self._role: str | None = None
        """The role that scripts were last told, `leader` or `follower`; None before the first."""
        self._led: Term = 0
        """The newest term for which `leader` was due here."""
        self._leader: NodeId | None = None
        """The last leader known."""
        self._leader_before: NodeId | None = None
        """The one before it."""
        self._seq = 0
        """Number of the last run ordered."""
        self._under_way: dict[int, _Ordered] = {}
        """Runs ordered, until the guard reports their end; at most what the guard runs and lets wait."""
        self._stopped = False
        """`stop` was called: no role change matters any more."""

    def observe(self, now: Standing) -> list[dict[str, Any]]:
        """Return the orders that are due now that the node stands like this; none once it stops."""
        if self._stopped:
            return []
        self._note_leader(now.leader)
        orders = []
        leads = now.role == Role.LEADER
        if self._role is None:
            orders += self._change("follower", now._replace(reason="startup"))
        elif self._role == "leader" and not (leads and now.term == self._led):
            orders += self._change("follower", now)
        if leads and now.established and now.term > self._led:
            self._led = now.term
            orders += self._change("leader", now)
        return orders

    def stop(self, now: Standing) -> list[dict[str, Any]]:
        """Return the orders of a clean shutdown: the `leader` script ends, then `stop` runs, or else `follower`.

        Only one of the two, since the guard runs the newest that waits: a node that has a `stop` script cleans up there.
        """
        if self._stopped:
            return []
        self._stopped = True
        last = now._replace(reason="shutdown")
        self._note_leader(last.leader)
        if "stop" in self._settings.scripts:
            previous, self._role = self._role, "follower"
            return [self._run("stop", previous, last)]
        return self._change("follower", last) if self._role == "leader" else []

    def reported(self, report: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the data of the `hook` event that a report of the guard makes, or None when it makes none."""
        run = self._under_way.get(report.get("seq", 0))
        if run is None:
            return None
        kind = report["kind"]
        if kind in ("ended", "skipped", "failed"):
            del self._under_way[report["seq"]]
        data = {"hook": run.hook, "seq": report["seq"], "event": run.event, "term": run.term, "state": _state(report)}
        for name in ("line", "stream", "exit_code", "signal", "reason", "duration_ms"):
            if report.get(name) is not None:
                data[name] = report[name]
        if kind in ("exited", "dropped", "stuck"):
            data |= {"stream": "guard", "line": _sentence(report)}
        return data

    # Orders

    def _change(self, role: str, now: Standing) -> list[dict[str, Any]]:
        previous, self._role = self._role, role
        if role in self._settings.scripts:
            return [self._run(role, previous, now)]
        # Nothing runs that would replace a leader script, so it is ended by name.
        return [{"kind": "end"}] if previous == "leader" and "leader" in self._settings.scripts else []

    def _run(self, event: str, previous: str | None, now: Standing) -> dict[str, Any]:
        assert now.reason in REASONS, f"a reason that HOOKS does not name: {now.reason}"
        settings = self._settings
        self._seq += 1
        role = self._role or "follower"
        program = settings.scripts[event]
        self._under_way[self._seq] = _Ordered(event, program[0], now.term)
        timeout_ms = None if event == "leader" else settings.timeout_ms
        return {
            "kind": "run",
            "seq": self._seq,
            "event": event,
            "argv": [*program, event, role, settings.node, str(now.term)],
            "env": self._environment(event, role, previous, timeout_ms, now),
            "cwd": settings.cwd,
            "timeout_ms": timeout_ms,
            "grace_ms": settings.grace_ms,
            "deadline_ms": None,
        }

    def _environment(
        self, event: str, role: str, previous: str | None, timeout_ms: int | None, now: Standing
    ) -> dict[str, str]:
        settings = self._settings
        own = {
            "ZRAFT_HOOK_API": HOOK_API,
            "ZRAFT_EVENT": event,
            "ZRAFT_ROLE": role,
            "ZRAFT_PREV_ROLE": previous or "",
            "ZRAFT_REASON": now.reason,
            "ZRAFT_CLUSTER": settings.cluster,
            "ZRAFT_NODE": settings.node,
            "ZRAFT_TERM": now.term,
            "ZRAFT_FENCING_TOKEN": now.term,
            "ZRAFT_LEADER": now.leader or "",
            "ZRAFT_LEADER_ENDPOINT": settings.endpoints.get(now.leader, "") if now.leader else "",
            "ZRAFT_PREV_LEADER": (self._leader_before if now.leader else self._leader) or "",
            "ZRAFT_COMMIT_INDEX": now.commit_index,
            "ZRAFT_HOOK_SEQ": self._seq,
            "ZRAFT_TIMEOUT_MS": timeout_ms or 0,
            "ZRAFT_GRACE_MS": settings.grace_ms,
            "ZRAFT_CONFIG": settings.config_path,
        }
        passed = {name: text for name, text in settings.base_env.items() if _passes(name)}
        return passed | dict(settings.env) | {name: str(value) for name, value in own.items()}

    def _note_leader(self, leader: NodeId | None) -> None:
        if leader is not None and leader != self._leader:
            self._leader_before, self._leader = self._leader, leader


def _passes(name: str) -> bool:
    return name in PASSED_THROUGH or name.startswith("LC_")


def _state(report: Mapping[str, Any]) -> str:
    """Name the state of the run in the words of the `hook` event."""
    kind: str = report["kind"]
    if kind == "ended":
        return "ended" if report["reason"] == "exit" else "killed"
    return _STATES.get(kind, kind)


def _sentence(report: Mapping[str, Any]) -> str:
    """Say for people what a report says that is neither a line of the script nor its end."""
    if report["kind"] == "dropped":
        return f"({report['lines']} lines of output dropped)"
    pids = ", ".join(map(str, report["left"] if report["kind"] == "exited" else report["pids"]))
    if report["kind"] == "exited":
        return f"(the script has exited; it left running: process {pids})"
    return f"(SIGKILL has not ended yet: process {pids})"
