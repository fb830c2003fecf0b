"""The one function that carries out a `Ready` forgets no field, and keeps the order that safety rests on."""

from typing import Any

import msgspec
import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.raft.messages import Heartbeat, InstallSnapshot
from zraft.raft.ready import Note, ReadReady, Ready, RoleChange, Write
from zraft.raft.types import EntryId, EntryKind, Membership, Role, Snapshot

EFFECT = {
    "sends": "send",
    "write": "submit",
    "pieces": "receive",
    "install": "install",
    "committed": "apply",
    "reads": "confirmed",
    "lost_reads": "lost",
    "notes": "line",
    "role_change": "role",
}
"""By which effect each field of a Ready shows."""

SNAPSHOT = Snapshot(EntryId(1, 1), 0, Membership(("n1",)), 1, b"")


@pytest.fixture
def leader() -> VirtualNode:
    """Bring up a leader with an entry of its own that nobody has carried further, and record all that it does."""
    cluster = VirtualCluster().start()
    leader = cluster.settled()
    replica = leader.replica
    assert replica.raft.propose(EntryKind.TICK, b"", cluster.now) is not None
    replica.serving.confirmed = lambda reads: reads and leader.effects.append(("confirmed", reads))  # type: ignore[method-assign]
    replica.serving.reads_lost = lambda lost: lost and leader.effects.append(("lost", lost))  # type: ignore[method-assign]
    replica._compaction.install = lambda snapshot: leader.effects.append(("install", snapshot))  # type: ignore[method-assign]
    replica.raft.applied = lambda index: leader.effects.append(("applied", index))  # type: ignore[method-assign]
    replica._log = lambda *line: leader.effects.append(("line", line))
    leader.publisher._emit = lambda event: leader.effects.append((event.kind, event))
    leader.effects.clear()
    return leader


def everything(leader: VirtualNode) -> dict[str, Any]:
    """Return a value for each field of a Ready."""
    raft = leader.replica.raft
    return {
        "sends": [("n9", Heartbeat(raft.term, 0, 1))],
        "write": Write(raft._writes.next_id, raft.term, entries=[raft.log.entry(raft.log.last_index)]),
        "pieces": [InstallSnapshot(raft.term, SNAPSHOT, 0, b"x")],
        "install": SNAPSHOT,
        "committed": [raft.log.entry(raft.log.last_index)],
        "reads": [ReadReady(1, 1)],
        "lost_reads": [2],
        "notes": [Note("leader_reset", {"leader": "n9"})],
        "role_change": RoleChange(Role.FOLLOWER, raft.term + 1, None, "higher_term"),
    }


def nothing() -> dict[str, Any]:
    return {
        "sends": [],
        "write": None,
        "pieces": [],
        "install": None,
        "committed": [],
        "reads": [],
        "lost_reads": [],
        "notes": [],
        "role_change": None,
    }


def shown(leader: VirtualNode) -> list[str]:
    """Return which of the fields have shown, in the order in which they first did."""
    fields = {effect: field for field, effect in EFFECT.items()}
    return list(dict.fromkeys(fields[effect[0]] for effect in leader.effects if effect[0] in fields))


def test_every_field_is_carried_out_in_the_order_of_the_fields(leader: VirtualNode) -> None:
    leader.replica._carry_out(Ready(**everything(leader)))
    assert shown(leader) == [field.name for field in msgspec.structs.fields(Ready)]


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Ready)])
def test_a_field_alone_is_carried_out_too(leader: VirtualNode, field: str) -> None:
    leader.replica._carry_out(Ready(**nothing() | {field: everything(leader)[field]}))
    assert shown(leader) == [field]


def test_the_core_hears_that_entries_are_applied_once_all_are(leader: VirtualNode) -> None:
    raft = leader.replica.raft
    first = raft.log.last_index
    assert raft.propose(EntryKind.TICK, b"", leader.cluster.now) is not None
    both = [raft.log.entry(first), raft.log.entry(first + 1)]
    leader.replica._carry_out(Ready(**nothing() | {"committed": both}))
    told = [effect[:2] for effect in leader.effects if effect[0] in ("apply", "applied")]
    assert told == [("apply", both[0]), ("apply", both[1]), ("applied", first + 1)]


def test_a_role_change_is_told_when_everything_before_it_is_done(leader: VirtualNode) -> None:
    """The role event, the hooks and the status come last, and in this order."""
    leader.guard.orders.clear()
    leader.replica._carry_out(Ready(**everything(leader)))
    kinds = [effect[0] for effect in leader.effects]
    assert kinds.index("role") > max(kinds.index(effect) for effect in ("send", "submit", "apply", "confirmed", "line"))
    assert kinds[-1] == "status"
    assert leader.publisher.role == Role.FOLLOWER
    assert leader.publisher.term == leader.effects[kinds.index("role")][1].term
