"""The write queue: order, one sync for all that waits, a wake-up through the descriptor, and failures that stay."""

import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from zraft import diskthread
from zraft.diskthread import DiskThread
from zraft.errors import StorageError
from zraft.raft.messages import InstallSnapshot
from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, EntryKind, HardState, Membership, Snapshot

PATIENCE_S = 10


class GatedDisk:
    """A disk whose sync lasts until the test lets it end."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        """The ids that shared a sync, in order."""
        self.begun = threading.Semaphore(0)
        """Released as each sync begins."""
        self.gate = threading.Semaphore(0)
        """To be released once for each sync that may end."""

    def write(self, writes: Sequence[Write]) -> None:
        self.batches.append([write.id for write in writes])
        self.begun.release()
        assert self.gate.acquire(timeout=PATIENCE_S)


def write(number: int) -> Write:
    return Write(number, 1, hard_state=HardState(number))


class Store:
    """What the thread drives, made of two functions, and of snapshots that tell what was asked of them."""

    def __init__(self, write: Callable, prepare: Callable[[], bool] | None = None) -> None:
        self.write = write
        self.prepare = prepare or (lambda: False)
        self.asked: list[Any] = []
        self.is_settled = True
        self.settled = threading.Event()

    def settle(self) -> None:
        self.is_settled = True
        self.settled.set()

    def receive(self, piece: InstallSnapshot) -> None:
        self.asked.append(("receive", piece))

    def fetch(self, target: str, wanted: InstallSnapshot) -> None:
        self.asked.append(("fetch", target, wanted))

    def take_news(self) -> list[Any]:
        news, self.asked = self.asked, []
        return news

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        yield snapshot.sha256


@contextmanager
def disk_thread(
    write: Callable, prepare: Callable[[], bool] | None = None, now_ms: Callable[[], float] | None = None
) -> Iterator[DiskThread]:
    thread = DiskThread(Store(write, prepare), now_ms)
    try:
        yield thread
    finally:
        thread.close()


def readable(thread: DiskThread, timeout_s: float = PATIENCE_S) -> bool:
    return bool(select.select([thread], [], [], timeout_s)[0])


def wait_for(thread: DiskThread, count: int) -> list[int]:
    """Return the next `count` completed ids, as a poller would come by them."""
    ids: list[int] = []
    while len(ids) < count:
        assert readable(thread), f"nobody woke us: {ids}"
        ids += thread.completed()
    return ids


def test_ids_come_out_in_order_each_once() -> None:
    seen: list[int] = []
    with disk_thread(lambda writes: seen.extend(write.id for write in writes)) as thread:
        for number in range(1, 1_001):
            thread.submit(write(number))
        assert wait_for(thread, 1_000) == list(range(1, 1_001))
        assert seen == list(range(1, 1_001))
        while readable(thread, 0):  # The last bell may come behind what it tells of; then no other does.
            assert thread.completed() == []


def test_what_waits_while_a_sync_runs_shares_the_next() -> None:
    disk = GatedDisk()
    with disk_thread(disk.write) as thread:
        thread.submit(write(1))
        assert disk.begun.acquire(timeout=PATIENCE_S)
        for number in (2, 3, 4):
            thread.submit(write(number))
        assert thread.completed() == []
        assert not readable(thread, 0)
        disk.gate.release()
        assert wait_for(thread, 1) == [1]
        assert disk.begun.acquire(timeout=PATIENCE_S)
        disk.gate.release()
        assert wait_for(thread, 3) == [2, 3, 4]
    assert disk.batches == [[1], [2, 3, 4]]


def test_responses_wait_for_the_writes_ahead_of_them_and_for_nothing_else() -> None:
    disk = GatedDisk()
    with disk_thread(disk.write) as thread:
        thread.submit(Write(1, 1))
        assert readable(thread, 0), "nothing ahead: at once, and without the thread"
        assert thread.completed() == [1]
        thread.submit(write(2))
        assert disk.begun.acquire(timeout=PATIENCE_S)
        thread.submit(Write(3, 1))
        assert not readable(thread, 0)
        disk.gate.release(2)
        assert wait_for(thread, 2) == [2, 3]
        thread.submit(Write(4, 1))
        assert thread.completed() == [4]


def test_the_age_of_the_oldest_write_shows_a_stalled_disk() -> None:
    disk, now = GatedDisk(), [1_000.0]
    with disk_thread(disk.write, now_ms=lambda: now[0]) as thread:
        assert thread.oldest_pending_ms(5_000) == 0
        thread.submit(write(1))
        now[0] = 1_500.0
        thread.submit(write(2))
        assert thread.oldest_pending_ms(3_000) == 2_000
        disk.gate.release(2)
        assert wait_for(thread, 2) == [1, 2]
        assert thread.oldest_pending_ms(3_000) == 0


def test_the_first_failure_is_told_for_ever_and_nothing_is_written_after_it() -> None:
    written: list[int] = []

    def fail_at_second(writes: Sequence[Write]) -> None:
        if writes[0].id == 2:
            raise StorageError("cannot write /data/n1/x: Input/output error; find the cause")
        written.extend(write.id for write in writes)

    with disk_thread(fail_at_second) as thread:
        thread.submit(write(1))
        assert wait_for(thread, 1) == [1]
        thread.submit(write(2))
        assert readable(thread)
        for number in (3, 4, 5):
            with pytest.raises(StorageError, match="Input/output error; find the cause"):
                thread.completed()
            assert readable(thread, 0), "nobody shall sleep on a failure"
            thread.submit(write(number))
        assert thread.oldest_pending_ms(1e15) > 0
    assert written == [1]


def test_an_error_of_our_own_in_the_thread_ends_the_node_too() -> None:
    def broken(writes: Sequence[Write]) -> None:
        raise AssertionError("a gap in the log")

    with disk_thread(broken) as thread:
        thread.submit(write(1))
        assert readable(thread)
        with pytest.raises(StorageError, match="the disk thread failed: AssertionError"):
            thread.completed()


def test_preparation_goes_on_between_writes_and_its_failure_counts() -> None:
    steps: list[int] = []
    idle = threading.Event()

    def prepare() -> bool:
        steps.append(1)
        if len(steps) == 10:
            idle.set()
        if len(steps) > 10:
            raise StorageError("cannot prepare a segment: No space left on device; free some space")
        return len(steps) < 10

    with disk_thread(lambda writes: None, prepare) as thread:
        assert idle.wait(PATIENCE_S), "all steps are taken while nothing waits"
        thread.submit(write(1))
        assert readable(thread)
        with pytest.raises(StorageError, match="No space left"):
            while True:
                assert readable(thread)
                thread.completed()


def test_the_last_write_is_told_of_once_no_other_comes_and_at_the_end() -> None:
    order: list[str] = []

    class Telling(Store):
        def settle(self) -> None:
            if not self.is_settled:
                order.append("settled")
            super().settle()

    def wrote(writes: list[Write]) -> None:
        store.is_settled = False
        order.append("write")

    store = Telling(wrote)
    thread = DiskThread(store)

    def made_durable(number: int) -> None:
        thread.submit(write(number))
        while thread.completed() != [number]:  # It may be so at once, and then nobody rings.
            assert readable(thread)

    for number in range(1, 4):
        made_durable(number)
    assert store.settled.wait(PATIENCE_S)
    assert order.count("settled") <= 3
    assert order[-1] == "settled"
    made_durable(4)
    thread.close()
    assert order[-2:] == ["write", "settled"]


def test_preparation_makes_no_write_wait_for_more_than_a_step() -> None:
    order: list[str] = []
    stepping, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def prepare() -> bool:
        order.append("step")
        stepping.release()
        assert go_on.acquire(timeout=PATIENCE_S)
        return len(order) < 6

    with disk_thread(lambda writes: order.append("write"), prepare) as thread:
        assert stepping.acquire(timeout=PATIENCE_S)
        thread.submit(write(1))
        go_on.release()
        assert wait_for(thread, 1) == [1]
        assert order[:2] == ["step", "write"]
        go_on.release(20)


def test_closing_finishes_what_was_submitted() -> None:
    seen: list[int] = []
    thread = DiskThread(Store(lambda writes: seen.extend(write.id for write in writes)))
    for number in range(50):
        thread.submit(write(number))
    thread.close()
    assert seen == list(range(50))
    assert not any(each.name == "disk" for each in threading.enumerate())


def test_a_small_write_to_a_brisk_disk_is_durable_when_it_is_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diskthread, "AWAIT_MS", 1_000.0 * PATIENCE_S)  # So that a busy machine proves nothing.
    with disk_thread(lambda writes: None, None, lambda: 0.0) as thread:
        thread.submit(write(1))  # Nothing is known of the disk yet.
        assert wait_for(thread, 1) == [1]
        for number in range(2, 50):
            thread.submit(write(number))
            assert thread.completed() == [number]


def test_a_slow_disk_is_not_awaited_nor_a_large_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diskthread, "AWAIT_MS", 1_000.0 * PATIENCE_S)
    clock = iter(range(0, 10**9, 2 * 1_000 * PATIENCE_S))
    gated = GatedDisk()
    with disk_thread(gated.write, None, lambda: float(next(clock))) as thread:
        for number in (1, 2):  # By the clock, each takes longer than anybody waits.
            thread.submit(write(number))
            assert thread.completed() == []
            gated.gate.release()
            assert wait_for(thread, 1) == [number]
    with disk_thread(gated.write, None, lambda: 0.0) as thread:
        thread.submit(write(1))
        gated.gate.release()
        assert wait_for(thread, 1) == [1]
        data = bytes(diskthread.SMALL_BYTES_MAX + 1)
        thread.submit(Write(2, 1, entries=[Entry(1, 1, EntryKind.COMMAND, 0, data)]))
        assert thread.completed() == [], "it waited for the gate that nobody has opened"
        gated.gate.release()
        assert wait_for(thread, 1) == [2]


def test_who_waited_in_vain_hears_of_it_later() -> None:
    gated = GatedDisk()
    with disk_thread(gated.write, None, lambda: 0.0) as thread:
        for number in range(1, 20):
            thread.submit(write(number))  # Awaited from the second on, until AWAIT_MS have passed.
            assert thread.completed() == []
            gated.gate.release()
            assert wait_for(thread, 1) == [number]


def test_what_is_asked_of_snapshots_is_done_behind_the_writes_before_it_and_told() -> None:
    order: list[str] = []
    snapshot = Snapshot(EntryId(1, 1), 0, Membership(("n1",)), 1, b"sum")
    piece = InstallSnapshot(1, snapshot, 0, b"x")
    with disk_thread(lambda writes: order.append("write")) as thread:
        thread.submit(write(1))
        thread.receive(piece)
        thread.fetch("n2", piece)
        news: list[Any] = []
        while len(news) < 2:
            assert readable(thread), f"nobody woke us: {news}"
            thread.completed()
            news += thread.news()
        assert [each[0] for each in news] == ["receive", "fetch"]
        assert order == ["write"]
        assert list(thread.pieces(snapshot)) == [b"sum"]
        while readable(thread, 0):
            assert thread.completed() == thread.news() == []


def test_a_failure_of_a_snapshot_ends_everything() -> None:
    """A disk that can't keep a snapshot can't be trusted with a log either."""

    class Broken(Store):
        def receive(self, piece: InstallSnapshot) -> None:
            raise StorageError("the disk is full")

    thread = DiskThread(Broken(lambda writes: None))
    try:
        thread.receive(InstallSnapshot(1, Snapshot(EntryId(1, 1), 0, Membership(("n1",)), 1, b""), 0, b"x"))
        assert readable(thread)
        with pytest.raises(StorageError, match="the disk is full"):
            thread.completed()
    finally:
        thread.close()
