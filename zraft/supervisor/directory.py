"""The run directory: a cluster that needs no configuration, in ``.zraft/``.

It holds ``cluster.yaml``, ``data/`` and ``log/`` with something for each node, the sockets in ``run/``, and the lock that keeps
a second supervisor out. It is for its owner alone (mode 0700).
"""

import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from zraft import config
from zraft.config import Config
from zraft.config.nodelist import NUMBERED, listed
from zraft.endpoints import Lock
from zraft.errors import ConfigError
from zraft.raft.types import NodeId

NODES_DEFAULT, NODES_MAX = 3, 9
FILE = "cluster.yaml"
_LOCK = "supervisor.lock"
_DRAFT = f"{FILE}.draft"
_OURS = frozenset((FILE, _DRAFT, _LOCK, "data", "log", "run"))
_NAMES = tuple(f"n{number}" for number in range(1, NODES_MAX + 1))
"""The nodes of a new run directory are named so; those that join may have other names."""


class Scripts(NamedTuple):
    """The two hooks, as absolute paths; None where there is none."""

    leader: Path | None = None
    follower: Path | None = None


class RunDirectory:
    """A directory in which `zraft cluster up` keeps a cluster of its own.

    Parameters
    ----------
    path
        Where; need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / FILE

    def open(self) -> Lock:
        """Make the directory if need be, and take its lock: nobody else may start or remove this cluster.

        Raises
        ------
        ConfigError
            The directory is not to be had, holds something else, or belongs to a cluster that runs.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            info = self.path.stat()
            strangers = sorted(set(os.listdir(self.path)) - _OURS)
            if strangers and not self.file.exists():
                raise ConfigError(
                    f"{self.path}: holds {strangers[0]} and no {FILE}; give a directory that is new or empty: --dir"
                )
            if info.st_uid != os.geteuid():
                raise ConfigError(
                    f"{self.path}: the run directory belongs to another user; give one of your own: --dir"
                )
            if stat.S_IMODE(info.st_mode) != 0o700:  # noqa: PLR2004
                self.path.chmod(0o700)
            return Lock(self.path / _LOCK)
        except BlockingIOError:
            raise ConfigError(already_running(str(self.path))) from None
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot use this run directory: {error.strerror}; give another: --dir"
            ) from error

    def nodes(self) -> tuple[NodeId, ...]:
        """Return the nodes of the cluster that it holds; nothing when it holds none."""
        if not self.file.exists():
            return ()
        return tuple(node.id for node in config.load(self.file, env={}).nodes)

    def check_size(self, nodes: int | None) -> None:
        """Refuse another number of nodes than the directory has."""
        has = len(self.nodes())
        if nodes is not None and has not in (0, nodes):
            raise ConfigError(
                f"{self.path} holds a cluster of {has}: run it with --nodes {has}, or start over with --nodes {nodes} --fresh"
                " (which deletes its data), or use another --dir"
            )

    def text(self, nodes: int, scripts: Scripts) -> str:
        """Return the configuration of a new cluster, which has an id that no other has."""
        return _configuration(_NAMES[:nodes], secrets.token_hex(8), scripts)

    def create(self, nodes: int, scripts: Scripts) -> None:
        """Write the configuration of a new cluster."""
        self.write(self.text(nodes, scripts))

    def write(self, text: str) -> None:
        """Make it a cluster's, with this configuration; until then it is nobody's."""
        draft = self.path / _DRAFT
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
                file.write(text)
            for name in ("data", "log", "run"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
            draft.replace(self.file)
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot make a cluster there: {error.strerror}: {error.filename}"
            ) from error

    def clear(self) -> None:
        """Remove the cluster that is in it, and nothing that zraft has not made."""
        try:
            for path in self._made():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be removed: {error.strerror}; remove it by hand") from error

    def _made(self) -> Iterator[Path]:
        for name in {*_NAMES, *listed(self.file), *self._removed()}:
            yield from self.path.glob(f"data/{name}")
            yield from self.path.glob(f"log/{name}.log*")
            yield from self.path.glob(f"run/{name}.*")
        yield from self.path.glob("log/supervisor.log*")
        yield from self.path.glob("run/supervisor.sock*")
        yield from self.path.glob(FILE)

    def _removed(self) -> list[NodeId]:
        """Return numbered nodes whose data is left, whether the cluster has them still or not."""
        return [path.name for path in self.path.glob("data/n*") if NUMBERED.fullmatch(path.name)]


@contextmanager
def new_run_directory(path: Path, nodes: int | None) -> Iterator[Config]:
    """Give the configuration of a new cluster in a run directory, whose data the block is to write before anything counts.

    Raises
    ------
    ConfigError
        The directory is not to be had, or holds something; or there cannot be so many nodes.
    """
    if nodes is not None and not 1 <= nodes <= NODES_MAX:
        raise ConfigError(f"--nodes {nodes}: a cluster in a run directory has 1 to {NODES_MAX} nodes")
    directory = RunDirectory(path.absolute())
    if directory.file.exists():
        raise ConfigError(f"{path}: holds a cluster already; give a directory that is new or empty: --dir")
    lock = directory.open()
    try:
        text = directory.text(nodes or NODES_DEFAULT, Scripts())
        yield config.load(directory.file, text=text)
        directory.write(text)
    finally:
        lock.release()


def lock_data(settings: Config) -> Lock:
    """Take the lock on the data of a configuration that is not in a run directory.

    Raises
    ------
    ConfigError
        Another supervisor holds it, or its directory is not to be had.
    """
    directory = Path(settings.storage.directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Lock(directory / _LOCK)
    except BlockingIOError:
        raise ConfigError(already_running(settings.path)) from None
    except OSError as error:
        raise ConfigError(
            f"{directory}: cannot use this data directory: {error.strerror}; correct storage.directory"
        ) from error


def already_running(where: str) -> str:
    """Return the line for a cluster that is up."""
    return f"{where}: this cluster is already running; see zraft cluster status, and stop it with zraft cluster down"


def packaged_scripts() -> Scripts:
    """Return the scripts that come with zraft: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]

    def find(name: str) -> Path | None:
        places = (package / "scripts" / name, package.parent / "scripts" / name)
        return next((place for place in places if place.is_file()), None)

    return Scripts(find("leader.sh"), find("follower.sh"))


def _configuration(names: tuple[NodeId, ...], cluster_id: str, scripts: Scripts) -> str:
    lines = [
        "# Made by `zraft cluster up`, and yours to change; config/cluster.yaml of zraft explains every option.",
        "# Paths are relative to this file's directory.",
        "cluster:",
        f'  id: "{cluster_id}"',
        "  faults: enabled",
        "nodes:",
        *(
            f"  - {{id: {n}, peer: ipc://run/{n}.peer, client: ipc://run/{n}.client, events: ipc://run/{n}.events}}"
            for n in names
        ),
        "storage:",
        "  directory: data",
        "log:",
        "  directory: log",
        "supervisor:",
        "  control: ipc://run/supervisor.sock",
        "# Without entries here, `zraft cluster up` runs the scripts that come with zraft; /bin/true does nothing.",
        "hooks:" if any(scripts) else "# hooks:",
        f"  leader: {json.dumps(str(scripts.leader))}" if scripts.leader else "#   leader: /path/to/a/program",
        f"  follower: {json.dumps(str(scripts.follower))}" if scripts.follower else "#   follower: /path/to/a/program",
    ]
    return "\n".join(lines) + "\n"
