"""Runs `zraft cluster ...` as people do, and sees to it that no process of it is left."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from awaiting import PATIENCE_S, alive, eventually

from zraft.hooks import linux

ROOT = Path(__file__).parents[2]
ZRAFT = [sys.executable, "-m", "zraft"]


class Clusters:
    """The commands of one working directory, whose `.zraft` is the run directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.directory = place / ".zraft"
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ZRAFT_")}
        self.environment |= {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(place)}
        self.pids: set[int] = set()
        """Everything that was ever seen to run."""
        self.foreground: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        """What `zraft cluster up` has printed in the foreground."""

    def run(self, *words: str, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `zraft WORDS`; check its exit code, unless that may be any, and that no traceback is shown."""
        done = subprocess.run(
            [*ZRAFT, *words],
            cwd=self.place,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert code in (None, done.returncode), (words, done)
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode not in (0, 130):
            assert done.stderr.startswith("zraft: "), done.stderr
            assert len(done.stderr.splitlines()) == 1, done.stderr
        return done

    def say(self, *words: str) -> str:
        """Return the one line that `zraft cluster WORDS` prints."""
        lines = self.run("cluster", *words).stdout.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def up(self, *words: str) -> None:
        """Run `zraft cluster up WORDS` in the foreground."""
        self.lines = []
        self.foreground = subprocess.Popen(
            [*ZRAFT, "cluster", "up", *words],
            cwd=self.place,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def ready(self, *words: str) -> str:
        """Run it until it is ready; return the line that says so."""
        self.up(*words)
        line: str = self.printed("cluster ready: ")
        self.remember()
        return line

    def _read(self) -> None:
        assert self.foreground is not None and self.foreground.stdout is not None
        for line in self.foreground.stdout:
            self.lines.append(line.rstrip("\n"))

    def printed(self, text: str) -> str:
        line: str = eventually(f"{text!r} is printed", lambda: next((x for x in self.lines if text in x), None))
        return line

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal to what runs in the foreground, and return its exit code."""
        assert self.foreground is not None
        self.remember()
        self.foreground.send_signal(number)
        return self.foreground.wait(PATIENCE_S)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return the rows of `zraft cluster status --json` by node."""
        answer = json.loads(self.run("cluster", "status", "--json").stdout)
        assert set(answer) == {"cluster", "nodes"}
        rows = {row["node"]: row for row in answer["nodes"]}
        self.pids |= {row[key] for row in rows.values() for key in ("pid", "guard_pid") if row[key]}
        return rows

    def leader(self) -> str:
        """Return who leads, once exactly one node does and all that run follow in its term."""
        return eventually("one node leads, and all others follow it", self._leader)

    def _leader(self) -> str | None:
        running = [row for row in self.status().values() if row["state"] == "running"]
        leaders = [row["node"] for row in running if row["role"] == "leader"]
        roles = sorted(str(row["role"]) for row in running)
        same = len({row["term"] for row in running}) == 1
        return leaders[0] if same and roles == ["follower"] * (len(running) - 1) + ["leader"] else None

    def supervisor(self) -> int:
        """Return the number of the supervisor's process."""
        found = re.search(r"supervisor (\d+)\)", self.run("cluster", "status").stdout)
        assert found is not None
        return int(found[1])

    def remember(self) -> None:
        """Take note of all processes that belong to the cluster now."""
        root = self.foreground.pid if self.foreground else self.supervisor()
        self.pids |= {root, *linux.descendants(root)}

    def left(self) -> list[int]:
        """Return which of the processes that were seen still run."""
        return [pid for pid in self.pids if alive(pid)]

    def end_whole(self, nodes: int) -> None:
        """Take the detached cluster down; all of it must run until then, and nothing afterwards."""
        self.remember()
        assert self.say("down") == f"{nodes} nodes stopped; nothing of the cluster runs"
        assert self.left() == []

    def destroy(self) -> None:
        """End whatever a failed test has left."""
        if self.foreground is not None and self.foreground.poll() is None:
            self.remember()
        for pid in self.left():
            linux.send(pid, signal.SIGKILL)
        if self.foreground is not None:
            self.foreground.wait(PATIENCE_S)


@contextmanager
def lent(prefix: str) -> Iterator[Clusters]:
    """Give a directory of its own, with a path short enough for sockets; whatever runs in it ends with the block."""
    place = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    made = Clusters(place)
    try:
        yield made
    finally:
        made.destroy()
        shutil.rmtree(place)
