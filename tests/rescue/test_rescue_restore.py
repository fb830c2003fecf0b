"""A new cluster from a saved snapshot: the same state at every node, and nothing that could have been given out before."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rescue_place import SESSION, VOTERS, Place, log

from zraft.disk import OsFileSystem
from zraft.errors import ConfigError, NotFound, StorageError
from zraft.machines.kv.commands import Get, decode_entry, encode
from zraft.machines.mounts import mount
from zraft.machines.sessions import Machines
from zraft.raft.types import EntryId, HardState, Recovered, Snapshot
from zraft.rescue import directories, restore
from zraft.rescue.saved import opened
from zraft.storage.starting import start_from
from zraft.storage.verify import verify
from zraft.storage.wal import Storage

NEW = "fedcba9876543210"


def restored(place: Place, file: Path, directory: Path | None = None) -> Snapshot:
    with opened(file) as saved:
        return restore.restore(saved, place.config, directory or place.path / "data")


def started(place: Place, node: str) -> tuple[Machines, Recovered]:
    """Start from a data directory as a node does."""
    fs = OsFileSystem(place.data(node))
    storage = Storage.open(
        fs, cluster_id=place.config.cluster_id, node=node, segment_bytes=1 << 16, new_disk_id=lambda: "not to be drawn"
    )
    machines = Machines(mount(place.config)[0])
    lines: list[str] = []
    recovered = start_from(storage, machines.restore, lines.append)
    assert lines == []
    storage.close()
    fs.close()
    return machines, recovered


def test_every_node_begins_with_the_same_state_far_ahead_of_the_old_one(place: Place) -> None:
    file = place.save(log(9, term=7))
    place.write_config(NEW)
    snapshot = restored(place, file)
    assert snapshot.last == EntryId(1_000_007, 1_000_009)
    assert snapshot.membership.voters == VOTERS
    states = []
    for node in VOTERS:
        assert verify(OsFileSystem(place.data(node), writable=False)).damage == []
        machines, recovered = started(place, node)
        assert (recovered.base, recovered.hard_state, recovered.entries) == (snapshot.last, HardState(1_000_007), [])
        assert recovered.membership == snapshot.membership
        states.append(b"".join(machines.snapshot()))
        store = machines._machines["kv"]
        assert (store.revision, store.compacted) == (1_000_006, 1_000_006)
        entry = decode_entry(store.query(encode(Get(b"key 9"))))
        assert entry is not None and (entry.value, entry.mod_revision) == (b"value", 6)
        assert len(machines.sessions) == 0, f"nobody comes back to session {SESSION}: the id of the cluster is another"
    assert len(set(states)) == 1


def test_each_data_directory_has_an_identity_of_its_own_that_the_membership_knows(place: Place) -> None:
    file = place.save(log(9))
    place.write_config(NEW)
    ids = restored(place, file).membership.disk_ids
    assert len(set(ids.values())) == len(VOTERS)
    for node in VOTERS:
        found = verify(OsFileSystem(place.data(node), writable=False))
        assert (found.disk_id, found.node, found.cluster_id) == (ids[node], node, int(NEW, 16))


def test_a_cluster_of_the_same_id_is_refused(place: Place, contents: Callable[[], dict[str, bytes]]) -> None:
    file = place.save(log(9))
    before = contents()
    with pytest.raises(
        ConfigError, match=r"cluster.id is 0123456789abcdef, that of the cluster .* cluster: \{id: \"[0-9a-f]{16}\"\}"
    ):
        restored(place, file)
    assert contents() == before


def test_a_data_directory_that_is_not_empty_is_refused_and_no_other_is_written(
    place: Place, contents: Callable[[], dict[str, bytes]]
) -> None:
    file = place.save(log(9))
    place.write_config(NEW)
    place.data("n1").mkdir(parents=True)
    place.data("n3").mkdir()
    (place.data("n3") / "mine").write_text("precious")
    before = contents()
    with pytest.raises(ConfigError, match="data/n3: is not empty; move it away"):
        restored(place, file)
    assert contents() == before
    (place.data("n3") / "mine").unlink()
    restored(place, file)
    assert sorted(path.name for path in (place.path / "data").iterdir()) == ["n1", "n2", "n3"]


@pytest.mark.parametrize("offset", [0, 12, 40, 60, 520, -1])
def test_a_damaged_file_is_refused(place: Place, offset: int, contents: Callable[[], dict[str, bytes]]) -> None:
    file = place.save(log(9))
    place.write_config(NEW)
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)
    before = contents()
    with pytest.raises(StorageError, match="backup: damaged: "):
        restored(place, file)
    assert contents() == before


def test_a_file_that_is_not_there(place: Place) -> None:
    with pytest.raises(NotFound, match="nowhere: no such file"):
        restored(place, place.path / "nowhere")


def test_a_machine_that_is_not_mounted(place: Place, contents: Callable[[], dict[str, bytes]]) -> None:
    place.write_config("0123456789abcdef", 'machines: {own: "zraft.machines.kv.store:KeyValueStore"}\n')
    file = place.save(log(9))
    place.write_config(NEW)
    before = contents()
    with pytest.raises(StorageError, match="'own', which is not mounted"):
        restored(place, file)
    assert contents() == before


def test_what_fails_half_way_leaves_nothing(
    place: Place, contents: Callable[[], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place.save(log(9))
    place.write_config(NEW)
    before = contents()
    laid = restore.lay_down

    def full(*given, **named) -> None:
        laid(*given, **named)
        if named["node"] == "n3":
            raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr(restore, "lay_down", full)
    with pytest.raises(StorageError, match="No space left on device; free some space"):
        restored(place, file)
    assert contents() == before
    monkeypatch.undo()
    with directories.beside(place.data("n1"), restore.SUFFIX) as fs:  # As a kill would leave it.
        fs.mkdir("")
        fs.open("left over", create=True).close()
    assert restored(place, file).last.index == 1_000_009
    assert verify(OsFileSystem(place.data("n1"), writable=False)).damage == []
