"""A node's sockets with everything that they refused, and the other ends that honest nodes, clients and strangers hold."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from struct import pack
from typing import Any
from zlib import crc32

import zmq

from zraft.codec import Codec
from zraft.config import Node
from zraft.raft.messages import Heartbeat, Message
from zraft.requests import Hello
from zraft.socketoptions import SocketOptions
from zraft.transport import PEER_OUT, Transport

CLUSTER_ID = 0xC0FFEE
PATIENCE_S = 15.0
"""How long a test waits for an event before it fails: long, since it never waits longer than the event takes."""


def eventually(what: str, condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Wait until `condition` gives something true, and return that; it should itself wait a little for an event."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
    return found


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def address(name: str, kind: str, place: Path) -> Node:
    """Make the endpoints of a node, of kind ``tcp`` or ``ipc``."""
    if kind == "tcp":
        return Node(name, *(f"tcp://127.0.0.1:{free_port()}" for _ in range(3)))
    return Node(name, *(f"ipc://{place}/{name}.{role}" for role in ("peer", "client", "events")))


def seal(kind: int, body: bytes, *more: bytes, **changed: Any) -> list[bytes]:
    """Make the frames of a message by hand, from its layout on the wire, with a valid checksum unless `crc` is given."""
    field = {"magic": b"zR", "version": 1, "cluster": CLUSTER_ID, "boot": 7, "source": b"n2", "crc": None} | changed
    head = pack("!2sBBQQ", field["magic"], field["version"], kind, field["cluster"], field["boot"])
    crc = field["crc"]
    if crc is None:
        crc = crc32(b"".join([head, field["source"], body, *more]))
    return [head + pack("!I", crc) + field["source"], body, *more]


# ZMTP 3.0, to be spoken by hand over bare TCP.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def ready(kind: str, identity: bytes = b"") -> bytes:
    """Make the command that ends the handshake of a socket of that type."""
    body = b"\x05READY\x0bSocket-Type" + pack("!I", len(kind)) + kind.encode()
    body += b"\x08Identity" + pack("!I", len(identity)) + identity
    return bytes([4, len(body)]) + body


def frame(body: bytes, *, more: bool = False) -> bytes:
    """Make one frame of a message."""
    if len(body) < 256:
        return bytes([int(more), len(body)]) + body
    return bytes([2 + int(more)]) + pack("!Q", len(body)) + body


class Station:
    """A `Transport` under test: what it received and what it refused."""

    def __init__(self, me: Node, peers: list[Node], boot_id: int) -> None:
        self.rejected: list[tuple[str, str]] = []
        """Socket and reason of each message dropped unread."""
        self.transport = Transport(me, peers, CLUSTER_ID, boot_id, lambda *what: self.rejected.append(what))
        self.me, self.others, self.boot_id = me, peers, boot_id
        self.peers: list[tuple[str, Message]] = []
        """What peers have said, in order."""
        self.asked: list[tuple[bytes, Any, bytes | None]] = []
        """What clients have asked, in order."""

    def turn(self, timeout_ms: int = 10) -> None:
        """Look at the sockets as a node's loop does, once something is there or the time is up."""
        transport = self.transport
        poller = zmq.Poller()
        for each in (transport.peers_in, transport.clients, transport.events):
            poller.register(each, zmq.POLLIN)
        poller.poll(timeout_ms)
        self.peers += transport.receive_peers(256)
        self.asked += transport.receive_clients(256)
        transport.drain_subscriptions()

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Turn until `condition` gives something true."""

        def turned() -> Any:
            self.turn()
            return condition()

        return eventually(f"{what}; refused so far: {self.rejected[-5:]}", turned)

    def until_reached(self, other: "Station", message: Message) -> None:
        """Send `message` to the other node until it is there: the connection may need a moment."""
        source = self.me.id

        def sent() -> bool:
            if (source, message) not in other.peers:
                self.transport.send(other.me.id, message)
            other.turn()
            return (source, message) in other.peers

        eventually(f"{message} from {source} to {other.me.id}", sent)

    def reasons(self, on: str) -> list[str]:
        return [reason for where, reason in self.rejected if where == on]


class Ends:
    """Makes stations, and sockets of others, and closes them all."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.context = zmq.Context()
        self._boots = count(1)
        self._stations: list[Station] = []
        self._held: list[zmq.Socket[bytes] | socket.socket] = []
        """Sockets close themselves when nobody holds them."""

    def station(self, me: Node, *peers: Node, boot_id: int | None = None) -> Station:
        station = Station(me, list(peers), boot_id or next(self._boots))
        self._stations.append(station)
        return station

    def two(self, kind: str = "ipc") -> tuple[Station, Station]:
        """Make n1 and n2, peers of each other."""
        n1, n2 = address("n1", kind, self.place), address("n2", kind, self.place)
        return self.station(n1, n2), self.station(n2, n1)

    def one(self, kind: str = "ipc") -> Station:
        """Make n1, whose peer n2 is not there."""
        return self.station(address("n1", kind, self.place), address("n2", kind, self.place))

    def close(self, station: Station) -> None:
        self._stations.remove(station)
        station.transport.close()

    def connect(self, kind: int, endpoint: str, options: SocketOptions | None = None) -> zmq.Socket[bytes]:
        end = self.context.socket(kind)
        end.linger = 0
        for option, value in (options or {}).items():
            end.set(option, value)
        end.connect(endpoint)
        self._held.append(end)
        return end

    def as_peer(self, station: Station, name: str = "n2", boot_id: int = 7) -> zmq.Socket[bytes]:
        """Connect to the peer socket under the name of a peer."""
        identity = f"{name}:{boot_id:016x}".encode()
        return self.connect(zmq.DEALER, station.me.peer, PEER_OUT | {zmq.ROUTING_ID: identity})

    def as_client(self, station: Station, options: SocketOptions | None = None) -> zmq.Socket[bytes]:
        return self.connect(zmq.DEALER, station.me.client, options)

    def subscriber(self, station: Station, topic: bytes = b"") -> zmq.Socket[bytes]:
        return self.connect(zmq.SUB, station.me.events, {zmq.SUBSCRIBE: topic, zmq.RECONNECT_IVL: 20})

    def raw(self, endpoint: str) -> socket.socket:
        """Connect a bare TCP socket, which may say what it likes."""
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        end = socket.create_connection((host, int(port)), PATIENCE_S)
        self._held.append(end)
        return end

    def shaken(self, endpoint: str, kind: str, identity: bytes = b"") -> socket.socket:
        """Connect a bare TCP socket and go through the handshake of ZMTP by hand."""
        end = self.raw(endpoint)
        end.sendall(GREETING + ready(kind, identity))
        greeted = b""
        while len(greeted) < len(GREETING) + 2 or len(greeted) < len(GREETING) + 2 + greeted[len(GREETING) + 1]:
            part = end.recv(4_096)  # Whoever speaks on before the other has said READY may be cut off.
            assert part, "cut off in the handshake"
            greeted += part
        return end

    def destroy(self) -> None:
        for end in self._held:
            end.close()
        for station in self._stations:
            station.transport.close()
        self.context.destroy(0)


def heartbeat(round: int) -> Heartbeat:
    return Heartbeat(1, 0, round)


def rounds(received: list[tuple[str, Message]]) -> list[int]:
    """Return the rounds of the heartbeats among `received`, in order."""
    return [message.round for _, message in received if isinstance(message, Heartbeat)]


def hello(id: int, codec: Codec | None = None) -> list[bytes]:
    """Make the frames of a client's `Hello`."""
    return (codec or Codec(CLUSTER_ID, "client", 7)).encode(Hello(id))
