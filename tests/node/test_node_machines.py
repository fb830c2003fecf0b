"""Nodes with a machine that somebody else wrote, badly: what ends them, and what does not."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from node_rig import ROOT, NodeRig

from zraft.requests import Answer, Batch, Commands, Queries, Reply

pytestmark = pytest.mark.processes
BAD = """
import sys

class Bad:
    def apply(self, command, at):
        if command == b"exit":
            sys.exit(7)
        if command == b"deep":
            return self.apply(command, at)
        if command == b"memory":
            return bytes(1 << 62)
        return command

    def query(self, query):
        if query == b"memory":
            return bytes(1 << 62)
        return self.apply(query, None)

    def snapshot(self): return iter(())
    def restore(self, chunks): pass
"""


@pytest.fixture
def three(rig: Callable[..., NodeRig], place: Path) -> NodeRig:
    (place / "bad_machines.py").write_text(BAD)
    made = rig(machines={"bad": "bad_machines:Bad"})
    for id in made.ids:
        made.start(id, PYTHONPATH=os.pathsep.join((str(ROOT), str(place))))
    return made


def failed(name: str) -> bytes:
    return bytes([Answer.INVALID]) + f"the machine bad failed: {name}".encode()


def answers(reply: Reply | None) -> list[bytes]:
    assert reply is not None
    return reply.result


def test_only_a_command_for_which_there_is_no_memory_ends_a_node_and_it_says_which(three: NodeRig) -> None:
    leader = three.settled()
    session = three.open_session(leader)

    def batch(*commands: bytes) -> bytes:
        return msgspec.msgpack.encode(Batch(session, 1, "bad", list(commands)))

    asked = three.ask(leader, Queries(0, "bad", [b"exit", b"deep", b"memory"]), within_s=10)
    assert answers(asked) == [failed("SystemExit"), failed("RecursionError"), failed("MemoryError")]
    applied = three.ask(leader, Commands(0), batch(b"exit", b"deep"), within_s=10)
    assert answers(applied) == [failed("SystemExit"), failed("RecursionError")]
    three.settled()
    assert all(node.process.poll() is None for node in three.nodes.values())
    entry = three.status(leader)["last_index"] + 1  # type: ignore[index]
    memory = msgspec.msgpack.encode(Batch(session, 2, "bad", [b"memory"]))
    assert three.ask(leader, Commands(0), memory, within_s=0.1) is None
    node = three.nodes[leader]
    assert node.ended() == 1
    (line,) = node.said()
    assert line.startswith(
        f"zraft: entry {entry} of the log: the machine 'bad' had not the memory for command 1 of 1; "
    )
