"""One question to many nodes at once, for `zraft status`, the supervisor and the monitor."""

import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping

import zmq

from zraft import requests
from zraft.client.sockets import Context, Socket, dealer
from zraft.codec import REPLY_KINDS, Codec
from zraft.config import Config
from zraft.errors import ProtocolError
from zraft.raft.types import NodeId

_REQUEST_ID = 1


def survey(
    config: Config,
    request: Callable[[int], requests.Request],
    *,
    nodes: Iterable[NodeId] | None = None,
    timeout_s: float = 0.8,
) -> dict[NodeId, requests.Reply | None]:
    """Ask every node the same thing at once; wait until all have answered or the time is up.

    Parameters
    ----------
    config
        Where the nodes are.
    request
        Given a request's id, makes the request: ``requests.StatusRequest`` itself will do.
    nodes
        Whom to ask; all of `config` by default. KeyError for a name that `config` does not have.
    timeout_s
        How long to wait for the slowest.

    Returns
    -------
    dict
        For each node asked, in order, its reply, or None when it did not answer in time.
    """
    asked = [node.id for node in config.nodes] if nodes is None else list(nodes)
    return ask(config.cluster_id, {name: config.node(name).client for name in asked}, request, timeout_s)


def ask(
    cluster_id: int, endpoints: Mapping[NodeId, str], request: Callable[[int], requests.Request], timeout_s: float
) -> dict[NodeId, requests.Reply | None]:
    """Do what `survey` does, for nodes known by their client endpoints alone."""
    deadline = time.monotonic() + timeout_s
    codec = Codec(cluster_id, f"survey-{os.getpid()}", secrets.randbits(64))
    frames = codec.encode(request(_REQUEST_ID))
    answers: dict[NodeId, requests.Reply | None] = dict.fromkeys(endpoints)
    context: Context = zmq.Context()
    sockets: dict[Socket, NodeId] = {}
    try:
        for name, endpoint in endpoints.items():
            # The question may wait inside the socket: nobody is harmed by a late one, and close() takes it back.
            socket = dealer(context, endpoint, wait_for_connection=False, linger_ms=0)
            sockets[socket] = name
            socket.send_multipart(frames, zmq.NOBLOCK)
        _collect(sockets, answers, codec, deadline)
    finally:
        context.destroy(linger=0)
    return answers


def _collect(
    sockets: dict[Socket, NodeId], answers: dict[NodeId, requests.Reply | None], codec: Codec, deadline: float
) -> None:
    poller = zmq.Poller()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    waiting = len(sockets)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for socket, _ in poller.poll(math.ceil(left * 1_000)):
            reply = _read(socket, codec)
            if reply is not None:
                answers[sockets[socket]] = reply
                poller.unregister(socket)
                waiting -= 1


def _read(socket: Socket, codec: Codec) -> requests.Reply | None:
    """Take one message; None when it is no answer to our question (a stranger, or a node of another cluster)."""
    try:
        reply = codec.decode(socket.recv_multipart(zmq.NOBLOCK), REPLY_KINDS).message
    except ProtocolError:
        return None
    return reply if reply.id == _REQUEST_ID else None
