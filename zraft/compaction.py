"""When a node takes a snapshot, and how snapshots move between its disk, its core and its peers (paper §7).

A snapshot is due when the log has grown since the last one by as much as that one holds, and by `snapshot_bytes` at the
least: so a small state does not make a long log, and a large one is not written more often than it is worth.
"""

from collections.abc import Callable

from zraft.machines.sessions import Machines
from zraft.raft.core import Raft
from zraft.raft.log import ENTRY_BYTES
from zraft.raft.messages import InstallSnapshot
from zraft.raft.types import Entry, EntryId, NodeId, Snapshot
from zraft.seams import Clock, Draft, Fetched, Network, Saved, Stored, Unsaved, WriteQueue


class Compaction:
    """The snapshots of one node.

    Parameters
    ----------
    raft
        The node's core.
    machines
        What is to be saved, and restored.
    disk, network, clock
        The seams.
    bytes_min
        How much the log grows, at the least, before another snapshot is taken.
    log
        Called with level and line, for the node's log.
    """

    def __init__(
        self,
        raft: Raft,
        machines: Machines,
        disk: WriteQueue,
        network: Network,
        clock: Clock,
        *,
        bytes_min: int,
        log: Callable[[str, str], None],
    ) -> None:
        self._raft = raft
        self._machines = machines
        self._disk = disk
        self._network = network
        self._clock = clock
        self._bytes_min = bytes_min
        self._log = log
        newest = raft.snapshots.newest
        self._size = newest.size if newest is not None else 0
        """Of the newest snapshot."""
        self._grown = 0
        """How much was applied since."""
        self._saving = False
        """Whether one is being written."""

    def applied(self, entry: Entry) -> None:
        """Take note of how the log grows."""
        self._grown += len(entry.data) + ENTRY_BYTES

    def take_if_due(self) -> None:
        """Begin to write a snapshot of what is applied, if it is time for one."""
        if self._saving or self._grown < max(self._bytes_min, self._size):
            return
        log = self._raft.log
        membership = self._raft.memberships.at(log.last_applied)
        if not membership.voters:
            return  # A node that is to join, and has not heard who takes part: nobody could start from that.
        term = log.term_at(log.last_applied)
        assert term is not None, "the last applied entry is here, or what a snapshot stands for"
        assert self._machines.index == log.last_applied, "the state machines are behind what was reported as applied"
        self._saving, self._grown = True, 0
        draft = Draft(EntryId(term, log.last_applied), self._machines.time_ms, membership)
        self._disk.save(draft, self._machines.snapshot)

    def hear(self) -> None:
        """Take what the disk has brought to an end."""
        for news in self._disk.news():
            match news:
                case Saved(snapshot):
                    self._saving, self._size = False, snapshot.size
                    self._raft.snapshot_taken(snapshot)
                case Unsaved(reason):
                    self._saving = False
                    self._log("WARNING", f"no snapshot was taken: {reason}; the next one is taken when it is due")
                case Stored(snapshot, offset):
                    self._raft.stored(snapshot, offset, self._clock.now_ms())
                case Fetched(target, message, term):
                    self._fetched(target, message, term)

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        """Have the piece of a snapshot read that the core wants to send."""
        self._disk.fetch(target, wanted)

    def _fetched(self, target: NodeId, message: InstallSnapshot | None, term: int) -> None:
        if term != self._raft.term:
            return  # Who asked for it leads no more.
        if message is None or not self._network.send(target, message):
            self._raft.unreachable(target)

    def install(self, snapshot: Snapshot) -> None:
        """Begin the state machines anew from the leader's snapshot; raises `StorageError` when that can't be."""
        self._machines.restore(self._disk.pieces(snapshot))
        assert self._machines.index == snapshot.last.index, "a snapshot that is not what its name says"
        self._size, self._grown = snapshot.size, 0
