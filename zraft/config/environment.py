"""Environment variables that configure zraft, and files of them.

Each option ``section.key`` has ``ZRAFT_SECTION_KEY``, the list of nodes has ``ZRAFT_NODES``, and the map of machines
``ZRAFT_MACHINES`` (both YAML in one line). Besides these there are names that older systems of this kind used; where two variables set one option, its own name wins, and
among the others the one that stands first in `_OTHER_NAMES`. A variable that is set and empty counts as not set.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from zraft.config.schema import OPTIONS, PRIORITY_MAX
from zraft.errors import ConfigError

PREFIX = "ZRAFT_"
FILE_BYTES_MAX = 1 << 20
NODES, MACHINES = "ZRAFT_NODES", "ZRAFT_MACHINES"
CONTAINER_PORT, PRIORITY = "ZRAFT_CONTAINER_PORT", "ZRAFT_PRIORITY"
_OWN = {PREFIX + key.replace(".", "_").upper(): key for key in OPTIONS} | {
    NODES: "nodes",
    MACHINES: "machines",
}


class _OtherName(NamedTuple):
    keys: tuple[tuple[str, int], ...]
    """Options that it sets, each with the factor that leads to the option's unit; 0 for text."""


_OTHER_NAMES = {
    "ZRAFT_APP_NAME": _OtherName((("cluster.name", 0),)),
    "ZRAFT_LOGGING": _OtherName((("log.level", 0),)),
    "ZRAFT_ELECTION_TIMEOUT_LOWER_MILLIS": _OtherName((("election.timeout_lower_ms", 1),)),
    "ZRAFT_ELECTION_TIMEOUT_UPPER_MILLIS": _OtherName((("election.timeout_upper_ms", 1),)),
    "ZRAFT_HEARTBEAT_REPEAT_MILLIS": _OtherName((("heartbeat.interval_ms", 1),)),
    "ZRAFT_SCRIPT_LEADER_PATH": _OtherName((("hooks.leader", 0),)),
    "ZRAFT_SCRIPT_FOLLOWER_PATH": _OtherName((("hooks.follower", 0),)),
    "ZRAFT_REFRESH_RATE_MILLIS": _OtherName((("monitor.refresh_ms", 1),)),
    # Seconds. Those who used these names drew the timeout from one to two times the value, as the paper does (§9.3).
    "ZRAFT_HEARTBEAT_TIMEOUT": _OtherName((("heartbeat.interval_ms", 1_000),)),
    "ZRAFT_ELECTION_TIMEOUT": _OtherName((("election.timeout_lower_ms", 1_000), ("election.timeout_upper_ms", 2_000))),
}
VARIABLES: tuple[str, ...] = (*_OWN, *_OTHER_NAMES, CONTAINER_PORT, PRIORITY)
"""Every variable that is read as configuration."""
OTHER_VARIABLES = ("ZRAFT_CONFIG", "ZRAFT_DIR", "ZRAFT_DEBUG")
"""Which file, which run directory, and whether to show details of an internal error: read by the command line."""
HOOK_VARIABLES = (
    *("ZRAFT_HOOK_API", "ZRAFT_EVENT", "ZRAFT_ROLE", "ZRAFT_PREV_ROLE", "ZRAFT_REASON", "ZRAFT_CLUSTER", "ZRAFT_NODE"),
    *("ZRAFT_TERM", "ZRAFT_FENCING_TOKEN", "ZRAFT_LEADER", "ZRAFT_LEADER_ENDPOINT", "ZRAFT_PREV_LEADER"),
    *("ZRAFT_COMMIT_INDEX", "ZRAFT_HOOK_SEQ", "ZRAFT_TIMEOUT_MS", "ZRAFT_GRACE_MS"),
)
"""What a hook script finds in its environment: a command run by one must not take it for configuration."""


class Given(NamedTuple):
    """One option set by one variable."""

    key: str
    value: str | int
    variable: str


def options(env: Mapping[str, str], mistakes: list[str], warnings: list[str]) -> Iterator[Given]:
    """Yield what the environment sets, at most once per option; collect what is wrong with it."""
    given: dict[str, Given] = {}
    for name, key in _OWN.items():
        if env.get(name):
            given[key] = Given(key, env[name], name)
    for name, other in _OTHER_NAMES.items():
        if not env.get(name):
            continue
        for key, factor in other.keys:
            value = _in_unit(name, env[name], factor, mistakes)
            if value is None:
                break
            first = given.setdefault(key, Given(key, value, name))
            if str(first.value) != str(value):
                warnings.append(f"{name}: overruled for {key} by {first.variable}; unset one of the two")
    warnings.extend(_unknown(env))
    yield from given.values()


def container_port(env: Mapping[str, str]) -> int | None:
    """Return the listen port that ``ZRAFT_CONTAINER_PORT`` asks for, if it does; `ConfigError` when it is none."""
    text = env.get(CONTAINER_PORT)
    if not text:
        return None
    port = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0  # noqa: PLR2004 - ports
    if not 1 <= port <= 65_533:  # noqa: PLR2004 - the two ports after it are used as well
        raise ConfigError(
            f"{CONTAINER_PORT}: must be a port from 1 to 65533 (peers; clients use the next one, monitors the one"
            f" after), not {text!r}"
        )
    return port


def priority(env: Mapping[str, str]) -> int | None:
    """Return the priority that ``ZRAFT_PRIORITY`` gives the node, if it does; `ConfigError` when it is none."""
    text = env.get(PRIORITY)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= PRIORITY_MAX):  # noqa: PLR2004
        raise ConfigError(f"{PRIORITY}: must be a whole number from 0 to {PRIORITY_MAX}, not {text!r}")
    return int(text)


def read_env_file(path: str | Path) -> dict[str, str]:
    r"""Read ``KEY=VALUE`` lines: comments, an optional ``export``, ``'literal'`` and ``"with \n, \", \\"`` values.

    Raises
    ------
    ConfigError
        The file cannot be read, or lines of it are no assignments; each is named.
    """
    values: dict[str, str] = {}
    mistakes = []
    for number, line in enumerate(read_text(Path(path), "the environment file").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(text)
        if match is None:
            mistakes.append(f"{path}:{number}: not KEY=VALUE; write it so, or begin the line with #")
            continue
        values[match["key"]] = _unquoted(match)
    if mistakes:
        raise ConfigError(*mistakes)
    return values


def read_text(path: Path, what: str) -> str:
    """Return the text of a small regular file; `ConfigError` otherwise."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: {what} is not a regular file; name a file")
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: {what} does not exist; check the path") from None
    except OSError as error:
        raise ConfigError(f"{path}: {what} cannot be read: {error.strerror}; check its permissions") from error
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: {what} is over 1 MiB; this is not the file that you meant")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: {what} is not UTF-8; save it as UTF-8") from error


def nearest(word: str, words: Iterable[str], prefix: str = "") -> str:
    """Return `` (did you mean X?)`` for the word that comes closest, or nothing; all of them begin with `prefix`."""
    import difflib  # noqa: PLC0415 - needed only when something is wrong

    close = difflib.get_close_matches(word.removeprefix(prefix), [other.removeprefix(prefix) for other in words], n=1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


_ASSIGNMENT = re.compile(
    r"""(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?: '(?P<single>[^']*)'\s*(?:\#.*)?
      | "(?P<double>(?:[^"\\]|\\.)*)"\s*(?:\#.*)?
      | (?P<bare>(?!['"]).*?)(?:\s+\#.*)? )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def _unquoted(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match["double"])
    return match["single"] if match["single"] is not None else match["bare"]


def _in_unit(name: str, text: str, factor: int, mistakes: list[str]) -> str | int | None:
    if factor == 0:
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number) and number > 0:
        return max(1, round(number * factor))
    unit = "milliseconds" if factor == 1 else "seconds"
    mistakes.append(f"{name}: must be a number of {unit} above 0, not {text!r}")
    return None


def _unknown(env: Mapping[str, str]) -> Iterator[str]:
    known = frozenset((*VARIABLES, *OTHER_VARIABLES, *HOOK_VARIABLES))
    for name in sorted(env):
        if name.startswith(PREFIX) and name not in known:
            yield f"{name}: zraft has no such variable{nearest(name, VARIABLES, PREFIX)}; it is ignored"
