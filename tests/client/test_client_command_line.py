"""``zraft kv`` as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from fake_cluster import FakeCluster

pytestmark = pytest.mark.processes


class Shell:
    """Runs ``zraft kv`` against a cluster."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.file = Path(cluster.directory) / "cluster.yaml"
        nodes = msgspec.to_builtins(cluster.config.nodes)
        self.file.write_bytes(msgspec.yaml.encode({"cluster": {"id": cluster.config.cluster.id}, "nodes": nodes}))

    def kv(self, *arguments: str, stdin: bytes = b"", code: int = 0) -> bytes:
        """Return what the command prints; check how it ends."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ZRAFT_")}
        ended = subprocess.run(
            [sys.executable, "-m", "zraft", "kv", *arguments],
            input=stdin,
            capture_output=True,
            timeout=30,
            check=False,
            env=environment | {"ZRAFT_CONFIG": str(self.file)},
        )
        self.said = ended.stderr.decode()
        assert ended.returncode == code, self.said
        assert b"Traceback" not in ended.stderr
        assert len(self.said.splitlines()) == (1 if code else 0)
        return ended.stdout


@pytest.fixture
def shell(cluster: FakeCluster) -> Shell:
    """Return a shell beside three fake nodes."""
    return Shell(cluster)


def test_what_is_put_is_got_listed_and_deleted(cluster: FakeCluster, shell: Shell) -> None:
    cluster.start()
    blob = bytes(range(256))
    assert shell.kv("put", "a/1", "text") == b"1\n"
    assert json.loads(shell.kv("put", "a/2", "-", "--json", stdin=blob)) == {"key": "a/2", "revision": 2}
    assert shell.kv("get", "a/1") == b"text"
    assert shell.kv("get", "a/2") == blob
    entry = {"key": "a/1", "value": "text", "create_revision": 1, "mod_revision": 1, "version": 1}
    assert json.loads(shell.kv("get", "a/1", "--json")) == entry
    assert shell.kv("list") == b"a/1\na/2\n"
    listed = json.loads(shell.kv("list", "a/", "--json"))
    assert listed[0] == entry
    assert set(listed[1]) == {"key", "value_base64", "create_revision", "mod_revision", "version"}
    assert shell.kv("list", "b") == b""
    assert shell.kv("delete", "a/1") == b""
    assert json.loads(shell.kv("delete", "a/2", "--json")) == {"key": "a/2", "deleted": True}


def test_a_condition_that_is_false_is_exit_code_1_and_changes_nothing(cluster: FakeCluster, shell: Shell) -> None:
    cluster.start()
    assert shell.kv("put", "lock", "mine", "--if-absent") == b"1\n"
    shell.kv("put", "lock", "yours", "--if-absent", code=1)
    assert "lock: not as expected, and not changed; zraft kv get lock" in shell.said
    assert shell.kv("put", "lock", "ours", "--if-value", "mine") == b"2\n"
    shell.kv("put", "lock", "x", "--if-revision", "1", code=1)
    shell.kv("delete", "lock", "--if-value", "mine", code=1)
    assert shell.kv("get", "lock") == b"ours"
    shell.kv("put", "lock", "x", "--if-absent", "--if-revision", "2", code=2)
    assert "give one of them" in shell.said
    assert json.loads(shell.kv("delete", "lock", "--if-revision", "2", "--json")) == {"key": "lock", "deleted": True}


def test_a_missing_key_is_exit_code_1(cluster: FakeCluster, shell: Shell) -> None:
    cluster.start()
    for verb in ("get", "delete"):
        shell.kv(verb, "nothing", code=1)
        assert "nothing: no such key" in shell.said


def test_what_is_out_of_bounds_is_exit_code_2(cluster: FakeCluster, shell: Shell) -> None:
    cluster.start()
    shell.kv("put", "", "x", code=2)
    assert "the key is empty" in shell.said
    shell.kv("put", "k" * 4_097, "x", code=2)
    assert "4,097 bytes" in shell.said
    shell.kv("put", "k", "-", stdin=bytes(1_048_577), code=2)
    assert "1,048,577 bytes" in shell.said


def test_no_cluster_is_exit_code_3(shell: Shell) -> None:
    shell.kv("get", "a", "--timeout", "0.3", code=3)
    assert "n1 not connected" in shell.said


def test_an_unanswered_put_is_exit_code_4(cluster: FakeCluster, shell: Shell) -> None:
    cluster.start()
    shell.kv("put", "a", "1")
    cluster.behaviour = lambda _, __, batch: "mute" if batch else "serve"
    shell.kv("put", "a", "2", "--timeout", "0.5", code=4)
    assert "once or never" in shell.said
