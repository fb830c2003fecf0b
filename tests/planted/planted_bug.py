"""One defect, planted on purpose: a line or two of the real code that say something else.

A file of `bugs/` has a comment that says what is wrong, three fields, and the text before and after::

    # A leader commits an entry of an earlier term once a majority holds it.
    catalogue: 18 (logcabin#44)
    file: zraft/raft/leader.py
    checks: scenarios
    ---
            if index <= commit_index or term_at(index) != state.term:
    ---
            if index <= commit_index:

`catalogue` is the number of the real bug it is taken from, and where that was reported; `checks` names those that are
expected to find it (`planted_checks.CHECKS`), which are tried first.
"""

import ast
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
FOLDER = Path(__file__).parent / "bugs"
RULE = "\n---\n"


class Misplaced(Exception):
    """The code has moved on: a patch fits nowhere, or in more than one place."""


class Bug(NamedTuple):
    """A planted bug, as its file has it."""

    name: str
    what: str
    """What is wrong, in a sentence."""
    number: int
    """In the catalogue of real bugs."""
    source: str
    """Where the real one was reported."""
    file: str
    """What it changes, from the root of the project."""
    checks: tuple[str, ...]
    """Which are expected to find it."""
    before: str
    after: str

    def planted(self, text: str) -> str:
        """Return `text`, the sound file, with the bug in it."""
        found = text.count(self.before)
        if found != 1:
            raise Misplaced(f"{self.name}: {self.file} has the text to replace {found} times; correct the patch")
        changed = text.replace(self.before, self.after)
        ast.parse(changed)
        return changed


def read(path: Path) -> Bug:
    """Read a bug's file."""
    head, before, after = path.read_text().split(RULE)
    comment, *lines = head.splitlines()
    fields = dict(line.split(": ", 1) for line in lines)
    number, source = fields["catalogue"].split(" ", 1)
    checks = tuple(fields["checks"].split())
    what = comment.removeprefix("# ")
    return Bug(path.stem, what, int(number), source[1:-1], fields["file"], checks, before + "\n", after)


def all_bugs() -> list[Bug]:
    """Return all of them, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]
