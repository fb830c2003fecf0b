"""From a state, and who is to take part, to the snapshot that a cluster begins anew from."""

from collections.abc import Mapping

from zraft.machines.sessions import Machines
from zraft.raft.types import Endpoints, EntryId, Index, Membership, NodeId, Snapshot, Term
from zraft.seams import Draft
from zraft.storage.rebuild import measured

BY = 1_000_000
"""How far term, index and the machines' own numbers leap above any that is found."""


def begun_anew(
    machines: Machines,
    disk_ids: Mapping[NodeId, str],
    endpoints: Mapping[NodeId, Endpoints],
    *,
    term: Term,
    index: Index,
    keeps_sessions: bool,
) -> Snapshot:
    """Let the state leap, and return the snapshot that it makes; its bytes are those of `Machines.snapshot`.

    Parameters
    ----------
    machines
        The state.
    disk_ids
        The voters to be, with the data directory of each.
    endpoints
        Where those of them are reached whom no configuration names.
    term, index
        The highest that are known of, wherever they were found.
    keeps_sessions
        Whether clients go on under the sessions that they have.
    """
    membership = Membership(tuple(disk_ids), disk_ids=dict(disk_ids), endpoints=dict(endpoints))
    last = EntryId(max(term, machines.term) + BY, max(index, machines.index) + BY)
    machines.leap(last, membership, BY, keeps_sessions=keeps_sessions)
    return measured(Draft(last, machines.time_ms, membership), machines.snapshot())
