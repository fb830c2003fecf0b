"""A node takes snapshots as its log grows, starts from the newest, and sends it to whoever lacks what the log has no more."""

import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.errors import StorageError
from zraft.raft.changes import Change
from zraft.raft.messages import CHUNK_BYTES_MAX, InstallSnapshot
from zraft.seams import Draft
from zraft.storage import snapshots
from zraft.storage.snapshots import DIRECTORY, file_name

BYTES = 4_000


@pytest.fixture
def cluster() -> VirtualCluster:
    return VirtualCluster(snapshot_bytes=BYTES).start()


def grow(cluster: VirtualCluster, count: int, tag: str = "k") -> None:
    """Write `count` values of some 200 bytes each."""
    leader = cluster.led()
    session = cluster.open_session(leader)
    for number in range(count):
        cluster.answered(cluster.put(leader, session, f"{tag}{number}".encode(), bytes([number % 251]) * 200))


def state(node: VirtualNode) -> bytes:
    return b"".join(node.machines.snapshot())


def files(node: VirtualNode) -> list[str]:
    return [name for name in node.fs.list(DIRECTORY) if name.endswith(".snap")]


def test_a_log_that_grows_is_compacted_on_every_node_and_two_snapshots_are_kept(cluster: VirtualCluster) -> None:
    grow(cluster, 200)
    cluster.settled()
    for node in cluster.nodes.values():
        log = node.replica.raft.log
        assert log.first_index > 50, "the log begins behind a snapshot"
        assert log.base == node.replica.raft.snapshots.kept[0].last
        assert files(node) == [file_name(each.last) for each in node.replica.raft.snapshots.kept]
        assert len(files(node)) == 2


def test_snapshots_of_one_index_are_equal_on_all_nodes(cluster: VirtualCluster) -> None:
    grow(cluster, 200)
    cluster.settled()
    kept = [{each.last: each for each in node.replica.raft.snapshots.kept} for node in cluster.nodes.values()]
    shared = set(kept[0]) & set(kept[1]) & set(kept[2])
    assert shared
    for last in shared:
        assert kept[0][last] == kept[1][last] == kept[2][last]


def test_a_node_starts_from_its_newest_snapshot_and_the_log_behind_it(cluster: VirtualCluster) -> None:
    grow(cluster, 150)
    cluster.settled()
    node = cluster["n2"]
    before, index = state(node), node.replica.raft.log.last_applied
    node.kill()
    node.start()
    assert node.machines.index == node.replica.raft.snapshots.kept[-1].last.index > 0
    cluster.until(lambda: node.machines.index >= index, "the log behind the snapshot applied")
    assert state(node) == before or node.machines.index > index


@pytest.mark.parametrize("at", [20, 700, 3_000], ids=["head", "membership", "data"])
def test_a_damaged_snapshot_is_kept_aside_and_the_older_one_stands_in(cluster: VirtualCluster, at: int) -> None:
    grow(cluster, 150)
    cluster.settled()
    node = cluster["n2"]
    older, newest = node.replica.raft.snapshots.kept
    node.kill()
    spoil(node, file_name(newest.last), at)
    node.start()
    assert node.machines.index == older.last.index
    assert any("damaged" in line for _, line in node.lines)
    cluster.settled()
    assert state(node) == state(cluster["n1"])


def test_without_an_intact_snapshot_a_compacted_log_is_refused(cluster: VirtualCluster) -> None:
    grow(cluster, 150)
    cluster.settled()
    node = cluster["n2"]
    node.kill()
    for name in files(node):
        spoil(node, name, 3_000)
    with pytest.raises(StorageError, match="no intact snapshot of all up to entry"):
        node.start()


def spoil(node: VirtualNode, name: str, at: int) -> None:
    file = node.fs.open(f"{DIRECTORY}/{name}")
    file.pwritev([bytes([file.pread(1, at)[0] ^ 1])], at)
    file.datasync()


@pytest.mark.parametrize("piece_bytes", [300, CHUNK_BYTES_MAX])
def test_a_node_that_was_away_too_long_gets_the_snapshot_in_pieces(
    piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "PIECE_BYTES", piece_bytes)
    cluster = VirtualCluster(snapshot_bytes=BYTES).start()
    away = next(node for node in cluster.nodes.values() if node is not cluster.led())
    away.kill()
    grow(cluster, 200)
    away.start()
    cluster.settled()
    assert state(away) == state(cluster.led())
    sent = [effect for node in cluster.nodes.values() for effect in node.effects if effect[0] == "send"]
    pieces = [message for _, target, message in sent if isinstance(message, InstallSnapshot) and target == away.id]
    assert all(0 < len(piece.data) <= piece_bytes for piece in pieces)
    assert len(pieces) > 10 if piece_bytes == 300 else pieces
    assert any("begins anew from the snapshot" in line for _, line in away.lines)


def test_a_client_of_a_node_that_was_sent_a_snapshot_is_still_known(cluster: VirtualCluster) -> None:
    """Sessions are in the snapshot: a retry through a new leader is not applied again (thesis §6.3)."""
    away = next(node for node in cluster.nodes.values() if node is not cluster.led())
    away.kill()
    leader = cluster.led()
    session = cluster.open_session(leader)
    for number in range(200):
        cluster.answered(cluster.put(leader, session, b"counted", bytes([number % 251]) * 200))
    away.start()
    cluster.settled()
    assert len(away.machines.sessions) == len(leader.machines.sessions) == 1
    assert away.machines.store.revision == leader.machines.store.revision == 200


def test_a_snapshot_says_what_held_at_its_last_entry_and_not_what_is_under_way(cluster: VirtualCluster) -> None:
    """A membership that is in the log and not committed may yet be rolled back, and time may have gone on behind it."""
    leader = cluster.led()
    cluster.settled()
    raft, compaction = leader.replica.raft, leader.replica._compaction
    applied = raft.log.entry(raft.log.last_applied)
    before = raft.memberships.at(applied.index)
    cluster.run(500)
    cluster.isolate(leader.id)
    other = next(id for id in cluster.ids if id != leader.id)
    raft.change_membership(Change(remove=(other,)), cluster.now)
    assert raft.memberships.current != before
    assert raft.log.last_time_ms > applied.time_ms
    compaction._grown = BYTES
    compaction.take_if_due()
    ((_, draft),) = [effect for effect in leader.effects if effect[0] == "save"]
    assert draft == Draft(applied.id, applied.time_ms, before)
