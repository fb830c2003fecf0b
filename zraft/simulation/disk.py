"""A disk in memory that can lose power and fail: what a process sees of it, and what would last, are two images.

Writes that were not synced are remembered in their order, names that were not synced as operations; `after_power_loss`
draws what is left of them, `after_kill` is what a mere SIGKILL leaves. Around each operation that changes something lies a
point at which everything may end (`end_at`), and each may fail. At rest, bits may flip (`rot`); lost and misdirected writes
are not here.
"""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from zraft.simulation.dice import chance
from zraft.simulation.remains import SECTOR, Changes, left, take_in

ROTTING: Final = (".wal", ".snap")
"""Ends of the names of files in which bits flip."""


class Ended(BaseException):
    """The process, or the machine, ended here, in the midst of an operation."""


class Inode:
    """A file's content, by no name in particular."""

    __slots__ = ("durable", "is_directory", "unsynced", "visible")

    def __init__(self, content: bytes = b"", *, is_directory: bool = False) -> None:
        self.visible = bytearray(content)
        self.durable = bytearray(content)
        self.unsynced: Changes = []
        """What is not durable."""
        self.is_directory = is_directory

    def copy(self) -> "Inode":
        """Return another of the same content and the same past."""
        twin = Inode(is_directory=self.is_directory)
        twin.visible, twin.durable, twin.unsynced = bytearray(self.visible), bytearray(self.durable), [*self.unsynced]
        return twin


class DiskFile:
    """An open file: the `File` seam."""

    def __init__(self, disk: "Disk", inode: Inode, path: str) -> None:
        self._disk, self._inode, self._path = disk, inode, path

    def pread(self, size: int, offset: int) -> bytes:
        """Read what is visible."""
        self._disk.may_fail("pread", self._path)
        return bytes(self._inode.visible[offset : offset + size])

    def pwritev(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        """Write; durable once synced."""
        data = b"".join(buffers)
        disk, inode = self._disk, self._inode
        disk.begin("pwritev", self._path)
        if disk.full and offset + len(data) > len(inode.visible):
            raise disk.refusal(errno.ENOSPC, self._path, "full")
        if 0 < disk.short_by < len(data):
            data, disk.short_by = data[: -disk.short_by], 0
            _write(inode, offset, data)
            raise disk.refusal(errno.EIO, self._path, "short_write")
        _write(inode, offset, data)

    def truncate(self, size: int) -> None:
        """Cut or extend; durable once synced."""
        self._disk.begin("truncate", self._path)
        self._inode.visible = self._inode.visible[:size].ljust(size, b"\0")
        self._inode.unsynced.append((size, None))

    def datasync(self) -> None:
        """Make durable what was written; one that fails leaves the pages clean, as Linux does: the next one "succeeds"."""
        inode = self._inode
        try:
            self._disk.begin("datasync", self._path)
        except OSError:
            inode.unsynced.clear()
            raise
        for change in inode.unsynced:
            take_in(inode.durable, *change)
        inode.unsynced.clear()

    def size(self) -> int:
        """Return the visible size."""
        return len(self._inode.visible)

    def close(self) -> None:
        """Let go."""


class Disk:
    """One node's directory tree: the `FileSystem` seam.

    Parameters
    ----------
    name
        The node's.
    hits
        Counts what has failed, by kind of fault.

    Attributes
    ----------
    failing : dict
        By operation, the kind of fault by which it fails with EIO, once.
    full, read_only : bool
        Nothing can grow; nothing can change.
    short_by : int
        How many bytes of the next write are left out before it fails; 0 for none.
    end_at : int
        How many operations that change something are left until `Ended`; -1 for no end.
    operations : int
        How many there have been.
    """

    def __init__(self, name: str, hits: Counter[str]) -> None:
        self.name = name
        self.hits = hits
        self.failing: dict[str, str] = {}
        self.full = False
        self.read_only = False
        self.short_by = 0
        self.end_at = -1
        self.operations = 0
        self._visible: dict[str, Inode] = {}
        self._durable: dict[str, Inode] = {}
        self._unsynced: list[tuple[str, dict[str, Inode | None]]] = []
        """Operations on names that are not durable: the directory, and what each name stands for afterwards, if anything."""

    def __str__(self) -> str:
        return f"/data/{self.name}"

    # -- the seam ------------------------------------------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        """Open a file, or make it."""
        if create:
            if path in self._visible:
                raise self.refusal(errno.EEXIST, path)
            self.begin("create", path)
            if self.full:
                raise self.refusal(errno.ENOSPC, path, "full")
            self._name(path, {path: Inode()})
        inode = self._visible.get(path)
        if inode is None or inode.is_directory:
            raise self.refusal(errno.EISDIR if inode else errno.ENOENT, path)
        return DiskFile(self, inode, path)

    def list(self, path: str = "") -> list[str]:
        """Names in a directory, sorted."""
        prefix = f"{path}/" if path else ""
        found = (name[len(prefix) :] for name in self._visible if name.startswith(prefix))
        return sorted(name for name in found if "/" not in name)

    def exists(self, path: str) -> bool:
        """Whether the name exists."""
        return path in self._visible

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        if path and path not in self._visible:
            self.begin("mkdir", path)
            self._name(path, {path: Inode(is_directory=True)})

    def rename(self, source: str, target: str) -> None:
        """Replace `target`."""
        self.begin("rename", target)
        self._name(target, {source: None, target: self._visible[source]})

    def unlink(self, path: str) -> None:
        """Remove a file."""
        if path not in self._visible:
            raise self.refusal(errno.ENOENT, path)
        self.begin("unlink", path)
        self._name(path, {path: None})

    def sync_directory(self, path: str = "") -> None:
        """Make durable what happened to the names in a directory."""
        self.begin("sync_directory", path)
        for directory, change in self._unsynced:
            if directory == path:
                _rename(self._durable, change)
        self._unsynced = [each for each in self._unsynced if each[0] != path]

    def lock(self, path: str) -> bool:
        """Take the lock: one process at a time has a disk here."""
        if path not in self._visible:
            self._name(path, {path: Inode(b"1")})
        return True

    # -- trouble -------------------------------------------------------------------------------------------------------

    def begin(self, what: str, path: str) -> None:
        """Pass the point before an operation that changes something: here all may end, or the operation may fail."""
        self.operations += 1
        if self.end_at >= 0:
            self.end_at -= 1
            if self.end_at < 0:
                raise Ended
        if self.read_only:
            raise self.refusal(errno.EROFS, path, "read_only")
        if self.failing:
            self.may_fail(what, path)

    def may_fail(self, what: str, path: str) -> None:
        """Fail if that operation is to."""
        kind = self.failing.pop(what, "") if self.failing else ""
        if kind:
            raise self.refusal(errno.EIO, path, kind)

    def refusal(self, number: int, path: str, kind: str = "") -> OSError:
        """Return the error that the system would raise, and count it as a hit of `kind`, if that is why."""
        if kind:
            self.hits[kind] += 1
        return OSError(number, os.strerror(number), f"{self}/{path}" if path else str(self))

    def recover(self) -> None:
        """End all that ails it, but for what is lost."""
        self.failing.clear()
        self.full = self.read_only = False
        self.short_by, self.end_at = 0, -1

    def rot(self, random: Random, end: tuple[str, int]) -> str:
        """Flip a bit of what was written to the log or a snapshot; return the name of the file.

        `end` is where the log ends, the file and the offset: every other time the bit is one of those right before that.
        """
        path, size = end
        if chance(random, 0.5):
            at = size - 1 - random.randrange(min(size, SECTOR))
        else:
            path = random.choice([each for each in sorted(self._visible) if each.endswith(ROTTING)])
            at = random.randrange(len(self._visible[path].visible) or 1)
        inode = self._visible[path]
        whole = range(len(inode.visible))
        at = next((each for each in (*whole[at:], *whole[:at]) if inode.visible[each]), -1)
        if at < 0:
            return path  # There is nothing in it yet.
        flipped = inode.visible[at] ^ 1 << random.randrange(8)
        for content in (inode.visible, inode.durable):
            if at < len(content):
                content[at] = flipped
        return path

    def after_kill(self) -> "Disk":
        """Return what is there when a process has died: all that is visible, and no durability that it had not."""
        twins: dict[int, Inode] = {}
        for inode in self._all():
            twins.setdefault(id(inode), inode.copy())
        disk = Disk(self.name, self.hits)
        disk.full, disk.read_only = self.full, self.read_only
        disk._visible = {path: twins[id(inode)] for path, inode in self._visible.items()}
        disk._durable = {path: twins[id(inode)] for path, inode in self._durable.items()}
        disk._unsynced = [
            (directory, {path: inode and twins[id(inode)] for path, inode in change.items()})
            for directory, change in self._unsynced
        ]
        return disk

    def after_power_loss(self, kind: str, random: Random) -> "Disk":
        """Return what the disk holds when the power comes back, by one of `plan.POWER_FAULTS`."""
        names = dict(self._durable)
        count = len(self._unsynced)
        kept = {"lose_all": 0, "keep_all": count, "names_kept": count}.get(kind, random.randint(0, count))
        for _, change in self._unsynced[:kept]:
            _rename(names, change)
        contents: dict[int, Inode] = {}
        disk = Disk(self.name, self.hits)
        disk.full = self.full
        for path, inode in names.items():
            if "/" in path and path.rpartition("/")[0] not in names:
                continue  # Its directory did not last.
            if id(inode) not in contents:
                contents[id(inode)] = Inode(
                    left(inode.durable, len(inode.visible), inode.unsynced, kind, random),
                    is_directory=inode.is_directory,
                )
            disk._visible[path] = contents[id(inode)]
        disk._durable = dict(disk._visible)
        return disk

    def _all(self) -> Iterable[Inode]:
        yield from self._visible.values()
        yield from self._durable.values()
        for _, change in self._unsynced:
            yield from (inode for inode in change.values() if inode is not None)

    def _name(self, path: str, change: dict[str, Inode | None]) -> None:
        self._unsynced.append((path.rpartition("/")[0], change))
        _rename(self._visible, change)


def _write(inode: Inode, offset: int, data: bytes) -> None:
    take_in(inode.visible, offset, data)
    inode.unsynced.append((offset, data))


def _rename(names: dict[str, Inode], change: dict[str, Inode | None]) -> None:
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode
