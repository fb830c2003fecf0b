"""A cluster that has lost its quorum goes on as one node: from the best log, far ahead, and never beside another one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from rescue_place import MEMBERSHIP, SESSION, Place, disk_id, log

from zraft.cli import recover as command
from zraft.disk import OsFileSystem
from zraft.errors import ConfigError, InvalidRequest, NotFound
from zraft.raft.changes import Change, entering, target
from zraft.raft.membership import encode as encode_membership
from zraft.raft.types import Entry, EntryId, EntryKind, Membership
from zraft.rescue import directories, recover
from zraft.rescue.survivors import Survivor, find, newest_snapshot
from zraft.seams import Draft
from zraft.storage.snapshotfile import NewFile
from zraft.storage.snapshots import DIRECTORY, file_name
from zraft.storage.wal import Storage

CLUSTER = "0123456789abcdef"


@contextmanager
def survivors(place: Place) -> Iterator[list[Survivor]]:
    found = find(place.config, lambda line: None)
    try:
        yield found
    finally:
        for each in found:
            each.fs.close()


def planned(place: Place, node: str | None = None) -> recover.Plan:
    with survivors(place) as found:
        return recover.plan(place.config, found, node)


def carried_out(place: Place, node: str | None = None) -> recover.Recovered:
    with survivors(place) as found:
        return recover.recover(place.config, recover.plan(place.config, found, node), {})


def five(place: Place) -> None:
    """Have a cluster of five, of which three are here."""
    nodes = "".join(
        f"  - {{id: n{n}, peer: ipc://{n}.p, client: ipc://{n}.c, events: ipc://{n}.e}}\n" for n in range(1, 6)
    )
    place.file.write_text(f'cluster: {{id: "{CLUSTER}"}}\nnodes:\n{nodes}storage: {{directory: data}}\n')


def log_of_five(count: int, term: int = 1) -> list[Entry]:
    voters = tuple(f"n{number}" for number in range(1, 6))
    membership = Membership(voters, disk_ids={node: disk_id(node) for node in voters})
    entries = log(count, term)
    entries[1] = msgspec.structs.replace(entries[1], data=encode_membership(membership))
    return entries


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [
        ((9, 1), (8, 1), "n1"),
        ((9, 1), (7, 2), "n2"),
        ((9, 3), (9, 2), "n1"),
        ((6, 2), (12, 1), "n1"),
        ((9, 1), (9, 1), "n1"),
    ],
)
def test_the_most_up_to_date_log_is_chosen(
    place: Place, first: tuple[int, int], second: tuple[int, int], better: str
) -> None:
    five(place)
    place.begin("n1", log_of_five(*first))
    place.begin("n2", log_of_five(*second))
    found = planned(place)
    assert (found.chosen.node, found.missing) == (better, ["n3", "n4", "n5"])


def test_a_quorum_that_is_here_is_not_lost(place: Place) -> None:
    place.begin("n1", log(9))
    place.begin("n3", log(8))
    with pytest.raises(
        InvalidRequest, match="the whole logs of n1, n3 are here, a majority of the voters n1, n2, n3; start them"
    ):
        planned(place)


def test_neither_a_damaged_log_nor_one_of_a_node_that_lost_its_data_makes_a_quorum(place: Place) -> None:
    place.begin("n1", log(9))
    place.begin("n2", log(9))
    place.begin("n3", log(9), own="f" * 32)
    segment = min(place.data("n2").glob("*.wal"))
    data = bytearray(segment.read_bytes())
    data[4_110] ^= 1
    segment.write_bytes(data)
    with survivors(place) as found:
        damage = {each.node: each.damage for each in found}
    assert (damage["n1"], damage["n3"]) == ("", "")
    assert "damaged at offset 4096" in damage["n2"]
    assert planned(place).chosen.node == "n1"


def test_a_change_of_members_that_is_half_done_asks_for_both_majorities(place: Place) -> None:
    joint = entering(MEMBERSHIP, target(MEMBERSHIP, Change(remove=("n3",))))
    entries = [*log(8), Entry(1, 9, EntryKind.MEMBERSHIP, 90, encode_membership(joint))]
    place.begin("n1", entries)
    place.begin("n3", log(8))
    found = planned(place)
    assert found.membership.outgoing == ("n1", "n2", "n3")
    assert (found.chosen.node, found.missing) == ("n1", ["n2"])


def test_a_majority_of_the_new_members_alone_is_no_quorum_while_the_old_ones_count(place: Place) -> None:
    five(place)
    entries = log_of_five(8)
    before = msgspec.msgpack.decode(entries[1].data, type=Membership)
    joint = entering(before, target(before, Change(remove=("n4", "n5"))))
    for node in ("n1", "n2"):
        place.begin(node, [*entries, Entry(1, 9, EntryKind.MEMBERSHIP, 90, encode_membership(joint))])
    found = planned(place)
    assert (found.membership.voters, found.membership.outgoing) == (("n1", "n2", "n3"), before.voters)
    assert found.missing == ["n3", "n4", "n5"]


def test_the_newest_intact_snapshot_is_what_it_begins_from(place: Place) -> None:
    place.begin("n2", log(9))
    fs = OsFileSystem(place.data("n2"))
    fs.mkdir(DIRECTORY)
    snapshots = OsFileSystem(place.data("n2") / DIRECTORY)
    for count in (5, 7):
        machines = place.state(log(count))
        name = file_name(EntryId(1, count))
        new = NewFile(snapshots, name, "part", place.config.cluster_id, Draft(EntryId(1, count), 9, MEMBERSHIP))
        for piece in machines.snapshot():
            new.write(piece)
        new.finish()
    assert newest_snapshot(fs, place.config.cluster_id).last == EntryId(1, 7)
    path = place.data("n2") / DIRECTORY / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert newest_snapshot(fs, place.config.cluster_id).last == EntryId(1, 5)
    with survivors(place) as found:
        assert recover.state_of(place.config, found[0])._machines["kv"].revision == 6, (
            "the log is carried out behind it"
        )


def test_the_survivor_begins_alone_with_its_whole_log_far_ahead_of_all_that_are_here(place: Place) -> None:
    five(place)
    place.begin("n2", log_of_five(9, term=4), term=6)
    place.begin("n4", log_of_five(12, term=3), term=40)
    done = carried_out(place)
    assert done.snapshot.last == EntryId(1_000_040, 1_000_012), "above any term and index, wherever they were found"
    (found,) = find(place.config, lambda line: None)
    found.fs.close()
    assert (found.node, found.damage, found.term) == ("n2", "", 1_000_040)
    assert found.membership == Membership(("n2",), disk_ids={"n2": found.disk_id})
    assert found.disk_id != disk_id("n2"), "old members that come back take it for one that has lost its data"
    machines = recover.state_of(place.config, found)
    assert machines._machines["kv"].revision == 1_000_006
    assert [session.number for session in machines.sessions] == [SESSION], "retries are still not applied twice"


def test_everything_else_is_set_aside_and_nothing_is_lost(
    place: Place, contents: Callable[[], dict[str, bytes]]
) -> None:
    five(place)
    for node, count in (("n1", 8), ("n2", 9)):
        place.begin(node, log_of_five(count))
    before = contents()
    done = carried_out(place)
    after = contents()
    for name, data in before.items():
        parts = name.split("/")
        if parts[0] == "data":
            assert after["/".join(["data", f"{parts[1]}.aside-1", *parts[2:]])] == data
    assert done.aside == {node: str(place.data(f"{node}.aside-1")) for node in ("n1", "n2")}
    assert sorted(path.name for path in (place.path / "data").iterdir()) == ["n1.aside-1", "n2", "n2.aside-1"]


def test_the_configuration_names_the_survivor_alone_as_one_that_joins(place: Place) -> None:
    place.begin("n2", log(9))
    carried_out(place)
    assert [(node.id, node.join) for node in place.config.nodes] == [("n2", True)]
    assert place.config.founders == ()
    assert place.config.cluster_id == int(CLUSTER, 16), "clients go on"


def test_a_list_of_nodes_that_cannot_be_changed_stops_it_before_anything_has(
    place: Place, contents: Callable[[], dict[str, bytes]]
) -> None:
    place.begin("n2", log(9))
    place.file.write_text(
        place.file.read_text().replace("nodes:\n  - ", "nodes: [").replace("\n  - ", ", ").replace("}\nst", "}]\nst")
    )
    before = contents()
    with pytest.raises(ConfigError, match="cannot be changed here"):
        carried_out(place)
    assert contents() == before


def test_it_begins_from_the_snapshot_and_the_log_behind_it(place: Place) -> None:
    """A log whose beginning is gone: recover once, write on, recover again."""
    place.begin("n2", log(9))
    carried_out(place)
    nodes = place.file.read_text().replace("join: true", "join: false")
    more = "".join(
        f"  - {{id: {n}, peer: ipc://{n}.p, client: ipc://{n}.c, events: ipc://{n}.e}}\n" for n in ("n8", "n9")
    )
    place.file.write_text(nodes.replace("storage:", more + "storage:"))
    three = Membership(("n2", "n8", "n9"))
    with survivors(place) as found:
        last, machines = found[0].last, recover.state_of(place.config, found[0])
    entry = Entry(last.term + 1, last.index + 1, EntryKind.MEMBERSHIP, machines.time_ms, encode_membership(three))
    place.begin("n2", [entry], own="unused")
    found_plan = planned(place)
    assert (found_plan.chosen.last, found_plan.missing) == (entry.id, ["n8", "n9"])
    done = carried_out(place)
    assert done.snapshot.last == EntryId(entry.term + 1_000_000, entry.index + 1_000_000)
    with survivors(place) as found:
        assert recover.state_of(place.config, found[0])._machines["kv"].revision == 2_000_006


def test_a_running_node_is_refused(place: Place) -> None:
    place.begin("n1", log(9))
    with survivors(place), pytest.raises(ConfigError, match="n1 runs, with the data in .*; stop all nodes first"):
        find(place.config, lambda line: None)


def test_nothing_to_recover_from(place: Place) -> None:
    with pytest.raises(NotFound, match="no whole log of a node of .* is here"):
        planned(place)


def test_what_may_be_lost_is_said(place: Place) -> None:
    five(place)
    place.begin("n1", log_of_five(9, term=2))
    place.begin("n2", log_of_five(12))
    lines = recover.losses(planned(place))
    assert lines[0].startswith(
        "n1 begins anew, alone, with its whole log, which ends with entry 9 of term 2; its last entries may"
    )
    assert lines[1].startswith(
        "lost for good: whatever n3, n4, n5 had behind entry 9 of term 2 and the logs here have not"
    )
    assert lines[2].startswith("never start n3, n4, n5, n2 again with the data that they have")
    other = recover.losses(planned(place, "n2"))
    assert other[2] == "lost: what n1 has up to entry 9 of term 2, though it is here"
    with pytest.raises(InvalidRequest, match="n5: no whole log of it is here; there are n1, n2"):
        planned(place, "n5")


class Stopped(Exception):
    """The command ended here."""


STEPS = ("lay_down", "_alone", "set_aside 1", "set_aside 2", "put_in_place")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_whatever_it_is_interrupted_at_the_next_attempt_finishes(
    place: Place, step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    five(place)
    place.begin("n1", log_of_five(8))
    place.begin("n2", log_of_five(9))
    name, _, number = step.partition(" ")
    home = directories if name in ("set_aside", "put_in_place") else recover
    original = getattr(home, name)
    calls = [0]

    def interrupted(*given, **named):
        calls[0] += 1
        if calls[0] != int(number or 1):
            return original(*given, **named)
        if after:
            original(*given, **named)
        raise Stopped

    monkeypatch.setattr(home, name, interrupted)
    with pytest.raises(Stopped):
        carried_out(place)
    monkeypatch.undo()
    blank = [node.id for node in place.config.nodes if not place.data(node.id).exists()]
    assert not set(blank) & set(place.config.founders) - {"n3", "n4", "n5"}, "nobody founds another cluster"
    begun = recover.interrupted(place.config)
    recover.finish(place.config, begun)
    if not begun:
        with survivors(place) as found:
            alone = [each.node for each in found if each.membership is not None and each.membership.voters == ("n2",)]
        if not alone:
            carried_out(place)
    assert [node.id for node in place.config.nodes] == ["n2"]
    with survivors(place) as found:
        assert [(each.node, each.membership.voters, each.last) for each in found] == [
            ("n2", ("n2",), EntryId(1_000_001, 1_000_009))
        ]
        assert recover.state_of(place.config, found[0])._machines["kv"].revision == 1_000_006


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["", "0123456789abcde", "yes", "fedcba9876543210"])
def test_another_id_than_the_clusters_changes_nothing(
    place: Place, typed: str, contents: Callable[[], dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    place.begin("n2", log(9))
    before = contents()
    with pytest.raises(
        ConfigError, match="is not the id of this cluster, which is 0123456789abcdef; nothing was changed"
    ):
        command.recover(place.config, node=None, typed=typed, dry_run=False, as_json=False)
    assert contents() == before
    assert "* n2     log up to entry 9 of term 1; seen term 1" in capsys.readouterr().out


def test_where_nobody_can_be_asked_the_id_must_be_given(place: Place, contents: Callable[[], dict[str, bytes]]) -> None:
    place.begin("n2", log(9))
    before = contents()
    with pytest.raises(ConfigError, match="nobody can be asked here .* add --yes-lose 0123456789abcdef"):
        command.recover(place.config, node=None, typed=None, dry_run=False, as_json=False)
    assert contents() == before


def test_a_dry_run_tells_all_of_it_and_changes_nothing(
    place: Place, contents: Callable[[], dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    place.begin("n2", log(9))
    before = contents()
    command.recover(place.config, node=None, typed=None, dry_run=True, as_json=True)
    assert contents() == before
    told = msgspec.json.decode(capsys.readouterr().out)
    assert (told["chosen"], told["missing"], told["recovered"]) == ("n2", ["n1", "n3"], None)
    assert told["survivors"] == [
        {"node": "n2", "directory": str(place.data("n2")), "damage": None, "term": 1, "last_index": 9, "last_term": 1}
    ]
    command.recover(place.config, node=None, typed="0123456789ABCDEF", dry_run=False, as_json=True)
    done = msgspec.json.decode(capsys.readouterr().out)["recovered"]
    assert (done["index"], done["term"], list(done["aside"])) == (1_000_009, 1_000_001, ["n2"])


def test_the_command_finishes_what_was_interrupted_at_its_last_step(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.begin("n2", log(9))

    def stopped(directory: Path, suffix: str) -> None:
        raise Stopped

    monkeypatch.setattr(directories, "put_in_place", stopped)
    with pytest.raises(Stopped):
        carried_out(place)
    monkeypatch.undo()
    assert not place.data("n2").exists()
    command.recover(place.config, node=None, typed=None, dry_run=True, as_json=False)
    assert not place.data("n2").exists()
    command.recover(place.config, node=None, typed=None, dry_run=False, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "the recovery of n2 was interrupted at its last step; without --dry-run this command finishes it",
        "finished the recovery of n2, which was interrupted; start it with: zraft cluster up",
    ]
    with survivors(place) as found:
        assert [each.last.index for each in found] == [1_000_009]


def test_what_was_interrupted_before_it_was_complete_is_not_put_in_place(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while the directory is written, which somebody takes for the reason to move the old one away."""
    place.begin("n2", log(9))
    monkeypatch.setattr(directories.shutil, "rmtree", lambda *given, **named: None)  # As after a kill.
    monkeypatch.setattr(Storage, "write", lambda *given: (_ for _ in ()).throw(Stopped))
    with pytest.raises(Stopped):
        carried_out(place)
    monkeypatch.undo()
    assert place.data("n2.recovering").exists()
    place.data("n2").rename(place.path / "moved")
    assert recover.interrupted(place.config) == []
    with pytest.raises(NotFound):
        command.recover(place.config, node=None, typed=CLUSTER, dry_run=False, as_json=False)
    (place.path / "moved").rename(place.data("n2"))
    assert carried_out(place).snapshot.last.index == 1_000_009
