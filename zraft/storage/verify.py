"""Reads everything in a data directory, and says all that is there and all that is wrong: ``zraft log verify``.

It goes by the same rules as `recovery` and never stops at what it finds: damage in one place does not hide another. It changes nothing,
takes no lock, and holds one segment in memory at a time.
"""

from zraft.errors import NotFound
from zraft.raft.types import EntryId
from zraft.seams import FileSystem
from zraft.storage import failures, slots, snapshotfile
from zraft.storage.course import Course
from zraft.storage.findings import Findings, SegmentFound, SnapshotFound
from zraft.storage.header import BLOCK_BYTES, SECTOR_BYTES, Header, NoHeader, decode
from zraft.storage.records import Damage, Kind, Turn, later_turn, turns
from zraft.storage.segments import segment_name, serial_of
from zraft.storage.snapshots import DIRECTORY, file_name


def verify(fs: FileSystem) -> Findings:
    """Read the data directory `fs`.

    Raises
    ------
    NotFound
        There is no log in it.
    StorageError
        The directory itself cannot be read.
    """
    with failures.spoken_of("read", str(fs)):
        serials = [serial for name in fs.list() if (serial := serial_of(name)) is not None]
        snapshots = fs.list(DIRECTORY) if fs.exists(DIRECTORY) else []
    if not serials:
        raise NotFound(f"{fs}: no log in it; name the data directory of a node (storage.directory/NODE)")
    return _Reading(fs, sorted(serials), snapshots).run()


class _Segment:
    """What is known of a file before the log is gone along."""

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self.name = segment_name(serial)
        self.size = 0
        self.header: Header | None = None
        """Its own; None when it has none that is intact."""
        self.is_used = False
        """It was written to, as far as can be told from itself."""
        self.broken: list[int] = []
        """Its slots that are damaged, by their offsets."""


class _Reading:
    """One reading."""

    def __init__(self, fs: FileSystem, serials: list[int], snapshots: list[str]) -> None:
        self._fs = fs
        self._segments = {serial: _Segment(serial) for serial in serials}
        self._snapshots = snapshots
        self._found = Findings(str(fs))
        self._course = Course()
        self._reached: EntryId | None = None
        """The last entry behind the write that the newest slot tells of; None when the log does not go so far."""

    def run(self) -> Findings:
        for segment in self._segments.values():
            self._look_at(segment)
        self._identify()
        chain = self._chain()
        for number, segment in enumerate(chain):
            following = chain[number + 1] if number + 1 < len(chain) else None
            self._go_along(segment, following, first=number == 0)
        found, course = self._found, self._course
        found.hard_state, found.base, found.last = course.hard_state, course.base, course.last
        if chain:
            self._check_beginning(chain[0])
        self._check_end(chain)
        self._check_snapshots()
        self._list_others(chain)
        found.segments.sort(key=lambda each: each.serial)
        return found

    # -- files ---------------------------------------------------------------------------------------------------------

    def _read(self, name: str) -> bytes:
        """Return a file's content; nothing, and it is told, when it cannot be read."""
        try:
            file = self._fs.open(name)
            try:
                return file.pread(file.size(), 0)
            finally:
                file.close()
        except OSError as error:
            self._found.damaged(name, None, f"cannot be read: {error.strerror or error}")
            return b""

    def _look_at(self, segment: _Segment) -> None:
        data = self._read(segment.name)
        segment.size = len(data)
        header = decode(data)
        if header is NoHeader.VERSION:
            what = "written in a format that this zraft does not know"
            self._found.damaged(segment.name, 0, what, "look at it with the version of zraft that wrote it")
        elif isinstance(header, Header) and header.serial > segment.serial:
            self._found.damaged(segment.name, 0, f"segment {header.serial} under a wrong name")
        elif isinstance(header, Header) and header.serial == segment.serial:
            segment.header = header
        self._read_slots(segment, data)
        # As recovery has it: header and first turn are one write, and without either there was none, unless others follow.
        begun = segment.header is not None and _begins_whole(data, segment.serial)
        segment.is_used = begun or later_turn(data, segment.serial, BLOCK_BYTES) is not None

    def _identify(self) -> None:
        """Find out whose directory it is: by the newest header that is intact."""
        found = self._found
        headers = [segment.header for segment in self._segments.values() if segment.header is not None]
        if not headers:
            return
        newest = headers[-1]
        found.cluster_id, found.node, found.disk_id = newest.cluster_id, newest.node, newest.disk_id
        for header in headers:
            if (header.cluster_id, header.node, header.disk_id) != (newest.cluster_id, newest.node, newest.disk_id):
                found.damaged(
                    segment_name(header.serial),
                    0,
                    f"a segment of cluster {header.cluster_id:016x}, node {header.node}, disk_id {header.disk_id}, among those of"
                    f" cluster {newest.cluster_id:016x}, node {newest.node}, disk_id {newest.disk_id}",
                )

    # -- the chain -----------------------------------------------------------------------------------------------------

    def _chain(self) -> list[_Segment]:
        """Return the segments of the log, oldest first; where a header is unreadable, the next lower number stands in."""
        used = [segment for segment in self._segments.values() if segment.is_used]
        if not used:
            newest = max(self._segments.values(), key=lambda segment: segment.serial)
            what = "no write in any segment is whole: the log was begun, and nothing was ever promised by it"
            self._found.noted(newest.name, BLOCK_BYTES, what)
            return []
        chain = [used[-1]]
        while (before := self._before(chain[-1])) is not None:
            chain.append(before)
        return chain[::-1]

    def _before(self, segment: _Segment) -> _Segment | None:
        header = segment.header
        if header is None:
            lower = [serial for serial, each in self._segments.items() if serial < segment.serial and each.is_used]
            return self._segments[lower[-1]] if lower else None
        if header.previous_serial >= segment.serial:
            self._found.damaged(segment.name, 0, "a chain of segments that runs in circles")
            return None
        return self._segments.get(header.previous_serial)

    def _go_along(self, segment: _Segment, following: _Segment | None, *, first: bool) -> None:
        """Take in all turns of a segment of the log."""
        found, course = self._found, self._course
        data = self._read(segment.name)
        shown = SegmentFound(segment.name, segment.serial, segment.size, "in use", end=BLOCK_BYTES)
        found.segments.append(shown)
        self._enter(segment, following, first=first)
        if segment.header is not None:
            shown.first_index = segment.header.first_index
        self._check_slots(segment, is_last=following is None)
        end = None if following is None or following.header is None else following.header.previous_end
        self._take_turns(segment, data if end is None else data[:end], shown)
        if end is not None and shown.end != end:
            found.damaged(segment.name, shown.end, f"no intact write here, though the segment was good up to {end}")
            course.lost = True
        tail = data[shown.end :].rstrip(b"\0")
        if following is None and tail and not (segment.header is not None and segment.header.recycled):
            found.noted(
                segment.name,
                shown.end,
                f"{len(tail)} bytes of a write that was cut off, by a crash as it seems; the next start drops them",
            )

    def _enter(self, segment: _Segment, following: _Segment | None, *, first: bool) -> None:
        """Begin with a segment where its header says."""
        course, header = self._course, segment.header
        if header is None:
            why = "writes in it are intact" if following is None else f"segment {following.serial} follows"
            self._found.damaged(segment.name, 0, f"no intact header, though {why}")
            course.lost, course.anywhere = True, first
        elif first:
            course.begin(header.first_index)
        elif header.first_index != course.next_index:
            due = course.next_index
            what = f"begins at entry {header.first_index}, though {due} is due"
            if course.lost and header.first_index > due:
                what = f"entries {due} to {header.first_index - 1} are missing before this segment"
            if not course.lost or header.first_index > due:
                self._found.damaged(segment.name, 0, what)
            course.go_on(header.first_index)
        else:
            course.lost = False

    def _take_turns(self, segment: _Segment, data: bytes, shown: SegmentFound) -> None:
        """Take in every turn that is whole, over whatever lies between."""
        offset: int | None = BLOCK_BYTES
        while offset is not None:
            at, told = offset, False
            try:
                for turn in turns(data, segment.serial, offset):
                    self._take_turn(segment, turn, shown)
                    at = turn.end
            except Damage as damage:
                self._found.damaged(segment.name, damage.offset, damage.reason)
                self._course.lost = told = True
                at = max(at, damage.offset // SECTOR_BYTES * SECTOR_BYTES)
            offset = later_turn(data, segment.serial, at)
            if offset is not None:
                self._course.lost = True
            if offset is not None and not told:
                what = f"no intact write here, though a later one at {offset} is intact"
                self._found.damaged(segment.name, at, what)

    def _take_turn(self, segment: _Segment, turn: Turn, shown: SegmentFound) -> None:
        def tell(offset: int, what: str) -> None:
            self._found.damaged(segment.name, offset, what)

        shown.turns += 1
        shown.end = turn.end
        shown.entries += sum(record.kind == Kind.ENTRY for record in turn.records)
        for record in turn.records:
            self._course.take(record, tell)
        told = self._found.acknowledged
        if told is not None and self._reached is None and slots.sequence(segment.serial, turn.end) >= told.sequence:
            self._reached = self._course.last

    # -- what the whole must be ----------------------------------------------------------------------------------------

    def _check_beginning(self, oldest: _Segment) -> None:
        course, header = self._course, oldest.header
        if course.beginning > course.base.index + 1:
            gone = (
                segment_name(header.previous_serial) if header is not None and header.previous_serial else oldest.name
            )
            what = f"missing: entries {course.base.index + 1} to {course.beginning - 1} were in it or before it"
            self._found.damaged(gone, None, what)

    def _check_end(self, chain: list[_Segment]) -> None:
        """Hold the end of the log against itself, and against what the node is known to have acknowledged."""
        found, newest = self._found, chain[-1].name if chain else segment_name(max(self._segments))
        if found.last.term > found.hard_state.term:
            found.damaged(
                newest, None, f"an entry of term {found.last.term}, though the hard_state is of {found.hard_state.term}"
            )
        told, reached = found.acknowledged, self._reached
        if told is None:
            return
        if reached is None:
            upto = f"offset {slots.end_of(told)} of {segment_name(slots.serial_of(told))}"
            vote = told.hard_state.voted_for or "nobody"
            found.damaged(
                newest,
                found.segments[-1].end if chain else BLOCK_BYTES,
                f"the log ends here, though it once went on to {upto}: to entry {_shown(told.last)}, in term"
                f" {told.hard_state.term} with a vote for {vote}",
                "start the node: a leader sends it what it has lost, and it elects nobody without that; or put an intact copy back",
            )
        elif reached != told.last and found.last < told.last:
            found.noted(
                newest, None, f"entries up to {_shown(told.last)} were lost; a leader has not sent them again yet"
            )

    def _read_slots(self, segment: _Segment, data: bytes) -> None:
        """See what the two slots tell, and whether they are whole."""
        for offset in slots.SLOT_OFFSETS:
            sector = data[offset : offset + SECTOR_BYTES]
            told = slots.decode(sector, segment.serial, offset)
            if told is not None and (
                self._found.acknowledged is None or told.sequence > self._found.acknowledged.sequence
            ):
                self._found.acknowledged = told
            elif told is None and sector.strip(b"\0"):
                segment.broken.append(offset)

    def _check_slots(self, segment: _Segment, *, is_last: bool) -> None:
        what = "a slot whose checksum does not match"
        for offset in segment.broken:
            if is_last and len(segment.broken) == 1:
                self._found.noted(
                    segment.name, offset, f"{what}: a crash may have cut it off, and the other one stands in"
                )
            else:
                self._found.damaged(segment.name, offset, what)

    def _check_snapshots(self) -> None:
        found = self._found
        for name in self._snapshots:
            path = f"{DIRECTORY}/{name}"
            if name.endswith(".part"):
                found.noted(path, None, "a snapshot that was not finished; the next start removes it")
            elif name.endswith(".damaged"):
                found.noted(path, None, "found damaged by an earlier start, and kept aside; remove it when you like")
            elif name.endswith(".snap"):
                self._check_snapshot(path, name)
        intact = [each.last.index for each in found.snapshots if each.intact and each.last is not None]
        if found.base.index and max(intact, default=0) < found.base.index:
            what = f"no intact snapshot of all up to entry {found.base.index}, behind which the log begins"
            found.damaged(DIRECTORY, None, what)

    def _check_snapshot(self, path: str, name: str) -> None:
        found = self._found
        shown = SnapshotFound(path, 0)
        found.snapshots.append(shown)
        advice = "an older one stands in for it, if there is an intact one; the next start keeps it aside"
        try:
            file = self._fs.open(path)
            try:
                shown.size = file.size()
                cluster_id, snapshot = snapshotfile.examine(file)
            finally:
                file.close()
        except (OSError, ValueError) as error:
            what = f"cannot be read: {error.strerror or error}" if isinstance(error, OSError) else str(error)
            found.damaged(path, None, what, advice)
            return
        shown.last = snapshot.last
        if found.cluster_id is not None and cluster_id != found.cluster_id:
            found.damaged(path, None, f"a snapshot of cluster {cluster_id:016x}", "move it away")
        elif file_name(snapshot.last) != name:
            found.damaged(
                path, None, f"the snapshot of all up to entry {_shown(snapshot.last)} under a wrong name", advice
            )
        else:
            shown.intact = True

    def _list_others(self, chain: list[_Segment]) -> None:
        """List the files off the chain."""
        linked = {segment.serial for segment in chain}
        last = max(linked, default=0)
        for segment in self._segments.values():
            if segment.serial not in linked:
                state = "unused" if segment.serial > last else "leftover"
                header = segment.header
                index = None if header is None else header.first_index
                self._found.segments.append(SegmentFound(segment.name, segment.serial, segment.size, state, index))


def _begins_whole(data: bytes, serial: int) -> bool:
    """Whether the first turn is whole, or damaged as no crash does it."""
    try:
        return next(turns(data, serial), None) is not None
    except Damage:
        return True


def _shown(id: EntryId) -> str:
    return f"{id.index}@{id.term}"
