"""``zraft status``: what the nodes say of themselves."""

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer

from zraft.cli.find import find_config
from zraft.cli.monitor import chosen, unanswered
from zraft.cli.options import NUMBER_MAX, ConfigFile
from zraft.config import Config
from zraft.errors import ConfigError
from zraft.monitor.statuses import ask, ask_all
from zraft.monitor.table import Line, duration, grid, text_or_dash
from zraft.printable import one_line
from zraft.requests import Status
from zraft.supervisor.output import wants_colour

app = typer.Typer(add_completion=False)

_LOG_DEFAULT = 10
_KEYS = (
    *("node", "endpoint", "role", "term", "leader", "voted_for", "commit_index", "last_applied", "last_index"),
    *("election_timer_ms", "election_timeout_ms", "healthy", "uptime_s", "pid"),
)
_HEADERS = (
    "NODE",
    "ENDPOINT",
    "ROLE",
    "TERM",
    "LEADER",
    "VOTED",
    "COMMIT",
    "APPLIED",
    "LAST",
    "HEALTHY",
    "UPTIME",
    "PID",
)

Answers = Mapping[str, Status | None]


@app.command()
def status(
    *,
    node: Annotated[
        str | None, typer.Argument(metavar="[NODE]", help="Show one node and its newest log entries.")
    ] = None,
    config_file: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    log: Annotated[
        int | None,
        typer.Option("--log", min=0, max=NUMBER_MAX, metavar="N", help="With NODE: so many entries; 10 by default."),
    ] = None,
) -> None:
    """Ask every node for its own view of itself; exit code 3 when none answers."""
    if log is not None and node is None:
        raise ConfigError("--log: name the node whose log to show: zraft status NODE --log N")
    config = find_config(config_file)
    count = 0 if node is None else _LOG_DEFAULT if log is None and not json else log or 0
    if node is None or node not in (each.id for each in config.nodes):
        config, answers = ask_all(config, count)
        answers = {name: answers[name] for name in chosen(config, [node] if node else [])}
    else:
        answers = ask(config, [node], count)
    if json:
        print(as_json(config, answers, with_log=node is not None and log is not None))
    elif node is None:
        print("\n".join(table(config, answers, colour=wants_colour(sys.stdout.fileno(), os.environ))))
    elif (answer := answers[node]) is not None:
        print("\n".join(block(answer)))
    if not any(answers.values()):
        raise unanswered(config, node)


def as_json(config: Config, answers: Answers, *, with_log: bool = False) -> str:
    """Return the documented JSON; a node that does not answer is there, not healthy, with null for what is unknown."""
    nodes = []
    for name, answer in answers.items():
        known: dict[str, Any] = msgspec.to_builtins(answer) if answer is not None else {}
        shown = {key: known.get(key) for key in _KEYS}
        shown |= {"node": name, "endpoint": config.node(name).client, "healthy": known.get("healthy", False)}
        if with_log:
            shown["log"] = known.get("log", [])
        nodes.append(shown)
    return msgspec.json.format(msgspec.json.encode({"cluster": config.cluster.name, "nodes": nodes}), indent=2).decode()


def table(config: Config, answers: Answers, *, colour: bool) -> list[str]:
    """Return the table of all nodes, and under it what they warn of."""
    rows = [_line(name, config.node(name).client, answer) for name, answer in answers.items()]
    warnings = {
        f"{name}: {one_line(warning)}": None
        for name, answer in answers.items()
        if answer is not None
        for warning in answer.warnings
    }
    return [*grid(_HEADERS, rows, colour=colour), *(f"warning: {warning}" for warning in warnings)]


def block(status: Status) -> list[str]:
    """Return what is known of one node, and its newest entries, newest first; ``*`` marks what is committed and applied."""
    facts = {
        "healthy": "yes" if status.healthy else "no",
        "state": text_or_dash(status.role),
        "term": str(status.term),
        "leader": text_or_dash(status.leader),
        "voted for": text_or_dash(status.voted_for),
        "commit index": f"{status.commit_index} (applied {status.last_applied}, last {status.last_index})",
        "election timeout": f"{status.election_timer_ms}/{status.election_timeout_ms} ms",
        "uptime": f"{duration(status.uptime_s)} (pid {status.pid})",
    }
    width = max(map(len, facts))
    lines = [f"{status.node} {status.endpoint}", *(f"  {name:<{width}}  {value}" for name, value in facts.items())]
    lines += [f"  warning: {warning}" for warning in status.warnings]
    if status.log:
        lines.append("  log, newest first (* committed and applied)")
    size = max((len(f"{entry.index}@{entry.term}") for entry in status.log), default=0)
    for entry in status.log:
        name = f"{entry.index}@{entry.term}"
        lines.append(f"  {'*' if entry.committed else ' '} {name:<{size}}  {entry.kind:<10}  {entry.text}")
    return [one_line(line) for line in lines]


def _line(name: str, endpoint: str, answer: Status | None) -> Line:
    if answer is None:
        return Line((name, endpoint, *("-" for _ in _HEADERS[2:9]), "no", "-", "-"), "down")
    cells = (
        name,
        endpoint,
        *map(text_or_dash, (answer.role, answer.term, answer.leader, answer.voted_for)),
        *map(str, (answer.commit_index, answer.last_applied, answer.last_index)),
        "yes" if answer.healthy else "no",
        duration(answer.uptime_s),
        str(answer.pid),
    )
    return Line(cells, "leader" if answer.role == "leader" else "" if answer.healthy else "down")
