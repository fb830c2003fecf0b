"""``zraft snapshot`` and ``zraft log verify`` on a real cluster that is written to, whose leader dies, and whose files are damaged."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_rig import Clusters

from zraft import Client
from zraft import config as configuration
from zraft.client.copies import copy_state
from zraft.machines.mounts import mount
from zraft.machines.sessions import Machines
from zraft.rescue.saved import opened
from zraft.statepieces import StatePiece

pytestmark = pytest.mark.processes


def revision_in(clusters: Clusters, name: str) -> int:
    """Return the revision of the store in a saved file, which is read as a node reads it."""
    machines = Machines(mount(configuration.load(clusters.directory / "cluster.yaml", env={}))[0])
    with opened(clusters.place / name) as saved:
        machines.restore(saved.pieces())
    return machines._machines["kv"].revision


def test_everything_acknowledged_before_is_in_the_file_while_it_is_written_to(shared: Clusters) -> None:
    acknowledged = [0]
    stop = threading.Event()

    def write() -> None:
        with Client(shared.directory / "cluster.yaml", timeout_s=30) as client:
            while not stop.is_set():
                acknowledged[0] = client.kv.put("counted", b"x" * 100)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number, words in enumerate(([], ["--node", "n1"], ["--node", "n2"], ["--node", "n3"], ["--json"])):
            while acknowledged[0] <= number:
                assert writer.is_alive()
            before = acknowledged[0]
            said = shared.run("snapshot", "save", f"busy-{number}", *words).stdout
            assert revision_in(shared, f"busy-{number}") >= before
            if words[:1] == ["--node"]:
                assert f", as {words[1]} has it: " in said
    finally:
        stop.set()
        writer.join()
    assert json.loads(said)["file"] == "busy-4"
    assert [path.name for path in shared.place.glob(".*.part")] == []


def test_a_large_state_comes_whole_though_the_leader_is_killed_on_the_way(shared: Clusters) -> None:
    config = configuration.load(shared.directory / "cluster.yaml", env={})
    with Client(config, timeout_s=30) as client:
        futures = [client.kv.submit_put(f"large/{number}", bytes([number % 256]) * 20_000) for number in range(150)]
        revision = max(future.result() for future in futures)
    killed: list[str] = []

    def written(arriving: Iterator[StatePiece]) -> StatePiece:
        parts = []
        for piece in arriving:
            parts.append(piece.data)
            if not killed:
                killed.append(piece.node)
                shared.say("kill", piece.node)
            last = piece
        machines = Machines(mount(config)[0])
        machines.restore(parts)
        assert len(parts) > 10
        assert machines._machines["kv"].revision >= revision
        return last

    last = copy_state(config, written, node=None, timeout_s=20)
    assert last.offset + len(last.data) > 150 * 20_000
    shared.leader()
    shared.remember()


def test_save_refuses_what_cannot_be_written(shared: Clusters, tmp_path: Path) -> None:
    for words, code, says in (
        ((str(tmp_path),), 2, "is a directory; name a file"),
        ((str(tmp_path / "none" / "file"),), 2, "none: no such directory; make it first"),
        (("/proc/backup",), 5, "cannot write /proc"),
        (("backup", "--node", "n9"), 2, "n9: no such node; there are n1, n2, n3"),
    ):
        assert says in shared.run("snapshot", "save", *words, code=code).stderr
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_is_down_and_a_cluster_without_a_quorum_give_none(shared: Clusters) -> None:
    shared.run("snapshot", "save", "kept")
    before = (shared.place / "kept").read_bytes()
    shared.say("stop", "n2")
    shared.say("stop", "n3")
    try:
        for words in (["--node", "n2"], ["--node", "n1"], []):
            shared.run("snapshot", "save", "kept", "--timeout", "1", *words, code=3)
        assert (shared.place / "kept").read_bytes() == before, "the file of yesterday is still there"
        shared.run("snapshot", "save", "other", "--timeout", "0.5", code=3)
        assert not (shared.place / "other").exists()
    finally:
        shared.say("start", "n2")
        shared.say("start", "n3")
        shared.leader()
        shared.remember()


def test_a_damaged_file_is_refused_with_exit_code_5(shared: Clusters) -> None:
    shared.run("snapshot", "save", "good")
    data = bytearray((shared.place / "good").read_bytes())
    keys = json.loads(shared.run("snapshot", "inspect", "good", "--json").stdout)
    assert list(keys["machines"]) == ["catalog", "escort", "history", "kv"]
    assert keys["bytes"] + 512 < len(data) <= keys["bytes"] + 2_048
    for offset, why in (
        (3, "no snapshot of format 1"),
        (30, "the checksum of its head"),
        (-7, "the SHA-256 of its data"),
    ):
        data[offset] ^= 1
        (shared.place / "bad").write_bytes(data)
        data[offset] ^= 1
        assert f"bad: damaged: {why}" in shared.run("snapshot", "inspect", "bad", code=5).stderr
        shared.run("snapshot", "restore", "bad", "--dir", "none", code=5)
    (shared.place / "bad").write_bytes(data[:-1])
    assert "bytes where" in shared.run("snapshot", "inspect", "bad", code=5).stderr
    assert not (shared.place / "none" / "cluster.yaml").exists()
    assert "no such file" in shared.run("snapshot", "inspect", "nowhere", code=1).stderr


def test_restore_says_what_it_needs(shared: Clusters) -> None:
    shared.run("snapshot", "save", "backup")
    own = str(shared.directory / "cluster.yaml")
    (shared.place / "full").mkdir()
    (shared.place / "full" / "mine").write_text("precious")
    for words, code, says in (
        ((), 2, "where to? --dir DIR makes a run directory, --config FILE names a configuration"),
        (("--dir", ".zraft"), 2, "holds a cluster already; give a directory that is new or empty"),
        (("--dir", "full"), 2, "full: holds mine and no cluster.yaml"),
        (("--dir", "many", "--nodes", "10"), 2, "--nodes 10: a cluster in a run directory has 1 to 9 nodes"),
        (("--config", own), 2, "that of the cluster that backup was saved from"),
        (("--config", own, "--nodes", "3"), 2, "--nodes is for a new run directory"),
    ):
        assert says in shared.run("snapshot", "restore", "backup", *words, code=code).stderr
    assert [path.name for path in (shared.place / "full").iterdir()] == ["mine"]


def test_a_cluster_of_a_configuration_begins_with_what_was_saved(clusters: Clusters, shared: Clusters) -> None:
    shared.run("kv", "put", "greeting", "hello")
    shared.run("snapshot", "save", "backup")
    revision = revision_in(shared, "backup")
    text = (shared.directory / "cluster.yaml").read_text()
    lines = ['  id: "00000000000000aa"' if line.startswith("  id: ") else line for line in text.splitlines()]
    (clusters.place / "new.yaml").write_text("\n".join(lines) + "\n")
    told = json.loads(
        clusters.run("snapshot", "restore", str(shared.place / "backup"), "--config", "new.yaml", "--json").stdout
    )
    assert (told["cluster_id"], list(told["directories"])) == ("00000000000000aa", ["n1", "n2", "n3"])
    for place in told["directories"].values():
        assert "all of it is intact" in clusters.run("log", "verify", place).stdout
    clusters.ready("--config", "new.yaml")
    config = ("--config", "new.yaml")
    assert clusters.run("kv", "get", "greeting", *config).stdout == "hello"
    assert int(clusters.run("kv", "put", "more", "1", *config).stdout) == revision + 1_000_001
    status = json.loads(clusters.run("status", "--json", *config).stdout)
    assert min(node["term"] for node in status["nodes"]) > 1_000_000
    assert clusters.end() == 130
    assert (
        "is not empty; move it away"
        in clusters.run("snapshot", "restore", str(shared.place / "backup"), *config, code=2).stderr
    )


def test_verify_of_a_running_node_a_stopped_one_and_a_damaged_one(shared: Clusters, tmp_path: Path) -> None:
    own = str(shared.directory / "data" / "n3")
    with Client(shared.directory / "cluster.yaml", timeout_s=30) as client:
        futures = [client.kv.submit_put(f"k/{number}", bytes(5_000)) for number in range(500)]
        running = shared.run("log", "verify", own)
        assert max(future.result() for future in futures) > 0
    assert f"{own} is in use (pid " in running.stderr
    assert running.stdout.endswith("all of it is intact\n")
    shared.say("stop", "n3")
    try:
        stopped = shared.run("log", "verify", own, "--json")
        copy = tmp_path / "n3"
        shutil.copytree(own, copy)
    finally:
        shared.say("start", "n3")
        shared.remember()
    assert stopped.stderr == ""
    found = json.loads(stopped.stdout)
    assert (found["node"], found["damage"]) == ("n3", [])
    files = [segment for segment in found["segments"] if segment["state"] == "in use"]
    assert sum(segment["entries"] for segment in files) > 0
    for segment in files[:1]:
        with (copy / segment["file"]).open("r+b") as file:
            file.seek(4_100)
            byte = file.read(1)
            file.seek(4_100)
            file.write(bytes([byte[0] ^ 1]))
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    damaged = shared.run("log", "verify", str(copy), code=5)
    assert f"damaged: {files[0]['file']}: at offset 4096: no intact write here" in damaged.stdout
    assert "what to do: put back an intact copy of" in damaged.stdout
    assert damaged.stderr.rstrip().endswith("damaged, as told above; nothing was changed")
    assert json.loads(shared.run("log", "verify", str(copy), "--json", code=5).stdout)["damage"][0]["offset"] == 4_096
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert "no log in it" in shared.run("log", "verify", str(tmp_path), code=1).stderr


def test_recover_refuses_a_cluster_that_runs(shared: Clusters) -> None:
    line = shared.run("cluster", "recover", "--yes-lose", "0" * 16, code=2).stderr
    assert "this cluster is running; stop it first: zraft cluster down" in line
