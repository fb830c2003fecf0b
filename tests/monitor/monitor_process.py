"""``zraft monitor``, or another command that watches, as a process; and what it writes."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
WAIT_S = 15.0


class Process:
    """A running ``zraft monitor`` and what it has written so far."""

    def __init__(
        self,
        *arguments: str,
        command: str = "monitor",
        terminal: tuple[int, int] | None = None,
        cwd: Path | None = None,
        **variables: str,
    ) -> None:
        # COLUMNS and LINES would stand in for the terminal's own size.
        kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        environment = {key: value for key, value in kept.items() if not key.startswith("ZRAFT_")}
        environment |= {"TERM": "xterm", "PYTHONPATH": str(ROOT)} | variables
        words = [sys.executable, "-m", "zraft", command, *arguments]
        if terminal is None:
            self._fd, out = os.pipe()
        else:
            self._fd, out = pty.openpty()
            self.resize(*terminal)
        self.child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, env=environment, cwd=cwd
        )
        os.close(out)
        self.text = ""

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, condition: Callable[[str], bool], what: str) -> str:
        """Read until the text written so far fulfils `condition`; return it."""
        deadline = time.monotonic() + WAIT_S
        while not condition(self.text):
            left = deadline - time.monotonic()
            assert left > 0, f"not within {WAIT_S} s: {what}; written last: {self.text[-500:]!r}"
            if select.select([self._fd], [], [], left)[0]:
                self._read(what)
        return self.text

    def complaint(self) -> str:
        """Wait for the next line on stderr; return it."""
        assert self.child.stderr is not None
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self.child.stderr], [], [], WAIT_S)[0], f"nothing on stderr; so far {line!r}"
            part = os.read(self.child.stderr.fileno(), 1)
            assert part, f"it ended; stderr so far: {line!r}"
            line += part
        return line.decode()

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit code and what is on stderr, when all that it wrote has been read."""
        self.child.send_signal(number)
        return self.finish()

    def finish(self) -> tuple[int, str]:
        """Wait for its end."""
        with contextlib.suppress(EOFError):
            self.until(lambda _: False, "the end")
        _, errors = self.child.communicate(timeout=WAIT_S)
        return self.child.returncode, errors.decode()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate(timeout=WAIT_S)
        os.close(self._fd)

    def _read(self, what: str) -> None:
        try:
            data = os.read(self._fd, 65_536)
        except OSError:  # A terminal whose other side is closed says EIO.
            data = b""
        if not data:
            raise EOFError(f"it ended before {what}; written last: {self.text[-500:]!r}")
        self.text += data.decode("utf-8", "replace")
