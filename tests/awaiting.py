"""Waiting for what real processes do: for the event, never for a time that should be enough."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0
"""How long a test waits for an event before it fails: long, since it never waits longer than the event takes."""
_PAUSE_S = 0.01


def eventually(what: str | Callable[[], str], condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Wait until `condition` gives something true, and return that; `what` says what did not come, or tells so when asked."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what if isinstance(what, str) else what()}"
        time.sleep(_PAUSE_S)
    return found


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False
