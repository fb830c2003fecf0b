"""``zraft leader`` as a process: what it prints, what it runs, and how it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from awaiting import alive, eventually
from monitor_process import ROOT, Process

from zraft.monitor.leaderwatch import GRACE_MS

pytestmark = pytest.mark.processes

NOTE = 'echo "$ZRAFT_LEADER $ZRAFT_TERM $ZRAFT_LEADER_ENDPOINT $*" >> notes'


class Watch:
    """``zraft leader --watch -- CMD`` in a directory where CMD leaves notes."""

    def __init__(self, file: Path, script: str = "", *arguments: str) -> None:
        self.place = file.parent
        command = ()
        if script:
            program = self.place / "cmd"
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
            command = ("--", str(program), *arguments)
        self.process = Process("--config", str(file), "--watch", *command, command="leader", cwd=self.place)

    def prints(self, line: str) -> None:
        self.process.until(lambda text: f"{line} (" in text, line)

    def notes(self, name: str = "notes") -> list[str]:
        file = self.place / name
        return file.read_text().splitlines() if file.exists() else []

    def noted(self, *notes: str) -> None:
        eventually(f"{notes} and not {self.notes()}", lambda: self.notes() == list(notes))


@pytest.fixture
def watch(cluster_file) -> Iterator[Callable[..., Watch]]:
    running: list[Watch] = []

    def watch(script: str = "", *arguments: str) -> Watch:
        running.append(Watch(cluster_file, script, *arguments))
        return running[-1]

    yield watch
    for each in running:
        each.process.close()


def leader(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ZRAFT_")}
    words = [sys.executable, "-m", "zraft", "leader", "--config", str(file), *arguments]
    environment |= {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_who_leads_is_printed(start, cluster_file):
    for name in ("n1", "n2"):
        start(name)
    endpoint = f"ipc://{cluster_file.parent}/n1.c"
    done = leader(cluster_file)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"n1 leads term 3 ({endpoint})\n", "")
    assert json.loads(leader(cluster_file, "--json").stdout) == {"leader": "n1", "term": 3, "endpoint": endpoint}


def test_that_nobody_leads_is_exit_code_1_and_that_nobody_answers_3(start, cluster_file):
    done = leader(cluster_file)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("zraft: no node of watched answers")
    start("n2")
    done = leader(cluster_file, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (1, {"leader": None, "term": None, "endpoint": None})
    assert done.stderr == "zraft: nobody leads now; is a majority of the nodes up? zraft status\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--", "true"), "a command is for --watch"),
        (("--watch", "--transfer", "n1"), "exclude each other"),
        (("--transfer", "n9"), "there is no node 'n9' in it"),
        (("--watch", "--", "no-such-program"), "no-such-program: no such command"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(cluster_file, arguments, says):
    done = leader(cluster_file, *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert says in done.stderr


def test_each_change_is_a_line_as_it_happens_until_somebody_ends_it(start, watch, cluster_file):
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)):
        node = start("n1")
        each = watch()
        each.prints("n1 leads term 3")
        node.wait_for_subscriber()
        node.leads(4)
        each.prints("n1 leads term 4")
        assert each.process.end(number) == (code, "")
        endpoint = f"ipc://{cluster_file.parent}/n1.c"
        assert each.process.text == f"n1 leads term 3 ({endpoint})\nn1 leads term 4 ({endpoint})\n"
        node.close()


def test_that_nobody_answers_is_said_once_and_again_when_all_have_gone(start, watch, cluster_file):
    each = watch()
    says = f"zraft: no node of watched answers ({cluster_file}); watching until one does; see zraft cluster status\n"
    assert each.process.complaint() == says
    node = start("n1")
    each.prints("n1 leads term 3")
    node.close()
    assert each.process.complaint() == says
    assert each.process.end() == (130, "")


def test_the_command_runs_for_the_current_leader_and_for_each_next_one(start, watch, cluster_file):
    nodes = {name: start(name) for name in ("n1", "n2")}
    each = watch(NOTE, "a word", "--flag")
    each.noted(f"n1 3 ipc://{cluster_file.parent}/n1.c a word --flag")
    for node in nodes.values():
        node.wait_for_subscriber()
    nodes["n2"].leads(5)
    each.noted(
        *(f"{name} {term} ipc://{cluster_file.parent}/{name}.c a word --flag" for name, term in (("n1", 3), ("n2", 5)))
    )
    nodes["n1"].leads(4)
    nodes["n1"].settle()
    nodes["n1"].leads(6)
    each.prints("n1 leads term 6")
    eventually("the run for term 6", lambda: [note.split()[1] for note in each.notes()] == ["3", "5", "6"])


def test_runs_do_not_overlap_and_what_came_meanwhile_is_skipped_for_the_newest(start, watch):
    node = start("n1")
    each = watch('echo "begins $ZRAFT_TERM" >> notes; cat gate > /dev/null; echo "ends $ZRAFT_TERM" >> notes')
    gate = each.place / "gate"
    os.mkfifo(gate)
    each.noted("begins 3")
    node.wait_for_subscriber()
    for term in (4, 5, 6):
        node.leads(term)
    each.prints("n1 leads term 6")
    assert each.notes() == ["begins 3"]
    gate.write_text("go")  # Returns when the command has opened it, and lets it end.
    each.noted("begins 3", "ends 3", "begins 6")
    gate.write_text("go")
    each.noted("begins 3", "ends 3", "begins 6", "ends 6")


def test_a_failure_is_reported_and_tried_again_until_it_succeeds(start, watch):
    start("n1")
    each = watch(NOTE + "; [ $(wc -l < notes) -ge 2 ] || exit 7")
    assert each.process.complaint() == f"zraft: {each.place}/cmd for n1, term 3: exit code 7; again in 1 s\n"
    eventually("the second try", lambda: len(each.notes()) == 2)
    assert each.process.end() == (130, "")


def test_a_failure_is_not_repeated_for_a_leader_that_is_none_any_more(start, watch):
    node = start("n1")
    each = watch('echo "$ZRAFT_TERM" >> notes; [ "$ZRAFT_TERM" = 4 ] || { cat gate > /dev/null; kill -9 $$; }')
    os.mkfifo(each.place / "gate")
    each.noted("3")
    node.wait_for_subscriber()
    node.leads(4)
    each.prints("n1 leads term 4")
    (each.place / "gate").write_text("go")
    assert each.process.complaint().endswith("n1, term 3: ended by SIGKILL; a newer one leads\n")
    each.noted("3", "4")


def test_a_command_that_cannot_be_run_any_more_is_a_failure_like_any_other(start, watch):
    node = start("n1")
    each = watch(NOTE)
    eventually("the first run", each.notes)
    (each.place / "cmd").unlink()
    node.wait_for_subscriber()
    node.leads(4)
    assert "term 4: cannot be run: No such file or directory; again in 1 s" in each.process.complaint()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_end_of_the_watch_is_the_end_of_the_command_and_of_what_it_started(start, watch, number, code):
    start("n1")
    each = watch('echo $$ >> pids; sh -c "trap : TERM; echo \\$\\$ >> pids; while :; do sleep 1; done"')
    pids = eventually("both run", lambda: len(found := each.notes("pids")) == 2 and [int(pid) for pid in found])
    assert each.process.end(number)[0] == code
    assert not any(alive(pid) for pid in pids)


def test_a_second_ctrl_c_waits_for_nothing(start, watch):
    start("n1")
    each = watch('trap "echo asked >> notes" TERM; echo $$ >> pids; while :; do sleep 1; done')
    (pid,) = eventually("it runs", lambda: [int(pid) for pid in each.notes("pids")])
    each.process.child.send_signal(signal.SIGINT)
    each.noted("asked")
    began = time.monotonic()
    assert each.process.end(signal.SIGINT)[0] == 130
    assert time.monotonic() - began < GRACE_MS / 2_000
    assert not alive(pid)


def test_a_command_that_has_ended_leaves_its_children_alone(start, watch):
    """It may have started a server, which is to go on."""
    node = start("n1")
    each = watch("sleep 60 > /dev/null 2>&1 & echo $! >> pids")
    eventually("it runs", lambda: each.notes("pids"))
    node.wait_for_subscriber()
    node.leads(4)
    pids = eventually("it runs again", lambda: len(found := each.notes("pids")) == 2 and [int(pid) for pid in found])
    try:
        each.process.end()
        assert alive(pids[0]), "its command had ended before the next one began"
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)
