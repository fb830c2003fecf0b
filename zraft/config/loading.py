"""From a file, the environment and flags to a `Config`, in one call."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from zraft.config import location, rules
from zraft.config.document import read
from zraft.config.environment import CONTAINER_PORT, MACHINES, NODES, container_port, options, priority, read_text
from zraft.config.schema import OPTIONS, Config
from zraft.config.settings import Layer, Settings
from zraft.errors import ConfigError
from zraft.raft.types import NodeId

_MISTAKES_MAX = 50


def load(
    path: str | Path,
    *,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """Read, merge and check the configuration.

    Parameters
    ----------
    path
        The YAML file.
    text
        What will stand in the file, which need not exist yet.
    env
        Environment variables; those of the process unless given.
    overrides
        Command-line flags, as ``{"section.key": value}``; None means that the flag was not given.

    Raises
    ------
    ConfigError
        With one line for every mistake that there is.
    """
    env = os.environ if env is None else env
    shown = str(path)
    file = Path(os.path.realpath(Path(path).parent)) / Path(path).name
    document = read(read_text(Path(path), "the configuration") if text is None else text)
    settings = Settings(env)
    settings.mistakes.extend(f"{shown}:{line}: {why}" for line, why in document.mistakes)
    _put_defaults(settings, Layer(shown, file.parent, strict=True))
    settings.put_document(document.value, Layer(shown, file.parent, strict=True, lines=document.lines))
    warnings = _put_environment(settings, env)
    _put_overrides(settings, overrides or {})
    unread = document.value is None and document.mistakes
    if "nodes" not in settings.sources and not unread:
        settings.mistakes.append(f"{shown}: nodes: missing; list at least one node with id, peer, client and events")
    settings.mistakes.extend(rules.mistakes(settings))
    if settings.mistakes:
        raise ConfigError(*_bounded(settings.mistakes))
    warnings.extend(rules.warnings(settings))
    return settings.config(str(file), tuple(warnings))


def own_port(config: Config, node_id: NodeId, *, env: Mapping[str, str] | None = None) -> Config:
    """Return the configuration with this node's endpoints moved to ``ZRAFT_CONTAINER_PORT``, if that is set.

    The port itself is for peers, the next one for clients, the one after for monitors. It is where this node listens;
    the others go on reaching it where the file says, through whatever maps the one to the other.
    """
    port = container_port(os.environ if env is None else env)
    if port is None:
        return config
    node = config.node(node_id)
    try:
        moved = msgspec.structs.replace(
            node,
            peer=location.with_port(node.peer, port),
            client=location.with_port(node.client, port + 1),
            events=location.with_port(node.events, port + 2),
        )
    except ValueError as error:
        raise ConfigError(
            f"ZRAFT_CONTAINER_PORT: {node_id}: {error}; unset it, or give the node tcp endpoints"
        ) from error
    nodes = tuple(moved if other.id == node_id else other for other in config.nodes)
    twice = list(
        rules.endpoints_used_twice(
            [msgspec.structs.asdict(n) for n in nodes],
            config.supervisor.control,
            {"nodes": CONTAINER_PORT},
            {"nodes": CONTAINER_PORT},
        )
    )
    if twice:
        raise ConfigError(*twice)
    return msgspec.structs.replace(config, nodes=nodes)


def own_priority(config: Config, node_id: NodeId, *, env: Mapping[str, str] | None = None) -> Config:
    """Return the configuration with this node's priority as ``ZRAFT_PRIORITY`` has it, if that is set."""
    chosen = priority(os.environ if env is None else env)
    if chosen is None:
        return config
    return _with(config, node_id, priority=chosen)


def own_join(config: Config, node_id: NodeId) -> Config:
    """Return the configuration of a node that is to join: it begins no cluster."""
    return _with(config, node_id, join=True)


def _with(config: Config, node_id: NodeId, **changed: Any) -> Config:
    own = config.node(node_id)
    nodes = [msgspec.structs.replace(node, **changed) if node is own else node for node in config.nodes]
    return msgspec.structs.replace(config, nodes=tuple(nodes))


def _put_defaults(settings: Settings, layer: Layer) -> None:
    for key, field in OPTIONS.items():
        settings.put(key, field.default, layer)


def _put_environment(settings: Settings, env: Mapping[str, str]) -> list[str]:
    warnings: list[str] = []
    for given in options(env, settings.mistakes, warnings):
        layer = Layer(given.variable, Path.cwd(), strict=False)
        if given.variable == NODES:
            settings.put_text("nodes", str(given.value), layer)
        elif given.variable == MACHINES:
            settings.put_text("machines", str(given.value), layer)
        else:
            settings.put(given.key, given.value, layer)
    for check in (container_port, priority):
        try:
            check(env)
        except ConfigError as error:
            settings.mistakes.extend(error.mistakes)
    return warnings


def _put_overrides(settings: Settings, overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        layer = Layer(_flag(key), Path.cwd(), strict=False)
        if value is not None and key == "nodes":
            settings.put_nodes(value, layer)
        elif value is not None:
            settings.put(key, os.fspath(value) if isinstance(value, Path) else value, layer)


def _flag(key: str) -> str:
    """Return the flag that sets an option: it is named like it."""
    return "--" + key.replace(".", "-").replace("_", "-")


def _bounded(mistakes: list[str]) -> list[str]:
    if len(mistakes) <= _MISTAKES_MAX:
        return mistakes
    return [*mistakes[:_MISTAKES_MAX], f"and {len(mistakes) - _MISTAKES_MAX} more mistakes"]
