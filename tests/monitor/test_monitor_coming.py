"""``zraft monitor`` where there is no cluster yet: it says once what it waits for, and watches it when it comes."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from monitor_process import Process

pytestmark = pytest.mark.processes

Watch = Callable[..., Process]


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Watch]:
    """Run it in an empty directory."""
    running: list[Process] = []

    def monitor(*arguments: str, terminal: tuple[int, int] | None = None, **variables: str) -> Process:
        running.append(Process(*arguments, terminal=terminal, cwd=tmp_path, **variables))
        return running[-1]

    yield monitor
    for process in running:
        process.close()


@pytest.fixture
def appear(tmp_path: Path, cluster_file: Path) -> Callable[[str], Path]:
    """Put the file of three nodes at a place, whole from the beginning, as `zraft cluster up` does."""
    text = cluster_file.read_text().replace("ipc://", f"ipc://{cluster_file.parent}/")

    def appear(where: str) -> Path:
        file = tmp_path / where
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name("draft")
        draft.write_text(text)
        return draft.replace(file)

    return appear


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        (([], {}), ".zraft/cluster.yaml"),
        ((["--config", ".zraft/cluster.yaml"], {}), ".zraft/cluster.yaml"),
        (([], {"ZRAFT_CONFIG": "somewhere/mine.yaml"}), "somewhere/mine.yaml"),
        (([], {"ZRAFT_DIR": "elsewhere"}), "elsewhere/cluster.yaml"),
    ],
)
def test_it_waits_for_the_cluster_and_then_watches_it(start, monitor: Watch, appear, asked, where: str):
    arguments, variables = asked
    process = monitor("--plain", *arguments, **variables)
    assert process.complaint() == f"zraft: note: no cluster yet; waiting for {where} (zraft cluster up)\n"
    appear(where)
    start("n1").leads(4)
    process.until(lambda text: "leader in term 4" in text, "the leader")
    assert process.end() == (0, "")


def test_on_a_terminal_the_table_appears_with_the_cluster(start, monitor: Watch, appear):
    process = monitor(terminal=(80, 24))
    assert "waiting for .zraft/cluster.yaml" in process.complaint()
    appear(".zraft/cluster.yaml")
    start("n1").leads(4)
    process.until(lambda text: "n1    leader     4  n1" in text, "the row")
    assert process.end() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(monitor: Watch, number: int):
    process = monitor()
    process.complaint()
    assert process.end(number) == (0, "")


def test_the_file_of_a_checkout_is_watched_once_its_cluster_runs(start, monitor: Watch, appear):
    appear("config/cluster.yaml")
    process = monitor("--json")
    assert process.complaint() == (
        "zraft: note: no cluster yet; waiting for .zraft/cluster.yaml, or for the cluster of config/cluster.yaml to run"
        " (zraft cluster up)\n"
    )
    start("n1").leads(4)
    process.until(lambda text: '"term":4' in text, "the leader")
    assert process.end() == (0, "")


def test_in_a_checkout_the_first_cluster_up_is_found(start, monitor: Watch, appear, tmp_path: Path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/cluster.yaml").write_text(
        "nodes: [{id: n1, peer: 'ipc://p', client: 'ipc://c', events: 'ipc://e'}]\n"
    )
    process = monitor("--plain")
    process.complaint()
    appear(".zraft/cluster.yaml")
    start("n2").leads(4)
    process.until(lambda text: "n2" in text and "leader in term 4" in text, "the leader")
    assert process.end() == (0, "")


def test_a_file_that_comes_and_is_wrong_ends_it_with_its_mistakes(monitor: Watch, tmp_path: Path):
    process = monitor()
    process.complaint()
    (tmp_path / ".zraft").mkdir()
    (tmp_path / "draft").write_text("nodes: [")
    (tmp_path / "draft").replace(tmp_path / ".zraft/cluster.yaml")
    code, errors = process.finish()
    assert code == 2
    assert errors.startswith("zraft: .zraft/cluster.yaml:") and "not YAML" in errors


def test_a_table_that_is_printed_once_waits_for_nobody(monitor: Watch, appear):
    code, errors = monitor("--once").finish()
    assert code == 2
    assert "no cluster here" in errors and errors.count("\n") == 1
    appear(".zraft/cluster.yaml")
    process = monitor("--once")
    code, errors = process.finish()
    assert code == 3
    assert errors.startswith("zraft: no node of watched answers") and errors.count("\n") == 1
    assert len(process.text.splitlines()) == 4
