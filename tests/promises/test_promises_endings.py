"""Nothing is left of a cluster that ends, however it ends: Ctrl-C under honcho, and SIGKILL of what started it."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from promises_rig import LIMIT_S, NODES, PATIENCE_S, ROOT, Cluster, Place, figures, size, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.timeout(LIMIT_S)]

GONE_S = 5
PORTS = re.compile(r"127\.0\.0\.1:(7\d\d\d)")
SCRIPTS = {
    "with daemons": "setsid sleep 1000 &\n(setsid sleep 1000 &)\nexec sleep 1000",
    "that ignores SIGTERM": "trap '' TERM\nsleep 1000 &\nsleep 1000 &\nexec sleep 1000",
}
"""Leader scripts of three processes each."""
SLEEPERS = 3
GRACE_MS = size(1_000, 4_000)
"""What a script may take to end; one that does not care is there for so long, so it must be below `GONE_S`."""


# honcho


class Output:
    """What a process prints, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(self._process.stdout)

    def printed(self, text: str) -> None:
        """Wait until a line holds `text`."""
        wait_for(f"{text!r} is printed", lambda: any(text in line for line in list(self.lines)))

    def end(self) -> int:
        """Wait for the end of the process, and of what it prints; return its exit code."""
        code = self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code


def checkout(copy: Path) -> Path:
    """Copy what `honcho start` uses, with free ports in the configuration; return the path of that."""
    for name in ("config", "scripts"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / "Procfile", copy)
    file = copy / "config/cluster.yaml"
    text = file.read_text()
    named = sorted(set(PORTS.findall(text)))
    assert len(named) == 3 * len(NODES)
    ports = dict(zip(named, free_ports(len(named)), strict=True))
    file.write_text(PORTS.sub(lambda found: f"127.0.0.1:{ports[found[1]]}", text))
    (copy / "bin").mkdir()
    command = copy / "bin/zraft"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m zraft "$@"\n')
    command.chmod(0o700)
    return file


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


def test_honcho_brings_up_the_cluster_and_its_ctrl_c_leaves_nothing(place: Place):
    if importlib.util.find_spec("honcho") is None:
        pytest.skip("HONCHO IS MISSING, so `honcho start` was not tested: pip install 'zraft[test]'")
    copy = place.path / "checkout"
    cluster = Cluster(place, checkout(copy))
    path = f"{copy / 'bin'}:{os.environ['PATH']}"
    with place.running_command([sys.executable, "-m", "honcho", "start"], copy, PATH=path) as process:
        output = Output(process)
        led = cluster.whole()
        roles = {node: row["role"] for node, row in cluster.told().items()}
        assert roles == dict.fromkeys(NODES, "follower") | {led.node: "leader"}
        place.zraft("kv", "put", "greeting", "hello", "--config", cluster.file)
        assert place.zraft("kv", "get", "greeting", "--config", cluster.file).strip() == "hello"
        output.printed("greeting")
        processes = len(place.remains())
        # The terminal sends it to all of the group in the foreground, honcho's children that have left it excepted.
        os.killpg(process.pid, signal.SIGINT)
        began = time.monotonic()
        code = output.end()
        ended_s = time.monotonic() - began
        seconds = place.gone(GONE_S)
    assert not any("Traceback" in line for line in output.lines), "".join(output.lines)
    figures(
        "5 honcho",
        f"{processes} processes; Ctrl-C: honcho ended after {ended_s:.2f} s (exit code {code}), and nothing was left {seconds:.2f} s later",
    )


# SIGKILL


@pytest.mark.parametrize("script", SCRIPTS)
def test_sigkill_of_up_leaves_nothing_after_five_seconds(cluster: Cluster, place: Place, script: str):
    leader = place.script("leader.sh", SCRIPTS[script])
    environment = place.path / "env"
    environment.write_text(f"ZRAFT_HOOKS_GRACE_MS={GRACE_MS}\n")
    words = cluster.up_words("--leader-script", leader, "--env-file", environment)
    with place.running(*words) as process:
        Output(process).printed("cluster ready: ")
        wait_for("the leader's script runs", lambda: count(place.remains(), "sleep 1000") == SLEEPERS)
        before = place.remains()
        assert count(before, "node run") == count(before, "guard.py") == len(NODES)
        process.kill()
        seconds = place.gone(GONE_S)
    figures(
        "5 kill -9", f"of `cluster up` with a script {script}: {len(before)} processes, all gone after {seconds:.2f} s"
    )


def count(processes: dict[int, str], words: str) -> int:
    return sum(words in command for command in processes.values())
