"""The whole replicated state of a cluster, fetched piece by piece from one node: what ``zraft snapshot save`` writes down."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator

from zraft.client.greeting import Topology
from zraft.client.inquiry import Inquiry, read
from zraft.config import Config
from zraft.errors import InvalidRequest, Unavailable
from zraft.raft.types import NodeId
from zraft.requests import From, Outcome
from zraft.statepieces import CopyState, StatePiece

ATTEMPTS_MAX = 5
"""How often a copy is begun anew, when its node has died or lost it on the way."""


class CopyLost(Unavailable):
    """The node that a copy was fetched from has it no more, or is gone: it can be begun anew."""


def copy_state(
    config: Config, write: Callable[[Iterator[StatePiece]], StatePiece], *, node: NodeId | None, timeout_s: float
) -> StatePiece:
    """Fetch the state as of now, from the leader or from `node`; everything acknowledged before is in it.

    Parameters
    ----------
    config
        The cluster's.
    write
        Given the pieces in order, the last of which bears the checksum, returns that one. Called again, from the first piece on, when a
        copy is lost on the way.
    node
        Whose state; the leader's when None. Any node but a cut off one can tell: it asks its leader how far its state must be.
    timeout_s
        How long to wait for each piece.

    Returns
    -------
    StatePiece
        What `write` returned.

    Raises
    ------
    ConfigError
        There is no such node.
    InvalidRequest
        A state machine cannot tell its state.
    Unavailable
        Nobody answered in time, again and again.
    """
    topology = Topology.of(config) if node is None else Topology.of_one(config, node)
    patience_s = config.election.timeout_upper_ms / 1_000
    for attempt in range(ATTEMPTS_MAX):
        inquiry = Inquiry(topology, patience_s)
        try:
            return write(_pieces(inquiry, From.LEADER if node is None else From.ANY, timeout_s))
        except CopyLost:
            if attempt + 1 == ATTEMPTS_MAX:
                raise
        finally:
            inquiry.close()
    raise AssertionError("an attempt that neither succeeds nor fails")


def _pieces(inquiry: Inquiry, source: From, timeout_s: float) -> Iterator[StatePiece]:
    """Yield the pieces of one copy, and check them."""
    copy = secrets.randbits(63)
    digest = hashlib.sha256()
    piece = _ask(inquiry, copy, 0, source, timeout_s)
    inquiry.keep_to(piece.node)
    while True:
        digest.update(piece.data)
        if piece.sha256 is not None:
            break
        yield piece
        piece = _ask(inquiry, copy, piece.offset + len(piece.data), source, timeout_s)
    if piece.sha256 != digest.digest():
        raise CopyLost(f"what came from {piece.node} is not what it sent: the checksum differs; try again")
    yield piece


def _ask(inquiry: Inquiry, copy: int, offset: int, source: From, timeout_s: float) -> StatePiece:
    def question(id: int) -> CopyState:
        return CopyState(id, copy, offset, source)

    try:
        reply = inquiry.ask(question, time.monotonic() + timeout_s, changes=False)
    except Unavailable as error:
        if offset:
            raise CopyLost(str(error)) from error
        raise
    if reply.outcome != Outcome.DONE:
        raise (CopyLost if offset else InvalidRequest)(reply.message)
    piece = read(reply, StatePiece)
    if piece.offset != offset or not piece.data:
        raise CopyLost(f"{piece.node} sent bytes from {piece.offset} on where {offset} was asked for; try again")
    return piece
