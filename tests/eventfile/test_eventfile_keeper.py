"""The thread that owns the event file: what goes in comes out again, and a disk that fails costs events and nothing else."""

import errno
import json
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crashfs import CrashFS

from zraft import events
from zraft.disk import OsFileSystem
from zraft.eventfile import keeper
from zraft.eventfile.keeper import EventFile
from zraft.events import Event
from zraft.requests import EventsPage, Outcome, PastEvents, Reply

PATIENCE_MS = 15_000
Make = Callable[[Any], EventFile]


def event(seq: int, kind: str = "role", wall_ms: int = 0, **data: Any) -> Event:
    return Event(1, "c", "n1", "00ff", seq, wall_ms, 3, "leader", kind, data)


class Warnings(list[str]):
    """What people were told."""


@pytest.fixture
def warnings() -> Warnings:
    return Warnings()


@pytest.fixture
def make(warnings: Warnings) -> Iterator[Make]:
    """Open event files, and close them in the end."""
    opened: list[EventFile] = []

    def make(fs: Any) -> EventFile:
        opened.append(EventFile(fs, warnings.append))
        return opened[-1]

    yield make
    for each in opened:
        if each._thread.is_alive():
            each.close()


def answer(file: EventFile, asked: PastEvents) -> Reply:
    """Ask, and wait for the answer where a loop would."""
    file.ask(b"client", asked)
    assert select.select([file], [], [], PATIENCE_MS / 1_000)[0], "no answer"
    ((client, reply),) = file.answers()
    assert (client, reply.id) == (b"client", asked.id)
    return reply


def everything(file: EventFile, **asked: Any) -> list[Event]:
    """Return all events that answer the question, page by page."""
    found: list[Event] = []
    page = EventsPage([], 0, 0, True)
    while page.more:
        reply = answer(file, PastEvents(7, serial=page.serial, offset=page.offset, **asked))
        assert reply.outcome == Outcome.DONE
        page = reply.result
        found += map(events.read_json, page.events)
    return found


def test_what_is_recorded_can_be_asked_for_at_once_and_after_a_restart(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "n1" / "events"
    file = make(OsFileSystem(root))
    recorded = [event(1, reason="b\x00 \n\"'", votes=("n1", "n2")), event(2, "vote", 5), event(3, "started", 9)]
    for each in recorded:
        file.record(each)
    assert [(each.seq, each.kind, each.wall_ms) for each in everything(file)] == [
        (1, "role", 0),
        (2, "vote", 5),
        (3, "started", 9),
    ]
    file.close()
    lines = (root / "events-0000000001.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]
    again = make(OsFileSystem(root))
    again.record(event(1, "started", 10))
    assert [each.seq for each in everything(again)] == [1, 2, 3, 1]
    assert everything(again)[0].data == {"reason": "b\x00 \n\"'", "votes": ["n1", "n2"]}
    assert (root.stat().st_mode & 0o777, (root / "events-0000000001.jsonl").stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_was_handed_over_outlives_a_kill(make: Make) -> None:
    fs = CrashFS()
    file = make(fs)
    file.record(event(1))
    everything(file)  # The thread has taken it: nothing was synced or closed.
    assert [each.seq for each in everything(make(fs.after_kill()))] == [1]


def test_what_is_older_than_a_second_outlives_a_loss_of_power(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "SYNC_EVERY_S", 0.01)
    fs = CrashFS()
    synced = threading.Event()
    sync_directory = fs.sync_directory
    monkeypatch.setattr(fs, "sync_directory", lambda path="": (sync_directory(path), synced.set()))
    file = make(fs)
    file.record(event(1))
    assert synced.wait(PATIENCE_MS / 1_000)
    assert [each.seq for each in everything(make(fs.after_power_loss("lose_all")))] == [1]


def test_a_clean_end_is_synced(make: Make) -> None:
    fs = CrashFS()
    file = make(fs)
    for seq in range(1, 1_001):
        file.record(event(seq))
    file.close()
    assert [each.seq for each in everything(make(fs.after_power_loss("lose_all")))] == list(range(1, 1_001))


def test_questions_are_answered_by_kind_and_time(make: Make) -> None:
    file = make(CrashFS())
    for seq, kind in enumerate(["role", "vote", "heartbeat", "hook", "vote"], 1):
        file.record(event(seq, kind, wall_ms=100 * seq))
    assert [each.seq for each in everything(file)] == [1, 2, 4, 5]
    assert [each.seq for each in everything(file, heartbeats=True)] == [3]
    assert [each.seq for each in everything(file, kinds=["vote", "hook"])] == [2, 4, 5]
    assert [each.seq for each in everything(file, since_ms=400)] == [4, 5]
    assert [each.seq for each in everything(file, since_ms=300, kinds=["role"])] == []


def test_heartbeats_do_not_push_out_the_rest(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make(CrashFS())
    for ring in file._rings.values():
        monkeypatch.setattr(ring, "_file_bytes", 1_000)
    file.record(event(1, "candidacy"))
    for seq in range(2, 1_000):
        file.record(event(seq, "heartbeat", what="sent"))
    assert [each.seq for each in everything(file)] == [1]
    beats = [each.seq for each in everything(file, heartbeats=True)]
    assert beats == list(range(beats[0], 1_000))
    assert beats[0] > 2


def test_one_page_is_bounded_and_the_next_goes_on(make: Make) -> None:
    file = make(CrashFS())
    for seq in range(1, 5_001):
        file.record(event(seq, reason="x" * 300))
    first = answer(file, PastEvents(1)).result
    assert sum(map(len, first.events)) <= keeper.SCAN_BYTES_MAX
    assert first.more
    assert [each.seq for each in everything(file)] == list(range(1, 5_001))


@pytest.mark.parametrize("serial", [0, 1, 2, (1 << 63) - 1])
@pytest.mark.parametrize("offset", [0, 1, (1 << 63) - 1])
def test_any_cursor_is_answered(make: Make, serial: int, offset: int) -> None:
    file = make(CrashFS())
    file.record(event(1))
    file.record(event(2))
    page = answer(file, PastEvents(1, serial=serial, offset=offset)).result
    assert {events.read_json(line).seq for line in page.events} <= {1, 2}
    assert not page.more


def test_lines_that_are_no_events_are_passed_over(make: Make) -> None:
    fs = CrashFS()
    file = make(fs)
    file.record(event(1))
    file.close()
    (inode,) = fs.visible.values()
    inode.visible += b'\xff\xff\n{"kind": 7}\n' + bytes(40) + b"\n[[[\n"
    again = make(fs)
    again.record(event(2))
    assert [each.seq for each in everything(again)] == [1, 2]


def test_a_full_disk_costs_events_and_one_line_and_a_disk_with_room_ends_that(make: Make, warnings: Warnings) -> None:
    class Full(CrashFS):
        full = True

        def maybe_fail(self, what: str, name: str) -> None:
            if self.full and what in ("create", "pwritev"):
                raise OSError(errno.ENOSPC, "No space left on device", name)
            super().maybe_fail(what, name)

    fs = Full()
    file = make(fs)
    for seq in (1, 2, 3):
        file.record(event(seq))
        answer(file, PastEvents(1))
    assert warnings == ["/data/n1: events can't be recorded: No space left on device; the node goes on without"]
    assert file.lost == 3
    fs.full = False
    file.record(event(4))
    assert [each.seq for each in everything(file)] == [4]
    assert warnings[1:] == ["/data/n1: events are recorded again; 3 were lost"]
    file.record(event(5))
    assert [each.seq for each in everything(file)] == [4, 5]
    assert len(warnings) == 2


def test_a_directory_that_cannot_be_made_costs_events_alone(make: Make, warnings: Warnings, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("in the way")
    file = make(OsFileSystem(tmp_path / "events"))
    file.record(event(1))
    reply = answer(file, PastEvents(1))
    assert (reply.outcome, "can't be read" in reply.message) == (Outcome.INVALID, True)
    assert (len(warnings), file.lost) == (1, 1)


def test_a_failed_sync_is_told(make: Make, warnings: Warnings, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = CrashFS()
    file = make(fs)
    fs.fail = {"datasync": errno.EIO}
    file.record(event(1))
    file.close()
    assert warnings == ["/data/n1: events can't be recorded: Input/output error; the node goes on without"]


class Stalled(CrashFS):
    """A disk on which every write waits."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def maybe_fail(self, what: str, name: str) -> None:
        if what == "pwritev":
            self.reached.set()
            assert self.go_on.wait(PATIENCE_MS / 1_000)


def test_a_stalled_disk_holds_nobody_up_and_what_waits_is_bounded(
    make: Make, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "QUEUE_MAX", 5)
    fs = Stalled()
    file = make(fs)
    file.record(event(1))
    assert fs.reached.wait(PATIENCE_MS / 1_000)
    for seq in range(2, 11):
        file.record(event(seq))
    assert file.lost == 4
    reply = answer(file, PastEvents(1))
    assert (reply.outcome, reply.message) == (Outcome.REFUSED, "the event file is busy; ask again")
    fs.go_on.set()
    while answer(file, PastEvents(2)).outcome == Outcome.REFUSED:
        pass
    assert [each.seq for each in everything(file)] == [1, 2, 3, 4, 5, 6]
    assert warnings == ["/data/n1: events are recorded again; 4 were lost"]


def test_a_disk_that_never_answers_does_not_keep_a_node_from_ending(
    make: Make, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_CLOSE_S", 0.05)
    fs = Stalled()
    file = make(fs)
    file.record(event(1))
    assert fs.reached.wait(PATIENCE_MS / 1_000)
    file.close()
    assert warnings == ["/data/n1: the disk does not answer; the last events may not be recorded"]
    fs.go_on.set()
    file._thread.join()


def test_what_json_cannot_say_is_lost_alone(make: Make) -> None:
    file = make(CrashFS())
    for each in (event(1, reason="\ud800"), event(3, long="x" * 40_000), event(4, odd={1, 2})):
        file.record(each)
    assert [each.seq for each in everything(file)] == [4]
    assert file.lost == 2


def test_a_mistake_of_ours_is_told(make: Make, warnings: Warnings, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make(CrashFS())

    def broken(found: list[Event]) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(file, "_write", broken)
    file.record(event(1))
    file._thread.join(PATIENCE_MS / 1_000)
    assert warnings == ["/data/n1: events are not recorded any more: KeyError('ours'); restart the node"]
