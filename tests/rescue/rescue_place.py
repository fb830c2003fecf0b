"""Data directories of stopped nodes, written by the real log, and the configuration that names them."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from zraft import config as configuration
from zraft.config import Config
from zraft.disk import OsFileSystem
from zraft.machines.kv.commands import Put
from zraft.machines.kv.commands import encode as encode_kv
from zraft.machines.mounts import mount
from zraft.machines.sessions import Machines
from zraft.raft.membership import encode as encode_membership
from zraft.raft.ready import Write
from zraft.raft.types import Ballot, Entry, EntryKind, HardState, Membership
from zraft.requests import Batch, SessionChange
from zraft.seams import Draft
from zraft.storage.rebuild import measured
from zraft.storage.snapshotfile import NewFile
from zraft.storage.wal import Storage

encode = msgspec.msgpack.encode
VOTERS = ("n1", "n2", "n3")
SESSION = 3


def disk_id(node: str) -> str:
    return node[-1] * 32


MEMBERSHIP = Membership(VOTERS, disk_ids={node: disk_id(node) for node in VOTERS})


def ballot(term: int) -> bytes:
    return encode(Ballot("n1", ("n1", "n2"), (), VOTERS, "timeout", 3, 1_000 * term))


def log(count: int, term: int = 1) -> list[Entry]:
    """Return entries up to index `count`, of which all from the fourth on are puts; those from the sixth on of `term`."""
    entries = [
        Entry(1, 1, EntryKind.NOOP, 10, ballot(1)),
        Entry(1, 2, EntryKind.MEMBERSHIP, 10, encode_membership(MEMBERSHIP)),
        Entry(1, 3, EntryKind.SESSION, 20, encode(SessionChange())),
    ]
    for index in range(4, count + 1):
        put = encode_kv(Put(b"key %d" % index, b"value"))
        data = encode(Batch(SESSION, index, "kv", [put]))
        entries.append(Entry(1 if index < 6 else term, index, EntryKind.COMMAND, index * 10, data))
    return entries[:count]


class Place:
    """A directory with a configuration of three nodes, and their data directories."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "cluster.yaml"
        self.write_config("0123456789abcdef")

    def write_config(self, cluster_id: str, more: str = "") -> None:
        nodes = "".join(
            f"  - {{id: {n}, peer: ipc://{n}.p, client: ipc://{n}.c, events: ipc://{n}.e}}\n" for n in VOTERS
        )
        self.file.write_text(
            f'cluster: {{id: "{cluster_id}"}}\nnodes:\n{nodes}storage: {{directory: data, segment_bytes: 65536}}\n{more}'
        )

    @property
    def config(self) -> Config:
        return configuration.load(self.file, env={})

    def data(self, node: str) -> Path:
        return self.path / "data" / node

    def begin(self, node: str, entries: list[Entry], *, term: int | None = None, own: str | None = None) -> None:
        """Write the data directory of a node, whose newest term is that of its last entry, unless another is given."""
        fs = OsFileSystem(self.data(node))
        storage = Storage.open(
            fs,
            cluster_id=self.config.cluster_id,
            node=node,
            segment_bytes=1 << 16,
            new_disk_id=lambda: own or disk_id(node),
        )
        storage.write([Write(1, 1, HardState(term or entries[-1].term), None, entries)])
        storage.close()
        fs.close()

    def state(self, entries: list[Entry]) -> Machines:
        machines = Machines(mount(self.config)[0])
        for entry in entries:
            machines.apply(entry)
        return machines

    def save(self, entries: list[Entry], name: str = "backup", cluster_id: int | None = None) -> Path:
        """Write a snapshot file with the state that `entries` lead to."""
        machines = self.state(entries)
        draft = Draft(entries[-1].id, machines.time_ms, MEMBERSHIP)
        new = NewFile(
            OsFileSystem(self.path),
            name,
            f"{name}.part",
            self.config.cluster_id if cluster_id is None else cluster_id,
            draft,
        )
        for piece in machines.snapshot():
            new.write(piece)
        assert new.finish() == measured(draft, machines.snapshot())
        return self.path / name


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def contents(tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """Give what returns everything that is there, but for locks."""

    def read() -> dict[str, bytes]:
        found = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
        return {str(path.relative_to(tmp_path)): data for path, data in found.items() if path.name != "lock"}

    return read
