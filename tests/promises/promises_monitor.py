"""`zraft monitor --json` as a witness: every line that it prints, and when it was there to be read."""

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from promises_rig import NODES, PATIENCE_S, Cluster, wait_for

from zraft.events import Event
from zraft.raft.types import NodeId


class Seen(NamedTuple):
    """An event, and when its line was read."""

    event: Event
    at_ms: float
    """By the clock by which the node stamped the event."""


class Monitor:
    """`zraft monitor --json`, read as it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.seen: list[Seen] = []
        """Grows at its end alone."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        decode = msgspec.json.Decoder(Event).decode
        for line in self._process.stdout:
            self.seen.append(Seen(decode(line), time.time() * 1_000))

    def hears(self) -> None:
        """Wait until it has heard of every node."""
        wait_for("the monitor hears all nodes", lambda: {seen.event.node for seen in list(self.seen)} >= set(NODES))

    def roles(self) -> list[Seen]:
        """Return the events that tell of another role, in the order in which they came."""
        return [s for s in list(self.seen) if s.event.kind == "role" and s.event.data["prev_role"] != s.event.role]

    def leaders(self) -> dict[int, set[NodeId]]:
        """Return who said that it leads, by term."""
        found: dict[int, set[NodeId]] = {}
        for seen in list(self.seen):
            if seen.event.kind == "role" and seen.event.role == "leader":
                found.setdefault(seen.event.term, set()).add(seen.event.node)
        return found

    def close(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)


@contextlib.contextmanager
def monitoring(cluster: Cluster) -> Iterator[Monitor]:
    """Run a monitor that has heard all nodes."""
    with cluster.place.running("monitor", "--json", "--tail", "1000", "--config", cluster.file) as process:
        monitor = Monitor(process)
        monitor.hears()
        yield monitor
        monitor.close()
