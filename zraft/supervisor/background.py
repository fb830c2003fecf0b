"""A supervisor in a process of its own: started, waited for, and stopped, by commands that end themselves."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from zraft.config import Config
from zraft.errors import ConfigError, Unavailable
from zraft.hooks.linux import boot_ms
from zraft.supervisor.control import Line, error_of
from zraft.supervisor.election import Elected, ready_line
from zraft.supervisor.launch import Launch

LOG = "supervisor.log"
_END_MARGIN_S = 15.0
_ANSWER_S = 5.0
_FAILED = " failed and is not started again: "
_ERROR_PREFIX = "zraft: "


def detach(launch: Launch, *, timeout_s: float, born_ms: float) -> str:
    """Start the cluster in a process of its own; return the line that says it is ready.

    Raises
    ------
    ZraftError
        It was not ready in time, or could not be started at all. Nothing is left running then.
    """
    settings, log = launch.settings, Path(launch.settings.log.directory) / LOG
    child, begin = _spawn(launch, log)
    deadline = time.monotonic() + timeout_s
    ended = os.pidfd_open(child.pid)
    try:
        with Line(settings.supervisor.control) as line:
            reply = line.ask("wait", timeout_s=timeout_s, starting=ended)
    except Unavailable as error:
        if time.monotonic() < deadline and _readable(ended, patience_s(settings)):
            _report(child.wait(), log, begin)  # It gave up by itself, and has said why.
        _end(child, settings)
        raise Unavailable(
            f"not ready after {timeout_s:g} s: {error}; everything was stopped again, and the log is {log}"
        ) from error
    except BaseException:
        _end(child, settings)
        raise
    finally:
        os.close(ended)
    found = Elected(reply.result["leader"], reply.result["term"], tuple(reply.result["agreeing"]))
    return ready_line(found, len(settings.nodes), (boot_ms() - born_ms) / 1_000)


def stop(settings: Config) -> str:
    """Stop a running cluster; return once nothing of it is left, the supervisor included."""
    with Line(settings.supervisor.control) as line:
        pid = line.ask("status", timeout_s=_ANSWER_S).pid
        try:
            ended = os.pidfd_open(pid)
        except ProcessLookupError:
            raise Unavailable("the cluster has just been stopped by somebody else") from None
        try:
            reply = line.ask("down", timeout_s=patience_s(settings))
            if not _readable(ended, _END_MARGIN_S):
                raise Unavailable(f"all nodes have stopped, and the supervisor (pid {pid}) is still ending")
        finally:
            os.close(ended)
    return reply.message


def patience_s(settings: Config) -> float:
    """Return how long a command waits for nodes to end, each of which may have a script to wait for."""
    return (settings.hooks.grace_ms + settings.hooks.timeout_ms) / 1_000 + 2 * _END_MARGIN_S


def _spawn(launch: Launch, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the supervisor; return it, and where in the log its own lines begin."""
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        launch.lock.release()
        raise ConfigError(
            f"{log}: cannot write the supervisor's log: {error.strerror}; correct log.directory"
        ) from error
    with open(descriptor, "ab") as file:
        begin = file.tell()
        launch.lock.release()  # It is for the supervisor now.
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "zraft", "cluster", "up", *launch.arguments, "--log", str(log)],
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        return child, begin


def _report(code: int, log: Path, begin: int) -> NoReturn:
    """Raise what a supervisor that has ended wrote to its log."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode("utf-8", "replace").splitlines()
    said = [line.removeprefix(_ERROR_PREFIX) for line in lines if line.startswith(_ERROR_PREFIX)]
    said += [line.partition(" | ")[2] for line in lines if _FAILED in line]
    reason = (said or ["it was stopped before it was ready"])[0]
    raise error_of(code or Unavailable.exit_code, f"{reason}; the log is {log}")


def _end(child: subprocess.Popen[bytes], settings: Config) -> None:
    """Stop a supervisor of ours and all its nodes."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(patience_s(settings))
    except subprocess.TimeoutExpired:
        child.kill()  # Its nodes die with it.
        child.wait()


def _readable(fd: int, timeout_s: float) -> bool:
    return bool(select.select([fd], [], [], timeout_s)[0])
