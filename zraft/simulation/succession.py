"""What a change of membership must be like, entry by entry (I11)."""

from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.membership import decode
from zraft.raft.types import Entry, EntryKind, Index, Membership
from zraft.simulation.violation import Violation


def check_change(raft: Raft, entry: Entry) -> None:
    """Check an entry that brings a membership, when it is written at a node that follows or leads.

    Raises
    ------
    Violation
        It does not follow from the one before, or it is not in force.
    """
    new = decode(entry.data)
    known = raft.memberships
    if known.changed_at < entry.index or (known.changed_at == entry.index and known.current != new):
        raise Violation("I11", f"{raft.id} has {new} at {entry.index}, and acts on {known.current}")
    before = _before(raft, entry.index)
    if before is None or not before.voters:
        return  # It has just been let in, or its log begins behind that.
    entering = new.outgoing == before.voters and not before.outgoing
    leaving = bool(before.outgoing) and not new.outgoing and new.voters == before.voters
    same = (set(new.voters), set(new.outgoing)) == (set(before.voters), set(before.outgoing))
    if not (entering or leaving or same):
        raise Violation("I11", f"{raft.id} goes from {before} to {new} at {entry.index}: two quorums need not meet")
    leads = isinstance(raft.role, Leader) and entry.term == raft.term
    if entering and leads and isinstance(raft.role, Leader) and raft.log.commit_index < raft.role.first_own_index:
        raise Violation("I11", f"{raft.id} begins a change before anything of term {raft.term} is committed")


def _before(raft: Raft, index: Index) -> Membership | None:
    """Return the membership in force right before `index`; None when that is not in this log any more."""
    log = raft.log
    for earlier in range(index - 1, log.base.index, -1):
        found = log.entry(earlier)
        if found.kind == EntryKind.MEMBERSHIP:
            return decode(found.data)
    return None
