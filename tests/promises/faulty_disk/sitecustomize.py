"""A disk that fails on command, for nodes that find this folder in PYTHONPATH: their `os.fdatasync` looks into FAULTY_DISK.

For a file ``n1.fail`` in that directory the next sync of n1's log fails once, and the file is removed; while there is ``n1.stall``, they
do not return. The product knows nothing of it.
"""

import errno
import os
import sys
import time
from contextlib import suppress

_sync = os.fdatasync
_orders = os.environ.get("FAULTY_DISK", "")
_node = next((value for flag, value in zip(sys.orig_argv, sys.orig_argv[1:]) if flag == "--id"), "")  # noqa: B905


def _fdatasync(descriptor: int) -> None:
    _sync(descriptor)
    if not os.readlink(f"/proc/self/fd/{descriptor}").endswith(".wal"):
        return
    while os.path.exists(f"{_orders}/{_node}.stall"):
        time.sleep(0.01)
    with suppress(FileNotFoundError):
        os.unlink(f"{_orders}/{_node}.fail")
        raise OSError(errno.EIO, os.strerror(errno.EIO))


if _orders and _node:
    os.fdatasync = _fdatasync
