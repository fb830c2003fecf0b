"""Paths and endpoints made absolute and well-formed.

The path of a unix socket may hold about 107 bytes. Where a run directory lies too deep for that, its sockets go to a
directory of their own, mode 0700, under ``XDG_RUNTIME_DIR`` or the temporary directory, named by a hash of the run
directory: every command that reads the same configuration comes to the same place.
"""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

SOCKET_PATH_BYTES_MAX = 100
PATH_KEYS = frozenset(("storage.directory", "log.directory", "hooks.leader", "hooks.follower"))
ENDPOINT_KEYS = frozenset(("supervisor.control",))
_PORT_MAX = 65_535
_TCP = re.compile(r"tcp://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
_IPC = "ipc://"


def absolute(path: str, base: Path) -> str:
    """Return `path` as an absolute one, relative to `base`; symbolic links in it stay."""
    return os.path.normpath(base / Path(path).expanduser())


def endpoint(text: str, base: Path, env: Mapping[str, str]) -> str:
    """Return the endpoint with an absolute path or a checked host and port.

    Raises
    ------
    ValueError
        It is no endpoint that zraft can use; the message says why and what to write.
    """
    if text.startswith(_IPC):
        return _IPC + _socket_path(text.removeprefix(_IPC), base, env)
    match = _TCP.fullmatch(text)
    if match is None:
        raise ValueError(f"must be tcp://HOST:PORT or ipc://PATH, not {text!r}")
    port = int(match["port"])
    if not 1 <= port <= _PORT_MAX:
        raise ValueError(f"must have a port from 1 to {_PORT_MAX}, not {port}")
    if match["v6"] is not None:
        return f"tcp://[{_address(match['v6'], text)}]:{port}"
    return f"tcp://{_host(match['host'], text)}:{port}"


def is_whole(text: str) -> bool:
    """Whether it is an endpoint just as `endpoint` returns one: the same for everybody, wherever it is read."""
    if text.startswith(_IPC):
        path = text.removeprefix(_IPC)
        if not path.startswith("/") or len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            return False
    try:
        return endpoint(text, Path("/"), {}) == text
    except ValueError:
        return False


def is_private(text: str) -> bool:
    """Whether only this machine can reach the endpoint."""
    match = _TCP.fullmatch(text)
    if match is None:
        return True
    try:
        return ip_address(match["v6"] or match["host"]).is_loopback
    except ValueError:
        return False


def with_port(text: str, port: int) -> str:
    """Return a tcp endpoint with another port; ValueError for ipc."""
    if _TCP.fullmatch(text) is None:
        raise ValueError(f"{text} has no port")
    return f"{text.rpartition(':')[0]}:{port}"


def _host(host: str, text: str) -> str:
    if host == "localhost":
        return "127.0.0.1"  # A bind takes no names; this one name always means this address.
    if re.fullmatch(r"[0-9.]+", host):
        return str(_address(host, text))
    if host == "*" or not _HOST_NAME.fullmatch(host):
        raise ValueError(f"must name one host that the others can reach, not {text!r}")
    return host


def _address(host: str, text: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(host)
    except ValueError:
        raise ValueError(f"must have an IP address or a host name, not {text!r}") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"must name one address that the others can reach, not {text!r}")
    return address


def _socket_path(name: str, base: Path, env: Mapping[str, str]) -> str:
    if not name or name[0] in "@*" or name.endswith("/") or "\0" in name:
        raise ValueError(f"must be ipc:// and the path of a socket file, not {_IPC + name!r}")
    path = Path(absolute(name, base))
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return str(path)
    key = hashlib.sha256(os.fsencode(path.parent)).hexdigest()[:16]
    for parent in (env.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - checked below
        short = Path(parent or "relative") / f"zraft-{key}" / path.name
        if short.is_absolute() and short.parent.parent.is_dir() and len(os.fsencode(short)) <= SOCKET_PATH_BYTES_MAX:
            _check_owner(short.parent)
            return str(short)
    raise ValueError(
        f"has a path that is too long for a socket, and so has its short form; use a shorter name: {path.name!r}"
    )


def _check_owner(directory: Path) -> None:
    # Others may write to the temporary directory: a directory of theirs under our name would give them our sockets.
    try:
        info = directory.lstat()
    except FileNotFoundError:
        return  # Whoever binds makes it.
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
        raise ValueError(f"needs {directory}, which must be a directory that belongs to you alone; remove it")
