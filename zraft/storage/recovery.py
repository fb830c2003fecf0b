"""Reads a data directory back: exactly a prefix of what was written that has all that was synced, or a named refusal.

Recovery changes nothing. It finds the last segment in use, follows the chain to its beginning, and replays forwards.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from zraft.errors import StorageError
from zraft.raft.types import EntryId, HardState, Index, NodeId
from zraft.seams import FileSystem
from zraft.storage import failures, slots
from zraft.storage.header import BLOCK_BYTES, Header, NoHeader, decode
from zraft.storage.records import Damage, SnapshotMark, Turn, Value, later_turn, turns
from zraft.storage.replay import Replay
from zraft.storage.segments import LOCK_NAME, SegmentStart, UnusedFile, segment_name, serial_of
from zraft.storage.slots import Slot


class Found(msgspec.Struct):
    """What a data directory holds."""

    replay: Replay
    """The state that the records add up to."""
    serial_max: int = 0
    """The highest serial number there; the next one is above it."""
    unused: list[UnusedFile] = []
    """Segments behind the last one in use: made ahead, or cut off at their first write."""
    aside: list[int] = []
    """Segments that were in use once and can't be read: they are kept, under another name."""
    leftover: list[int] = []
    """Segments before the last one in use that the log does not need any more."""
    last: Header | None = None
    """The last segment in use; None in a blank directory."""
    last_end: int = 0
    """Where its last turn ends."""
    last_turn: Turn | None = None
    """That turn."""
    hard_state_before: HardState = HardState()
    """The state that was in force before that turn, as are the next two."""
    mark_before: SnapshotMark | None = None
    next_index_before: int = 1
    chain: list[Header] = []
    """The segments of the log, oldest first."""
    starts: list[SegmentStart] = []
    """Where each of them begins in the log."""
    trimmed_bytes: int = 0
    """How much of a write that was cut off stands behind `last_end`."""
    told: Slot | None = None
    """What the newest slot tells."""
    reached: EntryId | None = None
    """The last entry of the log behind the turn that `told` tells of; None when the log does not go so far."""

    @property
    def is_short(self) -> bool:
        """Whether the log ends before a turn that was durable once."""
        return self.told is not None and self.reached is None

    @property
    def damage(self) -> str:
        """What of the end of the log is damaged, and where; empty when it goes as far as it should."""
        if self.last is None or self.told is None or not self.is_short:
            return ""
        where = f"{segment_name(self.last.serial)}: damaged at offset {self.last_end}"
        upto = f"offset {slots.end_of(self.told)} of {segment_name(slots.serial_of(self.told))}"
        return f"{where}: no intact write here, though the log once went on to {upto}"

    @property
    def acknowledged(self) -> EntryId:
        """The last entry that the node may have acknowledged, if the log has lost it; else (0, 0).

        Also when it was lost before an earlier opening: then what `told` says is ahead of the log that it tells of.
        """
        told = self.told
        lost = told is not None and told.last != self.reached and self.replay.last < told.last
        return told.last if told is not None and lost else EntryId(0, 0)

    @property
    def hard_state(self) -> HardState:
        """The newest term and vote that anything tells of."""
        ours = self.replay.hard_state
        if self.told is None:
            return ours
        theirs = self.told.hard_state
        ahead = theirs.term > ours.term or (theirs.term == ours.term and ours.voted_for is None)
        return theirs if ahead else ours

    @property
    def repeats_all(self) -> bool:
        """Whether the last turn is all that the last segment holds: repeating it makes the segment superfluous."""
        return self.last_turn is not None and self.last_turn.offset == BLOCK_BYTES


class Beginning(NamedTuple):
    """How a segment joins the one before it, and what its first turn says."""

    previous_serial: int
    previous_end: int
    first_index: Index
    values: list[Value]


class Recovery:
    """One reading of a data directory.

    Parameters
    ----------
    fs
        The data directory; ``str(fs)`` is what messages call it.
    cluster_id, node
        Who it must belong to.
    progress
        Told before each segment is read; it decides what to show.
    """

    def __init__(self, fs: FileSystem, cluster_id: int, node: NodeId, progress: Callable[[str], None]) -> None:
        self._fs = fs
        self._cluster_id = cluster_id
        self._node = node
        self._progress = progress
        self._headers: dict[int, Header | None] = {}
        """The segments there; None where the first sector is no header of that serial number."""
        self._told: Slot | None = None
        """The newest slot in any of them."""

    def run(self) -> Found:
        """Read everything; raise `StorageError` for what is damaged or belongs to somebody else."""
        names = self._fs.list()
        serials = sorted(serial for name in names if (serial := serial_of(name)) is not None)
        for serial in serials:
            self._headers[serial] = self._header(serial)
        found = Found(Replay(), serial_max=max(serials, default=0))
        found.told = self._told
        self._find_last(found)
        if found.last is None and found.told is not None:
            # Who wrote it can't be told, so the directory can't go on under its name; and a new name would forget votes.
            raise self._damaged(segment_name(serials[0]), Damage(0, "unreadable, though it was in use once"))
        if found.last is None:
            self._refuse_strangers([name for name in names if serial_of(name) is None])
            return found
        found.chain = self._chain(found.last)
        linked = {header.serial for header in found.chain}
        found.leftover = [serial for serial in serials if serial < found.last.serial and serial not in linked]
        self._replay(found)
        return found

    def _header(self, serial: int) -> Header | None:
        name = segment_name(serial)
        block = self._read(name, BLOCK_BYTES)
        told = slots.newest(block, serial)
        if told is not None and (self._told is None or told.sequence > self._told.sequence):
            self._told = told
        header = decode(block)
        if header is NoHeader.VERSION:
            raise StorageError(
                f"{self._fs}/{name}: written in a format that this zraft does not know; start the node with the version"
                " of zraft that wrote it"
            )
        if isinstance(header, NoHeader):
            return None
        for what, theirs, ours in (
            ("cluster", f"{header.cluster_id:016x}", f"{self._cluster_id:016x}"),
            ("node", header.node, self._node),
        ):
            if theirs != ours:
                raise StorageError(
                    f"{self._fs}: belongs to {what} {theirs}, not to {what} {ours}; correct the configuration"
                    " (cluster.id or cluster.name, storage.directory), or give the node another directory"
                )
        if header.serial > serial:
            raise failures.damaged(str(self._fs), name, 0, f"segment {header.serial} under a wrong name", self._node)
        return header if header.serial == serial else None

    def _refuse_strangers(self, names: list[str]) -> None:
        """Mint no identity in a directory that is somebody else's, or whose log was taken away."""
        strangers = [name for name in names if name not in (LOCK_NAME, "lost+found")]
        if strangers:
            raise StorageError(
                f"{self._fs}: holds no log of zraft and yet {strangers[0]!r}; give the node an empty directory of its"
                " own (storage.directory)"
            )

    def _find_last(self, found: Found) -> None:
        """Find the last segment in use: the last one whose first write is whole."""
        for serial in sorted(self._headers, reverse=True):
            name = segment_name(serial)
            data = self._read(name)
            header = self._headers[serial]
            try:
                first = next(turns(data, serial), None)
            except Damage as damage:
                raise self._damaged(name, damage) from None
            if header is not None and first is not None:
                found.last = header
                return
            later = later_turn(data, serial, BLOCK_BYTES)
            if later is not None:
                where = 0 if header is None else BLOCK_BYTES
                raise self._damaged(name, Damage(where, f"unreadable, though a later write at {later} is intact"))
            if found.told is not None and serial <= slots.serial_of(found.told):
                found.aside.append(serial)
            else:
                found.unused.append(UnusedFile(serial, len(data), data.count(0) == len(data)))

    def _chain(self, last: Header) -> list[Header]:
        """Return the segments of the log, oldest first; it begins where the previous one is gone."""
        chain = [last]
        while (serial := chain[-1].previous_serial) in self._headers:
            header = self._headers[serial]
            name = segment_name(serial)
            if header is None:
                raise self._damaged(name, Damage(0, f"no intact header, though segment {chain[-1].serial} follows"))
            if header.disk_id != last.disk_id:
                raise self._damaged(name, Damage(0, "a segment of another data directory"))
            if header.serial >= chain[-1].serial:
                raise self._damaged(
                    segment_name(chain[-1].serial), Damage(0, "a chain of segments that runs in circles")
                )
            chain.append(header)
        return chain[::-1]

    def _replay(self, found: Found) -> None:
        oldest = found.chain[0]
        found.replay = replay = Replay(oldest.first_index)
        for number, header in enumerate(found.chain):
            name = segment_name(header.serial)
            self._progress(f"recovering {self._fs}: segment {number + 1} of {len(found.chain)}")
            following = found.chain[number + 1] if header is not found.chain[-1] else None
            try:
                if header.first_index != replay.next_index:
                    raise Damage(0, f"begins at entry {header.first_index}, though {replay.next_index} is due")
                replay.lowest_index = replay.next_index
                if following is not None:
                    self._replay_whole(found, header, following)
                else:
                    self._replay_last(found, header)
                found.starts.append(SegmentStart(header.serial, replay.lowest_index))
            except Damage as damage:
                raise self._damaged(name, damage) from None
        if replay.first_index > replay.base.index + 1:
            gone = segment_name(oldest.previous_serial)
            reason = f"entries {replay.base.index + 1} to {replay.first_index - 1} were in it or before it"
            raise failures.missing(str(self._fs), gone, reason, self._node)

    def _see(self, found: Found, header: Header, end: int) -> None:
        """Take note of where the log stands behind the turn that the newest slot tells of."""
        told = found.told
        if told is not None and found.reached is None and slots.sequence(header.serial, end) >= told.sequence:
            found.reached = found.replay.last

    def _replay_whole(self, found: Found, header: Header, following: Header) -> None:
        """Replay a segment that is not the last: all of it was synced before the next one was begun."""
        replay = found.replay
        data = self._read(segment_name(header.serial))[: following.previous_end]
        end = BLOCK_BYTES
        for turn in turns(data, header.serial):
            for record in turn.records:
                replay.apply(record)
            end = turn.end
            self._see(found, header, end)
        if end != following.previous_end:
            raise Damage(end, f"no intact write here, though the segment was good up to {following.previous_end}")

    def _replay_last(self, found: Found, header: Header) -> None:
        """Replay the last segment up to where a crash may have cut it off."""
        replay = found.replay
        data = self._read(segment_name(header.serial))
        found.last_end = BLOCK_BYTES
        for turn in turns(data, header.serial):
            found.hard_state_before, found.mark_before = replay.hard_state, replay.mark
            found.next_index_before = replay.next_index
            for record in turn.records:
                replay.apply(record)
            found.last_turn, found.last_end = turn, turn.end
            self._see(found, header, turn.end)
        later = later_turn(data, header.serial, found.last_end)
        if later is not None:
            raise Damage(found.last_end, f"no intact write here, though a later one at {later} is intact")
        if not header.recycled:
            found.trimmed_bytes = len(data[found.last_end :].rstrip(b"\0"))

    def _read(self, name: str, size: int | None = None) -> bytes:
        file = self._fs.open(name)
        try:
            return file.pread(file.size() if size is None else size, 0)
        finally:
            file.close()

    def _damaged(self, name: str, damage: Damage) -> StorageError:
        return failures.damaged(str(self._fs), name, damage.offset, damage.reason, self._node)


def beginning(found: Found) -> Beginning:
    """Return what the next segment begins with, so that the last turn found need not be relied on.

    That turn is the only one that may be in memory without being on the disk. The new segment repeats it behind the
    state in force before it; the old segment ends, from now on, before it.
    """
    last, turn = found.last, found.last_turn
    if last is None or turn is None:
        return Beginning(0, 0, 1, [HardState()])
    values = [record.value for record in turn.records]
    if found.hard_state != found.replay.hard_state:
        values.append(found.hard_state)
    if found.repeats_all:
        return Beginning(last.previous_serial, last.previous_end, last.first_index, values)
    return Beginning(
        last.serial, turn.offset, found.next_index_before, in_force(found.hard_state_before, found.mark_before) + values
    )


def in_force(hard_state: HardState, mark: SnapshotMark | None) -> list[Value]:
    """Return the records that each segment begins with, so that none needs an older one for them."""
    return [hard_state] if mark is None else [hard_state, mark]
