"""What a node is put together from, by its configuration."""

import secrets
import time
from collections.abc import Callable
from typing import Protocol

from loguru import logger

from zraft import logs, particulars
from zraft.config import Config
from zraft.disk import OsFileSystem
from zraft.errors import StorageError
from zraft.eventfile.keeper import EventFile
from zraft.events import Event, Publisher
from zraft.machines.failures import told
from zraft.machines.machine import StateMachine
from zraft.machines.sessions import Machines
from zraft.raft.core import Raft
from zraft.raft.state import Settings
from zraft.raft.types import NodeId, Recovered
from zraft.seams import Clock
from zraft.storage.starting import start_from
from zraft.storage.wal import Storage


class Audience(Protocol):
    """Where events go: the node's transport."""

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody subscribes to anything."""

    def publish(self, event: Event) -> None:
        """Publish to whoever subscribes."""


def open_storage(config: Config, node_id: NodeId) -> Storage:
    """Take and read the node's data directory; raises as `Storage.open` does."""
    return Storage.open(
        OsFileSystem(config.data_directory(node_id)),
        cluster_id=config.cluster_id,
        node=node_id,
        segment_bytes=config.storage.segment_bytes,
        new_disk_id=lambda: secrets.token_hex(16),
        progress=every_second(logger.info),
    )


def every_second(say: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """Return what passes on a line of progress each second, and none within the first one."""
    due = now_s() + 1

    def told(line: str) -> None:
        nonlocal due
        if now_s() >= due:
            due = now_s() + 1
            say(line)

    return told


def event_file(config: Config, node_id: NodeId) -> EventFile:
    """Open the file of what happens at the node; what is wrong with it is said, and harms nothing."""
    return EventFile(OsFileSystem(config.data_directory(node_id) / "events"), lambda line: logger.warning("{}", line))


def core_settings(config: Config, node_id: NodeId, disk_id: str, clock: Clock) -> Settings:
    """Return what the core is told of itself."""
    return Settings(
        id=node_id,
        disk_id=disk_id,
        election_timeout_lower_ms=config.election.timeout_lower_ms,
        election_timeout_upper_ms=config.election.timeout_upper_ms,
        heartbeat_interval_ms=config.heartbeat.interval_ms,
        priority=config.node(node_id).priority,
        wall_ms_at_zero=clock.wall_ms() - int(clock.now_ms()),
    )


def recover(config: Config, storage: Storage, mounted: dict[str, StateMachine]) -> tuple[Machines, Recovered]:
    """Return the replicated state as the newest snapshot has it, and what the core starts from; raises as `start_from`."""
    kind: type[Machines] = Machines
    if logs.shows("DEBUG"):
        particulars.introduce(config, storage.node, storage)
        kind = particulars.TalkativeMachines
    machines = kind(
        mounted,
        ttl_ms=config.sessions.ttl_ms,
        count_max=config.sessions.count_max,
        on_failure=lambda name, error: logger.error("the machine {} failed: {}", name, told(error)),
    )
    return machines, start_from(storage, machines.restore, logger.error)


def check_repairable(raft: Raft, storage: Storage) -> None:
    """Raise `StorageError` when the disk has lost acknowledged entries, and nobody else could ever send them."""
    current = raft.memberships.current
    if raft.lacks_entries and not {*current.voters, *current.outgoing} - {raft.id}:
        raise StorageError(
            f"{storage}: acknowledged entries up to {raft.acknowledged.index} of term {raft.acknowledged.term} are lost, and"
            " no other node votes who could send them; put back an intact copy of the directory, restore a snapshot"
            " (zraft snapshot restore), or go on without them (zraft cluster recover)"
        )


def publisher(
    config: Config, node_id: NodeId, boot_id: int, *, clock: Clock, audience: Audience, record: Callable[[Event], None]
) -> Publisher:
    """Return what makes the node's events: for whoever subscribes, and for the event file."""
    return Publisher(
        config.cluster.name,
        node_id,
        boot_id,
        clock.wall_ms,
        audience.publish,
        has_audience=lambda: audience.has_subscribers,
        record=record,
    )
