"""YAML text to plain values, with the line of every one, and every mistake of form reported at once.

It reads the parser's events itself. That keeps the lines, finds keys that are given twice (YAML loaders let the last one
win in silence), and bounds the depth: the C composer recurses without a limit and ends the process on deep nesting.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

_DEPTH_MAX = 8
_SCALARS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Place = tuple[str | int, ...]
"""Where in the document: keys and positions in lists."""


class Document(NamedTuple):
    """What a YAML text holds."""

    value: Any
    """Maps, lists and scalars; None for an empty text."""
    lines: dict[Place, int]
    """The line of each key and each list item, counted from 1."""
    mistakes: list[tuple[int, str]]
    """Line and what is wrong there."""


class _Refused(Exception):
    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def read(text: str) -> Document:
    """Read one YAML document."""
    return _Reading().run(text)


class _Reading:
    """One pass over the events of a text."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.mistakes: list[tuple[int, str]] = []
        self._resolve: Callable[..., str] = yaml.resolver.Resolver().resolve
        self._construct: Callable[..., Any] = yaml.constructor.SafeConstructor().construct_object

    def run(self, text: str) -> Document:
        value = None
        try:
            events = iter(yaml.parse(text, Loader=_Loader))
            for event in events:
                if isinstance(event, yaml.DocumentStartEvent):
                    value = self._document(event, events, value)
        except _Refused as refused:
            self.mistakes.append((refused.line, str(refused)))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.mistakes.append((mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}"))
        except yaml.YAMLError as error:
            self.mistakes.append((1, f"not YAML: {' '.join(str(error).split())}"))
        return Document(value, self.lines, self.mistakes)

    def _document(self, start: Any, events: Iterator[Any], before: Any) -> Any:
        if before is not None:
            raise _Refused(_line(start), "a second document begins here; keep one, and remove the '---' lines")
        return self._value(next(events), events, ())

    def _value(self, event: Any, events: Iterator[Any], place: Place) -> Any:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _Refused(_line(event), "anchors (&) and aliases (*) are not read here; write the value out")
        if len(place) > _DEPTH_MAX:
            raise _Refused(_line(event), f"nested more than {_DEPTH_MAX} deep; nothing in a configuration is")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if event.tag is not None and not event.implicit:
            raise _Refused(_line(event), f"the tag {event.tag} is not read here; remove it")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, place)
        return self._mapping(events, place)

    def _sequence(self, events: Iterator[Any], place: Place) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            here = (*place, len(items))
            self.lines[here] = _line(event)
            items.append(self._value(event, events, here))
        return items

    def _mapping(self, events: Iterator[Any], place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _Refused(_line(event), "a list or map as a key; keys are words")
            key = event.value
            here = (*place, key)
            if key in values:
                path = ".".join(map(str, here))
                self.mistakes.append(
                    (_line(event), f"{path}: given twice, first on line {self.lines[here]}; keep one of them")
                )
                here = (*place, f"{key} (again)")
            else:
                self.lines[here] = _line(event)
            value = self._value(next(events), events, here)
            values.setdefault(key, value)
        return values

    def _scalar(self, event: Any) -> Any:
        if event.tag is not None and not any(event.implicit):
            raise _Refused(_line(event), f"the tag {event.tag} is not read here; remove it")
        tag = self._resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag not in _SCALARS:
            return event.value
        try:
            return self._construct(yaml.ScalarNode(tag, event.value))
        except ValueError:
            return (
                event.value
            )  # Looks like a number and is none, or one of thousands of digits: the schema refuses the text.


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
