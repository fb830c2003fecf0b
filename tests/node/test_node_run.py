"""A node as a process: it serves, it stops cleanly, and it refuses to start where it must, in one line."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zmq
from awaiting import alive, eventually
from node_rig import NodeProcess, NodeRig, children

from zraft.machines.kv.commands import Get, Put, decode_entry, encode
from zraft.requests import Batch, Commands, Hello, Outcome, Queries, RecentEvents

pytestmark = pytest.mark.processes
Make = Callable[..., NodeRig]


def put(rig: NodeRig, leader: str, session: int, sequence: int, key: bytes) -> None:
    batch = msgspec.msgpack.encode(Batch(session, sequence, "kv", [encode(Put(key, b"v"))]))
    reply = rig.ask(leader, Commands(0), batch, within_s=10)
    assert reply is not None and reply.outcome == Outcome.DONE


def the_one_line(node: NodeProcess) -> str:
    """Return what a node that would not start has to say: one line, and no traceback."""
    (line,) = node.said()
    assert line.startswith("zraft: ")
    return line.removeprefix("zraft: ")


# -- it serves ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_three_nodes_serve(rig: Make, kind: str) -> None:
    three = rig(kind=kind)
    leader = three.up()
    for id in three.ids:
        hello = three.ask(id, Hello(0))
        assert hello is not None
        assert (hello.outcome, hello.leader, hello.result["node"]) == (Outcome.DONE, leader, id)
        assert hello.result["nodes"] == {node.id: node.client for node in three.config.nodes}
        status = three.status(id)
        assert status is not None
        assert status["role"] == ("leader" if id == leader else "follower")
        assert (status["node"], status["leader"], status["pid"]) == (id, leader, three.nodes[id].pid)
        assert status["guard_pid"] in children(status["pid"])
        assert eventually("it is healthy", lambda id=id: three.status(id)["healthy"])
    session = three.open_session(leader)
    put(three, leader, session, 1, b"k")
    found = three.ask(leader, Queries(0, "kv", [encode(Get(b"k"))]))
    assert found is not None
    entry = decode_entry(found.result[0][1:])
    assert entry is not None and entry.value == b"v"


def test_what_was_acknowledged_is_there_after_kill_9_of_all(rig: Make) -> None:
    three = rig()
    leader = three.up()
    session = three.open_session(leader)
    for number in range(1, 51):
        put(three, leader, session, number, b"k%d" % number)
    for node in three.nodes.values():
        node.signal(signal.SIGKILL)
        node.ended()
    leader = three.up()
    found = three.ask(leader, Queries(0, "kv", [encode(Get(b"k%d" % number)) for number in range(1, 51)]), within_s=10)
    assert found is not None
    assert all(decode_entry(answer[1:]) is not None for answer in found.result)


def test_events_are_published_and_kept_for_whoever_comes_late(rig: Make) -> None:
    one = rig(nodes=1)
    one.up()
    subscriber = one.context.socket(zmq.SUB)
    subscriber.subscribe(b"n1/")
    subscriber.connect(one.config.node("n1").events)
    assert subscriber.poll(10_000)  # A status comes every second.
    topic, _ = subscriber.recv_multipart()
    assert topic == b"n1/status"
    recent = one.ask("n1", RecentEvents(0, 1_000))
    assert recent is not None
    assert {event["kind"] for event in recent.result} >= {"role", "status", "entry", "log", "vote"}
    assert [event["data"]["role"] for event in recent.result if event["kind"] == "role"][-1] == "leader"


def test_status_lines_are_logged_as_often_as_asked(rig: Make) -> None:
    one = rig(nodes=1)
    log = one.place / "my.log"
    node = one.start("n1", "--status-every", "0.2", "--log-file", str(log))
    node.printed("status leader=n1 ")
    eventually("several lines", lambda: log.read_text().count("status leader=n1 ") >= 3)


# -- it stops ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_a_node_quickly_and_leaves_nothing(rig: Make, number: int, code: int) -> None:
    one = rig(nodes=1)
    one.up()
    node = one.nodes["n1"]
    guard = one.status("n1")["guard_pid"]
    began = time.monotonic()
    node.signal(number)
    assert node.ended() == code
    assert time.monotonic() - began < 3
    assert node.said() == []
    assert not alive(guard)


def test_a_leader_that_stops_hands_over_first(rig: Make) -> None:
    three = rig()
    leader = three.up()
    term = three.status(leader)["term"]
    three.nodes[leader].signal(signal.SIGTERM)
    assert three.nodes[leader].ended(5) == 0
    other = three.settled()
    assert other != leader
    assert three.status(other)["term"] == term + 1
    assert "told to take over" in three.nodes[leader].printed("handover to ")


def test_all_nodes_can_stop_at_once(rig: Make) -> None:
    three = rig()
    three.up()
    began = time.monotonic()
    for node in three.nodes.values():
        node.signal(signal.SIGTERM)
    assert [node.ended() for node in three.nodes.values()] == [0, 0, 0]
    assert time.monotonic() - began < 5


def scripts(rig: NodeRig, text: str) -> dict[str, object]:
    return {**rig.document["hooks"], "leader": rig.script("leader.sh", text)}


def runs_script(rig: NodeRig, text: str) -> int:
    """Bring one node up with that leader script, and return the script's process, which is its own group."""
    rig.document["hooks"] = scripts(
        rig, f"echo $$ > {rig.place}/script.tmp; mv {rig.place}/script.tmp {rig.place}/script; {text}"
    )
    rig.write()
    rig.up()
    return int(eventually("the script runs", lambda: (path := rig.place / "script").exists() and path.read_text()))


def test_a_stop_ends_the_script_first(rig: Make) -> None:
    one = rig(nodes=1)
    script = runs_script(one, "exec sleep 1000")
    one.nodes["n1"].signal(signal.SIGTERM)
    assert one.nodes["n1"].ended() == 0
    assert not alive(script)


def test_a_script_that_will_not_end_delays_a_stop_by_its_grace_alone(rig: Make) -> None:
    one = rig(nodes=1)
    script = runs_script(one, "trap '' TERM; while :; do sleep 1; done")
    began = time.monotonic()
    one.nodes["n1"].signal(signal.SIGTERM)
    assert one.nodes["n1"].ended() == 0
    assert time.monotonic() - began < 3
    assert not alive(script)


def test_a_second_signal_waits_for_no_script(rig: Make) -> None:
    """The script may take a minute to clean up; whoever signals twice wants the node to end now, and the guard ends it."""
    alone = rig(nodes=3)
    follower = alone.script("follower.sh", "trap '' TERM; echo pid $$; while :; do sleep 1; done")
    alone.document["hooks"] = {"follower": follower, "grace_ms": 1_000, "timeout_ms": 60_000}
    alone.write()
    node = alone.start("n1")
    script = int(node.printed("| pid ").rpartition(" ")[2])
    node.signal(signal.SIGTERM)
    node.printed("stopping on SIGTERM")
    with pytest.raises(subprocess.TimeoutExpired):
        node.ended(0.3)
    node.signal(signal.SIGTERM)
    assert node.ended(0.8) == 0
    eventually("the guard has ended the script, and itself", lambda: not alone.left(), within_s=5)
    assert not alive(script)


def test_kill_9_of_a_node_leaves_no_guard_and_no_script(rig: Make) -> None:
    one = rig(nodes=1)
    script = runs_script(one, "trap '' TERM; sleep 1000 & while :; do wait; done")
    guard = one.status("n1")["guard_pid"]
    sleeper = eventually("its child runs", lambda: [pid for pid in children(script) if _is_sleep(pid)])
    family = [guard, script, *sleeper]
    one.nodes["n1"].signal(signal.SIGKILL)
    one.nodes["n1"].ended()
    eventually("nobody is left", lambda: not any(alive(pid) for pid in family), within_s=2)


def test_a_node_whose_guard_is_killed_stops_with_a_clear_line(rig: Make) -> None:
    one = rig(nodes=1)
    script = runs_script(one, "exec sleep 1000")
    os.kill(one.status("n1")["guard_pid"], signal.SIGKILL)
    node = one.nodes["n1"]
    assert node.ended() == 1
    assert the_one_line(node) == "the guard ended by itself; without it no script may run, so this node stops"
    eventually("the script has gone too", lambda: not alive(script), within_s=2)


def test_a_paused_node_goes_on_as_a_follower(rig: Make) -> None:
    three = rig()
    leader = three.up()
    paused = three.nodes[leader]
    paused.signal(signal.SIGSTOP)
    others = [id for id in three.ids if id != leader]

    def led_by_another() -> bool:
        return all((status := three.status(id)) and status["leader"] in others for id in others)

    eventually("another leads", led_by_another)
    paused.signal(signal.SIGCONT)
    assert three.settled() in others
    assert paused.process.poll() is None


# -- it refuses --------------------------------------------------------------------------------------------------------


def test_a_data_directory_in_use(rig: Make) -> None:
    one = rig(nodes=1)
    one.up()
    for end in ("peer", "client", "events"):
        one.document["nodes"][0][end] = f"ipc://other.{end}"
    one.write()
    second = one.start("n1")
    assert second.ended() == 2
    assert f"data directory {one.place}/data/n1 is in use by another process" in the_one_line(second)


@pytest.mark.parametrize("kind", ["ipc", "tcp"])
@pytest.mark.parametrize("end", ["peer", "client", "events"])
def test_an_endpoint_in_use(rig: Make, kind: str, end: str) -> None:
    two = rig(kind=kind, nodes=2)
    two.start("n1").printed("n1 is up")
    two.document["nodes"][1][end] = two.document["nodes"][0][end]
    # As if the file of the second node were another one: within one file this mistake is found before.
    two.document["nodes"][0][end] = two.document["nodes"][0][end] + ("0" if kind == "ipc" else "")
    if kind == "tcp":
        two.document["nodes"][0][end] = "tcp://127.0.0.1:1"
    two.write()
    second = two.start("n2")
    assert second.ended() == 2
    line = the_one_line(second)
    assert getattr(two.config.node("n2"), end) in line
    assert "in use by another process" in line


def test_a_foreign_data_directory(rig: Make) -> None:
    one = rig(nodes=1)
    one.up()
    one.nodes["n1"].signal(signal.SIGTERM)
    one.nodes["n1"].ended()
    one.document["cluster"] = {"name": "another"}
    one.write()
    node = one.start("n1")
    assert node.ended() == 5
    assert f"{one.place}/data/n1" in the_one_line(node)


def test_a_damaged_data_directory(rig: Make) -> None:
    one = rig(nodes=1)
    one.up()
    session = one.open_session("n1")
    for number in range(1, 21):
        put(one, "n1", session, number, b"k%d" % number)
    one.nodes["n1"].signal(signal.SIGTERM)
    one.nodes["n1"].ended()
    segment = max((one.place / "data/n1").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    spot = content.index(b"k10")
    content[spot] ^= 0xFF
    segment.write_bytes(content)
    node = one.start("n1")
    assert node.ended() == 5
    assert str(segment.parent) in the_one_line(node)


def test_a_missing_hook_script(rig: Make) -> None:
    one = rig(nodes=1)
    one.document["hooks"]["leader"] = str(one.place / "missing.sh")
    one.write()
    node = one.start("n1")
    assert node.ended() == 2
    assert f"{one.place}/missing.sh" in the_one_line(node)


def test_a_node_that_is_not_in_the_file(rig: Make) -> None:
    one = rig(nodes=2)
    node = one.start("n9")
    assert node.ended() == 2
    assert the_one_line(node).endswith("there is no node 'n9' in it; its nodes are n1, n2")


def test_a_socket_directory_that_others_can_use(rig: Make, place: Path) -> None:
    one = rig(nodes=1)
    shared = place / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    one.document["nodes"][0]["client"] = f"ipc://{shared}/c"
    one.write()
    node = one.start("n1")
    assert node.ended() == 2
    assert f"chmod 700 {shared}" in the_one_line(node)


def test_whoever_is_refused_leaves_no_guard(rig: Make) -> None:
    one = rig(nodes=1)
    one.up()
    running = one.left()
    assert len(running) == 2  # The node and its guard.
    second = one.start("n1")
    assert second.ended() == 2
    eventually("its guard has gone", lambda: one.left() == running, within_s=2)


def _is_sleep(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep")
    return False


def test_a_leader_that_is_told_that_it_is_alone_still_runs_its_follower_script(rig: Make, place: Path) -> None:
    ran = place / "ran"
    (place / "role.sh").write_text(f'#!/bin/sh\necho "$1" >> {ran}\n')
    (place / "role.sh").chmod(0o700)
    script = str(place / "role.sh")
    one = rig(nodes=1, hooks={"leader": script, "follower": script, "grace_ms": 300, "timeout_ms": 2_000})
    node = one.start("n1")
    eventually("the leader script has run", lambda: ran.exists() and ran.read_text().endswith("leader\n"))
    node.signal(signal.SIGTERM)
    node.printed("stopping on SIGTERM")
    node.signal(signal.SIGUSR1)
    assert node.ended() == 0
    assert ran.read_text().split()[-1] == "follower"
