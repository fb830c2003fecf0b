"""Log files of several nodes as one."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from zraft.supervisor import journal
from zraft.supervisor.journal import LogFile, followed, recorded


def stamp(second: int, text: str) -> str:
    return f"2030-01-01T00:00:{second:02}.000Z INFO    {text}\n"


def texts(lines: list[journal.Line]) -> list[str]:
    return [f"{line.node} {line.text.split()[-1]}" for line in lines]


def files(directory: Path) -> list[LogFile]:
    return [LogFile(name, directory / f"{name}.log") for name in ("n1", "n2")]


def test_logs_are_merged_by_time(tmp_path: Path):
    (tmp_path / "n1.log").write_text(stamp(1, "a") + stamp(4, "d"))
    (tmp_path / "n2.log").write_text(stamp(2, "b") + stamp(3, "c"))
    assert texts(recorded(files(tmp_path), None)) == ["n1 a", "n2 b", "n2 c", "n1 d"]


def test_lines_without_a_time_stay_with_the_line_before(tmp_path: Path):
    (tmp_path / "n1.log").write_text(stamp(1, "a") + "Traceback\n  frame\n" + stamp(4, "d"))
    (tmp_path / "n2.log").write_text(stamp(2, "b"))
    assert texts(recorded(files(tmp_path), None)) == ["n1 a", "n1 Traceback", "n1 frame", "n2 b", "n1 d"]


def test_json_lines_have_a_time_too(tmp_path: Path):
    for node, second in (("n1", 2), ("n2", 1)):
        (tmp_path / f"{node}.log").write_text(f'{{"time":"2030-01-01T00:00:0{second}.000Z","message":"x"}}\n')
    assert [line.node for line in recorded(files(tmp_path), None)] == ["n2", "n1"]


@pytest.mark.parametrize(("tail", "expected"), [(0, []), (1, ["n2 c", "n1 d"]), (9, ["n1 a", "n2 b", "n2 c", "n1 d"])])
def test_the_tail_is_that_of_each_node(tmp_path: Path, tail: int, expected: list[str]):
    (tmp_path / "n1.log").write_text(stamp(1, "a") + stamp(4, "d"))
    (tmp_path / "n2.log").write_text(stamp(2, "b") + stamp(3, "c"))
    assert texts(recorded(files(tmp_path), tail)) == expected


def test_what_was_set_aside_belongs_to_the_log(tmp_path: Path):
    (tmp_path / "n1.log.1").write_text(stamp(1, "old"))
    (tmp_path / "n1.log").write_text(stamp(2, "new"))
    assert texts(recorded(files(tmp_path), None)) == ["n1 old", "n1 new"]


def test_a_log_that_does_not_exist_is_empty(tmp_path: Path):
    assert recorded(files(tmp_path), None) == []


def test_following_misses_nothing_as_files_appear_grow_and_are_renamed(tmp_path: Path):
    log = LogFile("n1", tmp_path / "n1.log")
    path = tmp_path / "n1.log"
    assert log.read() == []
    path.write_text(stamp(1, "a") + "2030-01-01T00:00:02.000Z INFO    hal")
    assert texts(log.read()) == ["n1 a"]
    with path.open("a") as file:
        file.write("f\n" + stamp(3, "b"))
        assert log.read() == []
    assert texts(log.read()) == ["n1 half", "n1 b"]
    with path.open("a") as file:
        file.write(stamp(4, "last"))
    path.rename(tmp_path / "n1.log.1")
    path.write_text(stamp(5, "first"))
    assert texts(log.read()) == ["n1 last", "n1 first"]
    os.truncate(path, 0)
    log.read()
    with path.open("a") as file:
        file.write(stamp(6, "again"))
    assert texts(log.read()) == ["n1 again"]
    path.unlink()
    assert log.read() == []
    path.write_text(stamp(7, "back"))
    assert texts(log.read()) == ["n1 back"]


def test_followed_yields_new_lines_as_they_come(tmp_path: Path):
    (tmp_path / "n1.log").write_text(stamp(1, "a"))
    lines: Iterator[journal.Line] = followed(files(tmp_path))
    assert next(lines).text.endswith("a")
    writer = threading.Timer(0.05, (tmp_path / "n2.log").write_text, [stamp(2, "b")])
    writer.start()
    assert next(lines).node == "n2"
    writer.join()
