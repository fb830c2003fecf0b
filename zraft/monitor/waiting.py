"""The time before there is anything to watch."""

from collections.abc import Callable
from typing import TypeVar

import zmq

from zraft.monitor.signals import Signals

LOOK_EVERY_MS = 200
"""A directory that does not exist yet tells nobody when it does, so somebody has to look."""
Found = TypeVar("Found")


def wait_for(find: Callable[[], Found | None], announce: Callable[[], None]) -> Found | None:
    """Return what `find` finds, as soon as it does; None when SIGINT, SIGTERM or SIGHUP ends the monitor before that.

    `announce` is called once, when a signal is already heeded: whoever reads that somebody waits may end it.
    """
    with Signals() as signals:
        announce()
        poller = zmq.Poller()
        poller.register(signals.fd, zmq.POLLIN)
        while not signals.ended:
            found = find()
            if found is not None:
                return found
            poller.poll(LOOK_EVERY_MS)
            signals.take()
    return None
