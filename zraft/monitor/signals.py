"""The signals that concern a monitor, as bytes on a pipe."""

import os
import signal
from types import TracebackType
from typing import Self

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REDRAWING = (signal.SIGWINCH, signal.SIGCONT)


class Signals:
    """Turns signals into bytes on a pipe, so that the loop meets them where it waits and the terminal is restored."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.ended = False
        """Set once somebody wants the monitor to end."""

    def __enter__(self) -> Self:
        self._old_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, lambda *_: None) for number in (*_ENDING, *_REDRAWING)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        os.close(self.fd)
        os.close(self._write)

    def take(self) -> bool:
        """Read what has come; return whether the picture is to be drawn anew."""
        try:
            numbers = os.read(self.fd, 1_024)
        except BlockingIOError:
            return False
        self.ended = self.ended or any(number in numbers for number in _ENDING)
        return True
