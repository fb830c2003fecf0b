"""A verb that takes time, as a generator in the supervisor's loop: it yields what it waits for."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from zraft.errors import ZraftError
from zraft.supervisor.control import Asked


class Wait(NamedTuple):
    """Go on when `condition` holds, or after `timeout_ms`; ``yield`` gives back which: True for the condition."""

    condition: Callable[[], bool]
    timeout_ms: float


class Answer(NamedTuple):
    """What a verb ends with."""

    message: str
    result: Any = None


Steps = Generator[Wait, bool, Answer]


class Task:
    """One verb under way.

    Parameters
    ----------
    asked
        Whose it is.
    steps
        The generator.
    """

    def __init__(self, asked: Asked, steps: Steps) -> None:
        self.asked = asked
        self.answer: Answer | None = None
        """Set once it is done."""
        self.error: ZraftError | None = None
        """Set once it has failed."""
        self._steps = steps
        self._wait: Wait | None = None
        """What it waits for; None before the first step."""
        self.deadline_ms = float("-inf")
        """When it goes on in any case."""

    @property
    def ended(self) -> bool:
        """Whether `answer` or `error` is there."""
        return self.answer is not None or self.error is not None

    def advance(self, now_ms: float) -> None:
        """Run as far as its conditions hold."""
        while not self.ended:
            met = self._wait is not None and self._wait.condition()
            if self._wait is not None and not met and now_ms < self.deadline_ms:
                return
            try:
                self._wait = self._steps.send(None if self._wait is None else met)  # type: ignore[arg-type]
                self.deadline_ms = now_ms + self._wait.timeout_ms
            except StopIteration as stop:
                self.answer = stop.value
            except ZraftError as error:
                self.error = error
