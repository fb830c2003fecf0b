"""The one kind of socket that talks to a node's client ROUTER: a DEALER, with every setting chosen."""

import zmq

from zraft.socketoptions import BOUNDED, CONNECTING, ON_TCP, SocketOptions, is_tcp, put

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

MESSAGES_MAX = 4_096
"""High-water mark in both directions: far above the two batches and few reads that a client has under way."""
RECONNECT_LOWER_MS, RECONNECT_UPPER_MS = 50, 1_000


def dealer(
    context: Context,
    endpoint: str,
    *,
    wait_for_connection: bool,
    linger_ms: int,
    reconnect_ms: tuple[int, int] = (RECONNECT_LOWER_MS, RECONNECT_UPPER_MS),
) -> Socket:
    """Open a DEALER that connects to `endpoint`, and goes on trying for as long as it is open.

    Parameters
    ----------
    context
        Whose I/O thread carries it.
    endpoint
        A node's client endpoint, ``tcp://host:port`` or ``ipc://path``.
    wait_for_connection
        True: a send is refused (`zmq.Again`) while no connection stands, so that nothing is queued for a dead node and
        a refusal is certain. False: what is sent waits inside the socket until the connection stands or it is closed.
    linger_ms
        How long, once it is closed, the I/O thread goes on delivering what was sent.
    reconnect_ms
        The first and the longest pause between two attempts to connect.
    """
    socket: Socket = context.socket(zmq.DEALER)
    options = BOUNDED | CONNECTING | (ON_TCP if is_tcp(endpoint) else {})
    chosen: SocketOptions = {
        zmq.IMMEDIATE: int(wait_for_connection),
        zmq.LINGER: linger_ms,
        zmq.SNDHWM: MESSAGES_MAX,
        zmq.RCVHWM: MESSAGES_MAX,
        zmq.RECONNECT_IVL: reconnect_ms[0],
        zmq.RECONNECT_IVL_MAX: reconnect_ms[1],
    }
    put(socket, options | chosen)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError:
        socket.close(linger=0)
        raise
    return socket
