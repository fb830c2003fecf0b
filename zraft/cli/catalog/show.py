"""How the catalog is printed: tables and blocks for people, JSON for programs."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from zraft.client.catalog.metadata import Metadata
from zraft.machines.catalog.records import Broker, Happened, Known, Record, Topic, plain
from zraft.moments import iso
from zraft.monitor.table import Line, grid
from zraft.printable import one_line

Names = Mapping[str, str]
"""What people call the topic or broker with that uuid."""
_OWNERS = {"topic_uuid": "topic", "broker_uuid": "broker"}


def as_json(fetched: Metadata) -> dict[str, Any]:
    """Return a fetch for JSON, by part."""
    parts = {name: [plain(each) for each in getattr(fetched, name)] for name in fetched.__struct_fields__[1:]}
    return {"revision": fetched.revision, **parts}


def records(records: Sequence[Known], *, as_json: bool, names: Names | None = None) -> None:
    """Print a list, as one array or as a table."""
    if as_json:
        print(json.dumps([plain(each) for each in records]))
    elif records:
        print("\n".join(_table(records, names or {})))


def record(record: Record, *, as_json: bool) -> None:
    """Print one record, as an object or field by field."""
    fields = plain(record)
    if as_json:
        print(json.dumps(fields))
        return
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:<{width}}  {one_line(_text(value))}")


def registered(record: Record, given: Mapping[str, object], *, as_json: bool) -> None:
    """Print what a registration returned, and say so when it was there already and is otherwise than was asked for.

    Parameters
    ----------
    given
        The fields that the command line named; None where it did not.
    """
    fields = plain(record)
    others = [name for name, value in given.items() if value is not None and fields[name] != value]
    if others:
        noun = type(record).__name__.lower()
        print(
            f"zraft: note: this {noun} was registered before, and its {', '.join(others)} stays as it is; "
            f"zraft catalog {noun} change changes it",
            file=sys.stderr,
        )
    print(json.dumps(fields) if as_json else fields["uuid"])


def happened(events: Sequence[Happened], *, as_json: bool) -> None:
    """Print what happened, as one array or as a table."""
    rows = [msgspec.structs.asdict(each) | {"kind": str(each.kind), "time": iso(each.wall_ms)} for each in events]
    if as_json:
        print(json.dumps([{name: value for name, value in row.items() if name != "wall_ms"} for row in rows]))
    elif rows:
        names = ("revision", "time", "term", "verb", "kind", "key")
        print(
            "\n".join(
                grid(list(map(str.upper, names)), [Line(tuple(str(row[name]) for name in names)) for row in rows])
            )
        )


def sections(fetched: Metadata) -> Iterator[str]:
    """Return a fetch for people: the revision, and a table of each sort of record that there is."""
    names = owners(fetched.brokers, fetched.topics)
    yield f"revision {fetched.revision}"
    for part in fetched.__struct_fields__[1:]:
        rows = getattr(fetched, part)
        if rows:
            yield f"\n{part.replace('_', ' ')}"
            yield from _table(rows, names)


def owners(brokers: Sequence[Broker], topics: Sequence[Topic]) -> dict[str, str]:
    """Return what people call these brokers and topics, by uuid."""
    return {broker.uuid: str(broker.broker_id) for broker in brokers} | {topic.uuid: topic.name for topic in topics}


def _table(records: Sequence[Known], names: Names) -> list[str]:
    fields = type(records[0]).__struct_fields__
    rows = [Line(tuple(_cell(name, getattr(each, name), names) for name in fields)) for each in records]
    return grid([_header(name) for name in fields], rows)


def _header(field: str) -> str:
    return _OWNERS.get(field, field).upper()


def _cell(field: str, value: object, names: Names) -> str:
    if isinstance(value, Record):
        cells = ((name, _cell(name, getattr(value, name), names)) for name in value.__struct_fields__)
        return " ".join(f"{_header(name).lower()}={text}" for name, text in cells if name != "uuid")
    return names.get(str(value), str(value)) if field in _OWNERS else _text(value)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return "-" if value in (None, "") else str(value)
