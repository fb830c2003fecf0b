"""Which cluster a command means: ``--config``, else ZRAFT_CONFIG, else the run directory, else ``config/cluster.yaml``."""

import os
import sys
from pathlib import Path

from zraft import config
from zraft.config import Config
from zraft.errors import ConfigError

_RUN_DIRECTORY = ".zraft"
_FILE = "cluster.yaml"
_CHECKOUT = Path("config") / _FILE
_PROBE_S = 0.4


def run_directory() -> Path:
    """Return where ``zraft cluster up`` keeps a cluster of its own: ZRAFT_DIR, or ``.zraft`` here."""
    return Path(os.environ.get("ZRAFT_DIR") or _RUN_DIRECTORY)


def places(option: str | Path | None) -> tuple[Path, ...]:
    """Return the files in which a command looks for its configuration, best first."""
    named = option or os.environ.get("ZRAFT_CONFIG")
    if named:
        return (Path(named),)
    own = run_directory() / _FILE
    return (own,) if os.environ.get("ZRAFT_DIR") else (own, _CHECKOUT)


def find_path(option: str | Path | None) -> Path:
    """Return the configuration file, by name alone: nothing is asked whether its cluster runs."""
    named = option or os.environ.get("ZRAFT_CONFIG")
    if named:
        return Path(named)
    candidates = places(option)
    for path in candidates:
        if path.exists():
            return path
    if os.environ.get("ZRAFT_DIR"):
        raise ConfigError(
            f"{candidates[0]}: ZRAFT_DIR names a directory without a cluster: zraft cluster up, or unset it"
        )
    raise ConfigError(
        f"no cluster here (neither {' nor '.join(map(str, candidates))}): start one with zraft cluster up, or name one"
        " with --config FILE"
    )


def find_coming(option: str | Path | None) -> Config | None:
    """Return what `find_config` does, or None as long as there is nothing yet.

    The cluster of ``config/cluster.yaml`` counts only when it runs or is named: every checkout has that file, and whoever starts
    a cluster there starts one in a run directory.
    """
    candidates = places(option)
    there = next((path for path in candidates if not _is_missing(path)), None)
    if there is None:
        return None
    if there == candidates[0]:
        return find_config(option)
    found = config.load(there)
    return found if _answers(found) else None


def _is_missing(path: Path) -> bool:
    """Whether there is no such file; one that must not be looked at is left to whoever reads it, who says so."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def find_config(option: str | Path | None) -> Config:
    """Load the configuration of the cluster that the command means.

    A run directory found by its default name whose cluster does not run is passed over, with a note, when the cluster of
    ``config/cluster.yaml`` answers.
    """
    path = find_path(option)
    found = config.load(path)
    named = option or os.environ.get("ZRAFT_CONFIG") or os.environ.get("ZRAFT_DIR")
    if named or path == _CHECKOUT or not _CHECKOUT.exists() or _answers(found):
        return found
    try:
        other = config.load(_CHECKOUT)
    except ConfigError:
        return found  # Whatever that file is, it is not the cluster that was asked for.
    if not _answers(other):
        return found
    print(f"zraft: note: the cluster of {path} does not run; using {_CHECKOUT}, which does", file=sys.stderr)
    return other


def _answers(candidate: Config) -> bool:
    from zraft.client.survey import survey  # noqa: PLC0415 - ZeroMQ, only where two clusters are at hand
    from zraft.requests import Hello  # noqa: PLC0415

    return any(reply is not None for reply in survey(candidate, Hello, timeout_s=_PROBE_S).values())
