"""Variables, one by one; which source wins; what is no configuration."""

import pytest

from zraft import config
from zraft.config.schema import OPTIONS
from zraft.errors import ConfigError
from zraft.hooks import decide

SAMPLES = {
    "cluster.name": ("other", "other"),
    "cluster.id": ("00000000000000ff", "00000000000000ff"),
    "membership.promote": ("manual", "manual"),
    "election.timeout_lower_ms": ("700", 700),
    "election.timeout_upper_ms": ("2000", 2_000),
    "heartbeat.interval_ms": ("50", 50),
    "limits.value_bytes_max": ("1000", 1_000),
    "limits.key_bytes_max": ("100", 100),
    "sessions.ttl_ms": ("1000", 1_000),
    "sessions.count_max": ("7", 7),
    "cluster.faults": ("disabled", "disabled"),
    "storage.directory": ("/var/zraft", "/var/zraft"),
    "storage.segment_bytes": ("1048576", 1 << 20),
    "storage.snapshot_bytes": ("1048576", 1 << 20),
    "hooks.leader": ("/l.sh", "/l.sh"),
    "hooks.follower": ("/f.sh", "/f.sh"),
    "hooks.grace_ms": ("1", 1),
    "hooks.timeout_ms": ("2", 2),
    "log.directory": ("/var/log/zraft", "/var/log/zraft"),
    "log.level": ("debug", "DEBUG"),
    "log.json": ("true", True),
    "events.heartbeats": ("true", True),
    "monitor.refresh_ms": ("100", 100),
    "supervisor.control": ("tcp://127.0.0.1:9999", "tcp://127.0.0.1:9999"),
    "supervisor.hung_after_ms": ("5000", 5_000),
    "supervisor.backoff_lower_ms": ("300", 300),
    "supervisor.backoff_upper_ms": ("400", 400),
}


def value(loaded: config.Config, key: str) -> object:
    section, name = key.split(".")
    return getattr(getattr(loaded, section), name)


def test_there_is_a_sample_for_every_option():
    assert SAMPLES.keys() == OPTIONS.keys()


@pytest.mark.parametrize("key", SAMPLES)
def test_every_option_has_its_variable(load, key):
    text, expected = SAMPLES[key]
    variable = "ZRAFT_" + key.replace(".", "_").upper()
    assert variable in config.VARIABLES
    assert value(load(env={variable: text}), key) == expected
    assert value(load(), key) != expected


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("ZRAFT_APP_NAME", "shop", {"cluster.name": "shop"}),
        ("ZRAFT_LOGGING", "ERROR", {"log.level": "ERROR"}),
        ("ZRAFT_ELECTION_TIMEOUT_LOWER_MILLIS", "600", {"election.timeout_lower_ms": 600}),
        ("ZRAFT_ELECTION_TIMEOUT_UPPER_MILLIS", "1600", {"election.timeout_upper_ms": 1_600}),
        ("ZRAFT_HEARTBEAT_REPEAT_MILLIS", "60", {"heartbeat.interval_ms": 60}),
        ("ZRAFT_SCRIPT_LEADER_PATH", "/srv/leader.sh", {"hooks.leader": "/srv/leader.sh"}),
        ("ZRAFT_SCRIPT_FOLLOWER_PATH", "/srv/follower.sh", {"hooks.follower": "/srv/follower.sh"}),
        ("ZRAFT_REFRESH_RATE_MILLIS", "250", {"monitor.refresh_ms": 250}),
        ("ZRAFT_HEARTBEAT_TIMEOUT", "0.05", {"heartbeat.interval_ms": 50}),
        ("ZRAFT_ELECTION_TIMEOUT", "1.5", {"election.timeout_lower_ms": 1_500, "election.timeout_upper_ms": 3_000}),
    ],
)
def test_each_name_of_older_systems_is_accepted(load, variable, text, expected):
    assert variable in config.VARIABLES
    loaded = load(env={variable: text})
    assert {key: value(loaded, key) for key in expected} == expected
    assert loaded.warnings == ()


@pytest.mark.parametrize("text", ["soon", "-1", "0", "nan", "inf", "1e999"])
def test_a_duration_that_is_none_is_refused(refusal, text):
    assert refusal(env={"ZRAFT_HEARTBEAT_TIMEOUT": text}) == [
        f"ZRAFT_HEARTBEAT_TIMEOUT: must be a number of seconds above 0, not {text!r}"
    ]


def test_a_value_from_a_variable_is_checked_like_any_other(refusal):
    assert refusal(env={"ZRAFT_LIMITS_KEY_BYTES_MAX": "x"}) == [
        "ZRAFT_LIMITS_KEY_BYTES_MAX: limits.key_bytes_max: must be a whole number from 1 to 65536, not 'x'"
    ]
    [mistake] = refusal(env={"ZRAFT_HEARTBEAT_REPEAT_MILLIS": "500"})
    assert mistake == (
        "ZRAFT_HEARTBEAT_REPEAT_MILLIS: heartbeat.interval_ms: 500 must be below election.timeout_lower_ms, 500, or every"
        " heartbeat comes too late; use 100 or less"
    )


def test_of_two_values_that_do_not_go_together_the_one_from_a_variable_is_named(refusal):
    """Whoever reads the line shall look where the odd value is, and not into a file that is as it always was."""
    (upper,) = refusal(env={"ZRAFT_ELECTION_TIMEOUT_UPPER_MS": "400"})
    assert upper == (
        "ZRAFT_ELECTION_TIMEOUT_UPPER_MS: election.timeout_upper_ms: 400 is below election.timeout_lower_ms, 500; raise this"
        " one or lower the other"
    )
    (lower,) = refusal(env={"ZRAFT_ELECTION_TIMEOUT_LOWER_MS": "90"})
    assert lower == (
        "ZRAFT_ELECTION_TIMEOUT_LOWER_MS: election.timeout_lower_ms: 90 must be above heartbeat.interval_ms, 100, or every"
        " heartbeat comes too late; use 500 or more"
    )
    assert refusal(env={"ZRAFT_SUPERVISOR_CONTROL": "tcp://127.0.0.1:7302"}) == [
        "ZRAFT_SUPERVISOR_CONTROL: supervisor.control: tcp://127.0.0.1:7302 is nodes[1].events already; give each its own"
    ]
    assert refusal(overrides={"log.level": "LOUD"})[0].startswith("--log-level: log.level: must be one of TRACE")


def test_a_warning_names_the_variable_too(load):
    (warning,) = load(env={"ZRAFT_HEARTBEAT_INTERVAL_MS": "200"}).warnings
    assert warning.startswith(
        "ZRAFT_HEARTBEAT_INTERVAL_MS: election.timeout_lower_ms: 500 ms is less than 5 heartbeats"
    )


def test_it_is_known_which_variable_or_flag_has_set_an_option(load):
    assert load("log: {json: true}").origins == {}
    loaded = load(env={"ZRAFT_APP_NAME": "mine", "ZRAFT_LOG_JSON": "true"}, overrides={"log.json": False})
    assert loaded.origins == {"cluster.name": "ZRAFT_APP_NAME", "log.json": "--log-json"}


class TestContainerPort:
    """ZRAFT_CONTAINER_PORT moves one node's own endpoints, and nobody else's."""

    def test_the_three_ports_follow_each_other(self, load):
        loaded = load(env={"ZRAFT_CONTAINER_PORT": "9000"})
        assert loaded == load()
        moved = config.own_port(loaded, "n2", env={"ZRAFT_CONTAINER_PORT": "9000"})
        node = moved.node("n2")
        assert (node.peer, node.client, node.events) == (
            "tcp://127.0.0.1:9000", "tcp://127.0.0.1:9001", "tcp://127.0.0.1:9002",
        )  # fmt: skip
        assert [moved.node(name) for name in ("n1", "n3")] == [loaded.node(name) for name in ("n1", "n3")]

    def test_without_it_nothing_moves(self, load):
        loaded = load()
        assert config.own_port(loaded, "n2", env={}) is loaded
        assert config.own_port(loaded, "n2", env={"ZRAFT_CONTAINER_PORT": ""}) is loaded

    @pytest.mark.parametrize("text", ["0", "65534", "-1", "1.5", "http", "٣", "9" * 5_000])
    def test_what_is_no_port_is_refused(self, load, refusal, text):
        [mistake] = refusal(env={"ZRAFT_CONTAINER_PORT": text})
        assert mistake.startswith("ZRAFT_CONTAINER_PORT: must be a port from 1 to 65533")
        with pytest.raises(ConfigError, match="must be a port"):
            config.own_port(load(), "n1", env={"ZRAFT_CONTAINER_PORT": text})

    def test_a_port_of_another_node_is_refused(self, load):
        with pytest.raises(ConfigError, match=r"tcp://127.0.0.1:7103 is nodes\[1\]\.peer already"):
            config.own_port(load(), "n2", env={"ZRAFT_CONTAINER_PORT": "7103"})

    def test_sockets_have_no_port(self, load):
        loaded = load("nodes: [{id: n1, peer: 'ipc://a', client: 'ipc://b', events: 'ipc://c'}]")
        with pytest.raises(ConfigError, match="has no port; unset it, or give the node tcp endpoints"):
            config.own_port(loaded, "n1", env={"ZRAFT_CONTAINER_PORT": "9000"})


class TestPriority:
    """ZRAFT_PRIORITY says how much the node that is run should lead, and concerns no other."""

    def test_it_is_one_nodes_own(self, load):
        loaded = load(env={"ZRAFT_PRIORITY": "7"})
        chosen = config.own_priority(loaded, "n2", env={"ZRAFT_PRIORITY": "7"})
        assert [node.priority for node in chosen.nodes] == [1, 7, 1]
        assert config.own_priority(loaded, "n2", env={}) is loaded
        assert config.own_priority(loaded, "n2", env={"ZRAFT_PRIORITY": "0"}).node("n2").priority == 0

    @pytest.mark.parametrize("text", ["101", "-1", "1.5", "high", "0000", "٣", "9" * 5_000])
    def test_what_is_no_priority_is_refused(self, load, refusal, text):
        [mistake] = refusal(env={"ZRAFT_PRIORITY": text})
        assert mistake.startswith("ZRAFT_PRIORITY: must be a whole number from 0 to 100")
        with pytest.raises(ConfigError, match="must be a whole number"):
            config.own_priority(load(), "n1", env={"ZRAFT_PRIORITY": text})


class TestPrecedence:
    """Flag over environment over file over default."""

    def test_each_layer_wins_over_the_one_below(self, load):
        file = "log: {level: WARNING}"
        env = {"ZRAFT_LOG_LEVEL": "ERROR"}
        flags = {"log.level": "DEBUG"}
        assert load().log.level == "INFO"
        assert load(file).log.level == "WARNING"
        assert load(file, env=env).log.level == "ERROR"
        assert load(file, env=env, overrides=flags).log.level == "DEBUG"
        assert load(file, env=env, overrides={"log.level": None}).log.level == "ERROR"

    def test_a_variable_that_is_set_and_empty_counts_as_not_set(self, load):
        empty = dict.fromkeys(config.VARIABLES, "")
        assert load("log: {level: WARNING}", env=empty) == load("log: {level: WARNING}")

    def test_null_takes_a_hook_away(self, load):
        assert load("hooks: {leader: l.sh}", env={"ZRAFT_HOOKS_LEADER": "null"}).hooks.leader is None

    def test_an_option_is_wrong_in_its_layer_even_if_another_wins(self, refusal):
        assert len(refusal("log: {json: 5}", env={"ZRAFT_LOG_JSON": "true"})) == 1

    def test_the_options_own_variable_wins_and_says_so(self, load):
        loaded = load(env={"ZRAFT_CLUSTER_NAME": "a", "ZRAFT_APP_NAME": "b"})
        assert loaded.cluster.name == "a"
        assert loaded.warnings == (
            "ZRAFT_APP_NAME: overruled for cluster.name by ZRAFT_CLUSTER_NAME; unset one of the two",
        )
        assert load(env={"ZRAFT_CLUSTER_NAME": "a", "ZRAFT_APP_NAME": "a"}).warnings == ()

    def test_milliseconds_win_over_seconds(self, load):
        loaded = load(env={"ZRAFT_ELECTION_TIMEOUT": "2", "ZRAFT_ELECTION_TIMEOUT_LOWER_MILLIS": "900"})
        assert (loaded.election.timeout_lower_ms, loaded.election.timeout_upper_ms) == (900, 4_000)
        assert len(loaded.warnings) == 1

    def test_paths_in_variables_and_flags_are_relative_to_the_current_directory(self, load, tmp_path, monkeypatch):
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        loaded = load(
            env={"ZRAFT_SCRIPT_LEADER_PATH": "l.sh"}, overrides={"hooks.follower": here.relative_to(here) / "f.sh"}
        )
        assert loaded.hooks.leader == str(here / "l.sh")
        assert loaded.hooks.follower == str(here / "f.sh")

    def test_nodes_come_whole_from_one_layer(self, load):
        one = '[{id: x, peer: "tcp://127.0.0.1:1", client: "tcp://127.0.0.1:2", events: "tcp://127.0.0.1:3"}]'
        assert [node.id for node in load(env={"ZRAFT_NODES": one}).nodes] == ["x"]
        flag = [{"id": "y", "peer": "tcp://127.0.0.1:1", "client": "tcp://127.0.0.1:2", "events": "tcp://127.0.0.1:3"}]
        assert [node.id for node in load(env={"ZRAFT_NODES": one}, overrides={"nodes": flag}).nodes] == ["y"]

    def test_nodes_in_a_variable_are_checked(self, refusal):
        assert refusal(env={"ZRAFT_NODES": "[{id: x}"})[0].startswith("ZRAFT_NODES: not YAML")
        assert refusal(env={"ZRAFT_NODES": "5"}) == [
            "ZRAFT_NODES: nodes: must be a list of nodes (- id: n1 ...), not 5"
        ]

    def test_the_environment_of_the_process_is_the_default(self, tmp_path, monkeypatch):
        file = tmp_path / "c.yaml"
        file.write_text("nodes: [{id: n1, peer: 'ipc://a', client: 'ipc://b', events: 'ipc://c'}]")
        monkeypatch.setenv("ZRAFT_APP_NAME", "from-outside")
        assert config.load(file).cluster.name == "from-outside"


class TestOtherVariables:
    """What begins with ZRAFT_ and is no configuration."""

    def test_hook_variables_are_never_configuration(self, load):
        assert not set(config.HOOK_VARIABLES) & set(config.VARIABLES)
        assert {*config.HOOK_VARIABLES, "ZRAFT_CONFIG"} == set(decide.VARIABLES)
        assert load(env={name: "1" for name in config.HOOK_VARIABLES}) == load()

    def test_variables_of_the_command_line_are_known(self, load):
        assert load(env=dict.fromkeys(config.OTHER_VARIABLES, "1")).warnings == ()

    def test_an_unknown_one_is_warned_about_with_the_nearest_name(self, load):
        wrong = "ZRAFT_ELECTION_TIMEOUT_LOWER_MILIS"
        loaded = load(env={wrong: "5", "ZRAFT_1": "1", "OTHER": "1"})
        assert loaded.warnings == (
            "ZRAFT_1: zraft has no such variable; it is ignored",
            f"{wrong}: zraft has no such variable (did you mean ZRAFT_ELECTION_TIMEOUT_LOWER_MILLIS?); it is ignored",
        )


class TestEnvFile:
    """KEY=VALUE files."""

    def test_what_it_reads(self, tmp_path):
        file = tmp_path / ".env"
        file.write_text(
            "# a comment\n\nA=1\nexport B = two words  # not this\nC='literal $x \\n # kept' # gone\n"
            'D="a\\nb \\"q\\" \\\\ \\$"\nE=\nF=a#b\nG=\nA=again\n'
        )
        assert config.read_env_file(file) == {
            "A": "again", "B": "two words", "C": "literal $x \\n # kept", "D": 'a\nb "q" \\ $',
            "E": "", "F": "a#b", "G": "",
        }  # fmt: skip

    def test_every_line_that_is_wrong_is_named(self, tmp_path):
        file = tmp_path / ".env"
        file.write_text("A=1\nnonsense\n1A=2\nB='open\nC=\"open\n")
        with pytest.raises(ConfigError) as raised:
            config.read_env_file(file)
        assert raised.value.mistakes == tuple(
            f"{file}:{line}: not KEY=VALUE; write it so, or begin the line with #" for line in (2, 3, 4, 5)
        )

    def test_a_file_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(ConfigError, match="the environment file does not exist; check the path"):
            config.read_env_file(tmp_path / "none")
