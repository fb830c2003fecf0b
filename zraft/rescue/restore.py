"""``zraft snapshot restore``: the data directories of a new cluster, all with the state of a saved snapshot."""

import secrets
from contextlib import ExitStack
from pathlib import Path

from zraft.config import Config
from zraft.errors import ConfigError
from zraft.machines.mounts import mount
from zraft.machines.sessions import Machines
from zraft.raft.types import Snapshot
from zraft.rescue import directories
from zraft.rescue.leap import begun_anew
from zraft.rescue.saved import Saved
from zraft.storage.rebuild import lay_down

SUFFIX = ".restoring"
"""Behind the name of a data directory that is not complete."""


def restore(saved: Saved, config: Config, directory: Path) -> Snapshot:
    """Write a data directory for each node of `config`; return the snapshot that all of them begin from.

    All nodes of the configuration become voters. See the package for what becomes of sessions, terms and revisions.

    Parameters
    ----------
    saved
        What to begin from.
    config
        That of the new cluster: its nodes, its id, and the machines that the state is of.
    directory
        Where the data directories go, each named like its node.

    Raises
    ------
    ConfigError
        The cluster has the id of the one that was saved, or there is something in a data directory. Nothing was written.
    StorageError
        The state cannot be restored, or the disk failed.
    """
    if saved.cluster_id == config.cluster_id:
        raise ConfigError(
            f"{config.path}: cluster.id is {config.cluster_id:016x}, that of the cluster that {saved.path} was saved from,"
            " and the two must not mix; give the new one an id, or a name, of its own, such as"
            f' cluster: {{id: "{secrets.token_hex(8)}"}}'
        )
    places = {node.id: directory / node.id for node in config.nodes}
    for place in places.values():
        directories.refuse_if_used(place)
    machines = Machines(mount(config)[0])
    machines.restore(saved.pieces())
    disk_ids = {node: secrets.token_hex(16) for node in places}
    snapshot = begun_anew(machines, disk_ids, {}, term=0, index=0, keeps_sessions=False)
    with ExitStack() as stack:
        for node, place in places.items():
            lay_down(
                stack.enter_context(directories.beside(place, SUFFIX)),
                snapshot,
                machines.snapshot,
                cluster_id=config.cluster_id,
                node=node,
                disk_id=disk_ids[node],
                segment_bytes=config.storage.segment_bytes,
            )
    for place in places.values():
        directories.put_in_place(place, SUFFIX)
    return snapshot
