"""The same cluster under honcho, from the Procfile as it is."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from awaiting import eventually
from cluster_rig import ROOT, Clusters

from zraft import config

pytestmark = pytest.mark.processes

PROCFILE = ROOT / "Procfile"
ENDS = ("peer", "client", "events")


def test_it_runs_every_node_of_the_example_configuration_and_the_monitor():
    entries = dict(line.split(": ", 1) for line in PROCFILE.read_text().splitlines())
    nodes = [node.id for node in config.load(ROOT / "config/cluster.yaml", env={}).nodes]
    assert entries == {
        **{node: f"zraft node run --id {node} --config config/cluster.yaml" for node in nodes},
        "monitor": "zraft monitor --plain --config config/cluster.yaml",
    }


def example(place: Path) -> None:
    """Lay out a checkout's Procfile and configuration, with sockets in place of its fixed ports."""
    shutil.copy(PROCFILE, place / "Procfile")
    names = [f"n{number}" for number in range(1, 6)]
    (place / "config").mkdir(mode=0o700)
    (place / "config/cluster.yaml").write_text(
        json.dumps(
            {
                "nodes": [{"id": name, **{end: f"ipc://{name}.{end}" for end in ENDS}} for name in names],
                "storage": {"directory": "../.data"},
                "log": {"directory": "../.data/log"},
            }
        )
    )
    (place / "bin").mkdir()
    command = place / "bin/zraft"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m zraft "$@"\n')
    command.chmod(0o700)


def test_honcho_brings_it_up_and_its_ctrl_c_leaves_nothing(clusters: Clusters):
    example(clusters.place)
    path = f"{clusters.place}/bin:{clusters.environment['PATH']}"
    clusters.foreground = subprocess.Popen(
        [sys.executable, "-m", "honcho", "start"],
        cwd=clusters.place,
        env=clusters.environment | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    threading.Thread(target=clusters._read, daemon=True).start()
    eventually("one node leads and four follow", lambda: roles(clusters) == ["follower"] * 4 + ["leader"])
    eventually("the monitor prints what happens", lambda: any("monitor" in line for line in clusters.lines))
    clusters.end(signal.SIGINT)
    eventually("nothing is left", lambda: clusters.left() == [], 5)


def roles(clusters: Clusters) -> list[str]:
    answer = json.loads(clusters.run("status", "--json", code=None).stdout)
    return sorted(str(row["role"]) for row in answer["nodes"])
