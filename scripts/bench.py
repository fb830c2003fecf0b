#!/usr/bin/env python3
"""Closed-loop load on a zraft cluster, through its own client: throughput, and latency at the median and the 99th percentile.

    python scripts/bench.py                                  # three nodes of its own, durable, a list of loads
    python scripts/bench.py --nodes 5 put:256:60000          # OP:IN_FLIGHT:TOTAL ...
    python scripts/bench.py --config config/cluster.yaml get:1:3000

Prints one line for each load. OP is put, get (linearizable) or mixed. Values have 256 bytes, keys are 10,000.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

from zraft import Client

KEYS = 10_000
DEFAULT = ["put:1:2000", "put:64:20000", "put:256:40000", "put:1000:60000", "get:1:2000", "get:256:40000"]


class Load:
    """Keeps `in_flight` requests under way until `total` are answered."""

    def __init__(self, client: Client, op: str, in_flight: int, total: int, value_bytes: int) -> None:
        self._client = client
        self._op = op
        self._in_flight = in_flight
        self._total = total
        self._value = b"v" * value_bytes
        self._issued = 0
        self._latencies: list[float] = []
        self._failed: list[BaseException] = []
        self._done = threading.Event()

    def run(self) -> str:
        """Run to the end and return the line; raises the first failure."""
        began = time.perf_counter()
        for _ in range(self._in_flight):
            self._issue()
        if not self._done.wait(120):
            raise TimeoutError(f"{len(self._latencies)} of {self._total} answered within 120 s")
        if self._failed:
            raise self._failed[0]
        elapsed = time.perf_counter() - began
        ranked = sorted(self._latencies)
        p50, p99 = (ranked[len(ranked) * part // 100] * 1e6 for part in (50, 99))
        return (
            f"zraft {self._op} clients={self._in_flight} val={len(self._value)} "
            f"ops/s={len(ranked) / elapsed:.0f} p50_us={p50:.0f} p99_us={p99:.0f}"
        )

    def _issue(self) -> None:
        number = self._issued
        if number >= self._total:
            return
        self._issued += 1
        key = f"key{number % KEYS:07d}"
        began = time.perf_counter()
        is_put = self._op == "put" or (self._op == "mixed" and number % 2 == 0)
        kv = self._client.kv
        future: Future[object] = kv.submit_put(key, self._value) if is_put else kv.submit_get(key)
        future.add_done_callback(lambda future: self._answered(future, began))

    def _answered(self, future: Future[object], began: float) -> None:
        error = future.exception()
        if error is not None:
            self._failed.append(error)
            self._done.set()
            return
        self._latencies.append(time.perf_counter() - began)
        if len(self._latencies) >= self._total:
            self._done.set()
        self._issue()


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """Run a cluster in a temporary directory and give its configuration file."""
    zraft = [sys.executable, "-m", "zraft", "cluster"]
    with tempfile.TemporaryDirectory(prefix="zraft-bench-") as folder:
        directory = str(Path(folder) / "run")
        subprocess.run([*zraft, "up", "--nodes", str(nodes), "--dir", directory, "--detach"], check=True)  # noqa: S603
        try:
            yield f"{directory}/cluster.yaml"
        finally:
            subprocess.run([*zraft, "down", "--dir", directory], check=True)  # noqa: S603


def main() -> None:
    """Parse the arguments and run the loads in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="load this cluster, instead of one of its own")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--val", type=int, default=256, help="bytes in a value")
    parser.add_argument("loads", nargs="*", default=DEFAULT, metavar="OP:IN_FLIGHT:TOTAL")
    args = parser.parse_args()
    running = contextlib.nullcontext(args.config) if args.config else cluster(args.nodes)
    with running as config, Client(config=config, timeout_s=30) as client:
        client.kv.put("warm-up", b"1")
        for load in args.loads:
            op, in_flight, total = load.split(":")
            print(Load(client, op, int(in_flight), int(total), args.val).run(), flush=True)


if __name__ == "__main__":
    main()
