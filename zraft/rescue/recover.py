"""``zraft cluster recover``: a cluster that has lost its quorum for good goes on as one node, from the best log that is left.

What the survivor has is kept, all of it: of its last entries nobody can say any more whether they were committed. What it has not
is lost, acknowledged or not. It begins anew, alone in its membership, in a data directory made beside the old one; that and those of
the other members are set aside and never deleted. The others join again, empty: ``zraft cluster add``.

The order of the steps is such that a crash between any two leaves a cluster without a quorum, or the new one; never two. The
configuration first names the survivor alone, as a node that joins: so no node that finds its data gone begins a cluster of its own.
"""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from zraft.config import Config, nodelist
from zraft.disk import OsFileSystem
from zraft.errors import InvalidRequest, NotFound
from zraft.machines.mounts import mount
from zraft.machines.sessions import Machines
from zraft.raft.types import EntryId, Membership, NodeId, Snapshot
from zraft.rescue import directories
from zraft.rescue.leap import begun_anew
from zraft.rescue.survivors import Survivor
from zraft.storage import failures, snapshotfile
from zraft.storage.rebuild import lay_down
from zraft.storage.snapshots import DIRECTORY, file_name
from zraft.storage.verify import verify

SUFFIX = ".recovering"
"""Behind the name of a data directory that does not count yet."""


class Plan(msgspec.Struct, frozen=True):
    """What a recovery would do."""

    chosen: Survivor
    others: tuple[Survivor, ...]
    """Whose directories are set aside."""
    membership: Membership
    """What the chosen one's log says of who takes part."""

    @property
    def missing(self) -> list[NodeId]:
        """Voters whose logs are not here, or damaged: what they alone had is lost."""
        whole = {self.chosen.node, *(other.node for other in self.others if not other.damage)}
        voters = dict.fromkeys((*self.membership.voters, *self.membership.outgoing))
        return [node for node in voters if node not in whole]


class Recovered(msgspec.Struct, frozen=True):
    """What a recovery has done."""

    snapshot: Snapshot
    """What the cluster begins anew from."""
    aside: dict[NodeId, str]
    """Where the old data directories are."""


def plan(config: Config, survivors: Iterable[Survivor], node: NodeId | None = None) -> Plan:
    """Choose the survivor with the most up-to-date log, or `node`.

    Raises
    ------
    NotFound
        There is no data directory whose log is whole.
    InvalidRequest
        The quorum is not lost, or `node` is not here.
    """
    survivors = list(survivors)
    whole = [survivor for survivor in survivors if not survivor.damage]
    if not whole:
        damage = "".join(f"; {survivor.damage}" for survivor in survivors)
        raise NotFound(f"{config.storage.directory}: no whole log of a node of {config.path} is here{damage}")
    best = max(whole, key=lambda survivor: survivor.last)
    membership = best.membership or Membership(config.founders)
    here = {
        survivor.node
        for survivor in whole
        if membership.disk_ids.get(survivor.node, survivor.disk_id) == survivor.disk_id
    }
    halves = [half for half in (membership.voters, membership.outgoing) if half]
    if all(2 * len(here & set(half)) > len(half) for half in halves):
        raise InvalidRequest(
            f"the quorum is not lost: the whole logs of {', '.join(sorted(here))} are here, a majority of the voters"
            f" {', '.join(membership.voters)}; start them: zraft cluster up"
        )
    chosen = best if node is None else next((each for each in whole if each.node == node), None)
    if chosen is None:
        raise InvalidRequest(f"{node}: no whole log of it is here; there are {', '.join(each.node for each in whole)}")
    return Plan(chosen, tuple(each for each in survivors if each is not chosen), membership)


def losses(plan: Plan) -> list[str]:
    """Say in lines what may be lost, and what becomes of what is left."""
    chosen = plan.chosen
    term, index = chosen.last
    whole = (
        f"{chosen.node} begins anew, alone, with its whole log, which ends with entry {index} of term {term}; its last entries"
        " may never have been committed, and are kept all the same"
    )
    lines = [whole]
    if plan.missing:
        lines.append(
            f"lost for good: whatever {', '.join(plan.missing)} had behind entry {index} of term {term} and the logs here have"
            " not, although clients may have been told that it is done"
        )
    for other in plan.others:
        if not other.damage and other.last > chosen.last:
            lines.append(
                f"lost: what {other.node} has up to entry {other.last.index} of term {other.last.term}, though it is here"
            )
    others = [node for node in (*plan.missing, *(other.node for other in plan.others)) if node != chosen.node]
    if others:
        lines.append(
            f"never start {', '.join(dict.fromkeys(others))} again with the data that they have: they join anew, empty, each with"
            " join: true in its configuration, as zraft cluster add writes it"
        )
    return lines


def recover(config: Config, plan: Plan, environment: dict[str, str]) -> Recovered:
    """Carry out `plan`.

    Parameters
    ----------
    config
        The cluster's; its file names the survivor alone afterwards.
    plan
        Whose directories are locked.
    environment
        That of the process.

    Raises
    ------
    ConfigError
        The list of nodes cannot be changed. Nothing has changed.
    StorageError
        The state cannot be restored, or the disk failed.
    """
    chosen = plan.chosen
    machines = state_of(config, chosen)
    found = (chosen, *plan.others)
    highest = EntryId(max(max(each.term, each.last.term) for each in found), max(each.last.index for each in found))
    disk_id = secrets.token_hex(16)
    endpoints = {node: at for node, at in plan.membership.endpoints.items() if node == chosen.node}
    snapshot = begun_anew(
        machines,
        {chosen.node: disk_id},
        endpoints,
        term=highest.term,
        index=highest.index,
        keeps_sessions=True,
    )
    with directories.beside(chosen.directory, SUFFIX) as fs:
        lay_down(
            fs,
            snapshot,
            machines.snapshot,
            cluster_id=config.cluster_id,
            node=chosen.node,
            disk_id=disk_id,
            segment_bytes=config.storage.segment_bytes,
        )
        _alone(config, chosen.node, environment)
    aside = {other.node: str(directories.set_aside(other.directory)) for other in plan.others}
    aside[chosen.node] = str(directories.set_aside(chosen.directory))
    directories.put_in_place(chosen.directory, SUFFIX)
    return Recovered(snapshot, aside)


def interrupted(config: Config) -> list[NodeId]:
    """Return whose recovery was completed and not put in place: the old directory is set aside, the new one not renamed yet."""
    places = {node.id: config.data_directory(node.id) for node in config.nodes}
    return [node for node, place in places.items() if not os.path.lexists(place) and _is_complete(place)]


def finish(config: Config, nodes: Iterable[NodeId]) -> None:
    """Put in place what was `interrupted`."""
    for node in nodes:
        directories.put_in_place(config.data_directory(node), SUFFIX)


def _is_complete(directory: Path) -> bool:
    """Whether the directory beside `directory` is all that a recovery writes: the log's one write comes last."""
    draft = directory.with_name(directory.name + SUFFIX)
    if not draft.is_dir():
        return False
    try:
        found = verify(OsFileSystem(draft, writable=False))
    except NotFound:
        return False
    return not found.damage and found.base.index > 0


def state_of(config: Config, survivor: Survivor) -> Machines:
    """Return the state that a survivor's newest snapshot and its whole log add up to."""
    machines = Machines(mount(config)[0])
    if survivor.snapshot is not None:
        name = f"{DIRECTORY}/{file_name(survivor.snapshot.last)}"
        with failures.spoken_of("read", str(survivor.directory / name)):
            file = survivor.fs.open(name)
            try:
                machines.restore(snapshotfile.pieces(file, survivor.snapshot))
            finally:
                file.close()
    for entry in survivor.entries:
        if entry.index > machines.index:
            machines.apply(entry)
    return machines


def _alone(config: Config, survivor: NodeId, environment: dict[str, str]) -> None:
    """Have the configuration name the survivor alone, as one that joins; as it is, where it names nobody else."""
    for other in [node.id for node in config.nodes if node.id != survivor]:
        config = nodelist.without_node(config, other, environment)
