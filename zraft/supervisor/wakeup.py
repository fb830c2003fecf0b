"""Signals as bytes in a pipe that the loop polls: nothing happens inside a handler."""

import os
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Self


class Wakeup:
    """Turns signals into something to read, from `__enter__` to `__exit__`; main thread only.

    Parameters
    ----------
    numbers
        The signals to catch.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = tuple(numbers)
        self.fd, self._writer = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._writer, False)
        self._before: dict[int, object] = {}
        self._before_fd = -1

    def __enter__(self) -> Self:
        self._before_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, _nothing)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._before_fd)
        os.close(self.fd)
        os.close(self._writer)

    def read(self) -> list[int]:
        """Return the signals since the last call, oldest first."""
        try:
            return list(os.read(self.fd, 4_096))
        except BlockingIOError:
            return []


def _nothing(number: int, frame: FrameType | None) -> None:
    """Be a handler, so that the signal is written to the wake-up descriptor instead of being obeyed or ignored."""
