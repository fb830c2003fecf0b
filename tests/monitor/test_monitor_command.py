"""``zraft monitor`` as a process: what it prints, when, and how it leaves."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from monitor_process import WAIT_S, Process

pytestmark = pytest.mark.processes


@pytest.fixture
def monitor(cluster_file) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def monitor(*arguments: str, terminal: tuple[int, int] | None = None) -> Process:
        running.append(Process("--config", str(cluster_file), *arguments, terminal=terminal))
        return running[-1]

    yield monitor
    for process in running:
        process.close()


def test_json_is_one_event_a_line_and_a_role_change_is_there_within_200_ms(start, monitor):
    node = start("n1")
    process = monitor("--json")
    node.wait_for_subscriber()
    delays = []
    for term in range(1, 21):
        node.leads(term)
        process.until(lambda text: text.count("\n") == term, f"the role in term {term}")  # noqa: B023 - used at once
        record = json.loads(process.text.splitlines()[-1])
        assert (record["kind"], record["node"], record["data"]["term"]) == ("role", "n1", term)
        delays.append(time.time() * 1_000 - record["wall_ms"])
    assert sorted(delays)[-2] < 200
    assert process.end() == (0, "")


def test_it_starts_before_the_cluster_and_survives_its_coming_and_going(start, monitor):
    process = monitor("--plain")
    for term in (1, 2):
        node = start("n2")
        node.leads(term)
        process.until(lambda text: f"leader in term {term}" in text, f"term {term}")  # noqa: B023 - used at once
        node.publish("stopping", reason="SIGTERM")
        process.until(lambda text: text.count("SIGTERM") == term, "the stop")  # noqa: B023
        node.close()
    assert process.end(signal.SIGTERM) == (0, "")
    assert [line[13:] for line in process.text.splitlines()] == [
        "n2 t0   -             role     leader in term 1 (election, was candidate)",
        "n2 t0   -             stopping SIGTERM",
        "n2 t0   -             role     leader in term 2 (election, was candidate)",
        "n2 t0   -             stopping SIGTERM",
    ]


def test_the_tail_comes_first_and_nodes_can_be_chosen(start, monitor):
    first, second = start("n1"), start("n2")
    for number in range(5):
        for node in (first, second):
            node.publish("log", level="INFO", message=f"{node.id} says {number}")
            node.publish("status", term=1)
    second.settle()
    process = monitor("--plain", "--tail", "2", "--node", "n2")
    second.wait_for_subscriber()
    process.until(lambda text: text.count("\n") == 2, "the tail")
    second.publish("log", level="INFO", message="n2 says goodbye")
    process.until(lambda text: text.count("\n") == 3, "what follows")
    assert [line.rpartition("INFO ")[2] for line in process.text.splitlines()] == [
        "n2 says 3",
        "n2 says 4",
        "n2 says goodbye",
    ]
    assert process.end() == (0, "")


def test_the_tail_of_a_node_that_has_long_been_idle_is_what_happened_before(start, monitor):
    node = start("n1")
    for number in range(5):
        node.publish("log", level="INFO", message=f"says {number}")
    for second in range(1_100):
        node.publish("status", uptime_s=second)
    node.settle()
    process = monitor("--json", "--tail", "2", "--node", "n1")
    process.until(lambda text: text.count("\n") == 3, "the tail and the newest status")
    records = [json.loads(line) for line in process.text.splitlines()]
    assert [record["data"] for record in records] == [
        {"level": "INFO", "message": "says 3"},
        {"level": "INFO", "message": "says 4"},
        {"uptime_s": 1_099},
    ]
    assert process.end() == (0, "")


def test_without_a_terminal_it_prints_lines(start, monitor):
    node = start("n1")
    process = monitor()
    node.publish("log", level="INFO", message="hello")
    process.until(lambda text: "INFO hello\n" in text, "the line")
    assert "\x1b" not in process.text


def test_once_prints_the_table_and_leaves(start, monitor):
    start("n1")
    start("n2").silent = True
    begin = time.monotonic()
    process = monitor("--once")
    code, errors = process.finish()
    assert (code, errors) == (0, "")
    assert time.monotonic() - begin < 5
    header, first, second, third = process.text.splitlines()
    assert header.split() == ["NODE", "ROLE", "TERM", "LEADER", "VOTED", "COMMIT", "APPLIED", "LAST", "HEALTHY", "AGE"]
    assert first.split() == ["n1", "leader", "3", "n1", "n1", "8", "8", "9", "yes", "0.0s"]
    assert second.split() == ["n2", "down", "-", "-", "-", "-", "-", "-", "no", "-"]
    assert third.split()[:2] == ["n3", "down"]


def test_on_a_terminal_it_draws_in_place_and_restores_the_terminal(start, monitor):
    node = start("n1")
    process = monitor(terminal=(80, 24))
    process.until(lambda text: "NODE" in text, "the first picture")
    assert process.text.startswith("\x1b[?1049h\x1b[?25l\x1b[?7l")
    node.wait_for_subscriber()
    node.leads(4)
    node.publish("log", level="INFO", message="a line below")
    process.until(lambda text: "a line below" in text, "the line")
    process.until(lambda text: "n1    leader     4  n1" in text, "the row")
    frames = process.text.split("\x1b[H")[1:]
    assert all(frame.count("\r\n") < 24 for frame in frames)
    process.resize(40, 10)
    process.child.send_signal(signal.SIGWINCH)
    process.until(lambda text: "NODE ROLE" in text.rpartition("\x1b[H")[2], "a picture of 40 columns")
    assert process.end() == (0, "")
    assert process.text.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
    assert "\x1b[?1049h" not in process.text[10:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_whoever_ends_it(monitor, number):
    process = monitor(terminal=(80, 24))
    process.until(lambda text: "NODE" in text, "the first picture")
    assert process.end(number)[0] == 0
    assert process.text.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")


def test_a_reader_that_goes_away_ends_it_quietly(start, monitor):
    node = start("n1")
    process = monitor("--json")
    node.wait_for_subscriber()
    node.leads(1)
    process.until(lambda text: "\n" in text, "the first line")
    read_end = process._fd
    process._fd = os.dup(sys.stderr.fileno())
    os.close(read_end)
    node.leads(2)
    _, errors = process.child.communicate(timeout=WAIT_S)
    assert (process.child.returncode, errors) == (141, b"")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--node", "n9"], "there is no node 'n9' in it; its nodes are n1, n2, n3"),
        (
            ["--plain", "--json"],
            "--plain, --once and --json exclude each other; for a table as JSON: zraft status --json",
        ),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(monitor, arguments, line):
    code, errors = monitor(*arguments).finish()
    assert code == 2
    assert errors.startswith("zraft: ") and errors.endswith(line + "\n") and errors.count("\n") == 1
