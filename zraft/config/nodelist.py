"""The list of nodes in a configuration file, changed in place: all that people have written beside it stays.

Nodes that join are written with ``join: true``, and with the first of them all others are: from then on the cluster knows by
itself who takes part, and a node without data must wait for it rather than begin another one with whoever is listed.
"""

import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zraft.config import location
from zraft.config.document import Document, read
from zraft.config.environment import read_text
from zraft.config.loading import load
from zraft.config.schema import Config, Node
from zraft.errors import ConfigError
from zraft.raft.types import NodeId

_ENDS = ("peer", "client", "events")
NUMBERED = re.compile(r"n([1-9][0-9]{0,5})")
"""Names that nodes get by themselves."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class _Item(NamedTuple):
    """One node in the text."""

    first: int
    last: int
    """Its lines, counted from 0."""
    indent: str
    """What stands before its dash."""
    value: dict[str, Any]


def with_node(config: Config, name: NodeId, env: Mapping[str, str]) -> Config:
    """Add a node to the file of a configuration, beside the last one; return what the file says then.

    Its endpoints are like those of the last node: paths with its own name, or the next ports that are free.

    Raises
    ------
    ConfigError
        The file cannot be changed, or the list of nodes does not come from it.
    """
    text, items = _items(config, env)
    value = {"id": name, **_endpoints(config, items[-1].value, name), "join": True}
    lines = _marked(text, items)
    lines.insert(items[-1].last + 1, f"{items[-1].indent}- {_flow(value)}")
    return _write(config, lines, env, {*(node.id for node in config.nodes), name})


def without_node(config: Config, name: NodeId, env: Mapping[str, str]) -> Config:
    """Take a node out of the file of a configuration; return what the file says then; raises as `with_node` does."""
    text, items = _items(config, env)
    lines = _marked(text, items)
    for item in items:
        if item.value["id"] == name:
            lines[item.first : item.last + 1] = [None] * (item.last + 1 - item.first)
    return _write(config, lines, env, {node.id for node in config.nodes} - {name})


def listed(file: Path) -> list[NodeId]:
    """Return the names in a file's list of nodes, as far as they can be read, whatever else is wrong with it."""
    try:
        document = read(read_text(file, "the configuration")).value
    except ConfigError:
        return []
    nodes = document.get("nodes") if isinstance(document, dict) else None
    names = [node.get("id") for node in nodes or () if isinstance(node, dict)] if isinstance(nodes, list) else []
    return [name for name in names if isinstance(name, str) and _NAME.fullmatch(name)]


def next_name(config: Config) -> NodeId:
    """Return a name that no node has, and none had whose data is still there: n6 after n5."""
    directory = Path(config.storage.directory)
    used = [node.id for node in config.nodes] + (os.listdir(directory) if directory.is_dir() else [])
    numbers = [int(match[1]) for name in used if (match := NUMBERED.fullmatch(name))]
    return f"n{max(numbers, default=0) + 1}"


def _items(config: Config, env: Mapping[str, str]) -> tuple[str, list[_Item]]:
    if "nodes" in config.origins:
        raise ConfigError(f"{config.origins['nodes']} lists the nodes, and not {config.path}; change it there")
    if env.get("ZRAFT_CONTAINER_PORT"):
        raise ConfigError("ZRAFT_CONTAINER_PORT is the port of one node, and more would share it; unset it")
    text = read_text(Path(config.path), "the configuration")
    document = read(text)
    lines = text.splitlines()
    items = [_item(document, lines, number) for number in range(len(document.value["nodes"]))]
    for before, item in zip([None, *items[:-1]], items, strict=True):
        if not lines[item.first].lstrip().startswith("- ") or (before is not None and before.last >= item.first):
            raise ConfigError(
                f"{config.path}:{item.first + 1}: nodes: cannot be changed here, since it is not one node after the other"
                " with a dash each; write it so, or change it by hand"
            )
    return text, items


def _item(document: Document, lines: list[str], number: int) -> _Item:
    places = [line for place, line in document.lines.items() if place[:2] == ("nodes", number)]
    first = min(places) - 1
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
    return _Item(first, max(places) - 1, indent, document.value["nodes"][number])


def _marked(text: str, items: list[_Item]) -> list[str | None]:
    """Return the lines, with every node marked as one that joins; None for those that are needed no more."""
    lines: list[str | None] = [*text.splitlines()]
    for item in items:
        if not item.value.get("join"):
            lines[item.first] = f"{item.indent}- {_flow({**item.value, 'join': True})}"
            lines[item.first + 1 : item.last + 1] = [None] * (item.last - item.first)
    return lines


def _flow(value: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {json.dumps(each)}" for key, each in value.items()) + "}"


def _endpoints(config: Config, like: Mapping[str, Any], name: NodeId) -> dict[str, str]:
    """Return endpoints in the manner of another node's."""
    taken = {endpoint for node in config.nodes for endpoint in (node.peer, node.client, node.events)}
    found: dict[str, str] = {}
    for end in _ENDS:
        text = str(like[end])
        if text.startswith("ipc://"):
            head, _, tail = text.rpartition("/")
            mine = tail.replace(str(like["id"]), name) if str(like["id"]) in tail else f"{name}.{end}"
            found[end] = f"{head}/{mine}"
        else:
            found[end] = _free(text, taken | {*found.values()})
    return found


def _free(like: str, taken: set[str]) -> str:
    """Return the first tcp endpoint after `like` that nobody has."""
    host, _, number = like.rpartition(":")
    for port in range(int(number) + 1, 1 << 16):
        endpoint = location.with_port(like, port)
        if endpoint not in taken and _is_free(host.removeprefix("tcp://").strip("[]"), port):
            return endpoint
    raise ConfigError(f"no port above {number} is free on {host}; give the node endpoints by hand")


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True


def _write(config: Config, lines: list[str | None], env: Mapping[str, str], names: set[NodeId]) -> Config:
    """Put the text in place of the file, once it says what it should."""
    text = "\n".join(line for line in lines if line is not None) + "\n"
    after = load(config.path, text=text, env=env)
    before = {node.id: node for node in config.nodes}
    moved = [node.id for node in after.nodes if node.id in before and _place(node) != _place(before[node.id])]
    if {node.id for node in after.nodes} != names or moved:
        raise ConfigError(
            f"{config.path}: the list of nodes is written in a way that cannot be changed here; do it by hand"
        )
    path = Path(os.path.realpath(config.path))
    draft = path.with_name(f"{path.name}.draft")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise ConfigError(f"{config.path}: cannot be changed: {error.strerror}; correct its permissions") from error
    return after


def _place(node: Node) -> tuple[str, str, str]:
    return node.peer, node.client, node.events
