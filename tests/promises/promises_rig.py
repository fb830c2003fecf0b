"""Clusters of real nodes, used and hurt as people use and hurt them, and watched from outside."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from zraft import Client, config
from zraft.client.survey import ask, survey
from zraft.config import Config
from zraft.raft.types import NodeId
from zraft.requests import Outcome, Status, StatusRequest, TransferRequest

SOAK = os.environ.get("ZRAFT_SOAK") == "1"
"""Whether the full sizes run, instead of those that fit into continuous integration."""
LIMIT_S = 1_200 if SOAK else 120
"""What one test may take before it counts as hung."""
PATIENCE_S = 20.0
NODES = ("n1", "n2", "n3", "n4", "n5")
ROOT = Path(__file__).parents[2]
ZRAFT = [sys.executable, "-m", "zraft"]

Size = TypeVar("Size")
Found = TypeVar("Found")


def size(ci: Size, full: Size) -> Size:
    """Return one of two sizes of the same thing."""
    return full if SOAK else ci


def figures(promise: str, text: str) -> None:
    """Print a line with what was measured; pytest shows it with ``-s``."""
    print(f"\n[{promise}] {text}", flush=True)


def wait_for(what: str, condition: Callable[[], Found | None], within_s: float = PATIENCE_S) -> Found:
    """Wait until the condition gives something true, and return that."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.005)
    return found


def median(values: list[float]) -> float:
    """Return the middle one."""
    return sorted(values)[len(values) // 2]


def percentile(values: list[float], part: int) -> float:
    """Return the value that `part` percent of all do not exceed."""
    return sorted(values)[max(0, -(-len(values) * part // 100) - 1)]


class Led(NamedTuple):
    """Who leads, and since which term."""

    node: NodeId
    term: int


class Place:
    """A short directory of its own; every process that is started here, and all its descendants, can be found again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        temporary = path / "tmp"
        temporary.mkdir()
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ZRAFT_")}
        # Handed down from process to process, by guards to their scripts too: the mark by which `remains` knows them.
        self.environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
        self.environment.pop("PYTHONUNBUFFERED", None)  # It would hide a line that nobody has flushed.
        self._mark = f"TMPDIR={temporary}".encode()

    def script(self, name: str, text: str) -> Path:
        """Write a hook script."""
        path = self.path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return path

    @contextlib.contextmanager
    def running(self, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
        """Run `zraft WORDS`."""
        with self.running_command([*ZRAFT, *map(str, words)], self.path) as process:
            yield process

    @contextlib.contextmanager
    def running_command(
        self, command: list[str], directory: Path, **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a command in a session of its own, its output in a pipe; kill it if it still runs when the test moves on."""
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def zraft(self, *words: str | Path) -> str:
        """Run `zraft WORDS` to its end, which must be a good one, and return what it prints."""
        with self.running(*words) as process:
            output, _ = process.communicate(timeout=90)
        assert process.returncode == 0, f"zraft {' '.join(map(str, words))}: exit code {process.returncode}: {output}"
        return output

    def remains(self) -> dict[int, str]:
        """Return the living processes that were started here, directly or not, with their command lines."""
        return {pid: _command(pid) for pid in _pids() if self._mark in _environment(pid)}

    def gone(self, within_s: float) -> float:
        """Wait until no process remains; return the seconds that took."""
        began = time.monotonic()
        deadline = began + within_s
        while remains := self.remains():
            assert time.monotonic() < deadline, f"left after {within_s} s: {remains}"
            time.sleep(0.01)
        return time.monotonic() - began

    def log_lines(self) -> list[str]:
        """Return what all nodes have logged, in the order of time."""
        lines = [line for file in self.path.rglob("n?.log") for line in file.read_text().splitlines()]
        return sorted(lines)

    def clear(self) -> dict[int, str]:
        """Kill whatever remains, and return what that was."""
        found = self.remains()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found


class Cluster:
    """Five nodes in a run directory, or those of a configuration.

    Parameters
    ----------
    place
        Where its processes start.
    file
        A configuration; that of the run directory ``r`` unless given.
    """

    def __init__(self, place: Place, file: Path | None = None) -> None:
        self.place = place
        self.directory = place.path / "r"
        self.file = file or self.directory / "cluster.yaml"
        self._config: Config | None = None

    @property
    def config(self) -> Config:
        """The configuration, which no variable of the tests' own environment changes."""
        if self._config is None:
            self._config = config.load(self.file, env={})
        return self._config

    def up(self, *words: str | Path, nodes: int = len(NODES)) -> str:
        """Run `zraft cluster up --detach`; return its last line."""
        return self.place.zraft(*self.up_words(*words, nodes=nodes), "--detach").splitlines()[-1]

    def up_words(self, *words: str | Path, nodes: int = len(NODES)) -> list[str | Path]:
        """Return the words that bring it up."""
        return ["cluster", "up", "--nodes", str(nodes), "--dir", self.directory, *words]

    def say(self, verb: str, *words: str) -> str:
        """Run `zraft cluster VERB`; return what it prints."""
        return self.place.zraft("cluster", verb, *words, "--dir", self.directory).strip()

    def processes(self) -> dict[NodeId, dict[str, Any]]:
        """Return the rows of `zraft cluster status --json` by node."""
        return {row["node"]: row for row in json.loads(self.say("status", "--json"))["nodes"]}

    def told(self) -> dict[NodeId, dict[str, Any]]:
        """Return the rows of `zraft status --json` by node."""
        answer = json.loads(self.place.zraft("status", "--json", "--config", self.file))
        return {row["node"]: row for row in answer["nodes"]}

    def kill(self, *nodes: NodeId) -> None:
        """SIGKILL nodes, by the pids that `zraft cluster status --json` gives; all that run, if none is named."""
        rows = self.processes()
        pids = [rows[node]["pid"] for node in nodes or rows]
        for pid in pids:
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

    # Asked without a command's start-up time, for waiting and measuring.

    def client(self, timeout_s: float = 60) -> Client:
        """Open a client."""
        return Client(config=self.config, timeout_s=timeout_s)

    def statuses(self, *nodes: NodeId, wait_s: float = 0.5) -> dict[NodeId, Status]:
        """Return what nodes say of themselves, all of them unless named; those that do not answer in time are missing."""
        replies = survey(self.config, StatusRequest, nodes=nodes or None, timeout_s=wait_s)
        return {name: msgspec.convert(reply.result, Status) for name, reply in replies.items() if reply is not None}

    def newer(self, after: Led) -> Led | None:
        """Return who leads the newest term, if it is newer than `after`, by the word of the other nodes."""
        others = [
            node.id for node in self.config.nodes if node.id != after.node
        ]  # It may be paused: it is not waited for.
        said = [Led(s.leader, s.term) for s in self.statuses(*others).values() if s.leader is not None]
        return max((led for led in said if led.term > after.term), key=lambda led: led.term, default=None)

    def led(self, after: Led) -> Led:
        """Wait until somebody leads a newer term than `after`."""
        return wait_for(f"somebody leads after {after}", lambda: self.newer(after))

    def hand_over(self, led: Led) -> None:
        """Ask the leader to hand over to whomever it likes, now."""
        end = {led.node: self.config.node(led.node).client}
        reply = ask(self.config.cluster_id, end, TransferRequest, 5)[led.node]
        assert reply is not None and reply.outcome in (Outcome.DONE, Outcome.REFUSED), reply

    def whole(self, nodes: int = len(NODES)) -> Led:
        """Wait until that many nodes answer, one leads, and all others follow it in its term."""
        return wait_for(f"{nodes} nodes agree on a leader", lambda: self._agreed(nodes))

    def _agreed(self, nodes: int) -> Led | None:
        statuses = self.statuses()
        roles = sorted(str(status.role) for status in statuses.values())
        said = {(status.leader, status.term) for status in statuses.values()}
        if roles != ["follower"] * (nodes - 1) + ["leader"] or len(said) != 1:
            return None
        leader, term = said.pop()
        return Led(leader, term) if leader is not None else None


class Worker(threading.Thread):
    """A thread that does something again and again until it is told to stop; its failure is the test's."""

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._step = step
        self._stopping = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Do it."""
        try:
            while not self._stopping.is_set():
                self._step()
        except BaseException as error:  # noqa: BLE001 - raised again where somebody reads it
            self._failure = error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(PATIENCE_S + 60)
        assert not self.is_alive(), "a worker does not end"
        if self._failure is not None:
            raise self._failure


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _environment(pid: int) -> list[bytes]:
    """Return the environment with which a process began; nothing for one that has ended or is another's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "(ended)"
