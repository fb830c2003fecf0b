"""What the guard needs of Linux that Python 3.11 does not offer; standard library alone.

Everything here returns at once. ``/proc`` is kernel memory: reading ``stat`` waits for no disk.
"""

import ctypes
import errno
import os
import signal
import struct
import time
from collections import defaultdict

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TFD_TIMER_ABSTIME = 1
_CHILD_OF_INIT = 1

_libc = ctypes.CDLL(None, use_errno=True)


def boot_ms() -> float:
    """Milliseconds of CLOCK_BOOTTIME: they never jump, and count suspended time."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that none of them can slip away to init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends; raises OSError when it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, f"its parent {parent} is gone")


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


class BootTimer:
    """A timer for `poll` that counts suspended time too, which the timeout of `poll` does not."""

    def __init__(self) -> None:
        self._fd: int = _libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the time has come."""
        return self._fd

    def set(self, at_ms: float | None) -> None:
        """Fire at `at_ms` of `boot_ms`, at once when that is past; never, with None. Forgets what fired before."""
        # All zero would mean "never", so the first moment of all is one nanosecond after boot.
        at_ns = 0 if at_ms is None else max(1, int(at_ms * 1e6))
        setting = struct.pack("@qqqq", 0, 0, *divmod(at_ns, 1_000_000_000))
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, setting, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")


def descendants(root: int) -> list[int]:
    """Return the living descendants of process `root`, whatever group or session they are in; parents come first."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit():
            children[_parent(int(name))].append(int(name))
    found = list(children[root])
    for pid in found:  # Grows while it is walked, so that each generation follows the one before.
        found.extend(children[pid])
    return found


def _parent(pid: int) -> int:
    """Return the parent of `pid`; init for a process that ended while we looked."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return _CHILD_OF_INIT
    # The command, in brackets, may hold spaces and brackets of its own; state and parent follow the last one.
    return int(line[line.rindex(b")") + 2 :].split()[1])


def send(pid: int, number: int) -> bool:
    """Send a signal to a process, or to a group by its negative number; tell whether anybody was there to take it."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
