#!/usr/bin/env python3
"""What a snapshot costs those who use the cluster meanwhile: a million keys, half the load that it can take, and snapshots of it.

    python scripts/snapshots.py                       # three nodes of its own; some minutes
    python scripts/snapshots.py --keys 100000 --rounds 2
    python scripts/snapshots.py --apart 2000000       # nodes that share no processor seldom take theirs in one second

Values have 16 bytes. Puts leave at a constant rate and are timed from when they were due, so that whoever waits delays nobody
else's measurement. Prints, for the time in which any node wrote a snapshot and for the rest of the same minute, how long puts took and
how much later than its interval a heartbeat came; and how long each node took to begin a snapshot, which is mostly the fork.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import NamedTuple

import zmq

from zraft import Client, events

HEARTBEAT_MS = 100
UNDER_WAY = 2_000
"""Puts while the keys are written."""
UNDER_WAY_MEASURED = 256
"""Puts while it is measured how many are possible."""
AROUND_S = 0.25
"""What comes this close before a snapshot's beginning, or after its end, counts as beside it."""
PUT_BYTES = 50
"""By which a put lets the log grow, roughly: many share an entry."""
VALUE = b"v" * 16
BIG = b"b" * 60_000
BEGUN = re.compile(r"a snapshot of all up to \S+ is begun: that took ([0-9.]+) ms")


class Span(NamedTuple):
    """When some node wrote a snapshot, by time.monotonic()."""

    node: str
    began: float
    ended: float


class Snapshots:
    """Looks which nodes are writing one, a thousand times a second."""

    def __init__(self, data: dict[str, Path]) -> None:
        self.spans: list[Span] = []
        self._files = {node: path / "snapshots" / "saving.part" for node, path in data.items()}
        self._since: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def begun(self) -> int:
        """Return how many have been begun."""
        return len(self.spans) + len(self._since)

    def whole(self) -> bool:
        """Whether none is being written."""
        return not self._since

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            for node, file in self._files.items():
                now = time.monotonic()
                if file.exists():
                    self._since.setdefault(node, now)
                elif node in self._since:
                    self.spans.append(Span(node, self._since.pop(node), now))


class Heartbeats:
    """Hears every node say when it sent and received heartbeats."""

    def __init__(self, endpoints: list[str]) -> None:
        self.lateness: list[tuple[float, float, str]] = []
        """When, by time.monotonic(); by how much, in milliseconds; and at which end."""
        self._endpoints = endpoints
        self._last: dict[tuple[str, str, str], int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.SUB)
        for number, endpoint in enumerate(self._endpoints, 1):
            socket.connect(endpoint)
            socket.subscribe(f"n{number}/heartbeat".encode())
        while not self._stop.is_set():
            if socket.poll(100):
                self._heard(events.decode(socket.recv_multipart()))
        context.destroy(0)

    def _heard(self, event: events.Event) -> None:
        key = (event.node, event.data["what"], event.data["peer"])
        before, self._last[key] = self._last.get(key), event.wall_ms
        if before is not None:
            happened = time.monotonic() - (time.time() - event.wall_ms / 1e3)
            self.lateness.append((happened, event.wall_ms - before - HEARTBEAT_MS, event.data["what"]))


def load(client: Client, keys: int) -> None:
    """Write every key once, a thousand at a time under way."""
    began = time.monotonic()
    waiting: set[Future[object]] = set()
    for number in range(keys):
        waiting.add(client.kv.submit_put(f"key{number:07d}", VALUE))
        if len(waiting) >= UNDER_WAY:
            done, waiting = wait(waiting, return_when="FIRST_COMPLETED")
            for each in done:
                each.result()
    for each in waiting:
        each.result()
    took = time.monotonic() - began
    print(f"{keys:,} keys written in {took:.0f} s, {keys / took:,.0f} a second", flush=True)


def fastest(client: Client, keys: int, seconds: float) -> float:
    """Return how many puts a second the cluster takes, 256 under way."""
    count = 0
    until = time.monotonic() + seconds
    waiting: set[Future[object]] = set()
    while time.monotonic() < until:
        while len(waiting) < UNDER_WAY_MEASURED:
            waiting.add(client.kv.submit_put(f"key{count * 7919 % keys:07d}", VALUE))
            count += 1
        _, waiting = wait(waiting, return_when="FIRST_COMPLETED")
    wait(waiting)
    return count / seconds


class Puts:
    """Puts at a constant rate, each timed from when it was due."""

    def __init__(self, client: Client, keys: int, rate: float) -> None:
        self.took: list[tuple[float, float]] = []
        """When each was due, and how many milliseconds later it was answered."""
        self._client, self._keys, self._rate = client, keys, rate
        self._number = 0

    def run(self, seconds: float) -> None:
        """Go on for some time."""
        began = time.monotonic()
        for number in range(int(seconds * self._rate)):
            due = began + number / self._rate
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            self._number += 1
            key = f"key{self._number * 7919 % self._keys:07d}"
            self._client.kv.submit_put(key, VALUE).add_done_callback(
                lambda future, due=due: self._answered(future, due)
            )

    def _answered(self, future: Future[object], due: float) -> None:
        future.result()
        self.took.append((due, (time.monotonic() - due) * 1e3))


def part(values: list[float], share: float) -> float:
    """Return the value that `share` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def report(puts: Puts, hearts: Heartbeats, spans: list[Span], since: float) -> None:
    """Print one round's figures."""

    def beside(at: float, slack: float = AROUND_S) -> bool:
        return any(span.began - slack <= at <= span.ended + slack for span in spans)

    kinds: dict[bool, list[float]] = {True: [], False: []}
    for due, took in list(puts.took):
        if due >= since:
            kinds[beside(due)].append(took)
    late: dict[tuple[bool, str], list[float]] = defaultdict(list)
    for at, by, what in list(hearts.lateness):
        if at >= since:
            late[beside(at), what].append(by)
    for span in spans:
        print(f"  {span.node} wrote a snapshot for {span.ended - span.began:.2f} s", flush=True)
    for during, name in ((True, "beside a snapshot"), (False, "without")):
        took = kinds[during]
        print(
            f"  {name}: {len(took)} puts, ms p50={part(took, 0.5):.1f} p99={part(took, 0.99):.1f} "
            f"p99.9={part(took, 0.999):.1f} worst={part(took, 1):.1f}; heartbeats late by at most, ms: "
            + ", ".join(
                f"{what} {part(late[during, what], 1):.0f} of {len(late[during, what])}"
                for what in ("sent", "received")
            ),
            flush=True,
        )


class Cluster:
    """Three nodes in a directory."""

    def __init__(self, place: Path, snapshot_bytes: int, apart: int) -> None:
        self.file = place / "cluster.yaml"
        ends = ("peer", "client", "events")
        nodes = [{"id": f"n{n}", **{end: f"ipc://n{n}.{end}" for end in ends}} for n in (1, 2, 3)]
        self.events = [f"ipc://{place}/n{n}.events" for n in (1, 2, 3)]
        document = {
            "nodes": nodes,
            "storage": {"directory": "data"},
            "log": {"directory": "logs"},
            "events": {"heartbeats": True},
            "heartbeat": {"interval_ms": HEARTBEAT_MS},
        }
        self.file.write_text(json.dumps(document))
        self.data = {f"n{n}": place / "data" / f"n{n}" for n in (1, 2, 3)}
        self.logs = {f"n{n}": place / "logs" / f"n{n}.log" for n in (1, 2, 3)}
        self.processes = [
            subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "zraft", "node", "run", "--id", id, "--config", str(self.file), "-v"],
                cwd=place,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "ZRAFT_STORAGE_SNAPSHOT_BYTES": str(snapshot_bytes + number * apart)},
            )
            for number, id in enumerate(self.data)
        ]

    def memory_mib(self) -> list[int]:
        """Return what each node has in memory."""
        statuses = [Path(f"/proc/{each.pid}/status").read_text() for each in self.processes]
        return [int(text.split("VmRSS:")[1].split()[0]) >> 10 for text in statuses]

    def forks(self) -> dict[str, list[float]]:
        """Return how many milliseconds each node took to begin each snapshot."""
        return {node: [float(ms) for ms in BEGUN.findall(path.read_text())] for node, path in self.logs.items()}

    def stop(self) -> None:
        """End the nodes."""
        for each in self.processes:
            each.send_signal(signal.SIGTERM)
        for each in self.processes:
            each.wait(30)


@contextlib.contextmanager
def cluster(snapshot_bytes: int, apart: int) -> Iterator[Cluster]:
    """Run one in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="zs") as folder:
        running = Cluster(Path(folder), snapshot_bytes, apart)
        try:
            yield running
        finally:
            running.stop()


def pump(client: Client, size: int) -> None:
    """Let the log grow by `size` bytes."""
    for future in [client.kv.submit_put("pump", BIG) for _ in range(size // len(BIG))]:
        future.result()


def measure(args: argparse.Namespace, running: Cluster, client: Client, snapshots: Snapshots) -> None:
    """Load the cluster, and go through the rounds."""
    client.kv.put("warm-up", b"1")
    load(client, args.keys)
    most = fastest(client, args.keys, 5)
    rate = args.rate or most / 2
    print(f"takes {most:,.0f} puts a second; load is {rate:,.0f}; memory of the nodes, MiB: {running.memory_mib()}")
    hearts = Heartbeats(running.events)
    puts = Puts(client, args.keys, rate)
    try:
        for number in range(args.rounds):
            seen = snapshots.begun()
            while snapshots.begun() < seen + len(running.data):
                pump(client, 1 << 20)  # Until each node has begun one: now it is known when the next is due.
            while not snapshots.whole():
                time.sleep(0.1)
            pump(client, int(args.snapshot_bytes - rate * args.seconds / 3 * PUT_BYTES))
            seen, since = len(snapshots.spans), time.monotonic()
            puts.run(args.seconds)
            print(f"round {number + 1}:", flush=True)
            report(puts, hearts, snapshots.spans[seen:], since)
    finally:
        hearts.stop()
    for node, took in running.forks().items():
        print(f"{node} took, to begin a snapshot, ms: {', '.join(f'{ms:.1f}' for ms in took)}")
    print(f"memory of the nodes, MiB: {running.memory_mib()}")


def main() -> None:
    """Parse the arguments, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60, help="how long a round is")
    parser.add_argument("--rate", type=float, help="puts a second, instead of half of what is possible")
    parser.add_argument(
        "--apart", type=int, default=0, metavar="BYTES", help="by how much the nodes' snapshots lie apart"
    )
    parser.add_argument("--snapshot-bytes", type=int, default=64 << 20)
    args = parser.parse_args()
    with cluster(args.snapshot_bytes, args.apart) as running:
        snapshots = Snapshots(running.data)
        try:
            with Client(config=str(running.file), timeout_s=60) as client:
                measure(args, running, client, snapshots)
        finally:
            snapshots.stop()


if __name__ == "__main__":
    main()
