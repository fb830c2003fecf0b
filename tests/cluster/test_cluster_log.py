"""``zraft log show`` on a real cluster: the log as live nodes have it, and as it lies in their data directories."""

import json
import shutil
from pathlib import Path

import pytest
from awaiting import eventually
from cluster_rig import Clusters

pytestmark = pytest.mark.processes
KEYS = ["index", "term", "kind", "time_ms", "text", "applied"]


def shown(clusters: Clusters, *words: str) -> list[dict]:
    return json.loads(clusters.run("log", "show", *words, "--json").stdout)


def directory(clusters: Clusters, node: str) -> Path:
    return clusters.directory / "data" / node


def test_every_entry_of_a_live_node_and_of_its_directory(shared: Clusters) -> None:
    for number in range(3):
        shared.run("kv", "put", f"key-{number}", "value")
    puts = [f"kv put key-{number}=..(5 B)" for number in range(3)]

    def found() -> list[dict] | None:
        log = shown(shared, "n1")
        applied = [entry["text"] for entry in log if entry["kind"] == "command" and entry["applied"]]
        return log if [text for text in applied if "kv put" in text] == puts else None

    live = eventually("all is applied at n1", found)
    assert [list(entry) for entry in live] == [KEYS] * len(live)
    assert [entry["index"] for entry in live] == list(range(1, len(live) + 1))
    assert live[0]["applied"] is True
    (opening,) = [entry for entry in live if entry["kind"] == "noop" and entry["term"] == 1]
    assert opening["text"].endswith(" leads term 1")
    times = [entry["time_ms"] for entry in live]
    assert times == sorted(times)
    first, last = live[1]["index"], live[3]["index"]
    assert shown(shared, "n1", "--from", str(first), "--to", str(last)) == live[1:4]
    lines = shared.run("log", "show", "n1", "--to", "1").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [["*", "1@1", live[0]["kind"]]]
    kept = shared.run("log", "show", str(directory(shared, "n1")), "--json")
    assert "is in use (pid " in kept.stderr
    expected = [{**entry, "applied": None} for entry in live]
    assert json.loads(kept.stdout)[: len(live)] == expected


def test_what_there_is_not(shared: Clusters, tmp_path: Path) -> None:
    for words, code, says in (
        (("n9",), 2, "there is no node 'n9' in it; its nodes are n1, n2, n3"),
        (("n1", "--from", "1000000"), 1, "n1: no entry from 1000000 to the last; its log has 1 to "),
        (("n1", "--from", "3", "--to", "2"), 2, "--from 3 --to 2: the first entry comes after the last"),
        ((str(tmp_path),), 1, f"{tmp_path}: no log in it; name the data directory of a node"),
        ((str(tmp_path / "nowhere"),), 1, "nowhere: no such directory"),
    ):
        assert says in shared.run("log", "show", *words, code=code).stderr


def test_a_node_that_is_down_says_so_and_its_directory_is_read_and_left_as_it_is(shared: Clusters) -> None:
    shared.say("stop", "n2")
    try:
        line = shared.run("log", "show", "n2", code=3).stderr
        own = directory(shared, "n2")
        assert f"n2 does not answer ({shared.directory}/cluster.yaml); start it, or" in line
        assert line.rstrip().endswith(f"zraft log show {own}")
        before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
        kept = shared.run("log", "show", str(own), "--json")
        assert kept.stderr == "", "nobody has it in use"
        live = shown(shared, "n1")
        assert [{**entry, "applied": None} for entry in live][: len(json.loads(kept.stdout))] == json.loads(kept.stdout)
        assert len(json.loads(kept.stdout)) > 1
        assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before
    finally:
        shared.say("start", "n2")


def test_a_damaged_directory_is_refused_with_exit_code_5(shared: Clusters, tmp_path: Path) -> None:
    shared.say("stop", "n3")
    try:
        copy = tmp_path / "n3"
        shutil.copytree(directory(shared, "n3"), copy)
    finally:
        shared.say("start", "n3")
    segment = next(path for path in sorted(copy.glob("*.wal")) if path.read_bytes()[4_096:].strip(b"\0"))
    with segment.open("r+b") as file:
        file.seek(4_100)
        byte = file.read(1)
        file.seek(4_100)
        file.write(bytes([byte[0] ^ 1]))
    copy.chmod(0o500)
    said = shared.run("log", "show", str(copy), code=5).stderr
    copy.chmod(0o700)
    assert f"{segment.name}: damaged at offset 4096: " in said
