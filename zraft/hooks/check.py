"""Whether a script is fit to be run: found out when the node starts, not at the first election.

Whoever can write a script, or replace it through one of the directories and links that lead to it, can run what they like
as this user at the next election. So all of them are looked at, not the last alone.
"""

import errno
import os
import shlex
import stat
from collections.abc import Iterator

from zraft.config import Config

_LINKS_MAX = 40
"""As many as the kernel follows."""
_FIRST_LINE_BYTES = 256
"""As much of the first line as the kernel reads."""


def check_hooks(config: Config) -> tuple[list[str], list[str]]:
    """Return the mistakes and the warnings of both scripts, as `check_script` does."""
    mistakes: list[str] = []
    warnings: list[str] = []
    for event, path in (("leader", config.hooks.leader), ("follower", config.hooks.follower)):
        if path is None:
            continue
        option = f"hooks.{event}"
        origin = config.origins.get(option)
        wrong, doubtful = check_script(path, origin or option, "" if origin else config.path)
        mistakes += wrong
        warnings += doubtful
    return mistakes, warnings


def check_script(path: str, option: str, config_path: str = "") -> tuple[list[str], list[str]]:
    """Return the mistakes that forbid running `path`, and the warnings; each is one line.

    Parameters
    ----------
    path
        The program, absolute.
    option
        What names it: an option such as ``hooks.leader``, or a variable or flag.
    config_path
        The file in which the option stands, for the line.
    """
    where = f"{option}: {path}" + (f" (in {config_path})" if config_path else "")
    wrong = _unfit(path)
    if wrong is not None:
        return [f"{where}: {wrong}"], []
    mistakes: list[str] = []
    warnings: list[str] = []
    for step in _way_to(path):
        mistake, warning = _suspicion(step)
        mistakes += [f"{where}: {mistake}"] if mistake else []
        warnings += [f"{where}: {warning}"] if warning else []
    return mistakes, warnings


def _unfit(path: str) -> str | None:
    """Say why `path` could not be executed at all."""
    try:
        info = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "there is no such file; correct the path, or remove the option to run nothing"
        return f"cannot be looked at: {error.strerror}; correct the path, or the permissions of its directories"
    if not stat.S_ISREG(info.st_mode):
        kind = "a directory" if stat.S_ISDIR(info.st_mode) else "no regular file"
        return f"is {kind}; name an executable file"
    if not os.access(path, os.X_OK, effective_ids=True):
        return f"is not executable; run: chmod +x {shlex.quote(path)}"
    return _start_flaw(path)


def _start_flaw(path: str) -> str | None:
    """Say why the kernel could not tell how to execute `path`; None when it can, or when we may not read it."""
    try:
        with open(path, "rb") as file:
            start = file.read(_FIRST_LINE_BYTES)
    except PermissionError:
        return None
    if not start.startswith(b"#!"):
        # A program of some binary format, unless it is text: then the kernel refuses it, whatever a shell would do.
        return None if b"\0" in start else "has no interpreter in its first line; begin it with: #!/bin/sh"
    # Blanks and tabs separate, and nothing else: to the kernel a carriage return is part of the name.
    words = start[2:].split(b"\n")[0].replace(b"\t", b" ").strip(b" ").split(b" ")
    interpreter = os.fsdecode(words[0])
    if interpreter and os.access(interpreter, os.X_OK, effective_ids=True):
        return None
    if start.split(b"\n")[0].endswith(b"\r"):
        return f"has Windows line ends, which the kernel takes as part of the interpreter; run: sed -i 's/\\r$//' {shlex.quote(path)}"
    return f"its interpreter {interpreter!r} is missing or not executable; correct the first line"


def _way_to(path: str) -> Iterator[str]:
    """Yield every directory, link and file through which the kernel reaches `path`, absolute, from the root on."""
    yield "/"
    here = "/"
    rest = os.path.abspath(path).split("/")[1:]
    links = 0
    while rest:
        name = rest.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, name)
        yield step
        if not os.path.islink(step):
            here = step
            continue
        links += 1
        assert links <= _LINKS_MAX, f"{path} was found, and yet leads through more links than the kernel follows"
        target = os.readlink(step)
        here = "/" if target.startswith("/") else here
        rest = target.split("/") + rest


def _suspicion(step: str) -> tuple[str | None, str | None]:
    """Return what forbids trusting `step`, and what speaks against it."""
    info = os.lstat(step)
    quoted = shlex.quote(step)
    what = "directory " if stat.S_ISDIR(info.st_mode) else ""
    if info.st_uid not in (0, os.geteuid()):
        return f"{what}{step} belongs to another user (uid {info.st_uid}); run: chown {os.geteuid()} {quoted}", None
    # The mode of a link means nothing, and in a sticky directory nobody replaces what is not theirs.
    if stat.S_ISLNK(info.st_mode) or (stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX):
        return None, None
    if info.st_mode & stat.S_IWOTH:
        return f"{what}{step} is writable by every user; run: chmod o-w {quoted}", None
    if not info.st_mode & stat.S_IWGRP:
        return None, None
    line = f"{what}{step} is writable by its group"
    if os.geteuid() == 0:
        return f"{line}, which a script run as root must not be; run: chmod g-w {quoted}", None
    return None, f"{line}; safer: chmod g-w {quoted}"
