"""The thread that owns a node's event file: events go in without waiting, and questions about them come back answered.

All input and output is this thread's, reading too: a disk that stalls holds up neither heartbeats nor anything else.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

import msgspec

from zraft import events
from zraft.eventfile.ring import Cursor, Ring
from zraft.events import Event
from zraft.requests import EventsPage, Outcome, PastEvents, Reply
from zraft.seams import FileSystem

QUEUE_MAX = 10_000
"""Events and questions that may wait for the thread; what comes on top of them is lost, or refused."""
SYNC_EVERY_S = 1.0
"""How long what is written may wait to be synced."""
SCAN_BYTES_MAX = 256 << 10
"""How much of the file one question may have read: some milliseconds' work, so that the loop gets the interpreter back."""
LINE_BYTES_MAX = 32 << 10
"""The longest line that is recorded; several go into what one question reads."""
_BATCH_MAX = 256
_CLOSE_S = 2.0
"""How long a node that ends waits for a disk that does not answer."""


class _Question(NamedTuple):
    client: bytes
    asked: PastEvents


class _Glance(msgspec.Struct):
    """As much of a line as decides whether it is wanted."""

    kind: str
    wall_ms: int


_glance = msgspec.json.Decoder(_Glance).decode


class EventFile:
    """A node's event file.

    Parameters
    ----------
    fs
        Its directory.
    warn
        Told, in the thread, when events can't be recorded, and when they can again: once each time.
    """

    def __init__(self, fs: FileSystem, warn: Callable[[str], None]) -> None:
        self._fs = fs
        self._warn = warn
        self._rings = {heartbeats: Ring(fs, name) for heartbeats, name in ((False, "events"), (True, "heartbeats"))}
        self._queue: SimpleQueue[Event | _Question | None] = SimpleQueue()
        """On their way to the thread; None tells it to end."""
        self._answers: deque[tuple[bytes, Reply]] = deque()
        """On their way back."""
        self._refused = 0
        """Events that came when too many waited; counted by the loop."""
        self._unwritten = 0
        """Events that could not be written; counted by the thread."""
        self._lost_told = 0
        """As many of them as people were told of."""
        self._failing = False
        """People were told that events are being lost."""
        self._sync_at: float | None = None
        """When what is written must be synced; None when it is."""
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = Thread(target=self._run, name="event file", daemon=True)
        self._thread.start()

    # -- the loop's side -----------------------------------------------------------------------------------------------

    def record(self, event: Event) -> None:
        """Take an event that `events.is_recorded`; returns at once."""
        if self._queue.qsize() < QUEUE_MAX:
            self._queue.put(event)
        else:
            self._refused += 1

    @property
    def lost(self) -> int:
        """Events that were not recorded, since the node began."""
        return self._refused + self._unwritten

    def ask(self, client: bytes, asked: PastEvents) -> None:
        """Have a client's question answered, behind all events that were recorded before; `answers` has it later."""
        if self._queue.qsize() < QUEUE_MAX:
            self._queue.put(_Question(client, asked))
        else:
            self._answer(client, Reply(asked.id, Outcome.REFUSED, message="the event file is busy; ask again"))

    def fileno(self) -> int:
        """Return a descriptor that is readable while there are answers."""
        return self._fd

    def answers(self) -> list[tuple[bytes, Reply]]:
        """Return the answers since the last call, with the clients that they are for."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def close(self) -> None:
        """Write and sync what was recorded, and end the thread; a disk that does not answer is left to itself."""
        self._queue.put(None)
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            self._warn(f"{self._fs}: the disk does not answer; the last events may not be recorded")
        else:
            os.close(self._fd)

    # -- the thread's side ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - the node goes on without, and people must hear of it
            self._warn(f"{self._fs}: events are not recorded any more: {error!r}; restart the node")

    def _work(self) -> None:
        going = True
        while going:
            batch = self._next_batch()
            self._write([item for item in batch if isinstance(item, Event)])
            for item in batch:
                if isinstance(item, _Question):
                    self._answer(item.client, self._page(item.asked))
            going = None not in batch
            if self._sync_at is not None and (time.monotonic() >= self._sync_at or not going):
                self._sync()
        for ring in self._rings.values():
            ring.close()

    def _next_batch(self) -> list[Event | _Question | None]:
        """Wait for something, until a sync is due at most, and return all that is there."""
        left = None if self._sync_at is None else max(0.0, self._sync_at - time.monotonic())
        try:
            batch = [self._queue.get(timeout=left)]
        except Empty:
            return []
        while len(batch) < _BATCH_MAX and not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _write(self, found: list[Event]) -> None:
        for heartbeats, ring in self._rings.items():
            lines = [self._line(event) for event in found if (event.kind == "heartbeat") is heartbeats]
            fit = [line for line in lines if 0 < len(line) < LINE_BYTES_MAX]
            self._unwritten += len(lines) - len(fit)
            try:
                while fit:
                    del fit[: ring.append(fit)]
                    self._sync_at = self._sync_at or time.monotonic() + SYNC_EVERY_S
                    self._recovered()
            except OSError as error:
                self._unwritten += len(fit)
                self._failed(error)

    def _line(self, event: Event) -> bytes:
        """Return the event as JSON; nothing for one that JSON can't say."""
        try:
            return events.as_json(event)
        except (TypeError, ValueError, OverflowError):
            return b""

    def _sync(self) -> None:
        self._sync_at = None
        try:
            for ring in self._rings.values():
                ring.sync()
        except OSError as error:
            self._failed(error)

    def _page(self, asked: PastEvents) -> Reply:
        try:
            found = self._rings[asked.heartbeats].read(Cursor(asked.serial, asked.offset), SCAN_BYTES_MAX)
        except OSError as error:
            return Reply(asked.id, Outcome.INVALID, message=f"the event file can't be read: {error}")
        wanted = [line for line in found.lines if _is_wanted(line, asked)]
        return Reply(asked.id, Outcome.DONE, EventsPage(wanted, found.cursor.serial, found.cursor.offset, found.more))

    def _answer(self, client: bytes, reply: Reply) -> None:
        self._answers.append((client, reply))
        os.eventfd_write(self._fd, 1)

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            self._warn(f"{self._fs}: events can't be recorded: {error.strerror or error}; the node goes on without")

    def _recovered(self) -> None:
        if not self._failing and self.lost == self._lost_told:
            return
        self._failing, lost = False, self.lost - self._lost_told
        self._lost_told += lost
        self._warn(f"{self._fs}: events are recorded again; {lost} were lost")


def _is_wanted(line: bytes, asked: PastEvents) -> bool:
    try:
        seen = _glance(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False  # What a crash has left there.
    return seen.wall_ms >= asked.since_ms and (not asked.kinds or seen.kind in asked.kinds)
