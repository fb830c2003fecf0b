"""A supervisor process over programs that answer like nodes and misbehave as they are told."""

import os
import re
import signal
import time
from collections.abc import Callable

import pytest
from awaiting import alive, eventually
from supervisor_rig import FakeCluster

from zraft.errors import ConfigError, InvalidRequest, NotFound, Unavailable
from zraft.hooks import linux

pytestmark = pytest.mark.processes
Fake = Callable[..., FakeCluster]


def test_it_is_ready_shows_its_nodes_and_leaves_nothing_on_ctrl_c(fake: Fake):
    cluster = fake(3)
    cluster.ready()
    assert cluster.printed("cluster ready: ").startswith("cluster ready: n1 leads term 1 (3 nodes, ")
    assert re.fullmatch(r"\d\d:\d\d:\d\d n2    \| n2 is up", cluster.printed("n2 is up"))
    rows = cluster.rows()
    assert [(row["state"], row["role"], row["term"], row["restarts"]) for row in rows.values()] == [
        ("running", "leader", 1, 0),
        ("running", "follower", 1, 0),
        ("running", "follower", 1, 0),
    ]
    cluster.signal(signal.SIGINT)
    assert cluster.ended() == 130
    assert cluster.left() == []
    stopped = [line.split("| ")[1] for line in cluster.lines if line.endswith(" stopped")]
    assert sorted(stopped) == ["n1 stopped", "n2 stopped", "n3 stopped"]
    assert stopped[-1] == "n1 stopped"  # The leader goes last.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_is_a_clean_stop(fake: Fake, number: int):
    cluster = fake(1)
    cluster.ready()
    cluster.rows()
    cluster.signal(number)
    assert cluster.ended() == 0
    assert cluster.left() == []


def test_a_second_ctrl_c_kills_now(fake: Fake):
    cluster = fake(2)
    cluster.act("n2", "stubborn")
    cluster.ready()
    cluster.rows()
    cluster.signal(signal.SIGINT)
    cluster.printed("once more kills them now")
    eventually("the other one ended", lambda: any(line.endswith("n1 stopped") for line in cluster.lines))
    cluster.signal(signal.SIGINT)
    assert cluster.ended(5) == 130
    assert cluster.left() == []


def test_sigkill_of_the_supervisor_leaves_nothing(fake: Fake):
    cluster = fake(3)
    cluster.ready()
    cluster.ask("pause", "n2")
    cluster.rows()
    cluster.signal(signal.SIGKILL)
    cluster.ended()
    eventually("all nodes are gone", lambda: not cluster.left(), 5)


def test_a_node_that_dies_is_started_again(fake: Fake):
    cluster = fake(2)
    cluster.ready()
    pid = cluster.rows()["n2"]["pid"]
    os.kill(pid, signal.SIGSEGV)
    eventually("n2 runs again", lambda: cluster.rows()["n2"]["pid"] not in (pid, None))
    assert cluster.rows()["n2"]["restarts"] == 1
    assert "n2 is down (killed by SIGSEGV); it starts again in 0.2 s" in cluster.printed("n2 is down")


@pytest.mark.parametrize("code", [2, 5])
def test_a_configuration_or_storage_error_is_final_and_the_others_are_ready(fake: Fake, code: int):
    cluster = fake(3)
    cluster.act("n3", f"exit {code} zraft: n3: the cellar is flooded; use another one")
    cluster.ready()
    assert "(2 of 3 nodes, " in cluster.printed("cluster ready")
    row = eventually("n3 has failed", lambda: (rows := cluster.rows())["n3"]["state"] == "failed" and rows["n3"])
    assert row["reason"] == "n3: the cellar is flooded; use another one"
    assert (row["pid"], row["role"], row["restarts"]) == (None, None, 0)
    cluster.behave("n3")
    assert "n3 started" in cluster.ask("start", "n3").message
    assert cluster.state("n3") == "running"


def test_when_no_node_can_run_it_gives_up_with_their_exit_code(fake: Fake):
    cluster = fake(2)
    for node in cluster.names:
        cluster.act(node, "exit 2 zraft: wrong")
    cluster.up()
    assert cluster.ended() == 2
    cluster.printed("n1 failed and is not started again: wrong")
    cluster.printed("no node can run")


def test_whoever_adds_a_node_that_fails_is_told_how_to_go_on(fake: Fake):
    cluster = fake(2)
    cluster.ready()
    cluster.act("n3", "exit 2 zraft: wrong")
    says = "n3 does not run .*zraft cluster add --name n3 tries again, zraft cluster remove n3 takes it away"
    with pytest.raises(Unavailable, match=says):
        cluster.ask("add")


def test_a_full_disk_is_no_failure(fake: Fake):
    cluster = fake(2)
    cluster.act("n2", "exit 5 zraft: data/n2: cannot write: No space left on device")
    cluster.up()
    cluster.printed("n2 is down (data/n2: cannot write: No space left on device); it starts again in 30.0 s")
    assert cluster.state("n2") == "backoff"


def test_a_node_that_falls_silent_is_restarted(fake: Fake):
    cluster = fake(2, hung_after_ms=1_000)
    cluster.ready()
    pid = cluster.rows()["n2"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    cluster.printed_like(r"n2 has not answered for [1-9][0-9]*\.[0-9] s")
    eventually("n2 runs again", lambda: cluster.rows()["n2"]["pid"] not in (pid, None))
    assert not alive(pid)


def test_a_node_that_is_unhealthy_is_restarted(fake: Fake):
    cluster = fake(2, hung_after_ms=500)
    cluster.act("n2", "unhealthy")
    cluster.up()
    cluster.printed_like(
        r"n2 has called itself unhealthy for (0\.[5-9]|[1-9][0-9]*\.[0-9]) s: it hangs, and is started again"
    )
    cluster.printed("n2 is down (hung)")


@pytest.mark.alone
def test_a_node_paused_by_command_is_left_alone_and_delays_nobody(fake: Fake):
    cluster = fake(3, hung_after_ms=500)
    cluster.ready()
    pid = cluster.rows()["n2"]["pid"]
    assert f"n2 (pid {pid}) paused" in cluster.ask("pause", "n2").message
    began = time.monotonic()
    while time.monotonic() < began + 1.5:
        asked = time.monotonic()
        row = cluster.rows()["n2"]
        assert time.monotonic() - asked < 0.25
        assert (row["state"], row["pid"], row["role"]) == ("paused", pid, None)
    cluster.ask("resume", "n2")
    assert (cluster.rows()["n2"]["pid"], cluster.state("n2")) == (pid, "running")


def test_a_supervisor_that_was_suspended_itself_blames_nobody(fake: Fake):
    cluster = fake(2, hung_after_ms=1_000)
    cluster.ready()
    before = {name: row["pid"] for name, row in cluster.rows().items()}
    cluster.signal(signal.SIGSTOP)
    time.sleep(2.5)  # The suspension itself is what is tested.
    cluster.signal(signal.SIGCONT)
    assert {name: row["pid"] for name, row in cluster.rows().items()} == before
    assert not any("hangs" in line for line in cluster.lines)


def test_everything_that_a_node_prints_is_shown(fake: Fake):
    cluster = fake(1)
    cluster.act("n1", "shout 50000")
    cluster.ready()
    cluster.printed("n1 is up")
    shouted = [line.split(" | ")[1] for line in cluster.lines if " | line " in line]
    assert shouted == [f"line {number}" for number in range(50_000)]


def test_last_words_without_a_newline_are_shown_and_kept(fake: Fake):
    cluster = fake(2)
    cluster.act("n2", "mutter")
    cluster.up()
    cluster.printed("n2    | these are my last words")
    cluster.printed("n2 is down (exit code 1: these are my last words)")


def test_a_terminal_that_does_not_read_stops_nobody(fake: Fake):
    cluster = fake(2)
    cluster.act("n2", "shout 15000 1000")  # Much more than anything on the way holds.
    reading, writing = os.pipe()
    cluster.start(writing)
    os.close(writing)
    eventually("n2 has said all of it, and answers", lambda: answers(cluster))
    os.close(reading)
    cluster.signal(signal.SIGINT)
    assert cluster.ended() == 130


def answers(cluster: FakeCluster) -> bool:
    try:
        return cluster.rows()["n2"]["role"] == "follower"
    except Unavailable:
        return False


def test_what_a_node_leaves_behind_is_waited_for_and_then_killed(fake: Fake):
    cluster = fake(2)
    cluster.act("n1", "orphan 0.7")
    cluster.act("n2", "orphan 600")
    cluster.ready()
    assert cluster.process is not None
    sleepers = [
        pid for pid in linux.descendants(cluster.process.pid) if pid not in {r["pid"] for r in cluster.rows().values()}
    ]
    assert len(sleepers) == 2
    began = time.monotonic()
    cluster.signal(signal.SIGTERM)
    assert cluster.ended() == 0
    assert not any(map(alive, sleepers))
    assert time.monotonic() - began > 1  # grace_ms and timeout_ms of its configuration: 1.1 s.


def test_kill_returns_when_it_is_dead_and_it_comes_back_soon(fake: Fake):
    cluster = fake(3)
    cluster.ready()
    for _ in range(3):
        pid = cluster.rows()["n2"]["pid"]
        message = cluster.ask("kill", "n2").message
        assert message == f"n2 (pid {pid}) killed; it is started again"
        assert not alive(pid)
        began = time.monotonic()
        eventually("n2 runs again", lambda: cluster.state("n2") == "running", 2)
        assert time.monotonic() - began < 1
    assert cluster.rows()["n2"]["restarts"] == 3


def test_stop_lasts_until_start(fake: Fake):
    cluster = fake(3)
    cluster.ready()
    pid = cluster.rows()["n3"]["pid"]
    assert f"n3 (pid {pid}) stopped" in cluster.ask("stop", "n3").message
    assert not alive(pid)
    assert cluster.rows()["n3"] | {"reason": ""} == {
        "node": "n3",
        "pid": None,
        "guard_pid": None,
        "state": "stopped",
        "restarts": 0,
        "role": None,
        "term": None,
        "reason": "",
    }
    assert cluster.ask("stop", "n3").message == "n3 was stopped already"
    with pytest.raises(NotFound, match=r"n3 does not run \(stopped\)"):
        cluster.ask("kill", "n3")
    assert "n3 started" in cluster.ask("start", "n3").message
    assert "runs already" in cluster.ask("start", "n3").message
    assert cluster.rows()["n3"]["role"] == "follower"


def test_restart_gives_it_a_new_process(fake: Fake):
    cluster = fake(2)
    cluster.ready()
    pid = cluster.rows()["n2"]["pid"]
    message = cluster.ask("restart", "n2").message
    row = cluster.rows()["n2"]
    assert message == f"n2 restarted (pid {row['pid']})"
    assert (row["pid"] != pid, row["restarts"], row["role"]) == (True, 1, "follower")


def test_leader_and_follower_stand_for_nodes(fake: Fake):
    cluster = fake(3)
    cluster.ready()
    assert cluster.ask("restart", "leader").message.startswith("n1 ")
    assert cluster.ask("stop", "follower").message.startswith("n2 ")
    assert cluster.ask("stop", "follower").message.startswith("n3 ")


def test_wrong_names_and_verbs_are_refused(fake: Fake):
    cluster = fake(2)
    cluster.ready()
    with pytest.raises(InvalidRequest, match="n9: no such node; there are n1, n2, and leader and follower"):
        cluster.ask("kill", "n9")
    with pytest.raises(InvalidRequest, match="explode: no such verb"):
        cluster.ask("explode", "n1")
    with pytest.raises(NotFound, match="n1 is paused, not stopped"):
        cluster.ask("pause", "n1")
        cluster.ask("start", "n1")
    assert cluster.ask("pause", "n1").message == "n1 is paused already"
    cluster.ask("resume", "n1")
    assert cluster.ask("resume", "n1").message == "n1 is not paused"


def test_down_stops_paused_and_stubborn_nodes_too_and_says_that_nothing_runs(fake: Fake):
    cluster = fake(3)
    cluster.ready()
    cluster.ask("pause", "n2")
    cluster.rows()
    assert cluster.ask("down").message == "3 nodes stopped; nothing of the cluster runs"
    assert cluster.ended() == 0
    assert cluster.left() == []
    with pytest.raises(Unavailable):
        cluster.ask("status")


def test_a_second_supervisor_is_refused_and_the_first_goes_on(fake: Fake):
    cluster = fake(1)
    cluster.ready()
    first, cluster.process = cluster.process, None
    before = cluster.rows()["n1"]["pid"]
    cluster.up()
    assert cluster.ended() == ConfigError.exit_code
    cluster.process = first
    assert cluster.rows()["n1"]["pid"] == before
