"""The five things of the world, as protocols: clock, randomness, network, file system, processes.

`replica.Replica` and the rooms under it see the world through these alone. The node supplies the real ones
(`node`, `transport`, `disk`); a test or a simulator supplies its own and runs the very same code.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from zraft.raft.messages import InstallSnapshot, Message
from zraft.raft.ready import Write
from zraft.raft.types import EntryId, Membership, NodeId, Snapshot, Term
from zraft.requests import Reply

Random = random.Random
"""Randomness comes in as a seeded generator; nothing in the core or the replica draws from anywhere else."""


class Clock(Protocol):
    """Durations and, for display alone, wall time."""

    def now_ms(self) -> float:
        """Milliseconds on this machine that never jump and count suspended time (CLOCK_BOOTTIME)."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, for people to read; no decision is taken on it."""


class Network(Protocol):
    """A lossy link to each peer and each client."""

    def send(self, target: NodeId, message: Message) -> bool:
        """Hand `message` over without blocking; False when it was refused and is lost for certain."""

    def reply(self, client: bytes, reply: Reply) -> None:
        """Answer a client without blocking; it asks again if the answer is lost."""


class File(Protocol):
    """An open file; offsets and sizes in bytes. Every method may raise OSError."""

    def pread(self, size: int, offset: int) -> bytes:
        """Read up to `size` bytes at `offset`; fewer only at the end of the file."""

    def pwritev(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        """Write all `buffers` one behind the other at `offset`; a short write is completed or raises."""

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros to `size`."""

    def datasync(self) -> None:
        """Return once the data, and the size, are durable."""

    def size(self) -> int:
        """Return the current size."""

    def close(self) -> None:
        """Release the descriptor; promises nothing about durability."""


class FileSystem(Protocol):
    """One node's directory tree; paths are strings relative to its root, with ``/``, never ``..``."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing; with `create` it must not exist yet (mode 0600)."""

    def list(self, path: str = "") -> list[str]:
        """Names in a directory, sorted."""

    def exists(self, path: str) -> bool:
        """Whether the name exists."""

    def mkdir(self, path: str) -> None:
        """Make a directory (mode 0700) unless it exists; durable once its parent is synced."""

    def rename(self, source: str, target: str) -> None:
        """Atomically replace `target`; durable once the directory is synced."""

    def unlink(self, path: str) -> None:
        """Remove a file; durable once the directory is synced."""

    def sync_directory(self, path: str = "") -> None:
        """Return once creations, renames and removals in the directory are durable."""

    def lock(self, path: str) -> bool:
        """Take this file's lock, creating it, for the life of the process; False when another process holds it."""


class Draft(msgspec.Struct, frozen=True):
    """What is known of a snapshot before it is written."""

    last: EntryId
    """The last entry that it stands for."""
    time_ms: int
    """Cluster time of that entry."""
    membership: Membership
    """What was in force there."""


State = Callable[[], Iterable[bytes]]
"""Gives the state as of the call, in pieces."""


class Saved(msgspec.Struct, frozen=True):
    """A snapshot of the node's own is durable."""

    snapshot: Snapshot


class Unsaved(msgspec.Struct, frozen=True):
    """Nothing came of a snapshot of the node's own, through no fault of the disk's."""

    reason: str
    """Why, for people."""


class Stored(msgspec.Struct, frozen=True):
    """So much of the leader's snapshot is here; all of it, checked and durable, if `offset` is its size."""

    snapshot: Snapshot
    offset: int
    """0 when it must begin anew."""


class Fetched(msgspec.Struct, frozen=True):
    """What was asked for a follower was read."""

    target: NodeId
    message: InstallSnapshot | None
    """With its data; None when that snapshot is kept no more."""
    term: Term
    """The term in which it was asked for."""


DiskNews = Saved | Unsaved | Stored | Fetched


class WriteQueue(Protocol):
    """The file system's write queue: writes go in, ids come out once durable, in order; and so with snapshots, beside them."""

    def submit(self, write: Write) -> None:
        """Queue `write`, and return within a millisecond or so. What waits together shares one vectored write and one sync."""

    def completed(self) -> list[int]:
        """Return the ids durable since the last call; raises `StorageError`, from the first failure on and for ever."""

    def save(self, draft: Draft, state: State) -> None:
        """Write a snapshot of the node's own, of the state as of this call; one at a time. `news` has a `Saved` or `Unsaved`.

        It counts behind the writes that were submitted before.
        """

    def receive(self, piece: InstallSnapshot) -> None:
        """Take a piece of the leader's snapshot, behind the writes that were submitted before. `news` has a `Stored`."""

    def fetch(self, target: NodeId, wanted: InstallSnapshot) -> None:
        """Read a piece of a snapshot for a follower. `news` has a `Fetched`."""

    def news(self) -> list[DiskNews]:
        """Return what has come to an end since the last call; raises as `completed` does."""

    def pieces(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the bytes of a snapshot that is here."""


class Guard(Protocol):
    """The process beside the node that owns the running hook script (the *Processes* seam)."""

    def tell(self, order: dict[str, object]) -> None:
        """Pass an order of `hooks.wire` on without blocking."""
