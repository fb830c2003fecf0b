"""Exceptions inside machines, in words: what clients hear must be the same on every node, what logs say may tell more."""

import signal

from zraft.machines.machine import Errand
from zraft.printable import one_line
from zraft.requests import ANSWERS_BYTES_MAX, BATCH_BYTES_MAX

SHOWN_MAX = 200
_TIME_MAX_MS = (1 << 63) - 1


def let_interrupts_pass(error: BaseException) -> None:
    """Raise `error` again if it is Ctrl-C of whoever sits in front of this process.

    A process with a handler of its own for SIGINT, as a node has, is not ended by KeyboardInterrupt: there a machine raised it.
    """
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        raise error


def too_long(machine: str, size: int) -> ValueError:
    """Return the failure of a machine whose answer would not fit into a reply."""
    return ValueError(
        f"the machine {machine} answered with {size:,} bytes; {ANSWERS_BYTES_MAX:,} at most for one request"
    )


def answer(machine: str, error: BaseException) -> bytes:
    """Return what a client hears of a mistake in a machine: the type alone, as the text may name addresses of memory."""
    return f"the machine {machine} failed: {type(error).__name__}".encode(errors="backslashreplace")


def told(error: BaseException) -> str:
    """Return an exception on one line, of bounded length; never raises, whatever the exception does when it is asked for its text."""
    try:
        text = str(error)
    except BaseException as worse:  # noqa: BLE001 - nobody waits for a text that must not end a node
        let_interrupts_pass(worse)
        text = f"and its text cannot be had: {type(worse).__name__}"
    return one_line(f"{type(error).__name__}: {text}"[:SHOWN_MAX])


def checked(errand: Errand | None) -> Errand | None:
    """Return `errand`; raise TypeError or ValueError when it is something that could not be proposed."""
    if errand is None:
        return None
    if not isinstance(errand, Errand):
        raise TypeError(f"errand() gave {type(errand).__name__}; it must give an Errand or None")
    if type(errand.due_ms) is not int or not isinstance(errand.command, bytes):
        raise TypeError("errand() gave an Errand whose due_ms is no int, or whose command is not bytes")
    if errand.due_ms > _TIME_MAX_MS or len(errand.command) > BATCH_BYTES_MAX:
        raise ValueError("errand() gave an Errand that is due never, or longer than a batch may be")
    return errand
