"""Options that all sockets of zraft share, whoever opens them: against strangers, and against ends that died unseen."""

import zmq

from zraft.codec import FRAME_BYTES_MAX

SocketOptions = dict[int, int | bytes]

BOUNDED: SocketOptions = {
    zmq.MAXMSGSIZE: FRAME_BYTES_MAX,
    zmq.HANDSHAKE_IVL: 3_000,
}
CONNECTING: SocketOptions = {zmq.CONNECT_TIMEOUT: 2_000}
"""Besides, on sockets that connect: whoever does not answer is tried again rather than waited for."""
ON_TCP: SocketOptions = {
    zmq.HEARTBEAT_IVL: 1_000,
    zmq.HEARTBEAT_TIMEOUT: 3_000,
    zmq.HEARTBEAT_TTL: 3_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 30,
    zmq.TCP_KEEPALIVE_CNT: 3,
}
"""Besides, on tcp endpoints: on ipc the kernel itself tells of an end that has died, and one that is paused lives.

The other end's I/O thread answers: this frees dead connections, and proves nothing about its process.
"""


def is_tcp(endpoint: str) -> bool:
    """Whether `ON_TCP` is for that endpoint."""
    return endpoint.startswith("tcp://")


def put(socket: zmq.Socket[bytes], options: SocketOptions) -> None:
    """Set options on a socket that is neither bound nor connected yet: most act only then."""
    for option, value in options.items():
        socket.set(option, value)
