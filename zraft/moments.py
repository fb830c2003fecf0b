"""Points in time as people write and read them: ISO 8601 in UTC, or how long ago."""

import re
from datetime import UTC, datetime

LATEST_MS = 253_402_300_799_999
"""The end of the year 9999: no calendar of ours goes further."""
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def iso(wall_ms: int) -> str:
    """Return milliseconds since 1970 as ``2026-01-31T12:00:00.000Z``; what lies beyond the calendar as its edge."""
    moment = datetime.fromtimestamp(min(max(wall_ms, 0), LATEST_MS) / 1_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{min(max(wall_ms, 0), LATEST_MS) % 1_000:03}Z"


def since(text: str, now_ms: int) -> int:
    """Return the moment that `text` means, in milliseconds since 1970.

    Parameters
    ----------
    text
        ISO 8601, in UTC unless it names an offset; or how long ago: ``90`` or ``90s``, ``10m``, ``2h``, ``1d``, ``1h30m``.
    now_ms
        The time now.

    Raises
    ------
    ValueError
        It is neither.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return max(0, now_ms - round(float(text) * 1_000))
    spans = _SPAN.findall(text)
    if spans and "".join(number + unit for number, unit in spans) == text:
        return max(0, now_ms - round(sum(float(number) * _UNITS_S[unit] for number, unit in spans) * 1_000))
    moment = datetime.fromisoformat(text)
    return max(0, round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000))
