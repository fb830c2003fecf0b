"""What counts as damage in the directory of a node that runs, and how findings read."""

from pathlib import Path

import pytest

from zraft.cli import datadirectory, findings
from zraft.raft.types import EntryId, HardState
from zraft.storage.findings import Findings, Problem, SegmentFound, SnapshotFound
from zraft.storage.slots import Slot

TORN = Problem("2.wal", 4_096, "torn", "look again")
ROTTEN = Problem("1.wal", 512, "rotten", "replace it")
GONE = Problem("1.wal", None, "gone")


class Readings:
    """Gives one list of damage after the other, and the last one for ever."""

    def __init__(self, *damage: list[Problem]) -> None:
        self.damage = list(damage)
        self.count = 0

    def __call__(self, fs: object) -> Findings:
        self.count += 1
        damage = self.damage.pop(0) if len(self.damage) > 1 else self.damage[0]
        return Findings("/data/n1", damage=list(damage))


@pytest.mark.parametrize(
    ("readings", "process", "expected"),
    [
        (Readings([]), None, ([], 1)),
        (Readings([TORN], []), None, ([TORN], 1)),
        (Readings([]), 7, ([], 1)),
        (Readings([TORN, ROTTEN], [ROTTEN]), 7, ([ROTTEN], 5)),
        (Readings([TORN], [ROTTEN], [TORN]), 7, ([], 2)),
        (Readings([ROTTEN, GONE], [GONE], [ROTTEN, GONE], []), 7, ([], 4)),
    ],
)
def test_of_a_running_node_only_what_does_not_go_away_is_damage(
    readings: Readings,
    process: int | None,
    expected: tuple[list[Problem], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(datadirectory, "verify", readings)
    monkeypatch.setattr(datadirectory, "holder", lambda directory: process)
    assert (datadirectory.verified(Path("n1")).damage, readings.count) == expected
    assert ("is in use (pid 7)" in capsys.readouterr().err) == (process is not None)


def test_findings_in_words() -> None:
    found = Findings(
        "/data/n1",
        cluster_id=10,
        node="n1",
        disk_id="d" * 32,
        hard_state=HardState(4, "n2"),
        base=EntryId(2, 400),
        last=EntryId(3, 500),
        acknowledged=Slot(9, HardState(4, "n2"), EntryId(3, 499)),
        segments=[
            SegmentFound("1.wal", 1, 8_192, "in use", 399, 3, 5, 6_000),
            SegmentFound("2.wal", 2, 8_192, "unused"),
        ],
        snapshots=[SnapshotFound("snapshots/a", 1_234, EntryId(2, 400), True), SnapshotFound("snapshots/b", 9)],
        damage=[ROTTEN, TORN, GONE],
    )
    found.noted("2.wal", 5, "something")
    assert list(findings.lines(found)) == [
        f"node n1 of cluster 000000000000000a, disk_id {'d' * 32}",
        "term 4, vote for n2",
        "log of entries 401 to 500@3",
        "acknowledged at least up to 499@3, in term 4",
        "  1.wal  in use: 3 writes, 5 entries, from entry 399",
        "  2.wal  unused",
        "  snapshots/a  all up to entry 400@2, 1,234 bytes, intact",
        "  snapshots/b  unreadable, 9 bytes",
        "note: 2.wal: at offset 5: something",
        "damaged: 1.wal: at offset 512: rotten",
        "damaged: 2.wal: at offset 4096: torn",
        "damaged: 1.wal: gone",
        "what to do: replace it",
        "what to do: look again",
    ]
    assert findings.as_keys(found)["acknowledged"] == {"term": 4, "vote": "n2", "last_index": 499, "last_term": 3}
    assert list(findings.lines(Findings("/data/n1")))[-2:] == ["log without an entry behind 0@0", "all of it is intact"]
