"""The write-ahead log: opened once, then one write and one sync for each turn of the node's loop."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self, TypeVar

import msgspec

from zraft.errors import StorageError
from zraft.raft.messages import InstallSnapshot
from zraft.raft.ready import Write
from zraft.raft.types import HardState, NodeId, Snapshot
from zraft.seams import DiskNews, Draft, File, FileSystem, Unsaved
from zraft.storage import failures
from zraft.storage.header import BLOCK_BYTES, Header, encode
from zraft.storage.records import SnapshotMark, Truncate, Value, encode_turn
from zraft.storage.recovery import Beginning, Found, Recovery, beginning, in_force
from zraft.storage.replay import Recovered
from zraft.storage.segments import NextSegment, SegmentStart, cut, segment_name, take
from zraft.storage.snapshots import SnapshotFiles
from zraft.storage.spares import Spares
from zraft.storage.tail import Tail
from zraft.storage.tally import NOTHING, Tally
from zraft.storage.turn import gathered

Result = TypeVar("Result")


class Storage:
    """A node's log on disk, open for writing. Not for two threads at once; `open` makes it.

    Attributes
    ----------
    disk_id : str
        The data directory's own name, minted once.
    node : str
        Whose it is.
    recovered : Recovered
        What the directory held when it was opened.
    segments : list of SegmentStart
        The segments of the log, oldest first; for whoever reads old entries back.
    """

    def __init__(self, fs: FileSystem, identity: Header, segment_bytes: int) -> None:
        self.disk_id = identity.disk_id
        self.node = identity.node
        self.recovered = Recovered(identity.disk_id, blank=True)
        self.segments: list[SegmentStart] = []
        self._fs = fs
        self._identity = identity
        """A header with what all of them have in common."""
        self._segment_bytes = segment_bytes
        self._file: File | None = None
        """The segment in use; None only while opening and once closed."""
        self._serial = 0
        """Its serial number."""
        self._size = 0
        """Its size."""
        self._end = 0
        """Where the next turn goes."""
        self._hard_state = HardState()
        """In force on disk; restated at the beginning of each segment, as is the next."""
        self._mark: SnapshotMark | None = None
        self._tally = Tally(Tail(NOTHING), None, NOTHING)
        """What is durable, for the slots."""
        self._next = NextSegment(fs, 1, segment_bytes)
        """The segment that comes after the one in use; set by `_begin_segment`, made by `prepare`."""
        self._spares = Spares(fs, segment_bytes)
        """Segments that the log needs no more."""
        self._failure: StorageError | None = None
        """The first failure; from then on nothing is written and every call raises it."""
        self.snapshots = SnapshotFiles(fs, identity.cluster_id)
        """The snapshots beside the log; for the thread that writes, like everything here."""

    def __str__(self) -> str:
        return str(self._fs)

    @classmethod
    def open(
        cls,
        fs: FileSystem,
        *,
        cluster_id: int,
        node: NodeId,
        segment_bytes: int,
        new_disk_id: Callable[[], str],
        progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Take the data directory, read it back, and begin a new segment in it.

        Parameters
        ----------
        fs
            The data directory; ``str(fs)`` is what messages call it.
        cluster_id, node
            Who it belongs to, or is to belong to.
        new_disk_id
            Draws 32 hexadecimal digits; called only for a blank directory, and durable before `open` returns.
        progress
            Told, in a line, of each segment before it is read.

        Raises
        ------
        ConfigError
            Another process has the directory.
        StorageError
            The directory cannot be used, belongs to somebody else, or is damaged; it is left as it was.
        """
        with failures.spoken_of("use", str(fs)):
            fs.mkdir("")
            take(fs)
        with failures.spoken_of("read", str(fs)):
            found = Recovery(fs, cluster_id, node, progress or _silent).run()
        storage = cls(
            fs, Header(1, cluster_id, node, found.last.disk_id if found.last else new_disk_id()), segment_bytes
        )
        try:
            with failures.spoken_of("write", str(fs)):
                storage._start(found)
                storage.snapshots.open()
        except StorageError:
            storage.close()
            raise
        return storage

    def write(self, writes: Sequence[Write]) -> None:
        """Make all of `writes`, in their order, durable with one write and one sync; none at all if nothing is in them.

        Raises
        ------
        StorageError
            The disk failed, now or earlier: what was being written may or may not be there, and nothing is retried.
        """
        self._raise_failure()
        turn = gathered(writes, self._tally.next_index, self._hard_state, self._mark)
        if not turn.values:
            return
        try:
            self._append(turn.values)
        except OSError as error:
            raise self._latch("write", error) from error
        self._hard_state = turn.hard_state
        self._tally.durable(writes, self._serial, self._end, turn.hard_state)
        if turn.lowest_index < self.segments[-1].first_index:
            self.segments[-1] = SegmentStart(self._serial, turn.lowest_index)
        if turn.mark is not self._mark:
            self._mark = turn.mark
            self._begins_after(next(each.begins_after for each in reversed(writes) if each.begins_after is not None))

    @property
    def end(self) -> tuple[str, int]:
        """The name of the segment in use, and how many bytes of it are written."""
        return segment_name(self._serial), self._end

    @property
    def is_settled(self) -> bool:
        """Whether a slot tells of all that is durable."""
        return self._tally.is_settled

    def settle(self) -> None:
        """Tell of the last write, since no other has come for `slots.SETTLE_MS`: one write and one sync.

        Raises
        ------
        StorageError
            The disk failed, now or earlier.
        """
        self._raise_failure()
        if self.is_settled or self._file is None:
            return
        try:
            self._tally.write(self._file, self._serial)
            self._file.datasync()
        except OSError as error:
            raise self._latch("write", error) from error

    def _begins_after(self, snapshot: Snapshot) -> None:
        """Take note of what is needed no more now that the log begins behind `snapshot`, durably."""
        self.snapshots.drop_before(snapshot)
        while len(self.segments) > 1 and self.segments[1].first_index <= snapshot.last.index + 1:
            self._spares.retire(self.segments.pop(0).serial)

    def prepare(self) -> bool:
        """Do a bit of work, about a millisecond; True while there is more to do.

        First for the segment to come: whoever writes calls this between writes, and what is not done when the segment is due
        is done then, in one go. Then for segments that are needed no more, and for snapshots.
        """
        self._raise_failure()
        try:
            if self._next.step():
                return True
        except OSError as error:
            raise self._latch("prepare a segment in", error) from error
        return self._beside(lambda: self._spares.step(self._next.serial) or self.snapshots.step())

    def save(self, draft: Draft, pieces: Iterable[bytes]) -> None:
        """Begin to write a snapshot; `prepare` goes on with it."""
        self._beside(lambda: self.snapshots.save(draft, pieces))

    def keep(self, draft: Draft, failure: Unsaved | Exception | None) -> None:
        """Take over the snapshot that a process of its own has written, or remove it, or fail."""
        self._beside(lambda: self.snapshots.keep(draft, failure))

    def receive(self, piece: InstallSnapshot) -> None:
        """Take a piece of the leader's snapshot."""
        self._beside(lambda: self.snapshots.receive(piece))

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        """Read a piece of a snapshot for a follower."""
        self._beside(lambda: self.snapshots.fetch(target, wanted))

    def take_news(self) -> list[DiskNews]:
        """Return what has become of snapshots since the last call."""
        return self.snapshots.take_news()

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the bytes of a snapshot that is kept; safe in another thread."""
        return self.snapshots.pieces(snapshot)

    def _beside(self, act: Callable[[], Result]) -> Result:
        """Do what concerns snapshots, or what they have made superfluous."""
        self._raise_failure()
        try:
            return act()
        except OSError as error:
            raise self._latch("keep a snapshot in", error) from error

    def close(self) -> None:
        """Let go of the files; everything written is durable already."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._next.close()
        self.snapshots.close()
        self._failure = self._failure or StorageError(f"{self._fs}: closed")

    def _start(self, found: Found) -> None:
        """Begin a segment that repeats the last turn found, and remove what is not needed any more."""
        state = found.replay
        self._next = NextSegment(self._fs, found.serial_max + 1, self._segment_bytes)
        superfluous = found.leftover + [file.serial for file in found.unused]
        if found.unused:
            biggest = max(found.unused, key=lambda file: file.size)
            superfluous.remove(biggest.serial)
            self._next.adopt(biggest)
        self._hard_state, self._mark = found.hard_state, state.mark
        tail = Tail(state.base)
        tail.append(state.entries)
        self._tally = Tally(tail, found.told, found.acknowledged)
        self.segments = found.starts
        if found.last is not None and found.repeats_all:
            (found.aside if found.is_short else superfluous).append(found.last.serial)
            self.segments.pop()
        self._begin_segment(beginning(found))
        self._tally.durable([], self._serial, self._end, self._hard_state)
        if found.last is not None and not found.repeats_all and not found.is_short:
            cut(self._fs, found.last.serial, found.last_end)
        for serial in found.aside:
            self._fs.rename(segment_name(serial), f"{segment_name(serial)}.damaged")
        for serial in superfluous:
            self._fs.unlink(segment_name(serial))
        if superfluous or found.aside:
            self._fs.sync_directory()
        self.recovered = Recovered(
            disk_id=self.disk_id,
            blank=found.last is None,
            hard_state=found.hard_state,
            entries=state.entries,
            base=state.base,
            base_time_ms=state.mark.time_ms if state.mark else 0,
            membership=state.mark.membership if state.mark else None,
            trimmed_bytes=0 if found.damage else found.trimmed_bytes,
            damage=found.damage,
            acknowledged=found.acknowledged,
        )

    def _append(self, values: list[Value]) -> None:
        """Write one turn; into the next segment if this one has no room for it."""
        turn = encode_turn(self._serial, self._end, values)
        if self._end + len(turn) > self._size:
            restated = in_force(self._hard_state, self._mark)
            self._begin_segment(Beginning(self._serial, self._end, self._tally.next_index, restated + values))
            return
        assert self._file is not None, "a log in use has a segment in use"
        self._file.pwritev([turn], self._end)
        self._tally.write(self._file, self._serial)
        self._file.datasync()
        self._end += len(turn)

    def _begin_segment(self, beginning: Beginning) -> None:
        """Write the header and the first turn of the next segment, and make it the one in use."""
        serial, size = self._next.serial, self._next.size
        header = msgspec.structs.replace(
            self._identity,
            serial=serial,
            previous_serial=beginning.previous_serial,
            previous_end=beginning.previous_end,
            first_index=beginning.first_index,
            recycled=self._next.recycled,
        )
        turn = encode_turn(serial, BLOCK_BYTES, beginning.values)
        file = self._next.finish()
        if self._file is not None:
            self._file.close()
        self._file, self._serial = file, serial
        file.pwritev([self._tally.first_block(encode(header), serial), turn], 0)
        file.datasync()
        self._end = BLOCK_BYTES + len(turn)
        self._size = max(size, self._end)
        lowest_index = min(
            [v.index for v in beginning.values if isinstance(v, Truncate)], default=beginning.first_index
        )
        self.segments.append(SegmentStart(serial, min(lowest_index, beginning.first_index)))
        self._next = NextSegment(self._fs, serial + 1, self._segment_bytes)
        self._spares.give(self._next)

    def _latch(self, what: str, error: OSError) -> StorageError:
        self._failure = failures.failed(what, error, str(self._fs))
        return self._failure

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise StorageError(str(self._failure))


def _silent(line: str) -> None:
    """Show no progress."""
