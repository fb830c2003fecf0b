"""The settings of the client's sockets."""

from typing import Any

import zmq

from zraft.client.sockets import dealer


def test_the_socket_has_the_settings_that_were_chosen() -> None:
    context: Any = zmq.Context()
    try:
        socket = dealer(context, "tcp://127.0.0.1:9", wait_for_connection=True, linger_ms=500)
        expected = {
            zmq.TYPE: zmq.DEALER,
            zmq.IMMEDIATE: 1,
            zmq.LINGER: 500,
            zmq.SNDHWM: 4_096,
            zmq.RCVHWM: 4_096,
            zmq.MAXMSGSIZE: 16 << 20,
            zmq.RECONNECT_IVL: 50,
            zmq.RECONNECT_IVL_MAX: 1_000,
            zmq.HEARTBEAT_IVL: 1_000,
            zmq.HEARTBEAT_TIMEOUT: 3_000,
            zmq.HEARTBEAT_TTL: 3_000,
            zmq.TCP_KEEPALIVE: 1,
            zmq.HANDSHAKE_IVL: 3_000,
            zmq.CONNECT_TIMEOUT: 2_000,
        }
        assert {option: socket.getsockopt(option) for option in expected} == expected
    finally:
        context.destroy(linger=0)
