"""The layers of a configuration: each value checked for itself, and remembered with the place that it came from."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from zraft.config import location
from zraft.config.document import Place, read
from zraft.config.environment import nearest
from zraft.config.schema import OPTIONS, SECTIONS, Config, Node

_NODE_FIELDS = {field.name: field for field in msgspec.structs.fields(Node)}
_NEEDED = [name for name, field in _NODE_FIELDS.items() if field.required]
_TOP = {*SECTIONS, "nodes", "machines"}
_MACHINE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_CLASS = re.compile(f"{_DOTTED}:{_DOTTED}")
_SHOWN_MAX = 60


class Layer:
    """One source of values: where it is, how strictly it is typed, and what its relative paths are relative to."""

    def __init__(self, name: str, base: Path, *, strict: bool, lines: Mapping[Place, int] | None = None) -> None:
        self._name = name
        self.base = base
        self.strict = strict
        self._lines = lines or {}

    def at(self, *place: str | int) -> str:
        """Return the source, with the line if there is one, as the beginning of a message about `place`."""
        for end in range(len(place), 0, -1):
            if place[:end] in self._lines:
                return f"{self._name}:{self._lines[place[:end]]}"
        return self._name


class Settings:
    """What all layers together say so far; a later layer wins."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.values: dict[str, Any] = {}
        """Option as ``section.key`` to its checked value."""
        self.nodes: list[dict[str, Any]] | None = None
        """What is known of each node, if a layer lists nodes; a key that is wrong or missing is missing here."""
        self.machines: dict[str, str] = {}
        """Machines of one's own, each with its class, as far as they make sense."""
        self.sources: dict[str, str] = {}
        """Option to the place that its value came from; nodes have ``nodes[0].peer`` too."""
        self.origins: dict[str, str] = {}
        """Option to the variable or flag that its value came from, if it is one."""
        self.mistakes: list[str] = []

    def put(self, key: str, value: Any, layer: Layer) -> None:
        """Check and keep one option; a mistake is collected, and the value of the layer below stays."""
        at = layer.at(*key.split("."))
        if key not in OPTIONS:
            self.mistakes.append(f"{at}: {key}: no such option{nearest(key, OPTIONS)}; correct or remove it")
            return
        checked = self._checked(key, value, OPTIONS[key].type, at, layer)
        if checked is not _WRONG:
            self.values[key] = checked
            self.sources[key] = at
            if not layer.strict:
                self.origins[key] = at

    def put_document(self, document: Any, layer: Layer) -> None:
        """Take in everything that a YAML file holds."""
        if document is None:
            return
        if not isinstance(document, dict):
            self.mistakes.append(
                f"{layer.at()}: must be a map of sections (nodes:, cluster:, ...), not {_show(document)}"
            )
            return
        for section, content in document.items():
            at = layer.at(section)
            if section == "nodes":
                self.put_nodes(content, layer)
            elif section == "machines":
                self.put_machines(content, layer)
            elif section not in SECTIONS:
                self.mistakes.append(f"{at}: {section}: no such section{nearest(section, _TOP)}; correct or remove it")
            elif isinstance(content, dict):
                for name, value in content.items():
                    self.put(f"{section}.{name}", value, layer)
            elif content is not None:
                self.mistakes.append(f"{at}: {section}: must be a map of options, not {_show(content)}")

    def put_nodes(self, content: Any, layer: Layer) -> None:
        """Take in the list of nodes, as a whole: layers do not mix them."""
        self.sources["nodes"] = layer.at("nodes")
        if not layer.strict:
            self.origins["nodes"] = layer.at("nodes")
        if not isinstance(content, list):
            self.mistakes.append(
                f"{layer.at('nodes')}: nodes: must be a list of nodes (- id: n1 ...), not {_show(content)}"
            )
            return
        self.nodes = [self._node(number, item, layer) for number, item in enumerate(content)]

    def put_machines(self, content: Any, layer: Layer) -> None:
        """Take in the map of machines, as a whole; whether there are such classes shows where they are mounted."""
        at = layer.at("machines")
        if not layer.strict:
            self.origins["machines"] = at
        if not isinstance(content, dict | None):
            self.mistakes.append(f"{at}: machines: must be a map (name: package.module:Class), not {_show(content)}")
            return
        self.machines = content or {}
        for name, value in self.machines.items():
            there = f"{layer.at('machines', name)}: machines.{name}"
            if not _MACHINE_NAME.fullmatch(name):
                self.mistakes.append(f"{there}: the name must be 1 to 64 of A-Z a-z 0-9 . _ -")
            if not isinstance(value, str) or not _CLASS.fullmatch(value):
                self.mistakes.append(f"{there}: must name a class as package.module:Class, not {_show(value)}")

    def put_text(self, key: str, text: str, layer: Layer) -> None:
        """Take in ``nodes`` or ``machines`` written as YAML in one line."""
        document = read(text)
        self.sources[key] = layer.at()
        self.mistakes.extend(f"{layer.at()}: {why}" for _, why in document.mistakes)
        if not document.mistakes:
            (self.put_nodes if key == "nodes" else self.put_machines)(document.value, layer)

    def config(self, path: str, warnings: tuple[str, ...]) -> Config:
        """Build the result; only once there are no mistakes."""
        sections = {
            name: kind(**{f.name: self.values[f"{name}.{f.name}"] for f in msgspec.structs.fields(kind)})
            for name, kind in SECTIONS.items()
        }
        nodes = tuple(Node(**node) for node in self.nodes or ())
        return Config(
            nodes=nodes,
            machines=self.machines,
            **sections,  # type: ignore[arg-type]
            path=path,
            warnings=warnings,
            origins=self.origins,
        )

    def _node(self, number: int, item: Any, layer: Layer) -> dict[str, Any]:
        name = f"nodes[{number}]"
        at = layer.at("nodes", number)
        if not isinstance(item, dict):
            self.mistakes.append(f"{at}: {name}: must have {', '.join(_NEEDED)}; it is {_show(item)}")
            return {}
        for key in [key for key in item if key not in _NODE_FIELDS]:
            there = layer.at("nodes", number, key)
            self.mistakes.append(
                f"{there}: {name}.{key}: no such key{nearest(key, _NODE_FIELDS)}; correct or remove it"
            )
        values = {}
        for key, field in _NODE_FIELDS.items():
            if key not in item:
                if field.required:
                    self.mistakes.append(f"{at}: {name}.{key}: missing; every node has {', '.join(_NEEDED)}")
                continue
            there = self.sources[f"{name}.{key}"] = layer.at("nodes", number, key)
            checked = self._checked(
                f"{name}.{key}", item[key], field.type, there, layer, endpoint=key in ("peer", "client", "events")
            )
            if checked is not _WRONG:
                values[key] = checked
        return values

    def _checked(self, key: str, value: Any, kind: Any, at: str, layer: Layer, *, endpoint: bool = False) -> Any:
        if value == "null" and not layer.strict and type(None) in get_args(kind):
            return None
        try:
            checked = msgspec.convert(value, kind, strict=layer.strict)
        except msgspec.ValidationError:
            hint = "; put it in quotes" if _is_text(kind) and isinstance(value, int | float) else ""
            self.mistakes.append(f"{at}: {key}: must be {_expected(kind)}, not {_show(value)}{hint}")
            return _WRONG
        if checked is None or not isinstance(checked, str):
            return checked
        try:
            if endpoint or key in location.ENDPOINT_KEYS:
                return location.endpoint(checked, layer.base, self._env)
            if "\0" in checked or not checked:
                raise ValueError(f"must be {_expected(kind)}, not {_show(value)}")
        except ValueError as error:
            self.mistakes.append(f"{at}: {key}: {error}")
            return _WRONG
        return location.absolute(checked, layer.base) if key in location.PATH_KEYS else checked


_WRONG = object()


def _is_text(kind: Any) -> bool:
    return kind is str or str in get_args(kind)


def _expected(kind: Any) -> str:
    if kind is bool:
        return "true or false"
    if _is_text(kind):
        return "text" if kind is str else "text or null"
    bounds = kind.__metadata__[0]
    return f"a whole number from {bounds.ge} to {bounds.le}"


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
