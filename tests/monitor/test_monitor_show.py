"""Lines, tables and pictures as text."""

import json

from zraft import events
from zraft.events import Event
from zraft.monitor import lines, table
from zraft.monitor.screen import Screen
from zraft.monitor.view import Row
from zraft.printable import fit, one_line

WALL_MS = 1_700_000_000_123  # 22:13:20.123 UTC


def event(kind: str, /, **data) -> Event:
    return Event(1, "c", "n1", "00", 7, WALL_MS, 3, "leader", kind, data)


def what(kind: str, /, **data) -> str:
    return lines.as_text(event(kind, **data), brief=True).removeprefix(f"22:13:20.123 n1 t3   {kind:<8} ")


def test_a_line_has_time_node_term_role_and_kind():
    line = lines.as_text(event("log", level="INFO", message="hello"), width=4)
    assert line == "22:13:20.123 n1   t3   leader        log      INFO hello"


def test_each_kind_says_what_happened():
    assert what("role", role="follower", term=3, leader="n2", reason="higher_term", prev_role="leader") == (
        "follower in term 3, follows n2 (higher_term, was leader)"
    )
    assert what("role", role="leader", term=3, leader="n1", reason="election", prev_role=None) == (
        "leader in term 3 (election)"
    )
    assert what("entry", index=12, term=3, kind="command", text="kv put a=1") == "12@3 command kv put a=1"
    assert what("hook", hook="x", seq=2, event="leader", state="output", line="hi") == "leader #2 output: hi"
    assert what("hook", seq=2, event="leader", state="ended", exit_code=0, duration_ms=5) == (
        "leader #2 ended: exit_code 0, duration_ms 5"
    )
    assert what("vote", what="refused", candidate="n2", reason="its log is old", pre=True, term=3) == (
        "pre-vote refused for n2 in term 3: its log is old"
    )
    assert what("rejected", socket="peer", count=4, reason="magic") == (
        "4 messages dropped on the peer socket; the last: magic"
    )
    assert what("stopping", reason="SIGTERM") == "SIGTERM"
    assert what("started", version="0.1.0", pid=7, entries=12) == "zraft 0.1.0 (pid 7), 12 entries recovered"
    won = {"votes_for": ["n1", "n2"], "votes_against": [], "expected": ["n1", "n2", "n3"], "cause": "timeout"}
    assert what("candidacy", outcome="won", term=3, duration_ms=12, **won) == (
        "won in term 3, 12 ms after timeout; for n1 n2; of n1 n2 n3"
    )
    assert what("membership", index=4, voters=["n1"], outgoing=[], learners=["n2"], registered=["n1"]) == (
        "voters n1; learners n2; registered n1"
    )
    assert what("transfer", target="n2", done=True) == "to n2: told to take over"
    assert what("transfer", target="n2", done=False) == "to n2: given up"
    assert what("data_lost", node="n2") == "n2 has lost its data"
    assert what("heartbeat", what="sent", peer="n2", round=7) == "sent to n2, round 7"
    assert what("heartbeat", what="received", peer="n2", round=7) == "received from n2, round 7"
    assert what("novel", a=1, b=2) == "a=1 b=2"


def test_what_repeats_itself_is_not_shown_to_people():
    assert {kind for kind in events.KINDS if not lines.is_shown(event(kind))} == {"status", "heartbeat"}


def test_an_event_without_its_data_is_still_one_line():
    for kind in events.KINDS:
        assert "\n" not in lines.as_text(event(kind))


def test_a_line_may_have_its_date():
    assert lines.as_text(event("log", message="hello"), dated=True).startswith("2023-11-14T22:13:20.123Z n1 t3 ")
    far = Event(1, "c", "n1", "00", 7, 1 << 62, 3, "leader", "log", {})
    assert lines.as_text(far, dated=True).startswith("9999-12-31T23:59:59.999Z ")


def test_what_others_wrote_stays_on_its_line_and_moves_no_cursor():
    assert what("log", level="INFO", message="a\nb\x1b[2J\u2028c\td") == "INFO a\\nb\\x1b[2J\\u2028c d"
    assert one_line("ümläut 😀") == "ümläut 😀"


def test_json_is_the_whole_record_on_one_line():
    record = json.loads(lines.as_json(event("entry", index=1, text="a\nb", raw=b"\xff")))
    assert list(record) == ["v", "cluster", "node", "boot_id", "seq", "wall_ms", "term", "role", "kind", "data"]
    assert record["data"]["text"] == "a\nb"
    assert "\n" not in lines.as_json(event("log", message="a\nb"))


ROWS = [
    Row("n1", "up", "leader", 3, "n1", "n1", 1_234, 1_234, 1_234, True, 90.0),
    Row("n2", "up", "follower", 3, "n1", None, 1_200, 1_199, 1_234, True, 410.0),
    Row("n3", "down", None, 2, None, "n2", 77, 77, 80, False, 3_725_000.0),
    Row("n4", "down"),
]
TABLE = """\
NODE  ROLE      TERM  LEADER  VOTED  COMMIT  APPLIED  LAST  HEALTHY    AGE
n1    leader       3  n1      n1       1234     1234  1234  yes       0.1s
n2    follower     3  n1      -        1200     1199  1234  yes       0.4s
n3    down         2  -       n2         77       77    80  no       1h02m
n4    down         -  -       -           -        -     -  no           -"""


def test_the_table_is_aligned():
    assert "\n".join(table.lines(ROWS)) == TABLE


def test_colours_are_used_only_if_wanted():
    coloured = table.lines(ROWS, colour=True)
    assert coloured[1].startswith("\x1b[32m") and coloured[3].startswith("\x1b[31m")
    assert all(line.endswith("\x1b[0m") for line in (coloured[0], coloured[1], coloured[3]))
    assert not any("\x1b" in line for line in table.lines(ROWS))


def test_the_widest_usual_table_fits_eighty_columns():
    rows = [Row("n10", "up", "pre_candidate", 123, "n10", "n10", 1_234_567, 1_234_567, 1_234_567, False, 59_000.0)]
    assert all(len(line) <= 80 for line in table.lines(rows, width=80))
    assert table.lines(rows, width=80)[1].endswith("59s")


def test_lengths_of_time_are_short():
    assert [table.duration(seconds) for seconds in (0, 9.94, 59.9, 60, 3_599, 3_600, 86_399, 90_000)] == [
        "0.0s", "9.9s", "59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d01h",
    ]  # fmt: skip


def test_text_is_cut_by_the_columns_that_it_takes():
    assert fit("abcdef", 6) == "abcdef"
    assert fit("abcdefg", 6) == "abcde…"
    assert fit("漢字漢字", 8) == "漢字漢字"
    assert fit("漢字漢字", 7) == "漢字漢…"
    assert fit("漢字漢字", 6) == "漢字…"
    assert fit("abc", 0) == ""


def test_a_picture_never_exceeds_the_terminal():
    screen = Screen("watching", colour=False)
    for number in range(100):
        screen.add(f"line {number} " + "x" * 200)
    for columns, height in ((80, 24), (20, 5), (200, 60), (80, 3), (10, 1)):
        frame = screen.frame(ROWS, columns, height)
        assert len(frame) <= height
        assert all(len(line) <= columns for line in frame)
    frame = screen.frame(ROWS, 80, 24)
    assert frame[0] == "watching" and frame[1].startswith("NODE") and frame[6] == ""
    assert frame[-1].startswith("line 99 ") and len(frame) == 24


def test_a_picture_with_few_lines_is_short():
    screen = Screen("watching", colour=False)
    screen.add("one")
    assert screen.frame(ROWS, 80, 24)[-1] == "one"
