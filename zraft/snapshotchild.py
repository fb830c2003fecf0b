"""The snapshot child: writes a snapshot of the node's own, beside the node. The one process that is forked without exec.

A fork is a copy of the whole state at one moment, for the price of copying page tables; what writing it out costs, and
holds the interpreter for, is the child's own. It must be the leanest of processes, since it has everything that the node
has: a child that kept descriptors was seen to hold a dead node's port, lock and pipes for seconds, and one that did not pace
its writes to delay the log's sync by 100 ms. So, in this order:

- every descriptor is closed, and 0, 1 and 2 lead nowhere: whatever it needs, it opens itself;
- it dies with the node, whatever ends that;
- signals have their default effect again, except those that ask to stop: the node heeds them, and then ends its child;
- it collects no garbage, which would copy all that it looks at, and gives way to everybody else for a processor. The disk
  follows suit: the kernel derives the priority of a process's I/O from its niceness;
- it touches no socket, no log and no lock, and leaves by `os._exit`, so that nothing of the node's runs on in it.

Writes are paced where they are made: see `storage.snapshots`. How it ended is in its exit code: 0, or the `errno` with which
the system refused something, or `BROKEN`; in words, it is in a page of memory that both share, as descriptors there are none.
"""

import errno
import gc
import mmap
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from zraft.errors import StorageError
from zraft.hooks import linux
from zraft.seams import Unsaved
from zraft.stopsignals import STOPPING

BROKEN = 255
"""Exit code of a child that met something other than a refusal of the system; above every errno."""
NICENESS = 19
_WORDS_BYTES = mmap.PAGESIZE

Outcome = Unsaved | Exception | None
"""None: it is written. `Unsaved`: not, and nothing is wrong with the disk. Anything else must stop the node."""


class SnapshotChild:
    """A forked child that does one thing; only the main thread may make it, for a child dies with the thread that forked it.

    Parameters
    ----------
    write
        What it is to do, on the state as it is now.

    Attributes
    ----------
    pid : int
        Its process id.

    Raises
    ------
    OSError
        No process can be made; there is none then.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        assert threading.current_thread() is threading.main_thread(), "forked where its death would follow a thread's"
        self._words = mmap.mmap(-1, _WORDS_BYTES)
        """What went wrong, in UTF-8 up to the first zero; written by the child."""
        self._status: int | None = None
        """As `os.waitpid` gave it; None while it runs."""
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # Handed down by whoever started the node, it would
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # have the kernel tell nobody how the child has ended.
        # A signal that comes between fork and `_alone` must not run a handler of the node's: it waits.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            node = os.getpid()
            self.pid = os.fork()
            if self.pid == 0:
                _work(write, node, self._words)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            self._fd = os.pidfd_open(self.pid)
        except OSError:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise

    def fileno(self) -> int:
        """Return a descriptor that is readable once it has ended."""
        return self._fd

    def has_ended(self) -> bool:
        """Whether it has ended; collects it then."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def outcome(self) -> Outcome:
        """Return what came of it, once it has ended."""
        assert self._status is not None, "it runs"
        code = os.waitstatus_to_exitcode(self._status)
        if code == 0:
            return None
        if code < 0:
            return Unsaved(f"the process that wrote it was ended by {_name(-code)}")
        if code == errno.ENOMEM:
            return Unsaved("the process that wrote it had not the memory")
        if code == BROKEN:
            words = self._words[:].split(b"\0", 1)[0].decode(errors="replace")
            return StorageError(
                f"a snapshot can't be written: {words}; correct the state machine that raised it, and start the node again"
            )
        return OSError(code, os.strerror(code))

    def close(self) -> None:
        """Let go of it; one that still runs is killed."""
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)
        self._words.close()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # One of the real-time signals, which have no names.
        return f"signal {number}"


def _work(write: Callable[[], None], node: int, words: mmap.mmap) -> NoReturn:
    """Be the child: do what it is for, and end."""
    code = BROKEN
    try:
        gc.disable()
        _alone(node)
        write()
        code = 0
    except MemoryError:
        code = errno.ENOMEM
    except OSError as error:
        code = error.errno or BROKEN
        _say(words, error)
    except BaseException as error:  # noqa: BLE001 - nothing of the node may go on in here, whatever comes
        _say(words, error)
    finally:
        os._exit(code)


def _alone(node: int) -> None:
    """Let go of all that is the node's, but its state."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # One of them is what they were listed by, and closed.
            os.close(fd)
    for _ in range(3):  # Or the snapshot's file would be one of these, and a stray line of output end in it.
        os.open(os.devnull, os.O_RDWR)
    linux.die_with_parent(node)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number in STOPPING else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.nice(NICENESS)


def _say(words: mmap.mmap, error: BaseException) -> None:
    """Leave the node a line on what went wrong."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an exception that can't be told in words
        text = type(error).__name__
    data = text.encode(errors="backslashreplace").replace(b"\0", b"")[: _WORDS_BYTES - 1]
    words[: len(data)] = data
