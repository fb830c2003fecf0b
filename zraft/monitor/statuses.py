"""Every node's own view of itself, asked for once: for ``zraft status`` and the single table of the monitor."""

import functools
from collections.abc import Iterable

import msgspec

from zraft.client.survey import survey
from zraft.config import Config
from zraft.monitor.newcomers import grown
from zraft.raft.types import NodeId
from zraft.requests import Status, StatusRequest

TIMEOUT_S = 0.5
"""How long to wait for nodes that do not answer: with the start of Python it stays under a second."""


def ask(config: Config, nodes: Iterable[NodeId], log: int = 0) -> dict[NodeId, Status | None]:
    """Ask the nodes for their status, with their newest `log` entries; None for one that does not answer."""
    replies = survey(config, functools.partial(StatusRequest, log=log), nodes=nodes, timeout_s=TIMEOUT_S)
    return {name: None if reply is None else read_status(reply.result) for name, reply in replies.items()}


def ask_all(config: Config, log: int = 0) -> tuple[Config, dict[NodeId, Status | None]]:
    """Ask all nodes of the configuration, and those that joined later and it does not name; return it with those in it."""
    answers = ask(config, [node.id for node in config.nodes], log)
    whole = grown(config, answers.values())
    new = [node.id for node in whole.nodes if node.id not in answers]
    return whole, answers | (ask(whole, new, log) if new else {})


def read_status(result: object) -> Status | None:
    """Return the status in an answer; None when whatever answered is no node of this version: the same as none."""
    try:
        return msgspec.convert(result, Status)
    except msgspec.ValidationError:
        return None
