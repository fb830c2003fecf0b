"""``zraft elections``: who stood in each term, and who voted for whom."""

import json
import os
import sys
from typing import Annotated, Any

import typer

from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.client.client import Client
from zraft.client.history.elections import Candidacy, Election
from zraft.errors import NotFound
from zraft.moments import iso
from zraft.monitor.table import Line, grid, text_or_dash
from zraft.supervisor.output import wants_colour

app = typer.Typer(add_completion=False)

OneTerm = Annotated[
    int | None, typer.Option("--term", min=1, metavar="TERM", help="Only this term; exit code 1 if nothing is known.")
]
_HEADERS = ("TERM", "CANDIDATE", "OUTCOME", "FOR", "AGAINST", "EXPECTED", "CAUSE", "TOOK", "TIME")


@app.command()
def elections(
    term: OneTerm = None, config_file: ConfigFile = None, timeout: Timeout = 5.0, as_json: AsJson = False
) -> None:
    """Show all elections, oldest first: candidates, outcome, votes with names, who had one, cause and duration.

    Those that were won are in the log, and the same wherever one asks; candidacies that were lost are known as far as the
    nodes answer that stood. The votes are those that had come when it was decided.
    """
    with Client(find_config(config_file), timeout_s=timeout) as client:
        found = client.history.elections(term, note=print_note)
    if not found and term is not None:
        raise nothing_known(term)
    if as_json:
        print(json.dumps([_shown(election) for election in found]))
        return
    rows = [_line(election.term, candidacy) for election in found for candidacy in election.candidacies]
    print("\n".join(grid(_HEADERS, rows, colour=wants_colour(sys.stdout.fileno(), os.environ))))


def print_note(text: str) -> None:
    """Tell people what may be missing."""
    print(f"zraft: note: {text}", file=sys.stderr)


def nothing_known(term: int) -> NotFound:
    """Return the error for a term that is not in the history."""
    return NotFound(f"term {term}: nothing is known of it; without --term all are shown that there are")


def _shown(election: Election) -> dict[str, Any]:
    """Return an election for JSON: of the winner, if there is one, and of all candidates."""
    candidates = [_candidate(candidacy) for candidacy in election.candidacies]
    won: dict[str, Any] = next((each for each in candidates if each["node"] == election.leader), {})
    names = ("cause", "duration_ms", "votes_for", "votes_against", "time")
    expected: list[str] = won.get("expected") or next((each["expected"] for each in candidates if each["expected"]), [])
    of_winner = {name: won.get(name) for name in names}
    return {
        "term": election.term,
        "leader": election.leader,
        **of_winner,
        "expected": expected,
        "candidates": candidates,
    }


def _candidate(candidacy: Candidacy) -> dict[str, Any]:
    return {
        "node": candidacy.node,
        "outcome": candidacy.outcome,
        "cause": candidacy.cause,
        "duration_ms": candidacy.duration_ms,
        "votes_for": list(candidacy.votes_for),
        "votes_against": list(candidacy.votes_against),
        "expected": list(candidacy.expected),
        "time": iso(candidacy.wall_ms),
    }


def _line(term: int, candidacy: Candidacy) -> Line:
    voters = (candidacy.votes_for, candidacy.votes_against, candidacy.expected)
    cells = (
        str(term),
        candidacy.node,
        candidacy.outcome,
        *(" ".join(names) or "-" for names in voters),
        text_or_dash(candidacy.cause),
        "-" if candidacy.duration_ms is None else f"{candidacy.duration_ms} ms",
        iso(candidacy.wall_ms),
    )
    return Line(cells, "leader" if candidacy.outcome == "won" else "")
