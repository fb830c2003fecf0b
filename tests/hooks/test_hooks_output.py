"""A script's output as lines: none lost uncounted, none too long, none too many."""

from hypothesis import given
from hypothesis import strategies as st

from zraft.hooks.output import BURST_LINES_MAX, LINE_BYTES_MAX, LINES_PER_S_MAX, Budget, Line, Lines


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_lines_come_out_whole_however_the_bytes_are_cut(chunks: list[bytes]) -> None:
    lines = Lines()
    out = []
    for chunk in chunks:
        whole, dropped = lines.feed(chunk, 10_000)
        assert dropped == 0
        out += whole
    out += lines.last()
    *whole_lines, rest = b"".join(chunks).split(b"\n")
    expected = whole_lines + ([rest] if rest else [])
    assert [line.text for line in out] == [line.decode("utf-8", "replace") for line in expected]


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3)), max_size=20))
def test_what_passes_and_what_is_dropped_add_up(chunks: list[tuple[bytes, int]]) -> None:
    lines = Lines()
    passed = counted = 0
    for chunk, room in chunks:
        whole, dropped = lines.feed(chunk, room)
        assert len(whole) <= room
        passed += len(whole)
        counted += dropped
    assert passed + counted == b"".join(chunk for chunk, _ in chunks).count(b"\n")


def test_a_long_line_is_cut_and_says_by_how_much() -> None:
    lines = Lines()
    assert lines.feed(b"x" * LINE_BYTES_MAX, 1) == ([], 0)
    assert lines.feed(b"yyy", 1) == ([], 0)
    assert lines.feed(b"zz\nnext\n", 2) == ([Line("x" * LINE_BYTES_MAX, 5), Line("next", 0)], 0)


def test_after_dropped_lines_the_next_one_is_whole() -> None:
    lines = Lines()
    assert lines.feed(b"a\nb\nc\nd", 1) == ([Line("a", 0)], 2)
    assert lines.feed(b"d\n", 1) == ([Line("dd", 0)], 0)


def test_a_budget_is_a_burst_and_then_a_rate() -> None:
    budget = Budget(1_000.0)
    assert budget.left(1_000.0) == BURST_LINES_MAX
    budget.spend(BURST_LINES_MAX)
    assert budget.left(1_000.0) == 0
    assert budget.left(1_500.0) == LINES_PER_S_MAX // 2
    assert budget.left(3_600_000.0) == BURST_LINES_MAX
