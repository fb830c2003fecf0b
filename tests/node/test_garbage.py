"""Whatever strangers send to whichever socket: no node crashes, no role or term changes, and memory stays where it was.

`ZRAFT_TEST_GARBAGE` says how many messages of each sort each socket gets; 3,000 unless it is set.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import noise
import pytest
import zmq
from awaiting import eventually
from node_rig import NodeRig

from zraft import events
from zraft.codec import PEER_KINDS, REQUEST_KINDS, Codec
from zraft.requests import Outcome

pytestmark = pytest.mark.processes
COUNT = int(os.environ.get("ZRAFT_TEST_GARBAGE", "3000"))
GROWTH_MAX = 32 << 20
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


class Target:
    """A live cluster of three nodes, of which two are under fire: the leader and a follower."""

    def __init__(self, rig: NodeRig) -> None:
        self.rig = rig
        self.leader = rig.up()
        self.ids = [self.leader, next(id for id in rig.ids if id != self.leader)]
        self.cluster_id = rig.config.cluster_id
        self.before = self.standing()
        self.memory: dict[str, int] = {}
        self._told = {id: self._listener(id) for id in self.ids}
        self.dropped: dict[tuple[str, str], int] = {}
        """How many messages each node says it dropped, by node and socket."""

    def _listener(self, id: str) -> zmq.Socket[bytes]:
        listener = self.rig.context.socket(zmq.SUB)
        listener.set(zmq.RECONNECT_IVL, 20)
        listener.subscribe(f"{id}/rejected".encode())
        listener.connect(self.rig.config.node(id).events)
        return listener

    def standing(self) -> dict[str, tuple[Any, ...]]:
        """Return process, role, term and leader of every node."""
        statuses = {id: self.rig.status(id, within_s=10) for id in self.rig.ids}
        assert all(statuses.values()), f"somebody does not answer: {statuses}"
        return {id: tuple(status[key] for key in ("pid", "role", "term", "leader")) for id, status in statuses.items()}

    def resident(self, id: str) -> int:
        """Return the memory of a node, in bytes."""
        lines = Path(f"/proc/{self.rig.nodes[id].pid}/status").read_text().splitlines()
        return 1_024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))

    def peer(self, id: str) -> zmq.Socket[bytes]:
        """Connect to a node's peer socket under the name of one of its peers."""
        name = next(other for other in self.rig.ids if other != id)
        end = self.rig.context.socket(zmq.DEALER)
        end.set(zmq.ROUTING_ID, f"{name}:{noise.NODE_BOOT:016x}".encode())
        end.connect(self.rig.config.node(id).peer)
        return end

    def client(self, id: str) -> zmq.Socket[bytes]:
        end = self.rig.context.socket(zmq.DEALER)
        end.connect(self.rig.config.node(id).client)
        return end

    def raw(self, id: str, end: str) -> socket.socket:
        host, _, port = getattr(self.rig.config.node(id), end).removeprefix("tcp://").rpartition(":")
        return socket.create_connection((host, int(port)), 10)

    def hear(self) -> None:
        """Take in how many messages nodes say they have dropped."""
        for id, listener in self._told.items():
            while listener.poll(0):
                event = events.decode(listener.recv_multipart())
                self.dropped[id, event.data["socket"]] = event.data["count"]

    def until_dropped(self, id: str, where: str, sent: int, before: int) -> None:
        """Wait until a node has told that it dropped all of what was sent, and no more."""

        def counted() -> bool:
            self.hear()
            return self.dropped.get((id, where), 0) >= before + sent

        eventually(f"{id} counts {sent} dropped messages", counted, within_s=60)
        assert self.dropped[id, where] == before + sent, "more was dropped than was sent"

    def holds(self) -> None:
        """Assert that nothing has changed."""
        assert self.standing() == self.before
        growth = {id: self.resident(id) - self.memory[id] for id in self.memory}
        assert max(growth.values(), default=0) <= GROWTH_MAX, f"memory grew: {growth}"
        assert all(node.said() == [] for node in self.rig.nodes.values())


@pytest.fixture
def target(rig: Callable[..., NodeRig]) -> Target:
    """Bring the cluster up, let every path run once, and note the memory."""
    target = Target(rig(kind="tcp"))
    warm_up = Random("warm up")
    for id in target.ids:
        for end, messages in (
            (target.peer(id), noise.noise(warm_up, 300)),
            (target.client(id), noise.noise(warm_up, 300)),
        ):
            for frames in messages:
                end.send_multipart(frames)
            end.close(5_000)
        assert eventually("it answers", lambda id=id: target.rig.status(id))
    target.memory = {id: target.resident(id) for id in target.ids}
    return target


def fire(end: zmq.Socket[bytes], messages: Iterable[list[bytes]]) -> int:
    """Send all of `messages`; return how many."""
    sent = 0
    for frames in messages:
        end.send_multipart(frames)
        sent += 1
    return sent


def on_peer_socket(random: Random, id: str, target: Target) -> Iterator[list[bytes]]:
    name = next(other for other in target.rig.ids if other != id)
    codec = Codec(target.cluster_id, id, 1)
    yield from noise.noise(random, COUNT)
    yield from noise.damaged(random, COUNT, noise.peer_messages(target.cluster_id, name), codec)
    yield from noise.garbage(random, COUNT, codec, PEER_KINDS, name)
    yield from random.choices(noise.client_messages(target.cluster_id), k=COUNT // 10)


def on_client_socket(random: Random, id: str, target: Target) -> Iterator[list[bytes]]:
    name = next(other for other in target.rig.ids if other != id)
    codec = Codec(target.cluster_id, id, 1)
    yield from noise.noise(random, COUNT)
    yield from noise.damaged(random, COUNT, noise.client_messages(target.cluster_id), codec)
    yield from noise.garbage(random, COUNT, codec, REQUEST_KINDS, "client")
    yield from random.choices(noise.peer_messages(target.cluster_id, name), k=COUNT // 10)


@pytest.mark.timeout(60 + COUNT // 50)
@pytest.mark.parametrize("where", ["peer", "client"])
def test_messages_that_mean_nothing_are_counted_and_change_nothing(target: Target, where: str) -> None:
    """Each one is dropped, and each one is counted."""
    target.hear()
    for id in target.ids:
        random = Random(f"{where} {id}")
        end = target.peer(id) if where == "peer" else target.client(id)
        messages = on_peer_socket if where == "peer" else on_client_socket
        before = 300  # The warm-up.
        sent = fire(end, messages(random, id, target))
        target.until_dropped(id, where, sent, before)
        end.close(0)
    target.holds()


@pytest.mark.timeout(60 + COUNT // 50)
def test_absurd_requests_are_answered_and_change_nothing(target: Target) -> None:
    """They are well formed, so each has its answer."""
    for id in target.ids:
        random = Random(f"absurd {id}")
        outcomes = set()
        for request, batch in noise.absurd_requests(random, COUNT // 10):
            reply = target.rig.ask(id, request, batch, within_s=10)
            assert reply is not None, f"no answer to {request}"
            assert len(reply.message) < 500
            outcomes.add(Outcome(reply.outcome))
        assert outcomes >= {Outcome.DONE, Outcome.INVALID}
        assert (Outcome.REFUSED in outcomes) == (id != target.leader)
    target.holds()


class Subscriber:
    """The bare other end of an event socket, which says what no library would, and comes back when it is cut off."""

    def __init__(self, target: Target, id: str) -> None:
        self._target, self._id = target, id
        self.connections = 0
        self._connection = self._connect()

    def _connect(self) -> socket.socket:
        return eventually("the node lets us in", self._let_in)

    def _let_in(self) -> socket.socket | None:
        """Connect and shake hands; None while the node makes its socket anew."""
        try:
            connection = self._target.raw(self._id, "events")
            connection.sendall(GREETING + b"\4\x19\5READY\x0bSocket-Type\0\0\0\3SUB")
            while len(connection.recv(4_096)) == 4_096:
                pass
        except OSError:
            return None
        self.connections += 1
        return connection

    def say(self, bodies: Iterable[bytes]) -> None:
        """Send one frame for each of `bodies`; those that are under way when the node hangs up are lost."""
        for body in bodies:
            head = bytes([0, len(body)]) if len(body) < 256 else b"\2" + len(body).to_bytes(8, "big")
            try:
                self._connection.sendall(head + body)
            except OSError:
                self._connection.close()
                self._connection = self._connect()

    def close(self) -> None:
        self._connection.close()


@pytest.mark.timeout(60 + COUNT // 50)
def test_absurd_subscriptions_change_nothing(target: Target) -> None:
    """Random ones, endless ones, damaged ones, and what is none at all."""
    for id in target.ids:
        random = Random(f"events {id}")
        stranger = Subscriber(target, id)
        stranger.say(random.randbytes(random.randrange(80)) for _ in range(COUNT))
        target.rig.nodes[id].printed("bytes where only subscriptions belong")
        stranger.say(b"\1%s/%d" % (id.encode(), number) for number in range(COUNT))
        log = target.rig.nodes[id].out

        def cut_off(stranger: Subscriber = stranger, log: Path = log) -> bool:
            stranger.say(
                b"\1n/%d" % number for number in range(1_100)
            )  # Of all that happens, one line a second is told.
            return "subscriptions; all were cut off" in log.read_text()

        eventually("those who subscribe without end are cut off", cut_off)
        stranger.say(_damaged_topic(random, id) for _ in range(COUNT))
        stranger.say(bytes(random.randrange(80, 1 << 16)) for _ in range(COUNT // 10))
        stranger.close()
        assert stranger.connections > 2
        honest = target.rig.context.socket(zmq.SUB)
        honest.set(zmq.RECONNECT_IVL, 20)
        honest.subscribe(b"%s/status" % id.encode())
        honest.connect(target.rig.config.node(id).events)
        assert honest.poll(20_000), "an honest subscriber hears nothing"
        honest.close()
    target.holds()


def _damaged_topic(random: Random, id: str) -> bytes:
    """Return what was once a subscription or its end."""
    body = bytearray(random.choice((b"\0", b"\1")) + b"%s/status" % id.encode())
    body[random.randrange(len(body))] ^= 1 << random.randrange(8)
    return bytes(body)


@pytest.mark.timeout(60 + COUNT // 10)
def test_bytes_on_bare_connections_change_nothing(target: Target) -> None:
    for id in target.ids:
        random = Random(f"raw {id}")
        for _ in range(COUNT // 10):
            end = random.choice(("peer", "client", "events"))
            with suppress(OSError), target.raw(id, end) as connection:  # The node may hang up while we speak.
                start = random.choice((b"", b"\xff", GREETING[:11], GREETING, GREETING + b"\4\x1a\5READY"))
                connection.sendall(start + random.randbytes(4_096))
    target.holds()
