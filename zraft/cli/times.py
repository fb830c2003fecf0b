"""Times as people type them."""

import time

from zraft import moments
from zraft.errors import ConfigError

SINCE_HELP = "Not older: 2026-01-31T12:00Z (UTC unless it says so), or 90s, 10m, 2h, 1d ago."


def since_ms(text: str | None) -> int:
    """Return what ``--since`` says, in milliseconds since 1970; 0 when it was not given."""
    if text is None:
        return 0
    try:
        return moments.since(text, time.time_ns() // 1_000_000)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"--since: {text!r} is no time; write 2026-01-31T12:00Z, or how long ago: 90s, 10m, 2h, 1d"
        ) from None
