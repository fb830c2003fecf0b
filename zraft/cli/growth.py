"""``zraft cluster add`` and ``remove``: a node's process and its membership together."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from zraft import config
from zraft.client.client import Client
from zraft.config import Config
from zraft.errors import ConfigError, Unavailable, ZraftError
from zraft.raft.types import Endpoints, NodeId
from zraft.requests import Member, Members
from zraft.supervisor import background
from zraft.supervisor.control import Line
from zraft.supervisor.directory import NODES_MAX

LOOK_S = 0.2
"""Between two looks at how far learners have come."""


def add(settings: Config, names: Sequence[NodeId | None], timeout_s: float, say: Callable[[str], None]) -> None:
    """Start nodes, add them, and wait until they have caught up; and vote, unless somebody is to promote them.

    Parameters
    ----------
    settings
        The cluster's, which runs.
    names
        One for each; None leaves it to the supervisor.
    timeout_s
        How long each step may take.
    say
        Called with each line of progress.

    Raises
    ------
    ZraftError
        It could not be done, or not in time; the line says how far it got.
    """
    manual = settings.membership.promote == "manual"
    there = {node.id for node in settings.nodes}
    more = [name for name in names if name not in there]
    if len(there) + len(more) > NODES_MAX:
        raise ConfigError(
            f"{len(there)} nodes and {len(more)} more: a cluster has {NODES_MAX} at most; remove some first"
        )
    added = []
    for name in names:
        if name is not None and _is_member(settings, name, timeout_s):
            say(f"{name} is a member already")
            added.append(name)
            continue
        with Line(settings.supervisor.control) as line:
            reply = line.ask("add", name, timeout_s=timeout_s)
        node = str(reply.result["node"])
        say(reply.message)
        settings = config.load(settings.path)
        with Client(settings, timeout_s=timeout_s) as client, _told(node):
            client.members.add(node, Endpoints(*reply.result["endpoints"]), manual=manual)
        say(f"{node} joins: it gets the log, and has no vote yet")
        added.append(node)
    with Client(settings, timeout_s=timeout_s) as client:
        for text in _progress(client, added, timeout_s):
            say(text)


def _is_member(settings: Config, name: NodeId, timeout_s: float) -> bool:
    with Client(settings, timeout_s=timeout_s) as client:
        return any(each.node == name for each in client.members.list().members)


def remove(settings: Config, node: str, timeout_s: float) -> str:
    """Take a node out of the membership, then stop its process; return the line that says so."""
    with Line(settings.supervisor.control) as line:
        name = str(line.ask("which", node, timeout_s=timeout_s).result["node"])
        with Client(settings, timeout_s=timeout_s) as client:
            client.members.remove(name)
        message = line.ask("forget", name, timeout_s=background.patience_s(settings)).message
    return f"{name} is no member any more; {message}"


def _progress(client: Client, nodes: Sequence[NodeId], timeout_s: float) -> Iterator[str]:
    """Yield a line whenever one of the nodes has come further, until all have arrived."""
    told: dict[NodeId, str] = {}
    until = time.monotonic() + timeout_s
    while True:
        known = client.members.list()
        members = {each.node: each for each in known.members}
        for node in nodes:
            line = _standing(members[node], known) if node in members else f"{node} was removed meanwhile"
            if told.get(node) != line:
                told[node] = line
                until = time.monotonic() + timeout_s
                yield line
        waiting = [node for node in nodes if node in members and not _has_arrived(members[node], known)]
        if not waiting and not known.changing:
            return
        if time.monotonic() >= until:
            raise Unavailable(
                f"{', '.join(waiting) or 'the change'}: nothing new for {timeout_s:g} s; it goes on: zraft member list"
            )
        time.sleep(LOOK_S)


def _has_arrived(member: Member, known: Members) -> bool:
    return member.role == "voter" or (member.promote == "manual" and member.match_index >= known.last_index)


def _standing(member: Member, known: Members) -> str:
    if member.role == "voter":
        return f"{member.node} has caught up, and votes"
    if _has_arrived(member, known):
        return f"{member.node} has caught up; it gets a vote with: zraft member promote {member.node}"
    return f"{member.node} has {member.match_index} of {known.last_index} entries"


@contextmanager
def _told(node: NodeId) -> Iterator[None]:
    """Say of a failure to join how to go on."""
    try:
        yield
    except ZraftError as error:
        raise type(error)(
            f"{error}; {node} runs and waits to be added: zraft cluster add --name {node} tries again, zraft cluster"
            f" remove {node} takes it away"
        ) from error
