"""Sends and receives the frames of one message without blocking, at a fraction of the cost of pyzmq's multipart calls.

Those, and `zmq.Socket.send` itself, combine flags of an enumeration for every frame, convert what is bytes already, and look
up an option after each; for small messages that is most of the time they take. So this uses the methods that they end in.
"""

from collections.abc import Sequence

import zmq
from zmq.backend import Socket

_NOBLOCK = int(zmq.NOBLOCK)
_NOBLOCK_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_send, _recv, _get = Socket.send, Socket.recv, Socket.get


def send(socket: zmq.Socket[bytes], frames: Sequence[bytes]) -> None:
    """Hand one message over; raises `zmq.Again`, and nothing has left, when the socket does not take it now."""
    for frame in frames[:-1]:
        _send(socket, frame, _NOBLOCK_MORE)
    _send(socket, frames[-1], _NOBLOCK)


def receive(socket: zmq.Socket[bytes]) -> list[bytes]:
    """Return the frames of the next message; raises `zmq.Again` when there is none."""
    frame = _recv(socket, _NOBLOCK, False)
    found = [frame.bytes]
    while frame.more:
        frame = _recv(socket, _NOBLOCK, False)
        found.append(frame.bytes)
    return found


def waits(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message waits to be received: a third of the cost of a `receive` that finds none."""
    return bool(int(_get(socket, _EVENTS)) & _POLLIN)
