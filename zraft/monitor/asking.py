"""Who leads, asked once; and leadership handed over on request."""

import functools
import time
from collections.abc import Mapping

from zraft.client.survey import survey
from zraft.config import Config
from zraft.errors import ConfigError, Unavailable, ZraftError
from zraft.monitor.leadership import Leader, endpoint_of
from zraft.monitor.statuses import ask_all
from zraft.raft.types import NodeId
from zraft.requests import Outcome, Status, TransferRequest
from zraft.supervisor.election import elected

ELECTION_S = 1.0
"""Whoever asks in the middle of an election is told of its end, if that comes within this time."""
_PAUSE_S = 0.02
Answers = Mapping[NodeId, Status | None]


def find_leader(config: Config, within_s: float = ELECTION_S, *, newer_than: int = 0) -> Leader | None:
    """Return who leads by its own word, can commit and has a majority following; None when nobody does in time.

    Parameters
    ----------
    config
        Where the nodes are.
    within_s
        How long to go on asking while nobody leads.
    newer_than
        Whoever leads this term, or an older one, does not count.

    Raises
    ------
    Unavailable
        No node answers.
    """
    until = time.monotonic() + within_s
    while True:
        config, answers = _answers(config)
        statuses = {name: status for name, status in answers.items() if status is not None}
        found = elected(statuses, len(config.nodes))
        if found is not None and found.term > newer_than:
            return Leader(found.leader, found.term, endpoint_of(config, found.leader))
        if time.monotonic() >= until:
            return None
        time.sleep(_PAUSE_S)


def transfer(config: Config, target: NodeId, within_s: float) -> Leader:
    """Have the leader hand over to `target`; return that, once it leads.

    Raises
    ------
    ConfigError
        There is no such node.
    Unavailable
        Nobody leads, so that there is nothing to hand over; or no node answers, or the leader did not in time.
    ZraftError
        The leader refuses, since `target` is not there or has not its whole log, or another one leads afterwards.
    """
    until = time.monotonic() + within_s
    config, _ = ask_all(config)
    known = [node.id for node in config.nodes]
    if target not in known:
        raise ConfigError(f"{config.path}: there is no node {target!r} in it; its nodes are {', '.join(known)}")
    before = find_leader(config, within_s)
    if before is None:
        raise Unavailable("nobody leads, so nobody can hand over; is a majority of the nodes up? zraft status")
    if before.node == target:
        return before
    request = functools.partial(TransferRequest, target=target)
    reply = survey(config, request, nodes=[before.node], timeout_s=max(0.0, until - time.monotonic()))[before.node]
    if reply is None:
        raise Unavailable(f"{before.node}, which led, did not answer in time; see zraft leader")
    if reply.outcome != Outcome.DONE:
        raise ZraftError(f"{before.node} does not hand over: {reply.message}; is {target} up? see zraft status")
    after = find_leader(config, max(0.0, until - time.monotonic()), newer_than=before.term)
    if after is None:
        raise ZraftError(f"{before.node} has not handed over to {target} in time, and leads on or stands again")
    if after.node != target:
        raise ZraftError(f"{after.node} leads term {after.term} instead of {target}; try again")
    return after


def _answers(config: Config) -> tuple[Config, Answers]:
    config, answers = ask_all(config)
    if not any(answers.values()):
        raise Unavailable(
            f"no node of {config.cluster.name} answers ({config.path}); start the cluster with zraft cluster up, or see"
            " zraft cluster status"
        )
    return config, answers
