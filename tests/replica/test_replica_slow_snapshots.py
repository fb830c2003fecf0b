"""A snapshot takes so long to write that another would be due before."""

import pytest
from test_replica_snapshots import grow, state
from virtual_cluster import VirtualCluster

from zraft.seams import DiskNews, Draft, Saved, State, Unsaved

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


def test_one_of_which_nothing_came_costs_a_warning_and_the_next_is_taken_when_it_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = VirtualCluster(snapshot_bytes=BYTES).start()
    leader = cluster.led()
    lost = list[DiskNews]()

    def save(draft: Draft, state: State) -> None:
        lost.append(Unsaved("it was ended"))

    def news() -> list[DiskNews]:
        told, lost[:] = [*lost], []
        return told + tell()

    tell = leader.disk.news
    with monkeypatch.context() as patched:
        patched.setattr(leader.disk, "save", save)
        patched.setattr(leader.disk, "news", news)
        patched.setattr(leader.machines, "snapshot", lambda: pytest.fail("that is for whoever writes it to ask for"))
        grow(cluster, 12)
        warning = ("WARNING", "no snapshot was taken: it was ended; the next one is taken when it is due")
        assert leader.lines.count(warning) == 0, "it is not due yet"
        grow(cluster, 8, "more")
        assert leader.lines.count(warning) == 1, "and it is tried no more at once, which would fail at once again"
        assert not leader.replica.raft.snapshots.kept
    grow(cluster, 30, "later")
    cluster.settled()
    assert leader.replica.raft.snapshots.kept
    assert leader.lines.count(warning) == 1
    assert len({state(node) for node in cluster.nodes.values()}) == 1
