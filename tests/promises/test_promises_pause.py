"""A leader that freezes is replaced, yields when it thaws, and nobody reads anything stale in between."""

import os
import time
from contextlib import ExitStack

import pytest
import zmq
from promises_rig import LIMIT_S, Cluster, Worker, figures, size, wait_for

from zraft import Client
from zraft.client.sockets import Context, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.machines.kv import commands
from zraft.requests import Answer, Outcome, Queries

pytestmark = [pytest.mark.processes, pytest.mark.alone, pytest.mark.timeout(LIMIT_S)]

PAUSE_S = size(3.0, 10.0)
REGISTER = "register"


class Register:
    """A register that one writer counts up, and what is known of it."""

    def __init__(self) -> None:
        self.acknowledged = 0
        """The newest value of which the writer was told that it is there."""
        self.acknowledged_at = time.monotonic()
        self.pause_s = 0.0
        """The longest time between two acknowledgements."""
        self.tried = 0

    def write(self, client: Client) -> None:
        """Count it up by one."""
        self.tried += 1
        client.kv.put(REGISTER, str(self.tried).encode())
        now = time.monotonic()
        self.pause_s = max(self.pause_s, now - self.acknowledged_at)
        self.acknowledged, self.acknowledged_at = self.tried, now


class Reader:
    """Reads the register through a client of its own, again and again."""

    def __init__(self, name: str, register: Register, client: Client) -> None:
        self._name, self._register, self._client = name, register, client
        self.reads = 0

    def step(self) -> None:
        """Read once; what was acknowledged before that began must show."""
        floor = self._register.acknowledged
        value = self._client.kv.get(REGISTER)
        assert value is not None and floor <= int(value) <= self._register.tried, (self._name, floor, value)
        self.reads += 1


class Letters:
    """Reads sent to one node alone, over a connection from before it froze: they lie in its socket when it thaws."""

    def __init__(self, cluster: Cluster, node: str, register: Register) -> None:
        config = cluster.config
        self._register = register
        self._codec = Codec(config.cluster_id, f"letters-{os.getpid()}", 1)
        self._context: Context = zmq.Context()
        self._socket = dealer(self._context, config.node(node).client, wait_for_connection=False, linger_ms=0)
        self._floors: list[int] = []
        """What was acknowledged when each read was sent; a read's number is its place."""
        self._answered = 0
        """How many are answered, or lost with their connection: answers come in the order of the questions."""
        self.refused = 0
        self.served = 0

    def send(self) -> None:
        """Ask for the register."""
        number = len(self._floors)
        self._floors.append(self._register.acknowledged)
        query = commands.encode(commands.Get(REGISTER.encode()))
        self._socket.send_multipart(self._codec.encode(Queries(number, commands.MACHINE, [query])), zmq.NOBLOCK)

    def last_answered(self, wait_ms: int = 0) -> bool:
        """Take answers; one that is served must not be older than its question. Return whether the newest has come."""
        while self._answered < len(self._floors) and self._socket.poll(wait_ms):
            reply = self._codec.decode(self._socket.recv_multipart(), REPLY_KINDS).message
            self._answered = reply.id + 1
            if reply.outcome == Outcome.REFUSED:
                self.refused += 1
                continue
            assert reply.outcome == Outcome.DONE, reply
            assert reply.result[0][0] == Answer.DONE
            entry = commands.decode_entry(reply.result[0][1:])
            assert entry is not None and int(entry.value) >= self._floors[reply.id], (entry, self._floors[reply.id])
            self.served += 1
        return self._answered == len(self._floors)

    def close(self) -> None:
        """Close the connection."""
        self._context.destroy(linger=0)


def test_a_paused_leader_is_replaced_yields_and_serves_nothing_stale(cluster: Cluster):
    cluster.up()
    old = cluster.whole()
    register = Register()
    with ExitStack() as stack:
        clients = [stack.enter_context(cluster.client()) for _ in range(3)]
        pinned = stack.enter_context(Client(endpoints=[cluster.config.node(old.node).client], timeout_s=60))
        register.write(clients[0])
        names = ("first", "second", "pinned")
        readers = [Reader(name, register, client) for name, client in zip(names, [*clients[1:], pinned], strict=True)]
        letters = Letters(cluster, old.node, register)
        stack.callback(letters.close)
        letters.send()
        assert letters.last_answered(wait_ms=5_000) and letters.served == 1
        register.acknowledged_at = time.monotonic()
        stack.enter_context(Worker(lambda: register.write(clients[0])))
        for reader in readers:
            stack.enter_context(Worker(reader.step))
        cluster.say("pause", old.node)
        frozen = time.monotonic()
        new = cluster.led(after=old)
        replaced_s = time.monotonic() - frozen
        assert new.node != old.node
        at_change = register.acknowledged
        wait_for("writes go on", lambda: register.acknowledged > at_change + 10)
        while time.monotonic() < frozen + PAUSE_S:
            letters.send()
            time.sleep(0.005)
        assert not letters.last_answered()
        cluster.say("resume", old.node)
        resumed = time.monotonic()
        wait_for(f"{old.node} follows", lambda: follows(cluster, old.node, new.term))
        yielded_s = time.monotonic() - resumed
        letters.send()
        wait_for("it has answered what lay there", letters.last_answered)
        assert letters.served == 1, "a node that led no more served a read"
        after = register.acknowledged
        wait_for("writes go on", lambda: register.acknowledged > after + 10)
        reads = [reader.reads for reader in readers]
        wait_for("all read on", lambda: all(reader.reads > n + 10 for reader, n in zip(readers, reads, strict=True)))
    assert cluster.whole() == new
    figures(
        "6 pause",
        f"leader paused {PAUSE_S:g} s: another led after {replaced_s:.2f} s, it yielded {yielded_s:.2f} s after it went on;"
        f" {register.acknowledged:,} writes (longest gap {register.pause_s:.2f} s), {sum(reader.reads for reader in readers):,} reads,"
        f" none stale; {letters.refused} reads that lay in its socket refused, none served",
    )


def follows(cluster: Cluster, node: str, term: int) -> bool:
    status = cluster.statuses(node).get(node)
    return status is not None and status.role == "follower" and status.term >= term
