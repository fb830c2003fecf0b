"""Binding a socket so that it fails loudly, names what is taken, and never steals a live endpoint.

A second bind to an ipc path silently takes it over from the first, so each ipc endpoint has a lock file beside it,
and its directory must be ours alone.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

import zmq

from zraft.errors import ConfigError

_IPC = "ipc://"


class Lock:
    """An flock held on a file for the life of the process, or until `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise

    def release(self) -> None:
        """Let go; the file stays, since removing it would race with the next holder."""
        os.close(self._fd)


def bind(socket: zmq.Socket[bytes], endpoint: str, purpose: str = "socket") -> Lock | None:
    """Bind `socket` to `endpoint`; keep the returned lock, if any, for as long as the socket.

    Raises
    ------
    ConfigError
        The endpoint is taken, not ours, or not to be had; the line names it, and says what to do.
    """
    lock = _claim_ipc(Path(endpoint.removeprefix(_IPC)), endpoint, purpose) if endpoint.startswith(_IPC) else None
    try:
        bind_held(socket, endpoint, purpose)
    except ConfigError:
        if lock is not None:
            lock.release()
        raise
    return lock


def bind_held(socket: zmq.Socket[bytes], endpoint: str, purpose: str = "socket") -> None:
    """Bind `socket` to an endpoint whose lock this process holds already; raises as `bind` does."""
    before = os.umask(0o077)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise ConfigError(_why(error, endpoint, purpose)) from error
    finally:
        os.umask(before)


def _claim_ipc(path: Path, endpoint: str, purpose: str) -> Lock:
    directory = path.parent
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = directory.stat()
        if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
            raise ConfigError(
                f"{directory}: the directory of the {purpose} {endpoint} must belong to you alone: chmod 700 {directory}"
            )
        _check_unclaimed(path, endpoint, purpose)
        return Lock(path.with_name(path.name + ".lock"))
    except BlockingIOError:
        raise ConfigError(
            f"{endpoint}: the {purpose} is in use by another process; stop that one, or give this node another endpoint"
        ) from None
    except OSError as error:
        raise ConfigError(f"{endpoint}: cannot use this {purpose}: {error.strerror}: {error.filename}") from error


def _check_unclaimed(path: Path, endpoint: str, purpose: str) -> None:
    """Refuse a path at which something else lies: ZeroMQ would remove it. A socket there was left behind, or has a lock."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise ConfigError(
            f"{endpoint}: there is something at the path of the {purpose} that is no socket; remove it, or configure"
            " another path"
        )


def _why(error: zmq.ZMQError, endpoint: str, purpose: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"{endpoint}: the {purpose}'s port is in use by another process; stop that one, or configure another port"
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return f"{endpoint}: this machine does not have the address of the {purpose}; correct it in the configuration"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{endpoint}: not allowed to bind the {purpose}; use a port above 1023, or a directory of your own"
    return f"{endpoint}: cannot bind the {purpose}: {error.strerror}"
