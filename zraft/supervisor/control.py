"""How `zraft cluster` commands talk to a running supervisor: one JSON frame each way, over its control socket."""

import math
import os
import socket as sockets
import time
from typing import Any, NamedTuple, Self

import msgspec
import zmq

from zraft import endpoints
from zraft.client.sockets import Context, Socket, dealer
from zraft.errors import (
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    ProtocolError,
    StorageError,
    Unavailable,
    ZraftError,
)
from zraft.raft.types import NodeId

REQUEST_BYTES_MAX = 1 << 16
MESSAGES_MAX = 256
"""High-water mark: far above what people type."""
GRACE_S = 1.0
"""How much longer than the supervisor has for the work its answer is awaited."""
_RECONNECT_MS = (20, 100)
_LOOK_MS = 500
"""While an answer is awaited: how often to look whether the supervisor is still there."""
_ERRORS: dict[int, type[ZraftError]] = {
    1: NotFound,
    2: InvalidRequest,
    3: Unavailable,
    4: OutcomeUnknown,
    5: StorageError,
}


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a command asks for."""

    id: int
    """Comes back with the reply."""
    verb: str
    """One of `verbs.VERBS`."""
    node: NodeId | None = None
    """A node, or ``leader`` or ``follower``."""
    timeout_ms: int = 30_000
    """How long whoever asks will wait."""


class Reply(msgspec.Struct, frozen=True):
    """What became of it."""

    id: int
    pid: int
    """The supervisor's own."""
    exit_code: int = 0
    """That of the command; 0 when it was done."""
    message: str = ""
    """One line that says what was done, or why not."""
    result: Any = None
    """For `status` and `wait` a map."""


class Asked(NamedTuple):
    """A request, and where its reply goes."""

    identity: bytes
    request: Request


_decode_request = msgspec.json.Decoder(Request).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_encode = msgspec.json.Encoder().encode


class Control:
    """The supervisor's end.

    Parameters
    ----------
    context
        Of the supervisor's loop.
    endpoint
        Where to listen.

    Raises
    ------
    ConfigError
        The endpoint is taken or not to be had.
    """

    def __init__(self, context: Context, endpoint: str) -> None:
        self.rejected = 0
        """Messages that were no requests, since the start."""
        self.socket: Socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.setsockopt(zmq.LINGER, 1_000)
        self.socket.setsockopt(zmq.SNDHWM, MESSAGES_MAX)
        self.socket.setsockopt(zmq.RCVHWM, MESSAGES_MAX)
        self.socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_BYTES_MAX)
        self._lock = endpoints.bind(self.socket, endpoint, "control socket")

    def receive(self) -> Asked | None:
        """Return the next request; None when there is none. Anything else is counted and dropped."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                return Asked(frames[0], decode_request(frames[1:]))
            except ProtocolError:
                self.rejected += 1

    def reply(self, asked: Asked, *, exit_code: int = 0, message: str = "", result: object = None) -> None:
        """Answer, unless whoever asked has gone away meanwhile."""
        frame = _encode(Reply(asked.request.id, os.getpid(), exit_code, message, result))
        try:
            self.socket.send_multipart([asked.identity, frame], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise

    def close(self) -> None:
        """Stop listening; replies that are on their way still arrive."""
        self.socket.close()
        if self._lock is not None:
            self._lock.release()


def decode_request(frames: list[bytes]) -> Request:
    """Turn frames into a request, or raise `ProtocolError`."""
    if len(frames) != 1:
        raise ProtocolError(f"a control request of {len(frames)} frames")
    try:
        return _decode_request(frames[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a control request: {error}") from error


def listens(endpoint: str) -> bool:
    """Whether a process listens at a control endpoint; a socket file that was left behind is not enough."""
    scheme, _, address = endpoint.partition("://")
    try:
        if scheme == "ipc":
            with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
                probe.settimeout(1)
                probe.connect(address)
        else:
            host, _, port = address.rpartition(":")
            sockets.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except TimeoutError:
        return True  # Its queue of connections is full: there is somebody, though not answering.
    except OSError:
        return False
    return True


def error_of(exit_code: int, message: str) -> ZraftError:
    """Return the error that makes a command end with `exit_code`."""
    return _ERRORS.get(exit_code, ZraftError)(message)


class Line:
    """A command's end: asks one thing at a time.

    Parameters
    ----------
    endpoint
        The supervisor's control endpoint.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._context: Context = zmq.Context()
        self._socket = dealer(
            self._context, endpoint, wait_for_connection=False, linger_ms=0, reconnect_ms=_RECONNECT_MS
        )
        self._next_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._context.destroy(linger=0)

    def ask(self, verb: str, node: NodeId | None = None, *, timeout_s: float, starting: int | None = None) -> Reply:
        """Ask for something and wait until it is done.

        Parameters
        ----------
        verb, node
            What, and of which node.
        timeout_s
            How long to wait.
        starting
            A pidfd of a supervisor that has just been started and may not listen yet; without it, one that does not
            listen is an error at once.

        Raises
        ------
        ZraftError
            With the exit code that the supervisor gave; `Unavailable` when there is none; `OutcomeUnknown` when it
            did not answer.
        """
        if starting is None and not listens(self._endpoint):
            raise Unavailable("no cluster is running here; start one with: zraft cluster up")
        self._next_id += 1
        request = Request(self._next_id, verb, node, round(timeout_s * 1_000))
        self._socket.send(_encode(request))
        reply = self._await(request, time.monotonic() + timeout_s + GRACE_S, starting)
        if reply.exit_code:
            raise error_of(reply.exit_code, reply.message)
        return reply

    def _await(self, request: Request, deadline: float, starting: int | None) -> Reply:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        if starting is not None:
            poller.register(starting, zmq.POLLIN)
        while (left_s := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(math.ceil(min(left_s * 1_000, _LOOK_MS))))
            if self._socket in ready:
                reply = _decode_reply(self._socket.recv())
                if reply.id == request.id:
                    return reply
            elif starting in ready:
                raise Unavailable("the supervisor ended before the cluster was ready")
            elif not ready and starting is None and not listens(self._endpoint):
                raise Unavailable("the cluster was stopped meanwhile")
        if request.verb in ("status", "wait"):
            raise Unavailable("the supervisor runs and does not answer; is it suspended (fg resumes it)?")
        raise OutcomeUnknown(f"the supervisor did not answer: {request.verb} may or may not have happened")
