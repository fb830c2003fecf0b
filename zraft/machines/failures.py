"""Exceptions inside machines, in words: what clients hear must be the same on every node, what logs say may tell more."""

from zraft.machines.machine import Errand
from zraft.printable import one_line
from zraft.requests import BATCH_BYTES_MAX

SHOWN_MAX = 200
_TIME_MAX_MS = (1 << 63) - 1


def answer(machine: str, error: BaseException) -> bytes:
    """Return what a client hears of a mistake in a machine: the type alone, as the text may name addresses of memory."""
    return f"the machine {machine} failed: {type(error).__name__}".encode(errors="backslashreplace")


def told(error: BaseException) -> str:
    """Return an exception on one line, of bounded length; never raises, whatever the exception does when it is asked for its text."""
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as worse:  # noqa: BLE001 - nobody waits for a text that must not end a node
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
