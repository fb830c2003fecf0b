"""``zraft log``: the replicated log, entry by entry, as a live node has it or as it lies in a data directory; and whether that is whole."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer

from zraft import config as configuration
from zraft.cli import datadirectory, findings
from zraft.cli.find import find_config
from zraft.cli.monitor import chosen
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.client.survey import survey
from zraft.config import Config
from zraft.errors import ConfigError, NotFound, StorageError, Unavailable
from zraft.excerpt import view
from zraft.machines.mounts import DESCRIBERS, mount
from zraft.monitor.statuses import read_status
from zraft.printable import one_line
from zraft.requests import EntryView, Status, StatusRequest
from zraft.storage.reading import read_log

app = typer.Typer(add_completion=False, no_args_is_help=True)

_WINDOW = 500
"""Entries that a node is asked for at a time."""


class Log(NamedTuple):
    """A log, or the part of it that there is."""

    name: str
    """Whose it is."""
    first: int
    """Its first entry that is there; what came before is in a snapshot."""
    last: int
    knows_applied: bool
    """Whether it is known which entries are committed and applied: to a node it is, to its disk not."""


class _Source(NamedTuple):
    """A log, and how to get at it."""

    log: Log
    entries: Callable[[int, int], Iterator[EntryView]]
    """Given the first and the last that are wanted, both of them there, yields them as `EntryView`, oldest first."""


@app.callback()
def _log() -> None:
    """Read the replicated log, and check that it is whole."""


@app.command()
def show(
    target: Annotated[str, typer.Argument(metavar="NODE|DIR", help="A node that runs, or a node's data directory.")],
    *,
    first: Annotated[int | None, typer.Option("--from", min=1, metavar="I", help="Begin with this entry.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, metavar="J", help="End with this entry.")] = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print log entries, oldest first: index and term, kind, cluster time in seconds, and what they say.

    A live node marks with * what is committed and applied. A data directory is read as it is, and stays so, whether or not its
    node runs; whoever has machines of their own names the configuration too. Exit code 1 when there is no such entry, 5
    when the directory is damaged.
    """
    if first is not None and last is not None and first > last:
        raise ConfigError(f"--from {first} --to {last}: the first entry comes after the last")
    source = _source(target, config_file, timeout)
    log = source.log
    wanted = (max(first or log.first, log.first), min(last or log.last, log.last))
    if (first or last) and wanted[0] > wanted[1]:
        have = f"its log has {log.first} to {log.last}" if log.last >= log.first else "its log is empty"
        raise NotFound(f"{log.name}: no entry from {first or log.first} to {last or 'the last'}; {have}")
    if (first or 1) < log.first:
        print(f"zraft: note: entries before {log.first} are in a snapshot, and no longer in the log", file=sys.stderr)
    entries = source.entries(*wanted)
    if as_json:
        _print_json(entries, log.knows_applied)
    else:
        _print_text(entries, log)


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A node's data directory.")], as_json: AsJson = False
) -> None:
    """Read all of a node's data directory, and print what is there and what is wrong, and where; changes nothing.

    That is every header, slot and write of the log and how they follow each other, the vote and term, and every byte of
    the snapshots. Exit code 5 when something is damaged, 1 when there is no log.
    """
    if not directory.is_dir():
        raise NotFound(f"{directory}: no such directory; name a node's data directory (storage.directory/NODE)")
    found = datadirectory.verified(directory)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(findings.as_keys(found)), indent=2).decode())
    else:
        for line in findings.lines(found):
            print(one_line(line))
    if found.damage:
        places = "1 place is" if len(found.damage) == 1 else f"{len(found.damage)} places are"
        raise StorageError(f"{directory}: {places} damaged, as told above; nothing was changed")


def _source(target: str, config_file: Path | None, timeout_s: float) -> _Source:
    if "/" in target or target in (".", ".."):
        return _kept(Path(target), config_file)
    try:
        config = find_config(config_file)
        (node,) = chosen(config, [target])
    except ConfigError:
        if Path(target).is_dir():
            return _kept(Path(target), config_file)
        raise
    return _live(config, node, timeout_s)


# -- a live node -------------------------------------------------------------------------------------------------------


def _live(config: Config, node: str, timeout_s: float) -> _Source:
    status = _ask(config, node, timeout_s, 0, 0)
    log = Log(node, status.first_index, status.last_index, True)
    return _Source(log, partial(_pages, config, node, timeout_s))


def _pages(config: Config, node: str, timeout_s: float, first: int, last: int) -> Iterator[EntryView]:
    for begin in range(first, last + 1, _WINDOW):
        yield from _page(config, node, timeout_s, begin, min(begin + _WINDOW - 1, last))


def _page(config: Config, node: str, timeout_s: float, first: int, last: int) -> list[EntryView]:
    """Return the entries from `first` to `last`, as many as are left by now, in as many answers as the node needs."""
    found: list[EntryView] = []
    while first <= last:
        status = _ask(config, node, timeout_s, last - first + 1, last)
        views = [each for each in status.log if first <= each.index <= last]
        if not views:
            break
        found += views
        last = views[-1].index - 1
    return found[::-1]


def _ask(config: Config, node: str, timeout_s: float, count: int, until: int) -> Status:
    request = partial(StatusRequest, log=count, until=until)
    reply = survey(config, request, nodes=[node], timeout_s=timeout_s)[node]
    status = None if reply is None else read_status(reply.result)
    if status is None:
        raise Unavailable(
            f"{node} does not answer ({config.path}); start it, or read its data directory where it is: zraft log show"
            f" {config.data_directory(node)}"
        )
    return status


# -- a data directory --------------------------------------------------------------------------------------------------


def _kept(directory: Path, config_file: Path | None) -> _Source:
    if not directory.is_dir():
        raise NotFound(f"{directory}: no such directory; name a node, or a node's data directory")
    describers = DESCRIBERS if config_file is None else mount(configuration.load(config_file))[1]
    found = datadirectory.read(directory, read_log)

    def entries(first: int, last: int) -> Iterator[EntryView]:
        for entry in found.entries[first - found.first_index : last - found.first_index + 1]:
            yield view(entry, False, describers)

    return _Source(Log(str(directory), found.first_index, found.next_index - 1, False), entries)


# -- out ---------------------------------------------------------------------------------------------------------------


def _print_text(entries: Iterable[EntryView], log: Log) -> None:
    width = len(f"{log.last}@{log.last}")
    for entry in entries:
        mark = "*" if entry.committed else " "
        name = f"{entry.index}@{entry.term}"
        line = f"{mark} {name:<{width}}  {entry.kind:<10}  {entry.time_ms / 1_000:>12.3f}  {entry.text}"
        print(one_line(line))


def _print_json(entries: Iterable[EntryView], knows_applied: bool) -> None:
    """Print a list, an entry at a time: a log may be long."""
    separator = "["
    for entry in entries:
        shown = {
            "index": entry.index,
            "term": entry.term,
            "kind": entry.kind,
            "time_ms": entry.time_ms,
            "text": entry.text,
            "applied": entry.committed if knows_applied else None,
        }
        print(separator + json.dumps(shown))
        separator = ","
    print("]" if separator == "," else "[]")
