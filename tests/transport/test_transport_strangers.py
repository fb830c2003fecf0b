"""Connections cut in the middle, silent ones, and bytes that mean nothing: peers and clients go on as if alone."""

import random
import socket
import time
from contextlib import suppress

import pytest
import zmq
from wires import GREETING, Ends, Station, eventually, frame, heartbeat, hello, ready, rounds, seal

from zraft import transport

SOCKETS = ("peer", "client", "events")
LIMITS = (zmq.HANDSHAKE_IVL, zmq.HEARTBEAT_IVL, zmq.HEARTBEAT_TIMEOUT, zmq.HEARTBEAT_TTL)


def closed_by_node(end: socket.socket, within_s: float) -> float:
    """Read until the node closes the connection; return how long that took."""
    began = time.monotonic()
    end.settimeout(within_s)
    try:
        while end.recv(4_096):
            assert time.monotonic() - began < within_s, "it keeps talking"
    except ConnectionResetError:
        return time.monotonic() - began
    return time.monotonic() - began


def goes_on(ends: Ends, station: Station) -> None:
    """Show that a proper peer, a proper client and a subscriber are served."""
    two = ends.as_peer(station, boot_id=99)
    client, subscriber = ends.as_client(station), ends.subscriber(station, b"proper")
    two.send_multipart(seal(7, b"\x93\x01\x00\x07", boot=99))
    client.send_multipart(hello(7))
    station.until("the peer is heard", lambda: rounds(station.peers) == [7])
    station.until("the client is heard", lambda: [request.id for _, request, _ in station.asked] == [7])
    station.until("the subscriber is known", lambda: b"proper" in station.transport._topics)
    assert subscriber.closed is False


@pytest.fixture
def station(ends: Ends) -> Station:
    return ends.one("tcp")


@pytest.fixture
def hasty(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> Station:
    """Make a station whose patience with those who are silent is a tenth of the usual."""
    for name in ("PEERS_IN", "CLIENTS", "EVENTS", "ON_TCP"):
        options = getattr(transport, name)
        monkeypatch.setattr(
            transport, name, {key: value // 10 if key in LIMITS else value for key, value in options.items()}
        )
    return ends.one("tcp")


@pytest.fixture
def hung_up(station: Station) -> zmq.Socket[bytes]:
    """Tell of every connection to the peer socket that has ended."""
    events = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    return station.transport.peers_in.get_monitor_socket(events)


@pytest.mark.parametrize("sent", [1, 2])
def test_half_a_message_and_then_the_end(ends: Ends, station: Station, hung_up: zmq.Socket[bytes], sent: int) -> None:
    """The frames of a message arrive together or not at all."""
    end = ends.shaken(station.me.peer, "DEALER", b"n2:0000000000000007")
    whole = seal(7, b"\x93\x01\x00\x05", b"third")
    for part in whole[:sent]:
        end.sendall(frame(part, more=True))
    end.shutdown(socket.SHUT_WR)
    assert hung_up.poll(15_000)
    goes_on(ends, station)
    assert station.rejected == []


def test_half_a_frame_and_then_the_end(ends: Ends, station: Station, hung_up: zmq.Socket[bytes]) -> None:
    end = ends.shaken(station.me.peer, "DEALER")
    end.sendall(frame(bytes(100_000))[:50_000])
    end.shutdown(socket.SHUT_WR)
    assert hung_up.poll(15_000)
    goes_on(ends, station)
    assert station.rejected == []


def test_a_message_spoken_by_hand_arrives(ends: Ends, station: Station) -> None:
    """Shows that the tests above fail for the cut, and not for our way of speaking."""
    end = ends.shaken(station.me.peer, "DEALER", b"n2:0000000000000007")
    head, body = seal(7, b"\x93\x01\x00\x05")
    end.sendall(frame(head, more=True) + frame(body))
    station.until("it", lambda: station.peers == [("n2", heartbeat(5))])


@pytest.mark.parametrize("where", SOCKETS)
@pytest.mark.parametrize("seed", range(4))
def test_four_kibibytes_of_noise(ends: Ends, station: Station, where: str, seed: int) -> None:
    dice = random.Random(f"{where} {seed}")
    end = ends.raw(getattr(station.me, where))
    # Noise that begins like ZMTP gets further than other noise.
    start = (b"", b"\xff", GREETING[:10], GREETING)[seed]
    end.sendall(start + dice.randbytes(4_096))
    with suppress(OSError):  # It may have hung up already.
        end.shutdown(socket.SHUT_WR)
    closed_by_node(end, 15)
    goes_on(ends, station)
    assert station.peers == [("n2", heartbeat(7))]


@pytest.mark.parametrize("where", SOCKETS)
def test_whoever_is_silent_is_let_go(ends: Ends, hasty: Station, where: str) -> None:
    """Before the handshake by its own limit; after it by ZMTP's heartbeat, which this other end does not answer.

    What the limits are, seconds, is seen by `test_transport_options`; here they are a tenth of that.
    """
    station = hasty
    kind = "SUB" if where == "events" else "DEALER"
    mute = ends.raw(getattr(station.me, where))
    greeted = ends.raw(getattr(station.me, where))
    greeted.sendall(GREETING)
    idle = ends.shaken(getattr(station.me, where), kind)
    for end in (mute, greeted, idle):
        assert closed_by_node(end, 10) < 3
    goes_on(ends, station)


def test_another_type_of_socket_is_not_let_in(ends: Ends, station: Station) -> None:
    end = ends.raw(station.me.peer)
    end.sendall(GREETING + ready("PUB"))
    closed_by_node(end, 15)
    goes_on(ends, station)


def test_many_connections_that_come_and_go(ends: Ends, station: Station) -> None:
    for number in range(200):
        end = ends.raw(getattr(station.me, SOCKETS[number % 3]))
        end.sendall(GREETING[: number % 65])
        end.close()
    goes_on(ends, station)
    eventually("a turn finds nothing left", lambda: station.turn(0) is None and station.rejected == [])
