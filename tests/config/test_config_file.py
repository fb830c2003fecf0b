"""What a configuration file may say, and what each mistake in it is answered with."""

import os
import stat
from pathlib import Path

import pytest

from zraft import config
from zraft.config import loading
from zraft.errors import ConfigError

NODE = '{id: n1, peer: "tcp://127.0.0.1:1", client: "tcp://127.0.0.1:2", events: "tcp://127.0.0.1:3"}'


def nodes(*items: str) -> str:
    return "nodes:\n" + "".join(f"  - {item}\n" for item in items)


def test_defaults_stand_where_the_file_is_silent(load, tmp_path):
    loaded = load()
    assert loaded.heartbeat.interval_ms == 100
    assert (loaded.election.timeout_lower_ms, loaded.election.timeout_upper_ms) == (500, 1_000)
    assert (loaded.limits.value_bytes_max, loaded.limits.key_bytes_max) == (1 << 20, 4_096)
    assert loaded.path == str(tmp_path / "cluster.yaml")
    assert loaded.warnings == ()
    assert [node.id for node in loaded.nodes] == ["n1", "n2", "n3"]


def test_paths_and_sockets_are_relative_to_the_file(load, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    loaded = load("hooks: {leader: ../scripts/l.sh, follower: /abs/f.sh}\nlog: {directory: logs/here}")
    assert loaded.hooks.leader == str(tmp_path.parent / "scripts/l.sh")
    assert loaded.hooks.follower == "/abs/f.sh"
    assert loaded.storage.directory == str(tmp_path / "data")
    assert loaded.log.directory == str(tmp_path / "logs/here")
    assert loaded.data_directory("n1") == tmp_path / "data" / "n1"
    assert loaded.supervisor.control == f"ipc://{tmp_path}/supervisor.sock"


def test_a_file_reached_through_a_linked_directory_means_the_same_sockets(load, tmp_path):
    loaded = load()
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert config.load(link / "cluster.yaml", env={}).supervisor.control == loaded.supervisor.control


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("election: {timeot_lower_ms: 1}", "FILE:1: election.timeot_lower_ms: no such option (did you mean election.timeout_lower_ms?); correct or remove it"),
        ("hoks: {leader: x}", "FILE:1: hoks: no such section (did you mean hooks?); correct or remove it"),
        ("path: /etc", "FILE:1: path: no such section; correct or remove it"),
        ("warnings: []", "FILE:1: warnings: no such section; correct or remove it"),
        ("\n\nheartbeat: {interval_ms: fast}", "FILE:3: heartbeat.interval_ms: must be a whole number from 1 to 86400000, not 'fast'"),
        ("heartbeat:\n  interval_ms: 0", "FILE:2: heartbeat.interval_ms: must be a whole number from 1 to 86400000, not 0"),
        ("heartbeat: {interval_ms: -5}", "FILE:1: heartbeat.interval_ms: must be a whole number from 1 to 86400000, not -5"),
        ("heartbeat: {interval_ms: 1.5}", "FILE:1: heartbeat.interval_ms: must be a whole number from 1 to 86400000, not 1.5"),
        ("heartbeat: {interval_ms: true}", "FILE:1: heartbeat.interval_ms: must be a whole number from 1 to 86400000, not true"),
        ("heartbeat:\n  interval_ms:", "FILE:2: heartbeat.interval_ms: must be a whole number from 1 to 86400000, not empty"),
        ("limits: {value_bytes_max: 16777216}", "FILE:1: limits.value_bytes_max: must be a whole number from 1 to 8388608, not 16777216"),
        ("log: {json: 1}", "FILE:1: log.json: must be true or false, not 1"),
        ("log: {level: LOUD}", "FILE:1: log.level: must be one of TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR, CRITICAL, not 'LOUD'"),
        ("storage: 5", "FILE:1: storage: must be a map of options, not 5"),
        ("storage: {directory: [a]}", "FILE:1: storage.directory: must be text, not a list"),
        ("storage: {directory: ''}", "FILE:1: storage.directory: must be text, not ''"),
        ("hooks: {leader: ''}", "FILE:1: hooks.leader: must be text or null, not ''"),
        ("cluster: {name: a b}", "FILE:1: cluster.name: must be 1 to 64 of A-Z a-z 0-9 . _ -, not 'a b'"),
        ("cluster: {id: 1234567890123456}", "FILE:1: cluster.id: must be text or null, not 1234567890123456; put it in quotes"),
        ("cluster: {id: xyz}", "FILE:1: cluster.id: must be 16 hexadecimal digits in quotes, not 'xyz'"),
        ("cluster: {id: '0000000000000000'}", "FILE:1: cluster.id: all zeros mean 'any cluster' on the wire; choose another number"),
        ("election: {timeout_lower_ms: 900, timeout_upper_ms: 800}", "FILE:1: election.timeout_lower_ms: 900 is above election.timeout_upper_ms, 800; lower this one or raise the other"),
        ("heartbeat: {interval_ms: 500}", "FILE: election.timeout_lower_ms: 500 must be above heartbeat.interval_ms, 500, or every heartbeat comes too late; use 2500 or more"),
        ("supervisor: {backoff_lower_ms: 40000}", "FILE:1: supervisor.backoff_lower_ms: 40000 is above supervisor.backoff_upper_ms, 30000; lower this one or raise the other"),
        ("supervisor: {control: nowhere}", "FILE:1: supervisor.control: must be tcp://HOST:PORT or ipc://PATH, not 'nowhere'"),
        ("log: {level: INFO, level: DEBUG}", "FILE:1: log.level: given twice, first on line 1; keep one of them"),
        ("log: {level: INFO}\nlog: {json: true}", "FILE:2: log: given twice, first on line 1; keep one of them"),
        ("log: &a {level: INFO}", "FILE:1: anchors (&) and aliases (*) are not read here; write the value out"),
        ("log: !!python/object:os.system {}", "FILE:1: the tag tag:yaml.org,2002:python/object:os.system is not read here; remove it"),
        ("log: {level: !!int 3}", "FILE:1: the tag tag:yaml.org,2002:int is not read here; remove it"),
        ("? [a, b]\n: 1", "FILE:1: a list or map as a key; keys are words"),
        ("log: {a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}}", "FILE:1: nested more than 8 deep; nothing in a configuration is"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_line_its_key_and_what_to_do(refusal, text, expected):
    assert refusal(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nodes: 3", "FILE:1: nodes: must be a list of nodes (- id: n1 ...), not 3"),
        ("nodes: []", "FILE:1: nodes: empty; list at least one node with id, peer, client, events"),
        (nodes(NODE, "n2"), "FILE:3: nodes[1]: must have id, peer, client, events; it is 'n2'"),
        (nodes(NODE.replace("id: n1, ", "")), "FILE:2: nodes[0].id: missing; every node has id, peer, client, events"),
        (nodes(NODE.replace("n1,", "n1, pear: x,")), "FILE:2: nodes[0].pear: no such key (did you mean peer?); correct or remove it"),
        (nodes(NODE.replace("n1", "1")), "FILE:2: nodes[0].id: must be text, not 1; put it in quotes"),
        (nodes(NODE.replace("n1", "a/b")), "FILE:2: nodes[0].id: must be 1 to 64 of A-Z a-z 0-9 . _ -, not 'a/b'"),
        (nodes(NODE.replace("n1", "..")), "FILE:2: nodes[0].id: must be 1 to 64 of A-Z a-z 0-9 . _ -, not '..'"),
        (nodes(NODE.replace("n1", "x" * 65)), f"FILE:2: nodes[0].id: must be 1 to 64 of A-Z a-z 0-9 . _ -, not '{'x' * 65}'"),
        (nodes(NODE, NODE.replace("127.0.0.1", "127.0.0.2")), "FILE:3: nodes[1].id: n1 is the name of nodes[0] already; choose another"),
        (nodes(NODE.replace(":3", ":2")), "FILE:2: nodes[0].events: tcp://127.0.0.1:2 is nodes[0].client already; give each its own"),
        (nodes(NODE, NODE.replace("n1", "n2").replace(":2", ":5").replace(":3", ":6")), "FILE:3: nodes[1].peer: tcp://127.0.0.1:1 is nodes[0].peer already; give each its own"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_node_is_named(refusal, text, expected):
    assert refusal(text) == [expected]


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("tcp://127.0.0.1", "must be tcp://HOST:PORT or ipc://PATH, not 'tcp://127.0.0.1'"),
        ("udp://127.0.0.1:1", "must be tcp://HOST:PORT or ipc://PATH, not 'udp://127.0.0.1:1'"),
        ("tcp://127.0.0.1:0", "must have a port from 1 to 65535, not 0"),
        ("tcp://127.0.0.1:65536", "must have a port from 1 to 65535, not 65536"),
        ("tcp://127.0.0.256:5", "must have an IP address or a host name, not 'tcp://127.0.0.256:5'"),
        ("tcp://*:5", "must name one host that the others can reach, not 'tcp://*:5'"),
        ("tcp://0.0.0.0:5", "must name one address that the others can reach, not 'tcp://0.0.0.0:5'"),
        ("tcp://[::]:5", "must name one address that the others can reach, not 'tcp://[::]:5'"),
        ("tcp://[::g]:5", "must be tcp://HOST:PORT or ipc://PATH, not 'tcp://[::g]:5'"),
        ("tcp://a b:5", "must be tcp://HOST:PORT or ipc://PATH, not 'tcp://a b:5'"),
        ("tcp://a_b..c:5", "must name one host that the others can reach, not 'tcp://a_b..c:5'"),
        ("ipc://", "must be ipc:// and the path of a socket file, not 'ipc://'"),
        ("ipc://@name", "must be ipc:// and the path of a socket file, not 'ipc://@name'"),
        ("ipc://*", "must be ipc:// and the path of a socket file, not 'ipc://*'"),
        ("ipc://dir/", "must be ipc:// and the path of a socket file, not 'ipc://dir/'"),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused(refusal, endpoint, why):
    assert refusal(nodes(NODE.replace("tcp://127.0.0.1:1", endpoint))) == [f"FILE:2: nodes[0].peer: {why}"]


@pytest.mark.parametrize(
    ("endpoint", "becomes"),
    [
        ("tcp://localhost:5", "tcp://127.0.0.1:5"),
        ("tcp://[::1]:5", "tcp://[::1]:5"),
        ("tcp://[0:0:0:0:0:0:0:1]:5", "tcp://[::1]:5"),
        ("tcp://raft-1.example.org:5", "tcp://raft-1.example.org:5"),
    ],
)
def test_an_endpoint_that_works_is_kept(load, endpoint, becomes):
    assert load(nodes(NODE.replace("tcp://127.0.0.1:1", endpoint))).nodes[0].peer == becomes


def test_every_mistake_is_reported_at_once(refusal):
    mistakes = refusal(
        """
nodes:
  - {id: n1, peer: "tcp://127.0.0.1:70000", client: "tcp://127.0.0.1:2", events: "tcp://127.0.0.1:2"}
  - {id: n1, peer: "tcp://127.0.0.1:4"}
heartbeat: {interval_ms: 0}
election: {timeout_lower_ms: 50, timeout_uper_ms: 10}
log: {level: LOUD, json: maybe}
extra: 1
""",
        env={"ZRAFT_STORAGE_SEGMENT_BYTES": "many", "ZRAFT_ELECTION_TIMEOUT": "soon", "ZRAFT_CONTAINER_PORT": "0"},
        overrides={"sessions.count_max": "none", "no.such": 1},
    )
    assert [line.split(": ")[1] if line.startswith("FILE") else line.split(": ")[0] for line in mistakes] == [
        "nodes[0].peer", "nodes[1].client", "nodes[1].events", "heartbeat.interval_ms", "election.timeout_uper_ms",
        "log.json", "extra", "ZRAFT_ELECTION_TIMEOUT", "ZRAFT_STORAGE_SEGMENT_BYTES", "ZRAFT_CONTAINER_PORT",
        "--sessions-count-max", "--no-such", "election.timeout_lower_ms", "log.level", "nodes[1].id", "nodes[0].events",
    ]  # fmt: skip


def test_no_end_of_mistakes_has_an_end(refusal):
    mistakes = refusal("\n".join(f"wrong{number}: 1" for number in range(500)))
    assert len(mistakes) == loading._MISTAKES_MAX + 1
    assert mistakes[-1] == "and 450 more mistakes"


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("nodes: [", "FILE:2: not YAML: "),
        ("a: b: c", "FILE:1: not YAML: "),
        ("\tnodes: 1", "FILE:1: not YAML: "),
        ("nodes: []\n---\nnodes: []", "FILE:2: a second document begins here"),
        ("nodes: []\n\x01", "FILE:1: not YAML: "),
        ("- nodes:", "FILE: must be a map of sections (nodes:, cluster:, ...), not a list"),
        ("{nodes: " + "[" * 200_000, "FILE:1: nested more than 8 deep"),
    ],
)
def test_what_is_not_a_configuration_at_all_is_said(refusal, text, begin):
    assert refusal(text)[0].startswith(begin)


def test_an_empty_file_lacks_nodes(tmp_path):
    file = tmp_path / "empty.yaml"
    file.touch()
    with pytest.raises(ConfigError, match="nodes: missing; list at least one node with id, peer, client and events$"):
        config.load(file, env={})


def test_numbers_of_thousands_of_digits_are_only_wrong(refusal):
    [mistake] = refusal("heartbeat: {interval_ms: " + "9" * 10_000 + "}")
    assert mistake.startswith("FILE:1: heartbeat.interval_ms: must be a whole number") and len(mistake) < 200


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: the configuration does not exist; check the path"):
        config.load(tmp_path / "none.yaml", env={})
    with pytest.raises(ConfigError, match="is not a regular file; name a file"):
        config.load(tmp_path, env={})
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ConfigError, match="is not a regular file"):
        config.load(fifo, env={})
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: the configuration is not UTF-8; save it as UTF-8"):
        config.load(latin, env={})


def test_a_file_over_a_mebibyte_is_refused(tmp_path):
    file = tmp_path / "big.yaml"
    file.write_bytes(b"#" * (1 << 20))
    with pytest.raises(ConfigError, match="nodes: missing"):
        config.load(file, env={})
    file.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="is over 1 MiB"):
        config.load(file, env={})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_said(tmp_path):
    file = tmp_path / "secret.yaml"
    file.touch(mode=0)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied; check its permissions"):
        config.load(file, env={})


def test_warnings_are_collected_not_printed(load, capsys):
    loaded = load(
        nodes(
            NODE.replace("tcp://127.0.0.1:1", "tcp://10.0.0.1:1"),
            NODE.replace("n1", "n2").replace("127.0.0.1", "10.0.0.2"),
        )
        + "heartbeat: {interval_ms: 101}\n"
    )
    ratio, even, exposed = loaded.warnings
    assert "500 ms is less than 5 heartbeats of 101 ms" in ratio and "use 505 or more" in ratio
    assert "2 nodes survive no more failures than 1" in even
    assert "n1 tcp://10.0.0.1:1 and 3 more can be reached from other machines" in exposed
    assert capsys.readouterr() == ("", "")


def test_a_ratio_of_five_does_not_warn(load):
    assert load("heartbeat: {interval_ms: 100}\nelection: {timeout_lower_ms: 500}").warnings == ()


def test_the_cluster_id_is_drawn_from_the_name_unless_given(load):
    assert load("cluster: {name: a}").cluster_id == load("cluster: {name: a}").cluster_id
    assert load("cluster: {name: a}").cluster_id != load("cluster: {name: b}").cluster_id
    assert load("cluster: {id: 00000000DEADbeef}").cluster_id == 0xDEADBEEF


class TestSocketPaths:
    """A path that no socket can have is replaced by a short private one, the same for everybody who reads the file."""

    @pytest.fixture
    def deep(self, tmp_path: Path) -> Path:
        directory = tmp_path / ("d" * 100)
        directory.mkdir()
        (directory / "cluster.yaml").write_text(
            "nodes: [{id: n1, peer: 'ipc://n1.peer', client: 'ipc://n1.client', events: 'ipc://n1.events'}]"
        )
        return directory / "cluster.yaml"

    def test_it_lies_under_the_runtime_directory(self, deep, tmp_path):
        env = {"XDG_RUNTIME_DIR": "/run"}
        first, second = config.load(deep, env=env), config.load(deep, env=env)
        node = first.nodes[0]
        assert node.peer.startswith("ipc:///run/zraft-") and node.peer.endswith("/n1.peer")
        assert len({str(Path(path).parent) for path in (node.peer, node.client, node.events)}) == 1
        assert first == second
        other = tmp_path / ("e" * 100)
        deep.parent.rename(other)
        assert config.load(other / "cluster.yaml", env=env).nodes[0].peer != node.peer

    def test_a_path_that_fits_stays(self, tmp_path):
        file = tmp_path / "cluster.yaml"
        file.write_text("nodes: [{id: n1, peer: 'ipc://a', client: 'ipc://b', events: 'ipc://c'}]")
        assert config.load(file, env={"XDG_RUNTIME_DIR": "/run"}).nodes[0].peer == f"ipc://{tmp_path}/a"

    def test_without_a_runtime_directory_the_temporary_one_serves(self, deep, monkeypatch):
        monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
        for env in ({}, {"XDG_RUNTIME_DIR": "/does/not/exist"}, {"XDG_RUNTIME_DIR": "relative"}):
            assert config.load(deep, env=env).nodes[0].peer.startswith("ipc:///tmp/zraft-")

    @pytest.mark.parametrize("trouble", ["open to others", "a link", "a file"])
    def test_a_directory_that_is_not_ours_alone_is_refused(self, deep, tmp_path, trouble, monkeypatch):
        runtime = Path("/tmp") / f"zr-{os.getpid()}"
        runtime.mkdir()
        try:
            env = {"XDG_RUNTIME_DIR": str(runtime)}
            short = Path(config.load(deep, env=env).nodes[0].peer.removeprefix("ipc://")).parent
            short.mkdir(mode=0o700)
            assert config.load(deep, env=env)
            if trouble == "open to others":
                short.chmod(0o755)
            else:
                short.rmdir()
                short.symlink_to(tmp_path) if trouble == "a link" else short.touch()
            with pytest.raises(ConfigError, match="must be a directory that belongs to you alone; remove it"):
                config.load(deep, env=env)
        finally:
            for leftover in runtime.iterdir():
                leftover.unlink() if not leftover.is_dir() or leftover.is_symlink() else leftover.rmdir()
            runtime.rmdir()

    def test_a_name_that_is_too_long_by_itself_is_refused(self, refusal):
        [mistake] = refusal(nodes(NODE.replace("tcp://127.0.0.1:1", "ipc://" + "x" * 120)))
        assert "too long for a socket" in mistake and "use a shorter name" in mistake

    def test_loading_makes_nothing(self, deep):
        before = set(os.listdir("/tmp"))
        loaded = config.load(deep, env={})
        short = Path(loaded.nodes[0].peer.removeprefix("ipc://")).parent
        assert short.name not in before and not short.exists()
        assert stat.S_IMODE(deep.parent.stat().st_mode) & 0o700
