"""Commands as a user types them, run in this process on fake nodes; tests/cluster runs some as processes, on real ones."""

import io
import json
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
from fake_cluster import FakeCluster

from zraft.cli import commands
from zraft.errors import ZraftError


class Printed(io.StringIO):
    """Standard output that is no terminal, and has a descriptor as every one does."""

    def fileno(self) -> int:
        return 1


class TypedCommands:
    """Runs ``zraft GROUP`` against three fake nodes, of which a file tells it.

    Parameters
    ----------
    cluster
        The nodes.
    group
        The first word of each command.
    options_at
        Before which of the other words ``--config`` is put; None for the end.
    """

    def __init__(self, cluster: FakeCluster, group: str, options_at: int | None = None) -> None:
        self.file = Path(cluster.directory) / "cluster.yaml"
        nodes = msgspec.to_builtins(cluster.config.nodes)
        self.document: dict[str, Any] = {"cluster": {"id": cluster.config.cluster.id}, "nodes": nodes}
        """What is in the file."""
        self._group = group
        self._options_at = options_at
        self.said = ""
        """What the last command said on stderr, or would have."""

    def run(self, line: str, *, code: int = 0) -> str:
        """Return what ``zraft GROUP LINE`` prints; check its exit code."""
        self.file.write_bytes(msgspec.yaml.encode(self.document))
        words = shlex.split(line)
        at = len(words) if self._options_at is None else self._options_at
        words[at:at] = ["--config", str(self.file)]
        with redirect_stdout(Printed()) as out, redirect_stderr(io.StringIO()) as err:
            try:
                ended = commands.run([self._group, *words])
                self.said = err.getvalue()
            except ZraftError as error:
                ended, self.said = error.exit_code, str(error)
        assert ended == code, (line, self.said)
        assert self.said.count("\n") <= 1, "one mistake, one line"
        return out.getvalue()

    def json(self, line: str) -> Any:
        return json.loads(self.run(f"{line} --json"))
