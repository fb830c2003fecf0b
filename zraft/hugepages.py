"""Memory in huge pages, so that it is forked in a moment.

A fork copies page tables, and the node's loop waits for that. Of small pages, 250 MiB of state, a million small keys, have so many
entries there that it takes 13 ms of a processor; of huge ones, 2 ms. The kernel can put what lies in small pages into huge ones (since
Linux 6.1) while the process goes on: a thread has it do so, once at the start and again whenever a snapshot's child has ended, since
what changes while two processes share a huge page is in small ones afterwards. It takes some tenths of a second, and about a
twentieth more memory. Where the kernel can't, or is not to (``transparent_hugepage/enabled`` says ``never``), forks take longer.
"""

import ctypes
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HUGE_BYTES = 2 << 20
"""Of most processors; where huge pages are larger, the kernel refuses, and all stays as it is."""
_MADV_COLLAPSE = 25
_PAUSE_S = 0.001
"""Between two huge pages: each is some milliseconds' work at most, for which others may have to wait."""
_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_ANONYMOUS = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0 *(?:\[heap\])?")
"""What the process has written itself: of a file nothing, nor of what it shares with others."""

_madvise = ctypes.CDLL(None).madvise  # Lets go of the interpreter while it runs.
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def begin() -> None:
    """Have a thread of its own `gather`, which nobody need wait for."""
    threading.Thread(target=gather, name="pages", daemon=True).start()


def gather() -> int:
    """Put the memory of this process into huge pages as far as the kernel does it; return how many it has put together or found."""
    if not _ENABLED.exists() or "[never]" in _ENABLED.read_text():
        return 0
    count = 0
    for address in _places():
        count += _madvise(address, HUGE_BYTES, _MADV_COLLAPSE) == 0
        time.sleep(_PAUSE_S)
    return count


def _places() -> Iterator[int]:
    """Yield where huge pages may lie."""
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        found = _ANONYMOUS.fullmatch(line)
        if found is not None:
            begin, end = (int(each, 16) for each in found.groups())
            yield from range(-(-begin // HUGE_BYTES) * HUGE_BYTES, end // HUGE_BYTES * HUGE_BYTES, HUGE_BYTES)
