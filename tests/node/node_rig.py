"""Real node processes of one cluster, and a way to talk to them without any of the client's cleverness."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import zmq
from awaiting import PATIENCE_S, eventually

from zraft import config
from zraft.codec import REPLY_KINDS, Codec
from zraft.requests import OpenSession, Outcome, Reply, StatusRequest

ROOT = Path(__file__).parents[2]
ENDS = ("peer", "client", "events")
MARK = "LC_NODE_RIG"
"""A variable that everything started here inherits, guards and scripts too."""


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return []


class NodeProcess:
    """One `zraft node run`, with what it printed."""

    def __init__(self, rig: "NodeRig", id: str, *options: str, **environment: str) -> None:
        self.id, self._rig = id, rig
        self.out = rig.place / f"{id}.{next(rig.numbers)}.out"
        self.err = self.out.with_suffix(".err")
        command = [sys.executable, "-m", "zraft", "node", "run", "--id", id, "--config", str(rig.file), *options]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ZRAFT_")}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=rig.place,
                env={**inherited, "PYTHONPATH": str(ROOT), MARK: str(rig.place), **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(within_s)

    def said(self) -> list[str]:
        """Return the lines on standard error."""
        return self.err.read_text().splitlines()

    def printed(self, text: str) -> str:
        """Wait for a line of the log with that text in it, and return the line."""

        def found() -> str | None:
            assert self.process.poll() is None or text in self.out.read_text(), f"it ended first: {self.said()}"
            return next((line for line in self.out.read_text().splitlines() if text in line), None)

        return eventually(f"{text!r} in the log of {self.id}", found)


class NodeRig:
    """A cluster's file, its node processes, and a client."""

    def __init__(self, place: Path, kind: str = "ipc", nodes: int = 3, **sections: dict[str, Any]) -> None:
        self.place = place
        self.numbers = count(1)
        self.ids = [f"n{number}" for number in range(1, nodes + 1)]
        self.file = place / "cluster.yaml"
        self.document = {
            "nodes": [{"id": id, **{end: self._endpoint(kind, id, end) for end in ENDS}} for id in self.ids],
            "storage": {"segment_bytes": 1 << 20},
            "hooks": {"grace_ms": 300, "timeout_ms": 2_000},
            **sections,
        }
        self.write()
        self.nodes: dict[str, NodeProcess] = {}
        self._all: list[NodeProcess] = []
        self.context = zmq.Context()
        self._requests = count(1)
        self._clients: dict[str, zmq.Socket[bytes]] = {}

    def _endpoint(self, kind: str, id: str, end: str) -> str:
        return f"ipc://{id}.{end}" if kind == "ipc" else f"tcp://127.0.0.1:{_free_port()}"

    def write(self) -> None:
        """Write the cluster's file anew."""
        self.file.write_text(json.dumps(self.document))
        self.config = config.load(self.file, env={})

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def start(self, id: str, *options: str, **environment: str) -> NodeProcess:
        """Start a node, without waiting for anything."""
        self.nodes[id] = NodeProcess(self, id, *options, **environment)
        self._all.append(self.nodes[id])
        return self.nodes[id]

    def up(self) -> str:
        """Start all that do not run, wait for a leader that is established and followed, and return its name."""
        for id in self.ids:
            if id not in self.nodes or self.nodes[id].process.poll() is not None:
                self.start(id)
        return self.settled()

    def settled(self) -> str:
        """Wait until all running nodes know one leader and have applied all that it has."""

        def found() -> str | None:
            running = [id for id, node in self.nodes.items() if node.process.poll() is None]
            statuses = [status for id in running if (status := self.status(id)) is not None]
            views = {(status["leader"], status["term"], status["last_applied"]) for status in statuses}
            if len(statuses) < len(running) or len(views) != 1:
                return None
            ((leader, _, applied),) = views
            return leader if applied else None

        return eventually("a leader whom everybody follows", found)

    def left(self) -> list[int]:
        """Return every process that was started here, directly or not, and still runs."""
        mark = f"{MARK}={self.place}".encode()
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in _environment(pid)]

    def destroy(self) -> None:
        """Kill the nodes that are left; with them everything else must go."""
        for client in self._clients.values():
            client.close(0)
        self.context.destroy(0)
        for node in self._all:
            if node.process.poll() is None:
                node.signal(signal.SIGKILL)
                node.ended()
        try:
            eventually("nothing is left of the nodes", lambda: not self.left(), within_s=5)
        finally:
            for pid in self.left():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    # -- its client ----------------------------------------------------------------------------------------------------

    @property
    def codec(self) -> Codec:
        return Codec(self.config.cluster_id, "client", 7)

    def ask(self, id: str, request: Any, batch: bytes | None = None, within_s: float = 1.0) -> Reply | None:
        """Ask a node, and return its reply; None when none comes in time."""
        if id not in self._clients:
            client = self._clients[id] = self.context.socket(zmq.DEALER)
            client.set(zmq.RECONNECT_IVL, 20)
            client.connect(self.config.node(id).client)
        client, number = self._clients[id], next(self._requests)
        client.send_multipart(self.codec.encode(msgspec.structs.replace(request, id=number), batch))
        deadline = time.monotonic() + within_s
        while client.poll(max(0, int(1_000 * (deadline - time.monotonic())))):
            reply = self.codec.decode(client.recv_multipart(), REPLY_KINDS).message
            if reply.id == number:
                return reply
        return None

    def status(self, id: str, log: int = 0, within_s: float = 1.0) -> dict[str, Any] | None:
        reply = self.ask(id, StatusRequest(0, log), within_s=within_s)
        return None if reply is None else reply.result

    def open_session(self, leader: str) -> int:
        reply = self.ask(leader, OpenSession(0), within_s=PATIENCE_S)
        assert reply is not None and reply.outcome == Outcome.DONE
        return int(reply.result)

    def script(self, name: str, text: str) -> str:
        """Write a script beside the cluster's file, and return its path."""
        path = self.place / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return str(path)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
