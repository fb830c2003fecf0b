"""A snapshot takes so long to write that another would be due before."""

import pytest
from test_replica_snapshots import grow, state
from virtual_cluster import VirtualCluster

from zraft.seams import DiskNews, Saved

BYTES = 4_000


def test_one_snapshot_is_written_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = VirtualCluster(snapshot_bytes=BYTES).start()
    leader = cluster.led()
    news, late = leader.disk.news, list[DiskNews]()

    def without_saved() -> list[DiskNews]:
        told = news()
        late.extend(each for each in told if isinstance(each, Saved))
        return [each for each in told if not isinstance(each, Saved)]

    with monkeypatch.context() as patched:
        patched.setattr(leader.disk, "news", without_saved)
        grow(cluster, 90)
        assert len(late) == 1
        assert len([effect for effect in leader.effects if effect[0] == "save"]) == 1
        assert leader.machines.index * 200 > 3 * BYTES, "it grew by enough for more"
    patched_once = iter([late])
    monkeypatch.setattr(leader.disk, "news", lambda: next(patched_once, []) or news())
    grow(cluster, 60, "later")
    cluster.settled()
    assert len(leader.replica.raft.snapshots.kept) == 2
    assert len({state(node) for node in cluster.nodes.values()}) == 1
