"""What the terminal of a command can do."""

import os
import sys


def wants_colour() -> bool:
    """Whether standard output is a terminal whose owner has not asked for NO_COLOR (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
