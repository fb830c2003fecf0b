"""A state that begins anew far ahead: nothing that was given out before, or may have been, is given out again."""

import msgspec
import pytest

from zraft.machines.kv.commands import Put
from zraft.machines.kv.commands import encode as encode_kv
from zraft.machines.mounts import mounted
from zraft.machines.sessions import Machines
from zraft.raft.membership import encode as encode_membership
from zraft.raft.types import Ballot, Entry, EntryId, EntryKind, Membership
from zraft.requests import Batch, Outcome, SessionChange

encode = msgspec.msgpack.encode
OLD = Membership(("n1", "n2", "n3"), disk_ids={"n1": "a"})
NEW = Membership(("n2",), disk_ids={"n2": "b"})
FAR = EntryId(1_000_001, 1_000_005)


def grown() -> tuple[Machines, Batch]:
    """Return a state, and the last batch that it has applied."""
    machines = Machines(dict(mounted(key_bytes_max=100, value_bytes_max=100)))
    ballot = Ballot("n1", ("n1", "n2"), (), OLD.voters, "timeout", 3, 1_000)
    machines.apply(Entry(1, 1, EntryKind.NOOP, 10, encode(ballot)))
    machines.apply(Entry(1, 2, EntryKind.MEMBERSHIP, 10, encode_membership(OLD)))
    machines.apply(Entry(1, 3, EntryKind.SESSION, 20, encode(SessionChange())))
    batch = Batch(3, 1, "kv", [encode_kv(Put(b"k", b"v"))])
    machines.apply(Entry(1, 4, EntryKind.COMMAND, 30, encode(batch)))
    return machines, batch


def test_index_term_membership_and_the_machines_numbers_leap() -> None:
    machines, _ = grown()
    machines.leap(FAR, NEW, 1_000_000, keeps_sessions=True)
    assert (EntryId(machines.term, machines.index), machines.membership, machines.leader) == (FAR, NEW, None)
    assert machines.time_ms == 30
    assert machines._machines["kv"].revision == 1_000_001
    assert machines._machines["catalog"].revision == 1_000_000
    assert machines._machines["escort"]._state.members == ("n2",), "observers hear who takes part"
    opened = machines.apply(Entry(FAR.term + 1, FAR.index + 1, EntryKind.SESSION, 30, encode(SessionChange())))
    assert opened.value == FAR.index + 1, "a session's number is an index, and none comes twice"


def test_a_retry_is_answered_and_not_applied_again_where_sessions_are_kept() -> None:
    machines, batch = grown()
    machines.leap(FAR, NEW, 1_000_000, keeps_sessions=True)
    result = machines.apply(Entry(FAR.term + 1, FAR.index + 1, EntryKind.COMMAND, 40, encode(batch)))
    assert result.outcome == Outcome.DONE
    assert machines._machines["kv"].revision == 1_000_001


def test_clients_of_another_cluster_have_no_session() -> None:
    machines, batch = grown()
    machines.leap(FAR, NEW, 1_000_000, keeps_sessions=False)
    assert len(machines.sessions) == 0
    result = machines.apply(Entry(FAR.term + 1, FAR.index + 1, EntryKind.COMMAND, 40, encode(batch)))
    assert result.outcome == Outcome.SESSION_EXPIRED


def test_it_survives_a_snapshot() -> None:
    machines, _ = grown()
    machines.leap(FAR, NEW, 1_000_000, keeps_sessions=True)
    other = Machines(dict(mounted(key_bytes_max=100, value_bytes_max=100)))
    other.restore(machines.snapshot())
    assert b"".join(other.snapshot()) == b"".join(machines.snapshot())
    assert (other.index, other.term, other.membership) == (FAR.index, FAR.term, NEW)


@pytest.mark.parametrize("last", [EntryId(1, 1_000_000), EntryId(1_000_000, 4)])
def test_it_never_goes_back(last: EntryId) -> None:
    machines, _ = grown()
    with pytest.raises(AssertionError, match="no leap"):
        machines.leap(last, NEW, 1, keeps_sessions=True)
