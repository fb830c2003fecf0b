"""A supervisor process over fake nodes, and ways to wait for what it does."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import yaml
from awaiting import PATIENCE_S, alive, eventually

from zraft import config
from zraft.hooks import linux
from zraft.supervisor.control import Line, Reply

HERE = Path(__file__).parent


class FakeCluster:
    """A supervisor process, its nodes, and what it has printed."""

    def __init__(self, directory: Path, nodes: int, options: dict[str, Any]) -> None:
        self.directory = directory
        self.names = [f"n{number}" for number in range(1, nodes + 1)]
        self.file = directory / "cluster.yaml"
        ends = ("peer", "client", "events")
        self.file.write_text(
            yaml.safe_dump(
                {
                    "nodes": [{"id": n, **{end: f"ipc://{n}.{end}" for end in ends}} for n in self.names],
                    "hooks": {"grace_ms": 100, "timeout_ms": 1_000},
                    "supervisor": options,
                }
            )
        )
        self.settings = config.load(self.file, env={})
        self.lines: list[str] = []
        self.pids: set[int] = set()
        self.process: subprocess.Popen[str] | None = None

    def act(self, node: str, what: str) -> None:
        (self.directory / f"{node}.act").write_text(what)

    def behave(self, node: str) -> None:
        (self.directory / f"{node}.act").unlink()

    def start(self, output: int) -> None:
        command = [sys.executable, str(HERE / "supervisor_process.py"), str(self.file)]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        self.process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
        )

    def up(self) -> None:
        self.start(subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()

    def ready(self) -> None:
        self.up()
        self.printed("cluster ready: ")

    def _read(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def printed(self, text: str, within_s: float = PATIENCE_S) -> str:
        return self.printed_like(re.escape(text), within_s)

    def printed_like(self, pattern: str, within_s: float = PATIENCE_S) -> str:
        return eventually(
            lambda: f"{pattern} in {self.lines}",
            lambda: next((line for line in self.lines if re.search(pattern, line)), None),
            within_s,
        )

    def ask(self, verb: str, node: str | None = None, timeout_s: float = PATIENCE_S) -> Reply:
        with Line(self.settings.supervisor.control) as line:
            return line.ask(verb, node, timeout_s=timeout_s)

    def rows(self) -> dict[str, dict[str, Any]]:
        rows = {row["node"]: row for row in self.ask("status").result["nodes"]}
        self.pids |= {row["pid"] for row in rows.values() if row["pid"]}
        return rows

    def state(self, node: str) -> str:
        return self.rows()[node]["state"]

    def ended(self, within_s: float = PATIENCE_S) -> int:
        assert self.process is not None
        return self.process.wait(within_s)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def left(self) -> list[int]:
        return [pid for pid in self.pids if alive(pid)]

    def destroy(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.pids |= set(linux.descendants(self.process.pid))
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        for pid in self.left():
            linux.send(pid, signal.SIGKILL)
