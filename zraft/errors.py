"""Every error that zraft raises on purpose, and the exit code that the command line gives for it.

All of them derive from `ZraftError`. A message is one line that says what happened, where, and what to do next; the
command line prints it after ``zraft: `` and exits with the class's `exit_code`.

====  =======================================================
code  meaning, the same for every command
====  =======================================================
0     done
1     not found, or a condition that is false
2     usage or configuration
3     unavailable: no cluster, no quorum, nothing happened
4     outcome unknown: the command may or may not have happened
5     storage failed or is damaged
====  =======================================================
"""


class ZraftError(Exception):
    """The root of all errors that zraft raises on purpose."""

    exit_code = 1


class NotFound(ZraftError):
    """What was asked for does not exist."""

    exit_code = 1


class InvalidRequest(ZraftError):
    """The request can never succeed as it is: a key that is empty or too long, a value over the limit."""

    exit_code = 2


class ConfigError(ZraftError):
    """The configuration, the environment or the command line is wrong.

    `mistakes` holds one line per mistake; `str()` joins them.
    """

    exit_code = 2

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Unavailable(ZraftError):
    """No node could serve the request within its timeout, and nothing happened."""

    exit_code = 3


class OutcomeUnknown(ZraftError):
    """The request was handed over and never answered: it may have happened, once, or not at all."""

    exit_code = 4


class SessionExpired(ZraftError):
    """The client's session is gone from the replicated state; what it had under way was not applied again."""

    exit_code = 4


class ProtocolError(ZraftError):
    """Bytes from the wire are not a message of this cluster. The only error that decoding raises."""

    exit_code = 3


class StorageError(ZraftError):
    """The disk failed, or what is on it is damaged or belongs to somebody else. Final for the process."""

    exit_code = 5
