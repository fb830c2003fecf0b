"""What a log line bears, where it goes, and that no trouble with that stops the node."""

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loguru import logger

from zraft import logs
from zraft.config import Config, Log, Node
from zraft.errors import ConfigError


@pytest.fixture(autouse=True)
def quiet_afterwards():
    yield
    logger.remove()
    logger.configure(patcher=None)


@pytest.fixture
def settings(tmp_path) -> Config:
    node = Node("n1", "ipc:///p", "ipc:///c", "ipc:///e")
    return Config(nodes=(node,), log=Log(directory=str(tmp_path / "log")), warnings=("mind the gap",))


def written(settings: Config) -> str:
    return (Path(settings.log.directory) / "n1.log").read_text()


def test_a_line_bears_utc_time_level_node_role_and_term(settings, capfd):
    logs.configure(settings, "n1", context=lambda: ("leader", 7))
    logger.info("majority won in term {}", 7)
    text = written(settings)
    assert capfd.readouterr() == (text, "")
    stamp, rest = text.split(" ", 1)
    assert rest == "INFO    n1 leader        t7 majority won in term 7\n"
    age = datetime.now(UTC) - datetime.fromisoformat(stamp)
    assert stamp.endswith("Z") and abs(age.total_seconds()) < 60


def test_before_there_is_a_role_the_line_says_so(settings):
    logs.configure(settings, "n1")
    logger.info("hello")
    assert written(settings).endswith(" INFO    n1 -             t0 hello\n")


def test_json_is_one_object_a_line(settings, capfd):
    logs.configure(settings, "n1", json=True, context=lambda: ("follower", 3))
    logger.warning("a\nb {}", '"{c}"')
    [line] = written(settings).splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {"level": "WARNING", "node": "n1", "role": "follower", "term": 3, "message": 'a\nb "{c}"'}
    assert capfd.readouterr().out == line + "\n"


def test_a_message_stays_on_its_line_whatever_is_in_it(settings):
    logs.configure(settings, "n1")
    logger.info("one\ntwo\x1b[2J {not} <red>a</red> \ud800")
    assert written(settings).endswith(" one\\ntwo\\x1b[2J {not} <red>a</red> \\ud800\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_an_exception_is_there_in_full(settings, as_json):
    logs.configure(settings, "n1", json=as_json)
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it went wrong")
    text = written(settings)
    assert "it went wrong" in text and "ValueError: broken" in text and "Traceback" in text
    assert text.count("\n") == 1 if as_json else text.count("\n") > 3


def test_the_level_silences(settings):
    logs.configure(settings, "n1", level="ERROR")
    logger.warning("no")
    logger.error("yes")
    assert "yes" in written(settings) and "no\n" not in written(settings)


def test_a_file_may_be_named(settings, tmp_path):
    with pytest.raises(ConfigError, match=r"elsewhere/x\.log: there is no such directory; make it, or name another"):
        logs.configure(settings, "n1", file=tmp_path / "elsewhere" / "x.log")
    (tmp_path / "elsewhere").mkdir()
    logs.configure(settings, "n1", file=tmp_path / "elsewhere" / "x.log")
    logger.info("here")
    assert "here" in (tmp_path / "elsewhere" / "x.log").read_text()
    assert not Path(settings.log.directory).exists()


def test_the_file_is_private_and_goes_on_where_it_ended(settings):
    logs.configure(settings, "n1")
    logger.info("first")
    logs.configure(settings, "n1")
    logger.info("second")
    assert [line.rpartition(" ")[2] for line in written(settings).splitlines()] == ["first", "second"]
    assert os.stat(Path(settings.log.directory) / "n1.log").st_mode & 0o077 == 0


def test_the_size_is_bounded(settings, monkeypatch):
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 1_000)
    logs.configure(settings, "n1")
    for number in range(200):
        logger.info("line {}", number)
    directory = Path(settings.log.directory)
    assert sorted(path.name for path in directory.iterdir()) == ["n1.log", "n1.log.1"]
    assert all(path.stat().st_size <= 1_000 for path in directory.iterdir())
    last = (directory / "n1.log.1").read_text() + written(settings)
    numbers = [int(line.rpartition(" ")[2]) for line in last.splitlines()]
    assert numbers == list(range(numbers[0], 200))


def test_a_directory_that_cannot_be_used_is_a_mistake_of_the_configuration(settings):
    Path(settings.log.directory).touch()
    with pytest.raises(
        ConfigError, match=r"n1\.log: cannot write the log there: .*; correct log.directory or --log-file"
    ):
        logs.configure(settings, "n1")


def test_a_full_disk_stops_nothing_and_what_was_lost_is_counted(settings, monkeypatch, capfd):
    logs.configure(settings, "n1")
    logger.info("before")
    path = Path(settings.log.directory) / "n1.log"
    write, full = os.write, [True]

    def write_or_fail(fd: int, data: bytes) -> int:
        if full[0] and os.path.sameopenfile(fd, holder):
            raise OSError(28, "No space left on device")
        return write(fd, data)

    holder = os.open(path, os.O_RDONLY)
    monkeypatch.setattr(logs.os, "write", write_or_fail)
    for number in range(5):
        logger.info("lost {}", number)
    full[0] = False
    logger.info("after")
    os.close(holder)
    lines = [line.rpartition("t0 ")[2] for line in written(settings).splitlines() if line]
    assert lines == ["before", "(5 lines lost: the file could not be written)", "after"]
    captured = capfd.readouterr()
    assert captured.err == f"zraft: {path}: cannot write the log: No space left on device; the node goes on\n"
    assert captured.out.count("lost") == 5


class TestOutput:
    """Standard output that nobody reads delays nobody."""

    @pytest.fixture
    def pipe(self):
        read_end, write_end = os.pipe()
        yield read_end, write_end
        os.close(read_end)
        os.close(write_end)

    def test_lines_are_dropped_while_nobody_reads_and_counted_afterwards(self, pipe):
        read_end, write_end = pipe
        output = logs._Output(write_end)
        line = b"x" * 999 + b"\n"
        for _ in range(1_000):
            output.write(line)
        waiting = os.read(read_end, 1 << 20)
        assert set(waiting.splitlines()) == {b"x" * 999}
        output.write(b"again\n")
        notice, again = os.read(read_end, 1 << 20).splitlines()
        dropped = 1_000 - waiting.count(b"\n")
        assert dropped > 900
        assert (notice, again) == (b"(%d lines dropped: nobody read them)" % dropped, b"again")

    def test_a_long_line_passes_whole_to_a_reader(self, pipe):
        read_end, write_end = pipe
        got = bytearray()

        def read() -> None:
            while not got.endswith(b"\n"):
                got.extend(os.read(read_end, 65_536))

        reader = threading.Thread(target=read)
        reader.start()
        logs._Output(write_end).write(b"y" * 500_000 + b"\n")
        reader.join(10)
        assert len(got) == 500_001

    def test_a_reader_that_is_gone_is_no_error(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        output = logs._Output(write_end)
        for _ in range(3):
            output.write(b"x\n")
        assert output._dropped == 3
        os.close(write_end)


class TestPublishing:
    """Every record becomes an event, in the thread that owns the socket, and without an end there is none."""

    def test_each_record_is_published_with_its_level(self, settings):
        published = []
        logs.configure(settings, "n1", context=lambda: (None, 0), publish=lambda *record: published.append(record))
        logger.debug("below the level")
        logger.info("one")
        logger.error("two")
        assert published == [("INFO", "one"), ("ERROR", "two")]

    def test_a_publisher_that_logs_does_not_publish_itself(self, settings):
        published = []

        def publish(level: str, message: str) -> None:
            published.append(message)
            logger.warning("while publishing {}", message)

        logs.configure(settings, "n1", context=lambda: (None, 0), publish=publish)
        logger.info("one")
        logger.info("two")
        assert published == ["one", "two"]
        assert written(settings).count("while publishing") == 2

    def test_a_publisher_that_fails_stops_nothing(self, settings, capfd):
        def publish(level: str, message: str) -> None:
            raise RuntimeError("no socket")

        logs.configure(settings, "n1", context=lambda: (None, 0), publish=publish)
        logger.info("one")
        logger.info("two")
        assert written(settings).count("\n") == 2

    def test_records_of_other_threads_wait_for_the_owner_of_the_socket(self, settings):
        published = []
        logs.configure(
            settings,
            "n1",
            context=lambda: (None, 0),
            publish=lambda level, message: published.append((threading.current_thread().name, message)),
        )
        other = threading.Thread(target=lambda: logger.info("from the disk"), name="disk")
        other.start()
        other.join(10)
        assert published == []
        logs.publish_pending()
        assert published == [(threading.current_thread().name, "from the disk")]

    def test_after_detaching_nothing_is_published(self, settings):
        published = []
        logs.configure(settings, "n1", context=lambda: (None, 0), publish=lambda *record: published.append(record))
        logs.detach()
        logger.info("late")
        assert published == []


def test_the_warnings_of_a_configuration_are_logged(settings):
    logs.configure(settings, "n1")
    logs.say_warnings(settings)
    assert written(settings).endswith("WARNING n1 -             t0 configuration: mind the gap\n")
