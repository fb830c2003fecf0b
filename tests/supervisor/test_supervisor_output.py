"""Lines: cut from bytes, prefixed, coloured, and never in the way of the loop."""

import os
import threading
from pathlib import Path

import pytest

from zraft.supervisor import output
from zraft.supervisor.output import Prefixer, Printer, wants_colour
from zraft.supervisor.process import LineSplitter

NOON = 1_000_000_000.0 - (1_000_000_000 % 86_400) + 43_200 + 7 * 60 + 5


def prefixer(*, colour: bool = False) -> Prefixer:
    return Prefixer(["n1", "n2"], colour=colour, clock=lambda: NOON)


def test_a_line_has_time_name_and_bar():
    assert prefixer().line("n1", "elected") == "12:07:05 n1    | elected\n"
    assert prefixer().line("zraft", "n1 stopped") == "12:07:05 zraft | n1 stopped\n"


def test_each_name_has_its_own_colour():
    lines = [prefixer(colour=True).line(name, "x") for name in ("n1", "n2", "zraft")]
    assert lines[0] == "12:07:05 \x1b[36mn1    |\x1b[0m x\n"
    assert len({line.partition("m")[0] for line in lines}) == 3


def test_escape_sequences_of_a_script_do_not_drive_the_terminal():
    assert prefixer().line("n1", "a\x1b[2Jb\x07\tc").endswith(r"| a\x1b[2Jb\x07" + "\tc\n")


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_on_a_terminal_unless_it_is_not_wanted(environment: dict[str, str], wanted: bool):
    leader, follower = os.openpty()
    try:
        assert wants_colour(follower, environment) is wanted
    finally:
        os.close(leader)
        os.close(follower)


def test_no_colour_into_a_pipe():
    reading, writing = os.pipe()
    try:
        assert wants_colour(writing, {}) is False
    finally:
        os.close(reading)
        os.close(writing)


def test_lines_are_put_together_from_pieces():
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.feed(b"o\r\nthr\xff") == ["two"]
    assert splitter.feed(b"ee\n\n") == ["thr�ee", ""]
    assert splitter.flush() == []


def test_the_last_line_without_an_end_is_not_lost():
    splitter = LineSplitter()
    assert splitter.feed(b"last words") == []
    assert splitter.flush() == ["last words"]
    assert splitter.flush() == []


def test_a_line_without_any_end_does_not_grow_for_ever():
    splitter = LineSplitter()
    lines = [line for _ in range(100) for line in splitter.feed(b"x" * 5_000)] + splitter.flush()
    assert sum(map(len, lines)) == 500_000
    assert max(map(len, lines)) < 80_000


def test_what_is_printed_arrives_in_order():
    reading, writing = os.pipe()
    printer = Printer(writing, prefixer())
    for number in range(100):
        printer.line("n1", str(number))
    printer.plain("the end")
    printer.close(5)
    os.close(writing)
    with open(reading) as file:
        lines = file.read().splitlines()
    assert lines == [f"12:07:05 n1    | {number}" for number in range(100)] + ["the end"]


def test_a_reader_that_does_not_read_blocks_nobody_and_learns_what_it_missed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(output, "WAITING_BYTES_MAX", 1 << 16)
    reading, writing = os.pipe()
    printer = Printer(writing, prefixer())
    for number in range(20_000):  # Far more than pipe and queue hold; a call that blocked would hang the test.
        printer.line("n1", f"{number:050}")
    chunks: list[bytes] = []

    def read() -> None:
        while chunk := os.read(reading, 1 << 16):
            chunks.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    while printer._waiting:
        os.sched_yield()
    printer.line("n1", "afterwards")
    printer.close(5)
    os.close(writing)
    reader.join(5)
    os.close(reading)
    lines = b"".join(chunks).decode().splitlines()
    assert lines[-1].endswith("| afterwards")
    notices = [line for line in lines if "lines left out" in line]
    left_out = sum(int(line.split("| ")[1].split()[0]) for line in notices)
    assert left_out > 10_000
    assert len(lines) - 1 - len(notices) + left_out == 20_000


def test_a_reader_that_is_gone_ends_the_printing_and_nothing_else():
    reading, writing = os.pipe()
    os.close(reading)
    printer = Printer(writing, prefixer())
    printer.line("n1", "to nobody")
    printer._thread.join(5)
    printer.line("n1", "to nobody either")
    assert not printer._waiting
    printer.close(5)
    os.close(writing)


def test_a_log_file_is_set_aside_when_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(output, "LOG_BYTES_MAX", 1_000)
    log = tmp_path / "supervisor.log"
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    printer = Printer(fd, prefixer(), log)
    printer.line("n1", "x" * 2_000)
    while printer._waiting or not log.with_name("supervisor.log.1").exists():
        os.sched_yield()
    printer.line("n1", "new")
    printer.close(5)
    os.close(fd)
    assert log.read_text() == "12:07:05 n1    | new\n"
    assert log.with_name("supervisor.log.1").stat().st_size > 2_000
