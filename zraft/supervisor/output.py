"""Lines of many nodes on one terminal, honcho-style: ``14:03:27 n3 | elected in term 4``.

A thread of its own writes them, so that a terminal which does not keep up, or is held with Ctrl-S, stops neither the
nodes nor the supervisor: past a bound lines are left out, and it is said how many.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

OWN_NAME = "zraft"
"""What the supervisor's own lines bear."""
WAITING_BYTES_MAX = 8 << 20
"""Lines that wait for the terminal, in bytes."""
LOG_BYTES_MAX = 16 << 20
"""Where a log file is set aside as ``NAME.1`` and begun anew."""
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), 127)}
"""Escape sequences that a script prints shall not drive the terminal; a tab may pass."""


def wants_colour(fd: int, environment: Mapping[str, str]) -> bool:
    """Whether to colour what goes to `fd`: only on a terminal, and unless NO_COLOR is set (no-color.org)."""
    return os.isatty(fd) and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class Prefixer:
    """Puts the time and a name before each line.

    Parameters
    ----------
    names
        Those that will come, in order; each gets its own colour, and all the same width.
    colour
        Whether to colour them.
    clock
        Seconds since 1970.
    """

    def __init__(self, names: list[str], *, colour: bool, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        width = self._width = max(map(len, [OWN_NAME, *names]))
        self._heads = {name: f"{name:<{width}} |" for name in [*names, OWN_NAME]}
        if colour:
            for position, name in enumerate(names):
                self._heads[name] = f"\x1b[{_COLOURS[position % len(_COLOURS)]}m{self._heads[name]}\x1b[0m"
            self._heads[OWN_NAME] = f"\x1b[1m{self._heads[OWN_NAME]}\x1b[0m"

    def head(self, name: str) -> str:
        """Return the name as it stands before each of its lines."""
        return f"{self._head(name)} "

    def _head(self, name: str) -> str:
        return self._heads.setdefault(name, f"{name:<{self._width}} |")  # Nodes that joined later have no colour.

    def line(self, name: str, text: str) -> str:
        """Return the line as it is printed, its time in UTC like that of the logs."""
        clock = time.strftime("%H:%M:%S", time.gmtime(self._clock()))
        return f"{clock} {self._head(name)} {text.translate(_CONTROL)}\n"


class Printer:
    """Writes lines to a descriptor from a thread of its own.

    Parameters
    ----------
    fd
        Where to; may block.
    prefixer
        Makes the lines.
    log
        The file behind `fd`, when it is a log file that must not grow without bound.
    others
        Further descriptors of that file, which go along when it is begun anew.
    """

    def __init__(self, fd: int, prefixer: Prefixer, log: Path | None = None, others: tuple[int, ...] = ()) -> None:
        self._fd = fd
        self._others = others
        self._prefixer = prefixer
        self._log = log
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        """Of `_waiting`; both are changed under `_changed` alone."""
        self._left_out = 0
        """Lines that found no room since the last that did."""
        self._changed = threading.Condition()
        self._closing = False
        self._gone = False
        """Set once nobody reads: the cluster goes on without its audience."""
        self._thread = threading.Thread(target=self._run, name="printer", daemon=True)
        self._thread.start()

    def line(self, name: str, text: str) -> None:
        """Print a line of `name`."""
        self._put(self._prefixer.line(name, text).encode("utf-8", "replace"))

    def plain(self, text: str) -> None:
        """Print a line as it is."""
        self._put(f"{text}\n".encode())

    def close(self, timeout_s: float) -> None:
        """Write what is left, for as long as `timeout_s` at most."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _put(self, line: bytes) -> None:
        with self._changed:
            if self._gone:
                return
            if self._waiting_bytes + len(line) > WAITING_BYTES_MAX:
                self._left_out += 1
                return
            if self._left_out:
                text = f"{self._left_out} lines left out: they came faster than they could be written"
                line = self._prefixer.line(OWN_NAME, text).encode() + line
                self._left_out = 0
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                data = b"".join(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
            if not self._write(data):
                return

    def _write(self, data: bytes) -> bool:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            if self._log is not None and os.fstat(self._fd).st_size > LOG_BYTES_MAX:
                self._set_aside(self._log)
        except OSError:
            return self._failed(data)
        return True

    def _failed(self, data: bytes) -> bool:
        """Give up a terminal or pipe that is gone; a log file is tried again, since a full disk may get room."""
        with self._changed:
            if self._log is not None:
                self._left_out += data.count(b"\n")
                return True
            self._gone = True
            self._waiting.clear()
            return False

    def _set_aside(self, log: Path) -> None:
        os.replace(log, log.with_name(log.name + ".1"))
        fresh = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for fd in (self._fd, *self._others):
            os.dup2(fresh, fd)
        os.close(fresh)
