"""``zraft elections``: who stood in each term, and who voted for whom."""

import sys
from typing import Any

import typer

from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.cli.terms import OneTerm, print_terms
from zraft.client.client import Client
from zraft.client.history.elections import Candidacy, Election
from zraft.moments import iso
from zraft.monitor.table import Line, text_or_dash

app = typer.Typer(add_completion=False)

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
    print_terms(found, term, _shown if as_json else None, _HEADERS, _lines)


def print_note(text: str) -> None:
    """Tell people what may be missing."""
    print(f"zraft: note: {text}", file=sys.stderr)


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


def _lines(election: Election) -> list[Line]:
    return [_line(election.term, candidacy) for candidacy in election.candidacies]


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
