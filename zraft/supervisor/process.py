"""A node's process: exec'd, in a process group of its own, its output read without ever blocking.

The pipes of one process may outlive it (its guard has the same standard error for a moment), so each is read until its
own end, while the next process already writes to pipes of its own.
"""

import fcntl
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from zraft.config import Config
from zraft.raft.types import NodeId

PIPE_BYTES = 1 << 20
"""Room in each pipe: what a node can say while the supervisor itself is suspended at the terminal."""
_READ_BYTES = 1 << 16
_READS_PER_TURN = 16
_LINE_BYTES_MAX = 1 << 16
_WORDS_KEPT = 20
_ERROR_PREFIX = "zraft: "


class LineSplitter:
    """Bytes in, lines out; what has no end yet waits, unless it grows past all measure."""

    def __init__(self) -> None:
        self._rest = b""
        """The line that has not ended yet."""

    def feed(self, data: bytes) -> list[str]:
        """Take in `data`; return the lines that it completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES_MAX:
            lines.append(self._rest)
            self._rest = b""
        return [_text(line) for line in lines]

    def flush(self) -> list[str]:
        """Return the last line, if it never got its newline."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


class Stream:
    """One pipe out of one process.

    Parameters
    ----------
    fd
        The reading end; belongs to the stream from now on.
    deliver
        Called with each line.
    """

    def __init__(self, fd: int, deliver: Callable[[str], None]) -> None:
        self.fd = fd
        self._deliver = deliver
        self._splitter = LineSplitter()
        os.set_blocking(fd, False)
        try:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            self.widened = False  # Beyond the user's share of pipe memory: the size it has will do.
        else:
            self.widened = True

    def read(self) -> bool:
        """Deliver what is there, up to a bound; False once the pipe has ended and is closed."""
        for _ in range(_READS_PER_TURN):
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                self.flush()
                os.close(self.fd)
                return False
            for line in self._splitter.feed(data):
                self._deliver(line)
        return True

    def flush(self) -> None:
        """Deliver a last line that has no end."""
        for line in self._splitter.flush():
            self._deliver(line)


class NodeProcess:
    """One process of one node.

    Parameters
    ----------
    command, environment
        What to execute.
    deliver
        Called with each line of its output.

    Raises
    ------
    OSError
        It could not be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], deliver: Callable[[str], None]) -> None:
        self._deliver = deliver
        self._words: deque[str] = deque(maxlen=_WORDS_KEPT)
        """The newest lines on standard error."""
        self._popen = subprocess.Popen(  # noqa: S603
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            process_group=0,  # Ctrl-C at the terminal is for the supervisor, which stops the nodes in good order.
        )
        assert self._popen.stdout is not None and self._popen.stderr is not None
        # Each stream has a descriptor of its own, to be closed when that pipe ends and not with the Popen.
        with self._popen.stdout as out, self._popen.stderr as err:
            self.streams = (Stream(os.dup(out.fileno()), deliver), Stream(os.dup(err.fileno()), self._deliver_error))

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None until `reap`."""
        return self._popen.returncode

    @property
    def last_words(self) -> str:
        """The newest error that it gave as its own, else its newest line on standard error."""
        errors = [line for line in self._words if line.startswith(_ERROR_PREFIX)]
        return (errors or list(self._words) or [""])[-1].removeprefix(_ERROR_PREFIX)

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens once it is dead."""
        if self._popen.returncode is None:  # Not reaped, so the number is still its own. Popen.send_signal would reap.
            os.kill(self._popen.pid, number)

    def stopped(self) -> bool:
        """Whether SIGSTOP has taken hold of all its threads since the last call."""
        return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG) is not None

    def reap(self) -> None:
        """Take its exit code, now that it has ended."""
        self._popen.wait()

    def _deliver_error(self, line: str) -> None:
        if line.strip():
            self._words.append(line)
        self._deliver(line)


def node_command(config: Config, node_id: NodeId) -> list[str]:
    """Return the command that runs a node, to end when this process does."""
    return [
        *(sys.executable, "-m", "zraft", "node", "run"),
        *("--id", node_id, "--config", config.path, "--supervised", str(os.getpid())),
    ]


def dead_children() -> Iterator[int]:
    """Yield the number of each child that has ended; whoever gets it must reap it before asking for the next."""
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if dead is None:
            return
        yield dead.si_pid


def childless() -> bool:
    """Whether nothing is left of all that this process and its descendants have started."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", "replace")
