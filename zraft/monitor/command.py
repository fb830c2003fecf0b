"""A command of the user's: started in a session of its own, waited for by a descriptor, ended with all of its process group."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress


class Command:
    """One run of a command.

    Its standard input is empty; where it writes is where this process writes. A terminal's Ctrl-C does not reach it.

    Parameters
    ----------
    arguments
        The program, found on PATH, and its arguments.
    environment
        All of it.

    Raises
    ------
    OSError
        It cannot be run.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the user's own command, and no shell
            arguments, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )
        self.fd = os.pidfd_open(self._process.pid)
        """Readable once it has ended."""

    def signal_group(self, number: int) -> None:
        """Send a signal to it and to what it has started, as far as that is in its process group still.

        Only before `finish`: until then nobody else can have its number.
        """
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def finish(self) -> int:
        """Wait for its end; return its exit code, or the negative number of the signal that ended it."""
        code = self._process.wait()
        os.close(self.fd)
        return code


def how_it_ended(code: int) -> str:
    """Say what an exit code means."""
    return f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
