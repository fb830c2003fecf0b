"""Every end of a command: its exit code, and at most one line on stderr for each thing that is wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import zraft
from zraft.config.rules import LEVELS
from zraft.errors import ConfigError, OutcomeUnknown, StorageError, Unavailable

pytestmark = pytest.mark.processes

WAIT_S = 30.0


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ZRAFT_")}
    return kept | {"PYTHONPATH": str(Path(zraft.__file__).parents[1])} | more


def python(*arguments: str, cwd: Path, stdout: int = subprocess.PIPE, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(**more),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def run(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "zraft", *arguments, cwd=cwd, **more)


def command_program(line: str) -> str:
    """Return a program: the frame around a command ``status`` that runs `line`."""
    return f"""
import sys, typer, types, zraft.errors, zraft.cli.main, zraft.cli.commands
fake = types.ModuleType("fake_noun")
fake.app = typer.Typer(add_completion=False)
@fake.app.command()
def status():
    {line}
sys.modules["fake_noun"] = fake
zraft.cli.commands.MODULES["status"] = "fake_noun"
sys.argv = ["zraft", "status"]
zraft.cli.main.run()
"""


def command_that(raises: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the frame around a command ``status`` that runs the line `raises`."""
    return python("-c", command_program(raises), cwd=cwd, **more)


def test_the_version_has_one_source(tmp_path):
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"zraft {zraft.__version__}\n", "")


def test_help_names_the_nouns_and_the_exit_codes(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("cluster", "status", "monitor", "kv", "node", "4 outcome unknown"):
        assert word in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nod"], "No such command 'nod'"),
        (["node", "run"], "the following arguments are required: --id"),
        (["node", "run", "--id", "n1", "--colour"], "unrecognized arguments: --colour"),
        (["node", "run", "--id", "n1", "--status-every", "0"], "must be at least 0.1, not 0"),
        (["node", "run", "--id", "n1", "--status-every", "nan"], "must be at least 0.1, not nan"),
        (["node", "run", "--id", "n1", "--supervised", "x"], "invalid int value: 'x'"),
        (["monitor", "--tail", "x"], "'--tail'"),
        (["status", "a", "b"], "b"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(tmp_path, arguments, line):
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("zraft: ") and done.stderr.count("\n") == 1
    assert line in done.stderr and "--help" in done.stderr


def test_no_command_shows_help(tmp_path):
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: zraft" in done.stdout + done.stderr


@pytest.mark.parametrize("kind", [ConfigError, Unavailable, OutcomeUnknown, StorageError])
def test_an_error_on_purpose_is_its_line_and_its_exit_code(tmp_path, kind):
    done = command_that(f"raise zraft.errors.{kind.__name__}('n1: it is so; do this')", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (kind.exit_code, "", "zraft: n1: it is so; do this\n")


def test_every_mistake_is_a_line_of_its_own(tmp_path):
    done = command_that("raise zraft.errors.ConfigError('one', 'two')", tmp_path)
    assert (done.returncode, done.stderr) == (2, "zraft: one\nzraft: two\n")


def test_an_error_that_nobody_expected_is_one_line_and_where_to_find_more(tmp_path):
    done = command_that("{}['x']", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "zraft: internal error: KeyError: 'x' (<string>, line 7); ZRAFT_DEBUG=1 shows all of it\n"
    more = command_that("{}['x']", tmp_path, ZRAFT_DEBUG="1")
    assert more.returncode == 1 and "Traceback" in more.stderr


def test_an_interrupt_is_130_and_quiet(tmp_path):
    done = command_that("raise KeyboardInterrupt", tmp_path)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_exit_code_of_a_command_is_kept(tmp_path, code):
    assert command_that(f"raise typer.Exit({code})", tmp_path).returncode == code
    assert command_that(f"sys.exit({code})", tmp_path).returncode == code


@pytest.mark.parametrize("line", ["print('x', flush=True)", "print('x')"])
def test_a_pipe_that_nobody_reads_is_no_error_to_talk_about(tmp_path, line):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = python("-c", command_program(line), cwd=tmp_path, stdout=write_end)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_python_without_assertions_is_refused(tmp_path):
    done = python("-O", "-m", "zraft", "--version", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("zraft: python -O removes the assertions") and done.stderr.count("\n") == 1


def test_an_old_libzmq_is_refused(tmp_path):
    done = command_that("pass", tmp_path)
    assert done.returncode == 0
    program = "import zmq; zmq.zmq_version_info = lambda: (4, 3, 2); zmq.zmq_version = lambda: '4.3.2'\n"
    done = python("-c", program + command_program("pass"), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "zraft: libzmq 4.3.2 is too old; 4.3.3 or later is needed: pip install --upgrade pyzmq\n"


def test_a_node_does_not_pay_for_what_it_does_not_use(tmp_path):
    program = (
        "import sys; sys.argv = ['zraft', 'node', 'run', '--help']\n"
        "from zraft.cli.main import run\n"
        "try: run()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = python("-c", program, cwd=tmp_path)
    loaded = set(done.stderr.split())
    assert "zraft.cli.node" in loaded
    for room in (
        "zraft.client",
        "zraft.monitor",
        "zraft.supervisor",
        "zraft.cli.commands",
        "typer",
        "rich",
        "pydantic",
    ):
        assert not {name for name in loaded if name == room or name.startswith(f"{room}.")}


class TestNodeRun:
    """What is wrong is said before anything is started."""

    def test_a_node_that_is_not_in_the_file(self, tmp_path):
        file = tmp_path / "c.yaml"
        file.write_text("nodes: [{id: n1, peer: 'ipc://a', client: 'ipc://b', events: 'ipc://c'}]")
        done = run("node", "run", "--id", "n7", "--config", "c.yaml", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "zraft: c.yaml: there is no node 'n7' in it; its nodes are n1\n"

    def test_a_file_with_mistakes(self, tmp_path):
        (tmp_path / "c.yaml").write_text("nods: []\nheartbeat: {interval_ms: x}\n")
        done = run("node", "run", "--id", "n1", "--config", "c.yaml", cwd=tmp_path)
        assert done.returncode == 2
        assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
            ["zraft", "c.yaml:1"], ["zraft", "c.yaml:2"], ["zraft", "c.yaml"],
        ]  # fmt: skip

    def test_the_help_names_every_level(self, tmp_path):
        done = run("node", "run", "--help", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"one of {', '.join(LEVELS)}" in " ".join(done.stdout.split())

    def test_a_log_file_where_there_is_no_directory(self, tmp_path):
        (tmp_path / "c.yaml").write_text("nodes: [{id: n1, peer: 'ipc://a', client: 'ipc://b', events: 'ipc://c'}]")
        done = run("node", "run", "--id", "n1", "--config", "c.yaml", "--log-file", "logs/x.log", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "zraft: logs/x.log: there is no such directory; make it, or name another file with --log-file\n"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]

    def test_a_level_that_there_is_not(self, tmp_path):
        (tmp_path / "c.yaml").write_text("nodes: [{id: n1, peer: 'ipc://a', client: 'ipc://b', events: 'ipc://c'}]")
        done = run("node", "run", "--id", "n1", "--config", "c.yaml", "--log-level", "LOUD", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("zraft: --log-level: log.level: must be one of TRACE")

    def test_no_configuration_at_all(self, tmp_path):
        done = run("node", "run", "--id", "n1", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr == (
            "zraft: no cluster here (neither .zraft/cluster.yaml nor config/cluster.yaml): start one with zraft cluster up,"
            " or name one with --config FILE\n"
        )

    def test_a_log_that_cannot_be_written(self, tmp_path):
        (tmp_path / "c.yaml").write_text("nodes: [{id: n1, peer: 'ipc://a', client: 'ipc://b', events: 'ipc://c'}]")
        (tmp_path / "log").touch()
        done = run("node", "run", "--id", "n1", "--config", "c.yaml", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"zraft: {tmp_path}/log/n1.log: cannot write the log there: ")


@pytest.mark.parametrize(
    "words",
    [
        ["kv", "put", "a", "1", "--if-revision"],
        ["kv", "delete", "a", "--if-revision"],
        ["elections", "--term"],
        ["leaders", "--json", "--term"],
        ["status", "n1", "--log"],
    ],
    ids=" ".join,
)
def test_a_number_beyond_any_that_there_is_is_a_usage_error(words: list[str], tmp_path: Path) -> None:
    done = run(*words, str(1 << 63), cwd=tmp_path)
    assert done.returncode == 2
    assert f"Invalid value for '{words[-1]}'" in done.stderr
