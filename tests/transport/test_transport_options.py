"""The sockets of a node have the types and options that avoid ZeroMQ's traps."""

import pytest
import zmq
from wires import Ends, Station

MIB = 1 << 20
TABLE = {
    "peers_in": (
        zmq.ROUTER,
        {zmq.LINGER: 0, zmq.RCVHWM: 1_000, zmq.SNDHWM: 1, zmq.MAXMSGSIZE: 16 * MIB},
    ),
    "peer_out": (
        zmq.DEALER,
        {
            zmq.IMMEDIATE: 1,
            zmq.LINGER: 0,
            zmq.SNDHWM: 1_000,
            zmq.RCVHWM: 1,
            zmq.RECONNECT_IVL: 50,
            zmq.RECONNECT_IVL_MAX: 1_000,
            zmq.CONNECT_TIMEOUT: 2_000,
            zmq.MAXMSGSIZE: 16 * MIB,
        },
    ),
    "clients": (
        zmq.ROUTER,
        {zmq.LINGER: 500, zmq.RCVHWM: 1_000, zmq.SNDHWM: 20_000, zmq.MAXMSGSIZE: 16 * MIB},
    ),
    "events": (
        zmq.XPUB,
        {zmq.LINGER: 500, zmq.SNDHWM: 10_000, zmq.RCVHWM: 1_000, zmq.MAXMSGSIZE: 85},
    ),
}
EVERY_SOCKET = {zmq.HANDSHAKE_IVL: 3_000}
ON_TCP = {
    zmq.HEARTBEAT_IVL: 1_000,
    zmq.HEARTBEAT_TIMEOUT: 3_000,
    zmq.HEARTBEAT_TTL: 3_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 30,
    zmq.TCP_KEEPALIVE_CNT: 3,
}


def socket_of(station: Station, name: str) -> zmq.Socket[bytes]:
    return station.transport.links.socket("n2") if name == "peer_out" else getattr(station.transport, name)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("wire", ["tcp", "ipc"])
def test_a_socket_has_its_type_and_options(ends: Ends, name: str, wire: str) -> None:
    station = ends.one(wire)
    found = socket_of(station, name)
    kind, options = TABLE[name]
    assert found.type == kind
    wanted = EVERY_SOCKET | options | (ON_TCP if wire == "tcp" else {zmq.RECONNECT_IVL_MAX: 250})
    assert {option: found.get(option) for option in wanted} == wanted


def test_on_ipc_nobody_is_cut_off_for_being_paused(ends: Ends) -> None:
    assert ends.one("ipc").transport.peers_in.get(zmq.HEARTBEAT_IVL) == 0


def test_a_dealer_is_named_after_node_and_process_start(ends: Ends) -> None:
    station = ends.one()
    identity = f"n1:{station.boot_id:016x}:{station.me.peer}".encode()
    assert socket_of(station, "peer_out").get(zmq.ROUTING_ID) == identity


@pytest.mark.parametrize("name", ["peers_in", "clients"])
def test_a_router_refuses_instead_of_dropping(ends: Ends, name: str) -> None:
    """ROUTER_MANDATORY can only be set, so it shows by what it does."""
    with pytest.raises(zmq.ZMQError) as caught:
        socket_of(ends.one(), name).send_multipart([b"nobody", b""], zmq.NOBLOCK)
    assert caught.value.errno == zmq.EHOSTUNREACH


def test_the_publisher_sees_every_subscriber(ends: Ends) -> None:
    """XPUB_VERBOSE can only be set as well: with it, a topic that somebody has is announced again for the next one."""
    station = ends.one()
    events = station.transport.events
    for _ in range(2):
        ends.subscriber(station, b"n1/role")
        assert events.poll(15_000), "a subscription that was not announced"
        assert events.recv(zmq.NOBLOCK) == b"\x01n1/role"


def test_one_thread_does_all_input_and_output(ends: Ends) -> None:
    assert ends.one().transport._context.get(zmq.IO_THREADS) == 1
