"""``zraft leaders``: who led when, and how it ended."""

from typing import Any

import typer

from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.cli.terms import OneTerm, print_terms
from zraft.client.client import Client
from zraft.machines.history.commands import Leadership
from zraft.moments import iso
from zraft.monitor.table import Line, text_or_dash

app = typer.Typer(add_completion=False)

_HEADERS = ("TERM", "NODE", "FROM", "TO", "ENDED")


@app.command()
def leaders(
    term: OneTerm = None, config_file: ConfigFile = None, timeout: Timeout = 5.0, as_json: AsJson = False
) -> None:
    """Show all leaders, oldest first: node, from when to when, and why it ended.

    A leadership ends when the next leader is elected, and for the reason for which that one stood: transfer, timeout (the
    others heard nothing from it) or notice of its end. So all of it is in the log. Whether it was stopped, or stepped down since no
    majority answered it, it has recorded itself: zraft events --kind stopping --kind role. Each time is of the clock of the node
    that was elected then.
    """
    with Client(find_config(config_file), timeout_s=timeout) as client:
        found = client.history.leaders(term)
    print_terms(found, term, _shown if as_json else None, _HEADERS, _lines)


def _shown(leadership: Leadership) -> dict[str, Any]:
    return {
        "term": leadership.term,
        "node": leadership.node,
        "from": iso(leadership.from_ms),
        "to": None if leadership.to_ms is None else iso(leadership.to_ms),
        "ended": leadership.ended,
        "from_time_ms": leadership.from_time_ms,
        "to_time_ms": leadership.to_time_ms,
    }


def _lines(leadership: Leadership) -> list[Line]:
    shown = _shown(leadership)
    cells = (str(leadership.term), leadership.node, *(text_or_dash(shown[name]) for name in ("from", "to", "ended")))
    return [Line(cells, "leader" if leadership.ended is None else "")]
