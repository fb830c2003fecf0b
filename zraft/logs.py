"""The log for people, through loguru: standard output, one file per node, and the event stream.

Every line bears UTC time, level, node, role and term. No sink may stop or delay the node that writes to it: a full disk, a
closed pipe or a reader that has been stopped costs lines, which are counted, and nothing else.
"""

import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from loguru import logger

from zraft.config import Config
from zraft.errors import ConfigError
from zraft.printable import one_line, several_lines

if TYPE_CHECKING:
    from loguru import Message, Record

FILE_BYTES_MAX = 10 << 20
"""A node's log file is renamed to ``NODE.log.1`` when it reaches this size, and the one before that is dropped."""
_PIPE_BYTES = 4_096
"""What a pipe that is ready for writing surely takes (PIPE_BUF)."""
_STALL_MS = 20
"""How long the first line waits for a reader that does not read; the next ones do not wait at all."""
_PENDING_MAX = 1_000

Context = Callable[[], tuple[str | None, int]]
"""Gives the node's role and term now."""
Publish = Callable[[str, str], None]
"""Takes the level and message of a record; called in the thread that attached it, and must not block."""


def configure(
    config: Config,
    node_id: str,
    *,
    level: str | None = None,
    json: bool | None = None,
    file: Path | None = None,
    context: Context | None = None,
    publish: Publish | None = None,
) -> None:
    """Set loguru up for this process; whatever was set up before is dropped.

    Parameters
    ----------
    config, node_id
        Whose log it is.
    level, json
        Instead of `config.log`.
    file
        Instead of ``NODE.log`` in the log directory. That directory is made if need be; the one named here must exist.
    context, publish
        As in `attach`, where they are known already.

    Raises
    ------
    ConfigError
        The log file cannot be written, for a reason other than a full disk.
    """
    global _live  # noqa: PLW0603 - loguru's own state is the process's, and so is this
    level = level or config.log.level
    path = file or Path(config.log.directory) / f"{node_id}.log"
    _live = _Live(node_id, level)
    render = _json_line if (config.log.json if json is None else json) else _text_line
    log_file = _File(path, make_directory=file is None)
    logger.remove()
    logger.configure(patcher=_live.patch)
    if sys.stdout is not None:
        logger.add(_sink(_Output(sys.stdout.fileno()).write, render), level=level, format="{message}")
    logger.add(_sink(log_file.write, render), level=level, format="{message}")
    logger.add(_live.publish, level=level, format="{message}", filter=_live.may_publish)
    if context is not None:
        attach(context, publish)


def shows(level: str) -> bool:
    """Whether lines of that level go anywhere: for what would be dear to find out in vain."""
    return _live is not None and logger.level(level).no >= logger.level(_live.level).no


def attach(context: Context, publish: Publish | None) -> None:
    """Give every later line the node's role and term, and the event stream every later record.

    `publish` is called in the calling thread alone, which owns the event socket. Records of other threads wait for its
    next record, or for `publish_pending`.
    """
    assert _live is not None, "configure the log before attaching a node to it"
    _live.context, _live.publisher, _live.thread = context, publish, threading.get_ident()


def detach() -> None:
    """Publish nothing any more: the event socket is about to close."""
    if _live is not None:
        _live.publisher = None


def publish_pending() -> None:
    """Publish what other threads have logged; to be called by the thread that attached."""
    if _live is not None:
        _live.publish_pending()


def say_warnings(config: Config) -> None:
    """Log what is allowed in a configuration and still worth a line."""
    for warning in config.warnings:
        logger.warning("configuration: {}", warning)


class _Live:
    """What the sinks know about the node that they belong to."""

    def __init__(self, node_id: str, level: str) -> None:
        self.node_id = node_id
        self.level = level
        """The lowest level that is logged."""
        self.context: Context = lambda: (None, 0)
        """Role and term."""
        self.publisher: Publish | None = None
        """Where records go as events, once the node has its socket."""
        self.thread = threading.get_ident()
        """The one thread that may publish."""
        self._publishing = False
        """Set while `publisher` runs: what it logs itself is not published, or there would be no end."""
        self._pending: deque[tuple[str, str]] = deque(maxlen=_PENDING_MAX)
        """Level and message of records of other threads."""

    def patch(self, record: "Record") -> None:
        role, term = self.context()
        record["extra"].update(node=self.node_id, role=role, term=term)

    def may_publish(self, _: "Record") -> bool:
        return self.publisher is not None and not (self._publishing and threading.get_ident() == self.thread)

    def publish(self, message: "Message") -> None:
        record = message.record
        self._pending.append((record["level"].name, record["message"]))
        self.publish_pending()

    def publish_pending(self) -> None:
        if threading.get_ident() != self.thread or self._publishing:
            return
        self._publishing = True
        try:
            while self._pending and self.publisher is not None:
                self.publisher(*self._pending.popleft())
        finally:
            self._publishing = False


_live: _Live | None = None


def _sink(write: Callable[[bytes], None], render: Callable[["Record"], str]) -> Callable[["Message"], None]:
    return lambda message: write(render(message.record).encode("utf-8", "backslashreplace"))


def _utc(record: "Record") -> str:
    return record["time"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _trace(record: "Record") -> str:
    error = record["exception"]
    if error is None or error.value is None:
        return ""
    import traceback  # noqa: PLC0415 - only where something broke

    return "".join(traceback.format_exception(error.value))


def _text_line(record: "Record") -> str:
    extra = record["extra"]
    head = f"{_utc(record)} {record['level'].name:<7} {extra['node']} {extra['role'] or '-':<13} t{extra['term']} "
    # A message may hold what somebody else sent: it stays on its line, and moves no cursor.
    return head + one_line(record["message"]) + "\n" + several_lines(_trace(record))


def _json_line(record: "Record") -> str:
    extra = record["extra"]
    line: dict[str, Any] = {
        "time": _utc(record),
        "level": record["level"].name,
        "node": extra["node"],
        "role": extra["role"],
        "term": extra["term"],
        "message": record["message"],
    }
    if trace := _trace(record):
        line["exception"] = trace
    return msgspec.json.encode(line).decode() + "\n"


class _Output:
    """Writes to a descriptor that somebody else reads, and rather drops lines than waits for that reader."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._dropped = 0
        """Lines lost since the last one that was written."""
        self._cut = False
        """Whether the last line was written in part."""

    def write(self, line: bytes) -> None:
        if self._dropped:
            notice = b"\n" if self._cut else b""
            if not self._put(notice + b"(%d lines dropped: nobody read them)\n" % self._dropped, 0):
                self._dropped += 1
                return
            self._dropped, self._cut = 0, False
        for start in range(0, len(line), _PIPE_BYTES):
            if not self._put(line[start : start + _PIPE_BYTES], _STALL_MS):
                self._dropped, self._cut = 1, start > 0
                return

    def _put(self, data: bytes, wait_ms: int) -> bool:
        if not self._poll.poll(wait_ms):
            return False
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return False  # The reader is gone, or the disk behind a redirection is full.
        return True


class _File:
    """A log file of bounded size that one process writes."""

    def __init__(self, path: Path, *, make_directory: bool) -> None:
        self._path = path
        self._fd: int | None = None
        """None after a failure, until the next line tries again."""
        self._size = 0
        """Of a regular file; 0 for anything else, which is never renamed."""
        self._regular = True
        self._lost = 0
        """Lines that could not be written since the last one that was."""
        try:
            if make_directory:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
        except FileNotFoundError as error:
            raise ConfigError(
                f"{path}: there is no such directory; make it, or name another file with --log-file"
            ) from error
        except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            raise ConfigError(
                f"{path}: cannot write the log there: {error.strerror}; correct log.directory or --log-file"
            ) from error
        except OSError as error:
            self._failed(error)

    def write(self, line: bytes) -> None:
        try:
            fd = self._open() if self._fd is None else self._fd
            if self._regular and self._size and self._size + len(line) > FILE_BYTES_MAX:
                fd = self._rotate()
            if self._lost:
                self._append(fd, b"\n(%d lines lost: the file could not be written)\n" % self._lost)
                self._lost = 0
            self._append(fd, line)
        except OSError as error:
            self._failed(error)

    def _append(self, fd: int, line: bytes) -> None:
        while line:
            written = os.write(fd, line)
            self._size += written
            line = line[written:]

    def _open(self) -> int:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
        info = os.fstat(self._fd)
        self._size, self._regular = info.st_size, stat.S_ISREG(info.st_mode)
        return self._fd

    def _rotate(self) -> int:
        self._close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        return self._open()

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _failed(self, error: OSError) -> None:
        if self._lost == 0 and sys.stderr is not None:
            notice = f"zraft: {self._path}: cannot write the log: {error.strerror}; the node goes on\n"
            _Output(sys.stderr.fileno()).write(notice.encode())
        self._lost += 1
        self._close()
