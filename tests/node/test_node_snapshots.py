"""Nodes whose snapshots are written by a child: it has nothing of the node's, its end is heard, and it never outlives the node."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from awaiting import alive, eventually
from node_rig import ROOT, NodeProcess, NodeRig, children

from zraft.hooks import linux
from zraft.machines.kv.commands import Get, Put, decode_entry, encode
from zraft.requests import Batch, Commands, Outcome, Queries

pytestmark = pytest.mark.processes
PROBE = """
import json, os

class Probe:
    '''Its snapshot waits while there is a file called hold, and tells what it has of the node.'''

    def apply(self, command, at):
        return b""

    def query(self, query):
        return b""

    def snapshot(self):
        yield bytes(300_000)
        fds = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                fds[name] = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:
                pass
        seen = {"pid": os.getpid(), "parent": os.getppid(), "fds": fds}
        with open(f"seen.{os.getpid()}", "w") as file:
            json.dump(seen, file)
        if os.path.exists("hold"):
            open("gate").close()
        yield b"probed"

    def restore(self, chunks):
        list(chunks)
"""


class ProbedRig:
    """Nodes with a machine that shows what its snapshot is taken in, and that can hold it up."""

    def __init__(self, rig: NodeRig) -> None:
        self.rig, self.place = rig, rig.place
        (self.place / "probes.py").write_text(PROBE)
        os.mkfifo(self.place / "gate")
        self.sequence = 0
        self.session = 0

    def start(self) -> str:
        """Start all nodes that do not run; return the leader."""
        for id in self.rig.ids:
            if id not in self.rig.nodes or self.rig.nodes[id].process.poll() is not None:
                self.rig.start(id, PYTHONPATH=os.pathsep.join((str(ROOT), str(self.place))))
        leader = self.rig.settled()
        self.session, self.sequence = self.rig.open_session(leader), 0
        return leader

    def grow(self, leader: str) -> None:
        """Write as much as makes a snapshot due, three times over."""
        for _ in range(3):
            self.put(leader, b"k", bytes(5_000))

    def put(self, leader: str, key: bytes, value: bytes) -> None:
        self.sequence += 1
        batch = msgspec.msgpack.encode(Batch(self.session, self.sequence, "kv", [encode(Put(key, value))]))
        reply = self.rig.ask(leader, Commands(0), batch, within_s=10)
        assert reply is not None and reply.outcome == Outcome.DONE

    def value(self, leader: str, key: bytes) -> bytes | None:
        reply = self.rig.ask(leader, Queries(0, "kv", [encode(Get(key))]), within_s=10)
        assert reply is not None
        entry = decode_entry(reply.result[0][1:])
        return None if entry is None else entry.value

    def hold(self) -> None:
        """Hold up every snapshot that is begun from now on."""
        (self.place / "hold").touch()

    def let_go(self) -> None:
        """Hold up none any more, and let those go on that wait."""
        (self.place / "hold").unlink()
        gate = os.open(self.place / "gate", os.O_RDWR)  # For reading too, so that it opens though nobody waits.
        eventually("nobody waits any more", lambda: not any(map(self.writer, self.rig.nodes)))
        os.close(gate)

    def writer(self, id: str) -> int | None:
        """Return the process that writes a snapshot of that node's, if one does."""
        node = self.rig.nodes[id]
        own = [pid for pid in children(node.pid) if (self.place / f"seen.{pid}").exists() and alive(pid)]
        return own[0] if own else None

    def held(self, id: str) -> int:
        """Wait until a snapshot of that node's is held up, and return who writes it."""
        pid: int = eventually("a snapshot is being written", lambda: self.writer(id))
        return pid

    def snapshots(self, id: str) -> list[str]:
        directory = Path(self.rig.config.data_directory(id)) / "snapshots"
        return sorted(os.listdir(directory)) if directory.exists() else []


@pytest.fixture
def probed(rig: Callable[..., NodeRig]) -> ProbedRig:
    return probed_rig(rig)


def probed_rig(rig: Callable[..., NodeRig], **options: Any) -> ProbedRig:
    """Return one node that takes a snapshot of every 4 KiB."""
    storage = {"segment_bytes": 1 << 20, "snapshot_bytes": 4_096}
    return ProbedRig(rig(nodes=1, machines={"probe": "probes:Probe"}, storage=storage, **options))


def named(probed: ProbedRig) -> list[str]:
    return [name for name in probed.snapshots("n1") if name.endswith(".snap")]


def lines(node: NodeProcess, text: str) -> list[str]:
    return [line for line in node.out.read_text().splitlines() if text in line]


def test_a_snapshot_is_written_by_a_child_that_has_no_descriptor_of_the_node(probed: ProbedRig) -> None:
    leader = probed.start()
    probed.grow(leader)
    eventually("it is kept", lambda: named(probed))
    seen = [json.loads(path.read_text()) for path in eventually("it is told", lambda: [*probed.place.glob("seen.*")])]
    node = probed.rig.nodes["n1"].pid
    for each in seen:
        assert each["parent"] == node != each["pid"]
        others = {name: path for name, path in each["fds"].items() if path != "/dev/null"}
        assert set(each["fds"]) - set(others) == {"0", "1", "2"}
        assert [Path(path).name for path in others.values()] == ["saving.part"]
    eventually("no child is left", lambda: probed.writer("n1") is None)


def test_a_node_serves_while_a_snapshot_is_held_up(probed: ProbedRig) -> None:
    leader = probed.start()
    probed.hold()
    probed.grow(leader)
    pid = probed.held("n1")
    probed.put(leader, b"beside", b"v")
    assert probed.value(leader, b"beside") == b"v"
    assert alive(pid)
    assert named(probed) == []
    probed.let_go()
    eventually("it is kept", lambda: named(probed))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_child_outlives_its_node_and_the_next_start_is_clean(probed: ProbedRig, number: signal.Signals) -> None:
    leader = probed.start()
    probed.hold()
    probed.grow(leader)
    pid = probed.held("n1")
    node = probed.rig.nodes["n1"]
    node.signal(number)
    code = {signal.SIGTERM: 0, signal.SIGINT: 128 + signal.SIGINT, signal.SIGKILL: -signal.SIGKILL}[number]
    assert node.ended() == code
    eventually("its child is gone too", lambda: not alive(pid), within_s=2)
    assert not lines(node, "no snapshot was taken")
    (probed.place / "hold").unlink()
    leader = probed.start()
    assert probed.value(leader, b"k") == bytes(5_000)
    probed.grow(leader)
    eventually("now it is kept, and nothing else is there", lambda: probed.snapshots("n1") == named(probed) != [])


def test_a_child_that_is_killed_costs_a_warning_and_the_next_snapshot_is_kept(probed: ProbedRig) -> None:
    leader = probed.start()
    probed.hold()
    probed.grow(leader)
    pid = probed.held("n1")
    (probed.place / "hold").unlink()
    os.kill(pid, signal.SIGKILL)
    node = probed.rig.nodes["n1"]
    line = node.printed("no snapshot was taken: ")
    assert "WARNING" in line
    assert line.endswith("the process that wrote it was ended by SIGKILL; the next one is taken when it is due")
    probed.grow(leader)
    eventually("the next one is kept", lambda: named(probed))
    assert node.process.poll() is None
    assert all(name.endswith(".snap") for name in probed.snapshots("n1"))


def test_the_guard_does_not_take_it_for_what_a_script_has_left(rig: Callable[..., NodeRig], place: Path) -> None:
    """The guard adopts whatever its scripts leave behind, and ends it in time; the child is the node's own."""
    script = place / "leader.sh"
    script.write_text('#!/bin/sh\nsetsid sleep 60 &\necho $! > "$(dirname "$0")/left"\n')
    script.chmod(0o700)
    probed = probed_rig(rig, hooks={"leader": str(script), "grace_ms": 300, "timeout_ms": 2_000})
    leader = probed.start()
    probed.hold()
    probed.grow(leader)
    pid = probed.held("n1")
    status = probed.rig.status("n1")
    assert status is not None
    left = place / "left"
    sleeper = int(eventually("the script has left something", lambda: left.exists() and left.read_text()))
    eventually("the guard has adopted it", lambda: sleeper in linux.descendants(status["guard_pid"]))
    assert pid not in linux.descendants(status["guard_pid"])
    probed.let_go()
    eventually("the snapshot is kept", lambda: named(probed))
    assert alive(sleeper)
