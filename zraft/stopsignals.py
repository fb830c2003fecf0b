"""The signals that ask a process to stop, as something that a loop can wait for beside its sockets."""

import os
import signal
from collections.abc import Iterable

STOPPING = (signal.SIGTERM, signal.SIGINT)
ALONE = signal.SIGUSR1
"""Tells a node that is stopping that nobody is left to take over its leadership; hook scripts still get their time."""


class StopSignals:
    """SIGTERM and SIGINT: the first asks for a clean end, the next one for an end at once.

    They are heeded from `heed` on, which only the main thread may call; `fileno` is readable when one has come.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        """Those that have come, in order, but for `ALONE`."""
        self.alone = False
        """`ALONE` has come; only where `heed_alone` was called."""
        self._fd, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def heed(self, also: Iterable[int] = ()) -> None:
        """Take the signals over from whoever had them, and others `also`."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (*STOPPING, *also):
            signal.signal(number, lambda number, _frame: self.numbers.append(number))

    def heed_alone(self) -> None:
        """Take over `ALONE` too, which only a node has a use for."""
        signal.signal(ALONE, self._left_alone)

    def _left_alone(self, *_: object) -> None:
        self.alone = True

    def fileno(self) -> int:
        """Return the descriptor to poll for reading; then call `take`."""
        return self._fd

    def take(self) -> None:
        """Make the descriptor unreadable again."""
        try:
            os.read(self._fd, 4_096)
        except BlockingIOError:
            return  # Taken already.

    def wanted(self) -> bool:
        """Return whether to wait for nothing any more: a second signal has come."""
        self.take()
        return len(self.numbers) > 1
