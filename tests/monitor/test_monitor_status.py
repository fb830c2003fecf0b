"""``zraft status`` against nodes that answer, that do not, and that answer nonsense."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import zraft
from zraft.cli import find
from zraft.cli.status import as_json, block, table
from zraft.monitor import statuses
from zraft.requests import StatusRequest

pytestmark = pytest.mark.processes

KEYS = [
    "node", "endpoint", "role", "term", "leader", "voted_for", "commit_index", "last_applied", "last_index",
    "election_timer_ms", "election_timeout_ms", "healthy", "uptime_s", "pid",
]  # fmt: skip


def run(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ZRAFT_")}
    environment |= {"PYTHONPATH": str(Path(zraft.__file__).parents[1])} | more
    command = [sys.executable, "-m", "zraft", "status", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_json_has_the_documented_keys_and_lists_nodes_that_do_not_answer(start, cluster_file):
    start("n1")
    start("n2").silent = True
    done = run("--json", "--config", str(cluster_file), cwd=Path("/"))
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert list(answer) == ["cluster", "nodes"] and answer["cluster"] == "watched"
    assert [list(node) for node in answer["nodes"]] == [KEYS] * 3
    first, second, third = answer["nodes"]
    endpoint = f"ipc://{cluster_file.parent}/n1.c"
    assert list(first.values()) == ["n1", endpoint, "leader", 3, "n1", "n1", 8, 8, 9, 120, 731, True, 12.5, 4_321]
    for node, name in ((second, "n2"), (third, "n3")):
        assert (node["node"], node["endpoint"], node["healthy"]) == (
            name,
            f"ipc://{cluster_file.parent}/{name}.c",
            False,
        )
        assert [node[key] for key in KEYS if key not in ("node", "endpoint", "healthy")] == [None] * 11


@pytest.mark.alone
def test_it_takes_less_than_a_second_though_nodes_are_paused(start, watched):
    start("n1")
    start("n2").silent = True
    start("n3").silent = True
    begin = time.monotonic()
    answers = statuses.ask(watched, ["n1", "n2", "n3"])
    assert time.monotonic() - begin < 0.9
    assert [answer is not None for answer in answers.values()] == [True, False, False]


def test_the_table_is_aligned_and_ends_with_the_warnings(start, cluster_file):
    for name in ("n1", "n2"):
        start(name)
    done = run("--config", str(cluster_file), cwd=Path("/"))
    where = cluster_file.parent
    assert done.stdout.splitlines() == [
        f"NODE  ENDPOINT{' ' * (len(str(where)) + 5)}ROLE      TERM  LEADER  VOTED  COMMIT  APPLIED  LAST  HEALTHY  UPTIME   PID",
        f"n1    ipc://{where}/n1.c  leader       3  n1      n1          8        8     9  yes         12s  4321",
        f"n2    ipc://{where}/n2.c  follower     3  n1      n1          8        8     9  yes         12s  4321",
        f"n3    ipc://{where}/n3.c  -            -  -       -           -        -     -  no            -     -",
        "warning: n2: the disk is slow",
    ]


def test_colours_only_where_they_are_wanted(watched):
    answers = dict.fromkeys(["n1"])
    assert not any("\x1b" in line for line in table(watched, answers, colour=False))
    assert all("\x1b" in line for line in table(watched, answers, colour=True))


def test_one_node_shows_its_newest_entries(start, cluster_file):
    node = start("n1")
    done = run("n1", "--log", "2", "--config", str(cluster_file), cwd=Path("/"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"n1 ipc://{cluster_file.parent}/n1.c",
        "  healthy           yes",
        "  state             leader",
        "  term              3",
        "  leader            n1",
        "  voted for         n1",
        "  commit index      8 (applied 8, last 9)",
        "  election timeout  120/731 ms",
        "  uptime            12s (pid 4321)",
        "  log, newest first (* committed and applied)",
        "    9@3  command     kv put a=1",
        "  * 8@3  noop        n1",
    ]
    run("n1", "--config", str(cluster_file), cwd=Path("/"))
    run("n1", "--log", "0", "--config", str(cluster_file), cwd=Path("/"))
    assert [request.log for request in node.asked] == [2, 10, 0]


def test_one_node_as_json_has_its_log_if_that_is_asked_for(start, cluster_file):
    start("n1")
    with_log = json.loads(run("n1", "--json", "--log", "1", "--config", str(cluster_file), cwd=Path("/")).stdout)
    assert [entry["index"] for entry in with_log["nodes"][0]["log"]] == [9]
    [alone] = json.loads(run("n1", "--json", "--config", str(cluster_file), cwd=Path("/")).stdout)["nodes"]
    assert list(alone) == KEYS


def test_exit_code_3_when_nobody_answers(cluster_file):
    done = run("--config", str(cluster_file), cwd=Path("/"))
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr.startswith("zraft: no node of watched answers") and done.stderr.count("\n") == 1
    one = run("n2", "--config", str(cluster_file), cwd=Path("/"))
    assert (one.returncode, one.stdout) == (3, "")
    assert one.stderr.startswith("zraft: n2 does not answer")
    as_text = run("--json", "--config", str(cluster_file), cwd=Path("/"))
    assert as_text.returncode == 3 and len(json.loads(as_text.stdout)["nodes"]) == 3


def test_what_makes_no_sense_is_a_usage_error(cluster_file):
    for arguments, word in ((["--log", "3"], "name the node"), (["n9"], "there is no node 'n9' in it")):
        done = run(*arguments, "--config", str(cluster_file), cwd=Path("/"))
        assert done.returncode == 2 and word in done.stderr and done.stderr.count("\n") == 1


def test_an_answer_that_is_nonsense_counts_as_none(start, watched):
    start("n1").lie = {"node": "n1"}
    answers = statuses.ask(watched, ["n1"])
    assert answers == {"n1": None}
    assert json.loads(as_json(watched, answers))["nodes"][0]["healthy"] is False


def test_what_a_node_says_moves_no_cursor(watched, start):
    start("n2")
    answer = statuses.ask(watched, ["n2"], 2)["n2"]
    assert answer is not None
    answer.warnings[:] = ["\x1b[2J"]
    assert "\x1b" not in "".join([*block(answer), *table(watched, {"n2": answer}, colour=False)])


class TestFindConfig:
    """``--config``, else ZRAFT_CONFIG, else ``.zraft/``, else ``config/``; what does not run gives way to what does."""

    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.chdir(tmp_path)
        for name in ("ZRAFT_CONFIG", "ZRAFT_DIR"):
            monkeypatch.delenv(name, raising=False)
        return tmp_path

    @pytest.fixture
    def write(self, here, cluster_file):
        def write(path: str, *, running: bool = False) -> None:
            file = here / path
            file.parent.mkdir(exist_ok=True)
            end = cluster_file.parent if running else "/tmp/nowhere"
            file.write_text(
                f"cluster: {{name: watched}}\nnodes: [{{id: n1, peer: 'ipc://{end}/n1.p', client: 'ipc://{end}/n1.c',"
                f" events: 'ipc://{end}/n1.e'}}]\n"
            )

        return write

    def test_a_flag_wins_over_the_variable_and_that_over_the_rest(self, here, write, monkeypatch):
        for name in ("flag.yaml", "variable.yaml", ".zraft/cluster.yaml", "config/cluster.yaml"):
            write(name)
        monkeypatch.setenv("ZRAFT_CONFIG", "variable.yaml")
        assert find.find_config("flag.yaml").path == str(here / "flag.yaml")
        assert find.find_config(None).path == str(here / "variable.yaml")
        monkeypatch.delenv("ZRAFT_CONFIG")
        assert find.find_config(None).path == str(here / ".zraft/cluster.yaml")
        (here / ".zraft/cluster.yaml").unlink()
        assert find.find_config(None).path == str(here / "config/cluster.yaml")

    def test_nothing_there_is_said_with_what_to_do(self):
        with pytest.raises(zraft.errors.ConfigError, match=r"no cluster here .*: start one with zraft cluster up"):
            find.find_config(None)

    def test_a_run_directory_may_be_elsewhere(self, here, write, monkeypatch):
        monkeypatch.setenv("ZRAFT_DIR", "other")
        with pytest.raises(zraft.errors.ConfigError, match="ZRAFT_DIR names a directory without a cluster"):
            find.find_config(None)
        write("other/cluster.yaml")
        write("config/cluster.yaml", running=True)
        assert find.find_config(None).path == str(here / "other/cluster.yaml")

    def test_one_that_does_not_run_is_passed_over_with_a_note_when_another_answers(self, here, write, start, capsys):
        write(".zraft/cluster.yaml")
        write("config/cluster.yaml", running=True)
        start("n1")
        assert find.find_config(None).path == str(here / "config/cluster.yaml")
        assert capsys.readouterr().err == (
            "zraft: note: the cluster of .zraft/cluster.yaml does not run; using config/cluster.yaml, which does\n"
        )

    def test_one_that_runs_is_kept(self, here, write, start, capsys):
        write(".zraft/cluster.yaml", running=True)
        write("config/cluster.yaml")
        start("n1")
        assert find.find_config(None).path == str(here / ".zraft/cluster.yaml")
        assert capsys.readouterr().err == ""

    def test_where_nothing_runs_the_first_is_kept(self, here, write, capsys):
        write(".zraft/cluster.yaml")
        write("config/cluster.yaml")
        assert find.find_config(None).path == str(here / ".zraft/cluster.yaml")
        assert capsys.readouterr().err == ""

    def test_a_strange_file_under_config_disturbs_nobody(self, here, write):
        write(".zraft/cluster.yaml")
        (here / "config").mkdir()
        (here / "config/cluster.yaml").write_text("apiVersion: v1\n")
        assert find.find_config(None).path == str(here / ".zraft/cluster.yaml")


def test_a_status_request_is_what_survey_sends(start, watched):
    node = start("n1")
    statuses.ask(watched, ["n1"], 5)
    assert [type(request) for request in node.asked] == [StatusRequest]
