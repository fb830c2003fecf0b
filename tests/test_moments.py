"""Points in time as people write them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.moments import LATEST_MS, iso, since

NOW_MS = 1_769_860_800_123  # 2026-01-31T12:00:00.123Z


@pytest.mark.parametrize(
    ("text", "before_ms"),
    [
        ("0", 0),
        ("90", 90_000),
        ("1.5", 1_500),
        ("90s", 90_000),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1h30m", 5_400_000),
        ("0.5h", 1_800_000),
        ("9999999d", NOW_MS),
    ],
)
def test_how_long_ago(text: str, before_ms: int) -> None:
    assert since(text, NOW_MS) == NOW_MS - before_ms


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00.123Z",
        "2026-01-31T12:00:00.123",
        "2026-01-31 12:00:00.123+00:00",
        "2026-01-31T13:30:00.123+01:30",
    ],
)
def test_a_moment_is_utc_unless_it_says_otherwise(text: str) -> None:
    assert since(text, 0) == NOW_MS


def test_a_date_is_its_beginning() -> None:
    assert iso(since("2026-01-31", 0)) == "2026-01-31T00:00:00.000Z"
    assert since("1950-01-01", 0) == 0


@pytest.mark.parametrize("text", ["", "soon", "-5", "10x", "m", "10m ago", "1h30", "2026-13-01", "1e3", "nan"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        since(text, NOW_MS)


@given(st.integers(0, LATEST_MS))
def test_what_is_shown_can_be_given_back(ms: int) -> None:
    assert since(iso(ms), 0) == ms


@pytest.mark.parametrize(("ms", "text"), [(-5, "1970-01-01T00:00:00.000Z"), (1 << 62, "9999-12-31T23:59:59.999Z")])
def test_what_lies_beyond_the_calendar(ms: int, text: str) -> None:
    assert iso(ms) == text
    assert iso(NOW_MS) == datetime.fromtimestamp(NOW_MS / 1_000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
