"""Starting a script without ever waiting for it; standard library alone.

`subprocess` waits until the new program runs, which on a disk that stalls may be long. Here the parent goes on at once,
and learns of it through a pipe: it closes when the program runs, and carries a sentence when it could not.
"""

import errno
import os
import signal
from typing import Any, NamedTuple, NoReturn

from zraft.hooks import linux

NOT_FOUND = 127
NOT_RUNNABLE = 126
"""Exit codes for a program that could not be started, as every shell gives them."""


class Spawned(NamedTuple):
    """A child on its way to becoming a script, and the reading ends of its pipes (all non-blocking)."""

    pid: int
    stdout: int
    stderr: int
    failure: int
    """Ends without a byte when the script runs; ``<exit code> <sentence>`` when it could not be started."""


def spawn(order: dict[str, Any]) -> Spawned:
    """Start the script of a `run` order in a session of its own; raises OSError when there is no room for another."""
    ends: list[int] = []
    try:
        for _ in range(3):
            ends.extend(os.pipe())
        pid = _fork(order, ends[1], ends[3], ends[5])
    except OSError:
        _close(ends)
        raise
    _close(ends[1::2])
    for end in ends[0::2]:
        os.set_blocking(end, False)
    return Spawned(pid, ends[0], ends[2], ends[4])


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _fork(order: dict[str, Any], stdout: int, stderr: int, failure: int) -> int:
    guard = os.getpid()
    # A signal that comes between fork and exec must meet the script's dispositions, not the guard's: it waits.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become_script(order, guard, stdout, stderr, failure)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _become_script(order: dict[str, Any], guard: int, stdout: int, stderr: int, failure: int) -> NoReturn:
    """Turn this forked child into the script. Every other descriptor closes by itself on exec (PEP 446)."""
    code, what = NOT_RUNNABLE, "cannot start"
    try:
        os.setsid()
        linux.die_with_parent(guard)
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(stdout, 1)  # 0 is the guard's own, and is /dev/null.
        os.dup2(stderr, 2)
        what = order["cwd"]
        os.chdir(what)
        what = order["argv"][0]
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(what, order["argv"], order["env"])  # noqa: S606 - executed, never passed to a shell
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        code = NOT_FOUND if missing and what == order["argv"][0] else NOT_RUNNABLE
        hint = " (it, or the interpreter in its first line)" if code == NOT_FOUND else ""
        os.write(failure, f"{code} {what}: {error.strerror}{hint}".encode("utf-8", "replace"))
    except ValueError as error:
        os.write(failure, f"{code} {what}: {error}".encode("utf-8", "replace"))
    finally:
        # Reached only when exec failed: nothing of the guard may run on in this copy of it.
        os._exit(code)
