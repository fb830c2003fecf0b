"""A node's data directory as somebody else finds it: read without taking it, whether or not its node runs."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from zraft.disk import OsFileSystem
from zraft.errors import StorageError
from zraft.seams import FileSystem
from zraft.storage.findings import Findings
from zraft.storage.segments import LOCK_NAME
from zraft.storage.verify import verify

_LOCKS = Path("/proc/locks")
_READINGS_MAX = 5
Found = TypeVar("Found")


def holder(directory: Path) -> int | None:
    """Return the process that has a data directory in use, or None; asks the kernel, and takes no lock itself."""
    try:
        inode = os.stat(directory / LOCK_NAME).st_ino
        pid = (directory / LOCK_NAME).read_text().strip()
        locks = _LOCKS.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in locks:
        # "1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF"; a request that waits has "->" behind the number.
        fields = line.split()
        if fields[1] == "FLOCK" and fields[4] == pid and fields[5].rpartition(":")[2] == str(inode):
            return int(pid)
    return None


def read(directory: Path, reading: Callable[[FileSystem], Found]) -> Found:
    """Return what `reading` finds in a data directory, with a note when its node runs.

    Raises
    ------
    StorageError
        As `reading` does. What it finds wrong while a node writes counts only when it finds it several times.
    """
    fs = OsFileSystem(directory, writable=False)
    process = holder(directory)
    if process is None:
        return reading(fs)
    print(f"zraft: note: {directory} is in use (pid {process}): this is what was in it just now", file=sys.stderr)
    for _ in range(_READINGS_MAX - 1):
        try:
            return reading(fs)
        except StorageError:
            continue
    return reading(fs)


def verified(directory: Path) -> Findings:
    """Return all that is found in a data directory; of one whose node runs, as damage only what does not go away.

    Raises
    ------
    NotFound, StorageError
        As `verify` does.
    """
    fs = OsFileSystem(directory, writable=False)
    found = verify(fs)
    process = holder(directory)
    if process is None:
        return found
    print(
        f"zraft: note: {directory} is in use (pid {process}): it changes while it is read, and what is torn at the end may be just"
        " being written",
        file=sys.stderr,
    )
    lasting = found.damage
    for _ in range(_READINGS_MAX - 1):
        if not lasting:
            break
        found = verify(fs)
        lasting = [problem for problem in lasting if problem in found.damage]
    found.damage = lasting
    return found
