"""A file system in memory that can lose power: each file and the directory have a visible and a durable image.

Unsynced writes are remembered as 512-byte sectors, unsynced names as operations. Around each operation that changes
something lies a crash point before and one after its effect; `crash_at` raises `PowerLoss` at one of them. What
the disk holds afterwards is drawn by `after_power_loss`; `after_kill` is what a mere SIGKILL leaves behind.
"""

import errno
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

SECTOR = 512
VARIANTS = ("lose_all", "keep_all", "sectors", "torn", "zeros")
"""How a crash treats what was not synced: nothing of it lasts; all does; any subset; a prefix and garbage behind it;
the sizes alone, and zeros for data."""


class PowerLoss(BaseException):
    """The machine stopped here."""


class Inode:
    """A file's content, by no name in particular."""

    def __init__(self, content: bytes = b"") -> None:
        self.visible = bytearray(content)
        self.durable = bytes(content)
        self.dirty: list[int] = []
        """Sectors whose visible content may differ from the durable one, in the order of writing."""

    def copy(self) -> "Inode":
        twin = Inode()
        twin.visible, twin.durable, twin.dirty = bytearray(self.visible), self.durable, list(self.dirty)
        return twin


class CrashFile:
    """An open file of a `CrashFS`."""

    def __init__(self, fs: "CrashFS", inode: Inode, name: str) -> None:
        self._fs, self._inode, self._name = fs, inode, name

    def pread(self, size: int, offset: int) -> bytes:
        self._fs.maybe_fail("pread", self._name)
        return bytes(self._inode.visible[offset : offset + size])

    def pwritev(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        data = b"".join(buffers)
        with self._fs.operation("pwritev", self._name):
            inode = self._inode
            inode.visible.extend(bytes(max(0, offset + len(data) - len(inode.visible))))
            inode.visible[offset : offset + len(data)] = data
            inode.dirty.extend(range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)))

    def truncate(self, size: int) -> None:
        with self._fs.operation("truncate", self._name):
            inode = self._inode
            inode.visible = inode.visible[:size].ljust(size, b"\0")
            inode.dirty.append(size // SECTOR)

    def datasync(self) -> None:
        try:
            with self._fs.operation("datasync", self._name):
                self._inode.durable = bytes(self._inode.visible)
                self._inode.dirty.clear()
        except OSError:
            self._inode.dirty.clear()  # What Linux does: the pages count as clean, and the next sync "succeeds".
            raise

    def size(self) -> int:
        return len(self._inode.visible)

    def close(self) -> None:
        self._fs.open_files -= 1


class CrashFS:
    """The FileSystem seam in memory; directories exist as soon as a name has them."""

    def __init__(self) -> None:
        self.visible: dict[str, Inode] = {}
        self.durable: dict[str, Inode] = {}
        self.unsynced: list[dict[str, Inode | None]] = []
        """Operations on names that are not durable: what each name stands for afterwards, if anything."""
        self.log: list[tuple[str, str]] = []
        """Every operation that changes something, and the file's name."""
        self.points = 0
        """Crash points passed."""
        self.crash_at: int | None = None
        self.fail: dict[str, int] = {}
        """By operation, the error number with which it fails, once."""
        self.directories: set[str] = set()
        """Made by name; they outlast everything."""
        self.open_files = 0
        self.locked_by_another = False

    def __str__(self) -> str:
        return "/data/n1"

    # -- the seam ------------------------------------------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> CrashFile:
        self.maybe_fail("open", path)
        if create:
            if path in self.visible:
                raise FileExistsError(errno.EEXIST, "File exists", path)
            with self.operation("create", path):
                self._name({path: Inode()})
        if path not in self.visible:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.open_files += 1
        return CrashFile(self, self.visible[path], path)

    def list(self, path: str = "") -> list[str]:
        under = f"{path}/" if path else ""
        names = (name.removeprefix(under) for name in self.visible if name.startswith(under))
        return sorted({name.partition("/")[0] for name in names} | (self.directories if not path else set()))

    def exists(self, path: str) -> bool:
        return path in self.visible or path in self.directories

    def mkdir(self, path: str) -> None:
        self.maybe_fail("mkdir", path)
        if path:
            self.directories.add(path)

    def rename(self, source: str, target: str) -> None:
        with self.operation("rename", target):
            self._name({source: None, target: self.visible[source]})

    def unlink(self, path: str) -> None:
        with self.operation("unlink", path):
            self._name({path: None})

    def sync_directory(self, path: str = "") -> None:
        with self.operation("sync_directory", path):
            here = [names for names in self.unsynced if all(os.path.dirname(name) == path for name in names)]
            for names in here:
                _apply(self.durable, names)
            self.unsynced = [names for names in self.unsynced if names not in here]

    def lock(self, path: str) -> bool:
        if path not in self.visible:
            self._name({path: Inode(b"4711")})
        return not self.locked_by_another

    # -- trouble -------------------------------------------------------------------------------------------------------

    def after_kill(self) -> "CrashFS":
        """Return what is left when the process alone is gone: the kernel keeps what is visible, synced or not."""
        twins: dict[int, Inode] = {}

        def twin(inode: Inode) -> Inode:
            return twins.setdefault(id(inode), inode.copy())

        fs = CrashFS()
        fs.visible = {name: twin(inode) for name, inode in self.visible.items()}
        fs.durable = {name: twin(inode) for name, inode in self.durable.items()}
        fs.unsynced = [{name: inode and twin(inode) for name, inode in names.items()} for names in self.unsynced]
        fs.directories = set(self.directories)
        return fs

    def after_power_loss(self, variant: str, seed: int = 0) -> "CrashFS":
        """Return what the disk holds, by one of `VARIANTS`."""
        rng = random.Random(seed)
        names = dict(self.durable)
        kept = {"lose_all": 0, "keep_all": len(self.unsynced)}.get(variant, rng.randint(0, len(self.unsynced)))
        for change in self.unsynced[:kept]:
            _apply(names, change)
        fs = CrashFS()
        contents = {id(inode): Inode(_content(inode, variant, rng)) for inode in names.values()}
        fs.visible = {name: contents[id(inode)] for name, inode in names.items()}
        fs.durable = dict(fs.visible)
        fs.directories = set(self.directories)
        return fs

    @contextmanager
    def operation(self, what: str, name: str) -> Iterator[None]:
        """Surround an effect with its two crash points, and fail instead of it when that is asked for."""
        self._point()
        self.log.append((what, name))
        self.maybe_fail(what, name)
        yield
        self._point()

    def maybe_fail(self, what: str, name: str) -> None:
        number = self.fail.pop(what, None)
        if number is not None:
            raise OSError(number, os.strerror(number), f"{self}/{name}" if name else str(self))

    def _point(self) -> None:
        self.points += 1
        if self.points == self.crash_at:
            raise PowerLoss

    def _name(self, change: dict[str, Inode | None]) -> None:
        self.unsynced.append(change)
        _apply(self.visible, change)


def _apply(names: dict[str, Inode], change: dict[str, Inode | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _content(inode: Inode, variant: str, rng: random.Random) -> bytes:
    if variant == "lose_all" or not inode.dirty:
        return inode.durable
    if variant == "keep_all":
        return bytes(inode.visible)
    if variant == "zeros":
        return inode.durable[: len(inode.visible)].ljust(len(inode.visible), b"\0")
    dirty = list(dict.fromkeys(inode.dirty))
    garbage: set[int] = set()
    if variant == "torn":
        count = rng.randint(0, len(dirty))
        kept, garbage = set(dirty[:count]), set(dirty[count : count + 1])
    else:
        kept = {sector for sector in dirty if rng.random() < 0.5}
    size = rng.choice((len(inode.durable), len(inode.visible)))
    content = bytearray(inode.durable[:size].ljust(size, b"\0"))
    for sector in kept | garbage:
        start, end = sector * SECTOR, min((sector + 1) * SECTOR, len(inode.visible))
        if start >= end:
            continue
        content.extend(bytes(max(0, end - len(content))))
        content[start:end] = rng.randbytes(end - start) if sector in garbage else inode.visible[start:end]
    return bytes(content)
