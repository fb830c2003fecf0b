"""One clear line for each way in which a data directory can fail its node: what, where, what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from zraft.errors import StorageError

_FREE = "free some space, and start the node again"
_OWN = "make the directory and all in it belong to the user of the node (chown, chmod -R u+rwX)"
_DIRECTORY = "a data directory must be a directory: move what is there away, or configure another storage.directory"
_ADVICE = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EROFS: "mount the file system for writing, and start the node again",
    errno.EACCES: _OWN,
    errno.EPERM: _OWN,
    errno.ENOTDIR: _DIRECTORY,
    errno.EEXIST: _DIRECTORY,
    errno.ELOOP: "symbolic links are not followed here: put the file itself in its place",
    errno.ENOENT: "something removed it while it was in use: find out what, and start the node again",
    errno.EMFILE: "raise the limit of open files (ulimit -n), and start the node again",
}
_OTHERWISE = "find the cause (the kernel's log may name it), and start the node again once it is gone"


def failed(what: str, error: OSError, directory: str) -> StorageError:
    """Turn the system's refusal into the line that a person reads; `what` is the verb, as in ``cannot write``."""
    where = error.filename or directory
    text = error.strerror or str(error) or type(error).__name__
    return StorageError(f"cannot {what} {where}: {text}; {_ADVICE.get(error.errno or 0, _OTHERWISE)}")


@contextmanager
def spoken_of(what: str, directory: str) -> Iterator[None]:
    """Raise the `OSError` of the block as a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise failed(what, error, directory) from error


def damaged(directory: str, name: str, offset: int, reason: str, node: str) -> StorageError:
    """Say that a log is as no crash leaves it; nothing has been changed by then."""
    return StorageError(
        f"{directory}/{name}: damaged at offset {offset}: {reason}; nothing was changed: put back an intact copy of"
        f" {directory}, or keep it aside and replace this member: zraft member replace {node}"
    )


def missing(directory: str, name: str, reason: str, node: str) -> StorageError:
    """Say that a segment is gone though the log needs it."""
    return StorageError(
        f"{directory}/{name}: missing: {reason}; put the file back, or keep {directory} aside and replace this member:"
        f" zraft member replace {node}"
    )
