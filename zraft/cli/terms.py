"""What ``zraft elections`` and ``zraft leaders`` have in common: one term or all, as a table or as JSON."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from zraft.cli.options import NUMBER_MAX
from zraft.errors import NotFound
from zraft.monitor.table import Line, grid
from zraft.supervisor.output import wants_colour

OneTerm = Annotated[
    int | None,
    typer.Option(
        "--term", min=1, max=NUMBER_MAX, metavar="TERM", help="Only this term; exit code 1 if nothing is known."
    ),
]
Found = TypeVar("Found")


def print_terms(
    found: Sequence[Found],
    term: int | None,
    shown: Callable[[Found], dict[str, Any]] | None,
    headers: Sequence[str],
    lines: Callable[[Found], Sequence[Line]],
) -> None:
    """Print what was found of a term, or of all.

    Parameters
    ----------
    found
        Oldest first.
    term
        The one that was asked for; None for all.
    shown
        Makes an object for JSON of each; None for a table.
    headers, lines
        The table: its columns, and the lines that stand for each.

    Raises
    ------
    NotFound
        Nothing is known of that term.
    """
    if not found and term is not None:
        raise NotFound(f"term {term}: nothing is known of it; without --term all are shown that there are")
    if shown is not None:
        print(json.dumps([shown(each) for each in found]))
        return
    rows = [line for each in found for line in lines(each)]
    print("\n".join(grid(headers, rows, colour=wants_colour(sys.stdout.fileno(), os.environ))))
