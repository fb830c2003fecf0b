"""The client: the one object that a program holds to talk to a cluster."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import zmq

from zraft import config as configuration
from zraft import requests
from zraft.client.calls import Call
from zraft.client.catalog import CatalogClient
from zraft.client.connection import Connection
from zraft.client.escort import EscortClient
from zraft.client.greeting import Topology
from zraft.client.history import HistoryClient
from zraft.client.kv import KeyValueClient
from zraft.client.members import MembersClient
from zraft.client.survey import ask
from zraft.config import Config, Limits
from zraft.errors import ConfigError, InvalidRequest, Unavailable, ZraftError
from zraft.raft.types import NodeId
from zraft.requests import From

Result = TypeVar("Result")
PATIENCE_LOWER_S = 0.3
"""An attempt stays unanswered for at least this long before another node is asked."""
_PATIENCE_UNKNOWN_S = 1.0
"""The same when only endpoints are known, not the cluster's election timeout."""
_STATUS_S = 0.8
_BATCH_OVERHEAD_BYTES = 64


class Client:
    """A connection to a cluster: finds the leader, batches, retries, and never applies a command twice.

    Thread-safe. One thread of its own does input and output, save that a thread which waits for a call while nothing else
    is under way does so itself. Callbacks added to futures run on whichever it is, and must be short.
    It must not be used in a forked child; make another one there.

    Parameters
    ----------
    config
        A configuration, or the path of one.
    endpoints
        Instead of `config`: client endpoints of one or more nodes, from which the others are learned.
    timeout_s
        By when each call is answered or has failed.
    node
        With `config`: ask this node alone, whoever leads. Only a leader takes commands, and answers reads that are neither
        from a follower nor stale.

    Raises
    ------
    ConfigError
        Neither or both of `config` and `endpoints`, or one of them is wrong. Whether the cluster answers shows with the
        first call.
    """

    def __init__(
        self,
        config: Config | str | Path | None = None,
        *,
        endpoints: Iterable[str] | None = None,
        timeout_s: float = 5.0,
        node: NodeId | None = None,
    ) -> None:
        if (config is None) == (endpoints is None):
            raise ConfigError("a client needs either config= or endpoints=")
        if node is not None and config is None:
            raise ConfigError("node= names a node of config=, which is not given")
        if timeout_s <= 0:
            raise ConfigError(f"timeout_s is {timeout_s:g}; it must be above 0")
        topology, patience_s, seeds = None, _PATIENCE_UNKNOWN_S, []
        if config is not None:
            loaded = config if isinstance(config, Config) else configuration.load(config)
            topology = Topology.of(loaded) if node is None else Topology.of_one(loaded, node)
            patience_s = max(PATIENCE_LOWER_S, loaded.election.timeout_upper_ms / 1_000)
        else:
            seeds = [endpoints] if isinstance(endpoints, str) else list(endpoints or ())
        if topology is None and not seeds:
            raise ConfigError("endpoints is empty; name the client endpoint of at least one node")
        self._timeout_s = timeout_s
        self._pid = os.getpid()
        self._closed = False
        self._connection = Connection(topology, seeds, patience_s)
        try:
            self._connection.start()
        except zmq.ZMQError as error:
            raise ConfigError(f"not endpoints (tcp://host:port or ipc://path): {', '.join(seeds)}: {error}") from error
        self.kv = KeyValueClient(self)
        """The key-value store."""
        self.history = HistoryClient(self)
        """Elections, leaders and events."""
        self.catalog = CatalogClient(self)
        """Brokers, topics, partitions and producers."""
        self.escort = EscortClient(self)
        """The formation of nodes, and its marches."""
        self.members = MembersClient(self, patience_s)
        """Who takes part in the cluster."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def limits(self) -> Limits | None:
        """What the cluster takes; None while that is not known, with `endpoints` before the first answer."""
        topology = self._connection.topology
        return None if topology is None else topology.limits

    @property
    def timeout_s(self) -> float:
        """By when each call is answered or has failed."""
        return self._timeout_s

    def submit_command(self, machine: str, command: bytes, read: Callable[[bytes], Any] = bytes) -> "Future[Any]":
        """Have `command` applied by the state machine of that name, exactly once; for machines of your own.

        Parameters
        ----------
        machine
            The name under which it is mounted.
        command
            What its `apply` is given.
        read
            Makes the future's value of the bytes that `apply` returned.
        """
        call = self._call(machine, command, read)
        self._connection.submit(call, self._connection.writes)
        return call

    def submit_query(
        self, machine: str, query: bytes, read: Callable[[bytes], Any] = bytes, source: From = From.LEADER
    ) -> "Future[Any]":
        """Have `query` answered by the state machine of that name, as linearizably as `source` says; else as above."""
        call = self._call(machine, query, read, source)
        self._connection.submit(call, self._queue_of(source))
        return call

    def command(self, machine: str, command: bytes, read: Callable[[bytes], Any] = bytes) -> Any:
        """Do what `submit_command` does, and wait for the result."""
        return self._perform(self._call(machine, command, read), self._connection.writes)

    def query(
        self, machine: str, query: bytes, read: Callable[[bytes], Any] = bytes, source: From = From.LEADER
    ) -> Any:
        """Do what `submit_query` does, and wait for the result."""
        return self._perform(self._call(machine, query, read, source), self._queue_of(source))

    def _queue_of(self, source: From) -> deque[Call]:
        return self._connection.reads if source == From.LEADER else self._connection.anywhere

    def _perform(self, call: Call, queue: deque[Call]) -> Any:
        if self._connection.inside:
            raise _waits_for_itself()
        self._connection.perform(call, queue)
        return call.result()

    def _call(self, machine: str, payload: bytes, read: Callable[[bytes], Any], source: From = From.LEADER) -> Call:
        if self._closed or self._pid != os.getpid():
            raise self._unusable()
        if len(payload) > requests.BATCH_BYTES_MAX - _BATCH_OVERHEAD_BYTES:
            raise InvalidRequest(f"a request of {len(payload):,} bytes; {requests.BATCH_BYTES_MAX:,} at most")
        return Call(machine, payload, time.monotonic() + self._timeout_s, read, source)

    def _unusable(self) -> Unavailable:
        if self._closed:
            return Unavailable("this client is closed; nothing happened; open another one")
        return Unavailable(f"this client belongs to process {self._pid}, which forked; open another one in the child")

    def wait(self, future: "Future[Result]") -> Result:
        """Return the result of a future of this client's."""
        if self._connection.inside:
            raise _waits_for_itself()
        return future.result()

    def status(self) -> dict[NodeId, requests.Status | None]:
        """Ask every node for its own view of itself; None for one that does not answer within 0.8 s."""
        topology = self.topology()
        replies = ask(topology.cluster_id, topology.endpoints, requests.StatusRequest, min(_STATUS_S, self._timeout_s))
        return {node: None if reply is None else _status(reply) for node, reply in replies.items()}

    def topology(self) -> Topology:
        """Return the cluster's id and endpoints, once they are known; `Unavailable` when nobody tells them."""
        if self._closed or self._pid != os.getpid():
            raise self._unusable()
        if not self._connection.known.wait(self._timeout_s):
            raise Unavailable("none of the endpoints answered; is the cluster running?")
        topology = self._connection.topology
        assert topology is not None, "known without a topology"
        return topology

    def close(self) -> None:
        """End the session, fail what is under way, and return when nothing of the client is left; bounded in time."""
        if self._closed:
            return
        self._closed = True
        if self._pid == os.getpid():
            self._connection.close()


def _waits_for_itself() -> ZraftError:
    return ZraftError("a callback must not wait for its own client: it would wait forever; use submit_ calls")


def _status(reply: requests.Reply) -> requests.Status | None:
    try:
        return msgspec.convert(reply.result, requests.Status)
    except msgspec.ValidationError:
        return None  # A node of another version: as good as no answer.
