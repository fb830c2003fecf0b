"""What is refused, and in which words: pieces of snapshots, decisions of nobody, hand-overs, memberships that cannot lead."""

import hashlib

import pytest
from raft_rig import Packet, Rig

from zraft.raft import quorum
from zraft.raft.changes import Change
from zraft.raft.messages import CHUNK_BYTES_MAX, InstallSnapshot, flaw
from zraft.raft.types import Endpoints, EntryId, Membership, Snapshot

MEMBERS = Membership(("n1", "n2", "n3"))
NOWHERE = Endpoints("", "", "")
LAST = EntryId(1, 9)


def led(count: int = 3, *, priorities: dict[str, int] | None = None, **options: int) -> Rig:
    rig = Rig(count, **options)
    rig.priorities = priorities or {}
    for id in rig.ids:
        rig.start(id)
    rig.campaign("n1")
    rig.stabilize()
    rig.elapse(100, flowing=True)
    return rig


def piece(
    offset: int, size: int, *, whole: int = 100, last: EntryId = LAST, members: Membership = MEMBERS
) -> InstallSnapshot:
    snapshot = Snapshot(last, 0, members, whole, hashlib.sha256(b"").digest())
    return InstallSnapshot(2, snapshot, offset, bytes(size))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (piece(0, 100), None),
        (piece(90, 10), None),
        (piece(90, 11), "bytes 90 to 101 of a snapshot of 100"),
        (piece(-1, 10), "bytes -1 to 9 of a snapshot of 100"),
        (piece(5, 0), "bytes 5 to 5 of a snapshot of 100"),
        (piece(0, CHUNK_BYTES_MAX + 1, whole=1 << 20), f"a piece of {CHUNK_BYTES_MAX + 1} bytes"),
        (piece(0, 1, last=EntryId(3, 9)), "a snapshot of EntryId(term=3, index=9) in a message of term 2"),
        (piece(0, 1, last=EntryId(0, 9)), "a snapshot of EntryId(term=0, index=9) in a message of term 2"),
        (piece(0, 1, last=EntryId(1, 0)), "a snapshot of EntryId(term=1, index=0) in a message of term 2"),
        (piece(0, 1, members=Membership(())), "a snapshot without voters"),
    ],
)
def test_a_piece_that_no_honest_leader_sends(message: InstallSnapshot, told: str | None) -> None:
    assert flaw(message) == told


def test_nobody_decides_nothing() -> None:
    nobody = Membership(())
    assert quorum.reached({"n1": 7}, nobody) == 0
    assert quorum.tally({"n1": True}, nobody) is quorum.Tally.LOST


def test_a_change_that_leaves_nobody_who_may_lead() -> None:
    rig = led(priorities={"n2": 0, "n3": 0})
    said: list[str] = []
    rig.say = said.append
    assert rig.change("n1", Change(remove=("n1",))) is None
    assert said[-1].endswith("none of the voters that it would leave may lead: n2, n3 have priority 0")


def test_a_learner_that_has_caught_up_is_not_promoted_while_the_others_are_silent() -> None:
    rig = led(spare=1)
    rig.change("n1", Change(add={"n4": NOWHERE}))
    rig.cut = {("n2", "n1"), ("n3", "n1")}
    rig.elapse(900, flowing=True)
    assert rig.rafts["n1"].memberships.current.voters == ("n1", "n2", "n3")
    rig.cut.clear()
    rig.elapse(1_000, flowing=True)
    assert rig.rafts["n1"].memberships.current.voters == ("n1", "n2", "n3", "n4")


def test_a_stalled_disk_with_nobody_to_take_over() -> None:
    rig = led(2, priorities={"n2": 0})
    rig.disks["n1"].held = True
    rig.propose("n1", b"x")
    rig.elapse(1_500, flowing=True)
    assert rig.rafts["n1"].role.name != "leader"


def test_a_snapshot_that_is_there_when_its_sender_leads_no_more_is_left() -> None:
    rig = led()
    rig.crash("n3")
    for _ in range(2):
        for number in range(3):
            rig.propose("n1", bytes([number]))
        rig.elapse(200, flowing=True)
        rig.snapshot("n1")
        rig.stabilize()
    newest = rig.rafts["n1"].snapshots.newest
    assert newest is not None
    raft = rig.start("n3")
    whole = rig.disks["n1"].piece(InstallSnapshot(1, newest, 0), 1 << 20)
    assert whole is not None
    rig.deliver(Packet("n1", "n3", whole))
    raft.become_follower(raft.term + 1, None, "higher_term")
    rig.turn("n3")
    while rig.disks["n3"].waiting:
        rig.disk_step("n3")
    assert raft.log.base.index == 0
    rig.elapse(3_000, flowing=True)
    assert raft.log.last_applied == len(rig.witness.ledger)


def test_a_removed_node_that_had_lost_its_data_is_forgotten_at_once() -> None:
    rig = led()
    rig.crash("n3")
    rig.wipe("n3")
    rig.start("n3")
    rig.elapse(300, flowing=True)
    rig.change("n1", Change(remove=("n3",)))
    rig.elapse(300, flowing=True)
    role = rig.rafts["n1"].role
    assert role.name == "leader"
    assert "n3" not in role.progress  # type: ignore[attr-defined]
