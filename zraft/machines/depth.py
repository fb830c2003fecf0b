"""How deep calls may go inside a machine: equally deep on every node, from wherever the machine was called.

Python counts from the bottom of the stack. A command that recurses until it is stopped would be stopped elsewhere when a node replays
it than when it came, and its answer, or what it left behind, would differ. So the limit is set anew for each batch, from where the
batch begins.
"""

import sys

FRAMES_MAX = 1_000
"""How much deeper than its caller a machine may go, in frames: what Python allows from the bottom of the stack by default."""
_BEFORE = len("cannot set the recursion limit to 1 at the recursion depth ")
_AFTER = -len(": the limit is too low")


def here() -> int:
    """Return how deep the stack is in the caller, as the interpreter counts it: calls of functions written in C count too.

    To count frames would take longer than the 0.9 µs that all of this costs a batch, and leave those calls out.
    """
    try:
        sys.setrecursionlimit(1)
    except RecursionError as error:  # It is refused in any function, and the refusal says how deep that is.
        return int(error.args[0][_BEFORE:_AFTER]) - 1
    raise AssertionError("a function runs at a depth of less than 1")
