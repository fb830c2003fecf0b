"""Which script is due, told as histories of one node, n1 of three."""

from typing import Any

import pytest

from zraft import config
from zraft.hooks.decide import REASONS, VARIABLES, HookScheduler, HookSettings, Standing
from zraft.raft.types import Role

BOTH = {"leader": ("/hooks/lead",), "follower": ("/hooks/follow", "-v")}
BASE_ENV = {
    "PATH": "/bin",
    "HOME": "/root",
    "USER": "u",
    "LOGNAME": "u",
    "LANG": "C.UTF-8",
    "LC_TIME": "de_DE",
    "TZ": "UTC",
    "TMPDIR": "/tmp",
    "SECRET": "x",
    "LD_PRELOAD": "/evil.so",
    "ZRAFT_TERM": "99",
    "ZRAFT_HOOKS_LEADER": "/hooks/lead",
}


def scheduler(scripts: dict[str, tuple[str, ...]] = BOTH, **changed: Any) -> HookScheduler:
    settings = {
        "node": "n1",
        "cluster": "demo",
        "scripts": scripts,
        "grace_ms": 5_000,
        "timeout_ms": 60_000,
        "base_env": BASE_ENV,
        "config_path": "/etc/zraft.yaml",
        "endpoints": {"n1": "tcp://h1:1", "n2": "tcp://h2:1"},
        "cwd": "/srv",
    }
    return HookScheduler(HookSettings(**(settings | changed)))


def following(term: int, leader: str | None = None, reason: str = "higher_term") -> Standing:
    return Standing(Role.FOLLOWER, term, leader, False, 7, reason)


def campaigning(term: int) -> Standing:
    return Standing(Role.CANDIDATE, term, None, False, 7, "election")


def elected(term: int) -> Standing:
    return Standing(Role.LEADER, term, "n1", False, 7, "election")


def established(term: int, reason: str = "election") -> Standing:
    return Standing(Role.LEADER, term, "n1", True, 8, reason)


def told(orders: list[dict[str, Any]]) -> list[str]:
    """Return the orders as words: ``follower@3 shutdown``."""
    return [
        f"{order['event']}@{order['env']['ZRAFT_TERM']} {order['env']['ZRAFT_REASON']}"
        if order["kind"] == "run"
        else order["kind"]
        for order in orders
    ]


def history(hooks: HookScheduler, *standings: Standing) -> list[str]:
    return [word for standing in standings for word in told(hooks.observe(standing))]


def test_follower_runs_at_the_start_and_once() -> None:
    hooks = scheduler()
    assert history(hooks, following(0), following(0), following(3, "n2")) == ["follower@0 startup"]


def test_leader_waits_until_the_no_op_is_applied() -> None:
    hooks = scheduler()
    assert history(hooks, following(0), campaigning(1), elected(1)) == ["follower@0 startup"]
    assert history(hooks, established(1), established(1)) == ["leader@1 election"]


def test_a_lost_candidacy_is_no_role_change() -> None:
    hooks = scheduler()
    assert history(hooks, following(0), campaigning(1), following(1, "n2"), campaigning(2), following(2, "n3")) == [
        "follower@0 startup"
    ]


def test_a_leader_deposed_before_its_no_op_ran_nothing_and_undoes_nothing() -> None:
    hooks = scheduler()
    assert history(hooks, following(0), elected(1), following(2, "n2")) == ["follower@0 startup"]


def test_follower_runs_after_each_leader_run() -> None:
    hooks = scheduler()
    history(hooks, following(0))
    assert history(
        hooks, established(1), following(1, None, "quorum_lost"), following(2, "n2"), established(3), following(4, "n2")
    ) == ["leader@1 election", "follower@1 quorum_lost", "leader@3 election", "follower@4 higher_term"]


def test_leader_runs_once_per_term_though_established_is_seen_again() -> None:
    hooks = scheduler()
    history(hooks, following(0), established(5))
    assert history(hooks, established(5), elected(5)._replace(established=True)) == []
    assert history(hooks, following(5, None, "quorum_lost")) == ["follower@5 quorum_lost"]
    assert history(hooks, established(5)) == []


def test_winning_again_before_the_loss_was_seen_ends_the_old_run_at_once() -> None:
    hooks = scheduler()
    history(hooks, following(0), established(1))
    assert history(hooks, elected(3), established(3)) == ["follower@3 election", "leader@3 election"]
    assert history(hooks, established(4)) == ["follower@4 election", "leader@4 election"]


def test_a_single_node_that_leads_at_first_sight_was_a_follower_before() -> None:
    assert history(scheduler(), established(1)) == ["follower@1 startup", "leader@1 election"]


def test_a_clean_stop_of_the_leader_ends_with_follower() -> None:
    hooks = scheduler()
    history(hooks, following(0), established(1))
    assert told(hooks.stop(established(1))) == ["follower@1 shutdown"]
    assert hooks.stop(established(1)) == []
    assert history(hooks, following(2, "n2"), established(3)) == []


def test_a_clean_stop_of_a_follower_runs_nothing() -> None:
    hooks = scheduler()
    history(hooks, following(0))
    assert hooks.stop(following(4, "n2")) == []


def test_a_stop_script_runs_at_every_clean_stop() -> None:
    scripts = BOTH | {"stop": ("/hooks/stop",)}
    for standing in (following(1, "n2"), established(1)):
        hooks = scheduler(scripts)
        history(hooks, following(0), standing)
        (order,) = hooks.stop(standing)
        assert told([order]) == ["stop@1 shutdown"]
        assert order["argv"] == ["/hooks/stop", "stop", "follower", "n1", "1"]
        assert order["timeout_ms"] == 60_000


def test_without_a_follower_script_the_leader_script_is_ended_by_name() -> None:
    hooks = scheduler({"leader": ("/hooks/lead",)})
    assert history(hooks, following(0), established(1), following(2)) == ["leader@1 election", "end"]
    assert history(hooks, established(3)) == ["leader@3 election"]
    assert told(hooks.stop(established(3))) == ["end"]


def test_without_a_leader_script_follower_still_runs_on_each_change() -> None:
    hooks = scheduler({"follower": ("/hooks/follow",)})
    assert history(hooks, following(0), established(1), following(2)) == [
        "follower@0 startup",
        "follower@2 higher_term",
    ]


def test_without_scripts_nothing_is_ordered() -> None:
    hooks = scheduler({})
    assert history(hooks, following(0), established(1), following(2)) == []
    assert hooks.stop(following(2)) == []


def test_the_program_gets_its_own_arguments_then_event_role_node_and_term() -> None:
    hooks = scheduler()
    (first,) = hooks.observe(following(0))
    (second,) = hooks.observe(established(3))
    assert first["argv"] == ["/hooks/follow", "-v", "follower", "follower", "n1", "0"]
    assert second["argv"] == ["/hooks/lead", "leader", "leader", "n1", "3"]
    assert (first["seq"], second["seq"]) == (1, 2)
    assert (first["cwd"], first["grace_ms"], first["timeout_ms"], first["deadline_ms"]) == ("/srv", 5_000, 60_000, None)
    assert second["timeout_ms"] is None


PASSED = {name: BASE_ENV[name] for name in ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_TIME", "TZ", "TMPDIR")}


def test_the_program_gets_this_environment_and_nothing_else() -> None:
    hooks = scheduler(env={"COLOR": "blue", "ZRAFT_TERM": "5"})
    history(hooks, following(0, "n2"))
    (order,) = hooks.observe(established(3))
    assert order["env"] == PASSED | {
        "COLOR": "blue",
        "ZRAFT_HOOK_API": "1",
        "ZRAFT_EVENT": "leader",
        "ZRAFT_ROLE": "leader",
        "ZRAFT_PREV_ROLE": "follower",
        "ZRAFT_REASON": "election",
        "ZRAFT_CLUSTER": "demo",
        "ZRAFT_NODE": "n1",
        "ZRAFT_TERM": "3",
        "ZRAFT_FENCING_TOKEN": "3",
        "ZRAFT_LEADER": "n1",
        "ZRAFT_LEADER_ENDPOINT": "tcp://h1:1",
        "ZRAFT_PREV_LEADER": "n2",
        "ZRAFT_COMMIT_INDEX": "8",
        "ZRAFT_HOOK_SEQ": "2",
        "ZRAFT_TIMEOUT_MS": "0",
        "ZRAFT_GRACE_MS": "5000",
        "ZRAFT_CONFIG": "/etc/zraft.yaml",
    }
    assert set(order["env"]) - set(PASSED) - {"COLOR"} == set(VARIABLES)


def test_a_deposed_leader_learns_who_led_before_and_who_leads_now() -> None:
    hooks = scheduler()
    history(hooks, following(0), established(1))
    (lost,) = hooks.observe(following(1, None, "quorum_lost"))
    assert (lost["env"]["ZRAFT_LEADER"], lost["env"]["ZRAFT_LEADER_ENDPOINT"]) == ("", "")
    assert lost["env"]["ZRAFT_PREV_LEADER"] == "n1"
    history(hooks, established(2))
    (deposed,) = hooks.observe(following(3, "n2"))
    assert deposed["env"]["ZRAFT_LEADER_ENDPOINT"] == "tcp://h2:1"
    assert deposed["env"]["ZRAFT_PREV_LEADER"] == "n1"
    assert deposed["env"]["ZRAFT_PREV_ROLE"] == "leader"


def test_what_hooks_get_is_never_read_as_configuration() -> None:
    assert set(VARIABLES).isdisjoint(config.VARIABLES)
    assert set(VARIABLES) == {*config.HOOK_VARIABLES, "ZRAFT_CONFIG"}


@pytest.mark.parametrize("reason", [reason for reason in REASONS if reason != "startup"])
def test_every_reason_reaches_the_program(reason: str) -> None:
    hooks = scheduler()
    history(hooks, following(0), established(1))
    assert history(hooks, following(2, "n2", reason)) == [f"follower@2 {reason}"]


def ran(report: dict[str, Any]) -> dict[str, Any] | None:
    """Return the event that a report about the first `follower` run makes."""
    hooks = scheduler()
    hooks.observe(following(4))
    return hooks.reported(report)


SAID = {"hook": "/hooks/follow", "seq": 1, "event": "follower", "term": 4}


@pytest.mark.parametrize(
    ("report", "event"),
    [
        ({"kind": "started", "seq": 1, "pid": 5}, {"state": "started"}),
        (
            {"kind": "output", "seq": 1, "stream": "stderr", "line": "hi", "cut": 0},
            {"state": "output", "stream": "stderr", "line": "hi"},
        ),
        (
            {"kind": "dropped", "seq": 1, "lines": 12},
            {"state": "output", "stream": "guard", "line": "(12 lines of output dropped)"},
        ),
        (
            {"kind": "ended", "seq": 1, "exit_code": 0, "signal": None, "duration_ms": 3, "reason": "exit"},
            {"state": "ended", "exit_code": 0, "duration_ms": 3, "reason": "exit"},
        ),
        (
            {"kind": "ended", "seq": 1, "exit_code": None, "signal": 9, "duration_ms": 3, "reason": "timeout"},
            {"state": "killed", "signal": 9, "duration_ms": 3, "reason": "timeout"},
        ),
        ({"kind": "skipped", "seq": 1, "reason": "newer"}, {"state": "skipped", "reason": "newer"}),
        (
            {"kind": "failed", "seq": 1, "exit_code": 127, "reason": "/x: gone"},
            {"state": "failed", "exit_code": 127, "reason": "/x: gone"},
        ),
        (
            {"kind": "exited", "seq": 1, "exit_code": 0, "signal": None, "duration_ms": 3, "left": [8, 9]},
            {
                "state": "output",
                "stream": "guard",
                "exit_code": 0,
                "duration_ms": 3,
                "line": "(the script has exited; it left running: process 8, 9)",
            },
        ),
        (
            {"kind": "stuck", "seq": 1, "pids": [8]},
            {"state": "output", "stream": "guard", "line": "(SIGKILL has not ended yet: process 8)"},
        ),
    ],
)
def test_reports_become_events_for_people(report: dict[str, Any], event: dict[str, Any]) -> None:
    assert ran(report) == SAID | event


def test_reports_that_concern_no_run_make_no_event() -> None:
    assert ran({"kind": "rejected", "reason": "not JSON"}) is None
    assert ran({"kind": "started", "seq": 2, "pid": 5}) is None


def test_a_run_is_forgotten_when_it_has_ended() -> None:
    hooks = scheduler()
    hooks.observe(following(4))
    skipped = {"kind": "skipped", "seq": 1, "reason": "newer"}
    assert hooks.reported(skipped) is not None
    assert hooks.reported(skipped) is None
