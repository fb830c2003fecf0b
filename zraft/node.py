"""The actor: binds a replica to the sockets, the disk thread, the clock and the guard; nothing else.

One thread turns one loop. Each turn lets time pass first, then takes what the disk, the peers, the clients and the guard
have to say, a bounded amount of each and peers before clients, and then carries out what the core has made of it. Between
events and deadlines it sleeps.
"""

import gc
import math
import os
import random
import secrets
import signal
import time
from typing import Any

import zmq
from loguru import logger

from zraft import __version__, events, hugepages, logs, particulars, parts
from zraft.config import Config
from zraft.cuts import Cuts
from zraft.diskthread import DiskThread
from zraft.errors import ZraftError
from zraft.hooks import linux
from zraft.hooks.configured import check_scripts, hook_settings
from zraft.hooks.decide import HookScheduler
from zraft.hooks.process import GuardProcess
from zraft.machines.mounts import mount
from zraft.neighbours import Neighbours
from zraft.raft.types import Membership, NodeId
from zraft.replica import Replica, World
from zraft.requests import CutLinks, PastEvents, Status
from zraft.stopsignals import StopSignals
from zraft.transport import Rejections, Transport

MESSAGES_PER_TURN_MAX = 256
"""From peers, and again from clients: what one turn takes before it carries out what they caused."""
GARBAGE_OBJECTS_MAX = 20_000
"""Objects that may pile up before the collector looks for cycles among them."""
STATUS_EVERY_MS = 1_000
"""How often a node publishes its status and asks its guard whether it is there."""


class NodeClock:
    """The clock seam: durations that never jump and count suspended time, and wall time for people."""

    def now_ms(self) -> float:
        """Milliseconds of CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000


class Node:
    """One node process, from its data directory to its last breath.

    Parameters
    ----------
    config
        The cluster's.
    node_id
        Which of its nodes this is.
    advertised
        Where peers reach it, if not where it listens.

    Raises
    ------
    ConfigError
        A hook script can't be run, a machine can't be mounted, an endpoint or the data directory is taken.
    StorageError
        The data directory is damaged, foreign or can't be used.
    """

    def __init__(self, config: Config, node_id: NodeId, advertised: str | None = None) -> None:
        self._config = config
        self._id = node_id
        self._me = config.node(node_id)
        self._clock = NodeClock()
        self._started_at = self._clock.now_ms()
        self._boot_id = events.new_boot_id()
        check_scripts(config)
        self._mounted, self._describers = mount(config)
        self._guard = GuardProcess(config.hooks.grace_ms)
        self._rejected = Rejections(self._clock.now_ms)
        self._storage = parts.open_storage(config, node_id)
        self._event_file = parts.event_file(config, node_id)
        known = (config.cluster_id, self._boot_id, self._rejected)
        self._transport = Transport(self._me, [], *known, advertised=advertised)
        self._neighbours = Neighbours(config, node_id, self._transport, logger.log)
        self._publisher = parts.publisher(
            *(config, node_id, self._boot_id),
            clock=self._clock,
            audience=self._transport,
            record=self._event_file.record,
        )
        self._rejected.publisher = self._publisher
        self._cuts = Cuts(config.cluster.faults == "enabled", self._transport, self._publisher, logger.warning)
        self._machines, self._recovered = parts.recover(config, self._storage, self._mounted)
        self._disk = DiskThread(self._storage, self._clock.now_ms)
        self._scheduler = HookScheduler(hook_settings(config, node_id, self._neighbours.clients))
        self._replica = self._assemble()
        logs.attach(
            lambda: (self._publisher.role, self._publisher.term),
            lambda level, message: self._publisher.publish("log", level=level, message=message),
        )
        self._poller = zmq.Poller()
        self._signals = StopSignals()
        self._stopping = False
        """A signal has come: leadership is being handed over."""
        self._stop_by = math.inf
        """When to stop though nobody has taken over."""
        self._line_every_ms = math.inf
        self._next_line_at = math.inf
        """When to log the next line of status, and how often."""
        self._next_status_at = self._started_at
        """When to publish the next status."""
        self._longest_turn_ms = 0.0

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _assemble(self) -> Replica:
        config = self._config
        seed = secrets.randbits(64)
        world = World(self._clock, random.Random(seed), self._transport, self._disk, self._guard)  # noqa: S311
        if logs.shows("DEBUG"):
            world = particulars.talkative(world)
        replica = Replica(
            parts.core_settings(config, self._id, self._storage.disk_id, self._clock),
            self._recovered,
            Membership(() if self._me.join else config.founders),
            world=world,
            machines=self._machines,
            describers=self._describers,
            scheduler=self._scheduler,
            publisher=self._publisher,
            host=self,
            log=logger.log,
            heartbeats=config.events.heartbeats,
            snapshot_bytes=config.storage.snapshot_bytes,
            addresses=self._neighbours.addresses,
        )
        parts.check_repairable(replica.raft, self._storage)
        return replica

    # -- what the replica asks of its host ---------------------------------------------------------------------------------

    def hello(self) -> dict[str, Any]:
        """Return what a client must know of the cluster."""
        config = self._config
        return {
            "cluster": config.cluster.name,
            "cluster_id": config.cluster_id,
            "nodes": dict(self._neighbours.clients),
            "limits": {
                "value_bytes_max": config.limits.value_bytes_max,
                "key_bytes_max": config.limits.key_bytes_max,
            },
        }

    def warnings(self) -> list[str]:
        """Return what is wrong besides what the replica knows."""
        return self._cuts.warnings

    def health(self) -> dict[str, Any]:
        """Return the fields of `Status` that concern the process."""
        now = self._clock.now_ms()
        patience = self._config.election.timeout_upper_ms
        disk_answers = self._disk.oldest_pending_ms(now) < patience
        guard_answers = self._guard.ready and self._guard.silent_ms(now) < 2 * STATUS_EVERY_MS
        return {
            "endpoint": self._me.client,
            "healthy": disk_answers and guard_answers and self._longest_turn_ms < patience,
            "uptime_s": round((now - self._started_at) / 1_000, 1),
            "pid": os.getpid(),
            "guard_pid": self._guard.pid,
        }

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self, status_every_s: float | None) -> int:
        """Turn the loop until a signal ends it, cleanly; return the process's exit code."""
        self._signals.heed()
        self._signals.heed_alone()
        transport = self._transport
        others = (self._disk, self._event_file, self._guard, self._signals)
        descriptors = (each.fileno() for each in others)  # As numbers: the poller would ask each time.
        for source in (transport.peers_in, transport.clients, transport.events, *descriptors):
            self._poller.register(source, zmq.POLLIN)
        gc.collect()
        gc.freeze()  # What recovery made lives long: heartbeats shall not wait for the collector to look at it.
        hugepages.begin()
        gc.set_threshold(GARBAGE_OBJECTS_MAX)  # A turn makes no cycles; looking for some every few turns is wasted.
        count = len(self._storage.recovered.entries)
        logger.info("{} is up: {} entries recovered", self._id, count)
        self._publisher.publish("started", version=__version__, pid=os.getpid(), entries=count)
        if status_every_s:
            self._line_every_ms = status_every_s * 1_000
            self._next_line_at = self._clock.now_ms()
        self._replica.turn()
        self._neighbours.look(self._replica.raft)
        while not self._finished():
            self._turn()
        self._guard.close(self._config.hooks.timeout_ms / 1_000, self._replica.guard_reported, self._signals)
        return 128 + signal.SIGINT if signal.SIGINT in self._signals.numbers else 0

    def failed(self, error: Exception) -> None:
        """Tell why the node stops though nobody asked for it."""
        self._publisher.publish("stopping", reason=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Let go of everything; what is written is durable, and what is not was never promised."""
        logs.detach()
        self._guard.close(0, self._replica.guard_reported)
        self._disk.close()
        self._event_file.close()
        self._transport.close()
        self._storage.close()

    def _finished(self) -> bool:
        """Whether a signal has come and leadership is with somebody else, or nobody takes it in time.

        A second signal waits for nothing.
        """
        signals = self._signals.numbers
        if not signals:
            return False
        if not self._stopping:
            self._stopping = True
            name = signal.Signals(signals[0]).name
            logger.info("stopping on {}", name)
            self._publisher.publish("stopping", reason=name)
            if self._replica.hand_over():
                self._stop_by = self._clock.now_ms() + self._config.election.timeout_upper_ms
                self._replica.turn()
        leads = self._replica.raft.leader == self._id
        waits = len(signals) == 1 and not self._signals.alone
        if leads and waits and self._clock.now_ms() < self._stop_by < math.inf:
            return False
        self._replica.stop_hooks()
        return True

    def _hear_clients(self) -> None:
        for client, request, batch in self._transport.receive_clients(MESSAGES_PER_TURN_MAX):
            match request:
                case PastEvents():
                    self._event_file.ask(client, request)
                case CutLinks():
                    self._transport.reply(client, self._cuts.take(request))
                case _:
                    self._replica.request(client, request, batch)

    def _turn(self) -> None:
        replica, transport = self._replica, self._transport
        deadline = min(replica.deadline, self._next_status_at, self._stop_by, self._next_line_at)
        due = 0.0 if replica.busy else deadline - self._clock.now_ms()
        found = dict(self._poller.poll(max(0, math.ceil(due))))
        began = self._clock.now_ms()
        replica.tick()
        if self._disk.fileno() in found:
            replica.disk_done()
        if transport.peers_in in found:
            for source, message in transport.receive_peers(MESSAGES_PER_TURN_MAX):
                replica.receive(source, message)
        if transport.clients in found:
            self._hear_clients()
        if self._event_file.fileno() in found:
            for client, reply in self._event_file.answers():
                transport.reply(client, reply)
        if self._guard.fileno() in found:
            self._hear_guard()
        replica.turn()
        self._neighbours.look(replica.raft)
        self._guard.flush()
        if transport.events in found:
            self._drain_subscriptions()
        if self._signals.fileno() in found:
            self._signals.take()
        self._housekeeping(began)

    def _drain_subscriptions(self) -> None:
        before = self._transport.events
        if self._transport.drain_subscriptions():
            self._poller.unregister(before)
            self._poller.register(self._transport.events, zmq.POLLIN)

    def _hear_guard(self) -> None:
        for report in self._guard.receive():
            self._replica.guard_reported(report)
        if self._guard.closed is not None and not self._stopping:
            raise ZraftError(f"{self._guard.closed}; without it no script may run, so this node stops")

    def _housekeeping(self, began: float) -> None:
        now = self._clock.now_ms()
        self._longest_turn_ms = max(self._longest_turn_ms, now - began)
        if now >= self._next_line_at:
            self._next_line_at = now + self._line_every_ms
            logger.info("status {}", _status_line(self._replica.status()))
        if now < self._next_status_at:
            return
        self._next_status_at = now + STATUS_EVERY_MS
        self._neighbours.part(self._replica.raft)
        self._replica.publish_status()
        if self._longest_turn_ms > self._config.heartbeat.interval_ms:
            logger.debug("the longest turn of the last second took {:.0f} ms", self._longest_turn_ms)
        self._longest_turn_ms = 0.0
        self._rejected.tell_rest()
        self._guard.ping(now)
        logs.publish_pending()


def run(
    config: Config,
    node_id: NodeId,
    *,
    status_every_s: float | None = None,
    supervised: int | None = None,
    advertised: str | None = None,
) -> int:
    """Run the node `node_id` of `config` until SIGTERM or SIGINT; return the exit code.

    Parameters
    ----------
    status_every_s
        Log a line of status that often.
    supervised
        Process id of the supervisor, with whose death this process dies too.
    advertised
        Where peers reach the node, if not where it listens.
    """
    if supervised is not None:
        linux.die_with_parent(supervised)
    node = Node(config, node_id, advertised)
    try:
        return node.run(status_every_s)
    except Exception as error:
        node.failed(error)
        raise
    finally:
        node.close()


def _status_line(status: Status) -> str:
    return (
        f"leader={status.leader} voted_for={status.voted_for} commit={status.commit_index} "
        f"applied={status.last_applied} last={status.last_index} healthy={status.healthy}"
    )
