"""When this process began, on the clock of `hooks.linux.boot_ms`."""

import os
from pathlib import Path

_STARTTIME = 19
"""The position of `starttime` behind the name in parentheses (proc(5): field 22)."""


def born_ms() -> float:
    """When this process was started: what a command took is counted from there, imports included."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[_STARTTIME]) * 1_000 / os.sysconf("SC_CLK_TCK")
