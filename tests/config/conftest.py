"""Configuration files as texts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from zraft import config
from zraft.config import Config
from zraft.errors import ConfigError

THREE = """
nodes:
  - {id: n1, peer: "tcp://127.0.0.1:7101", client: "tcp://127.0.0.1:7201", events: "tcp://127.0.0.1:7301"}
  - {id: n2, peer: "tcp://127.0.0.1:7102", client: "tcp://127.0.0.1:7202", events: "tcp://127.0.0.1:7302"}
  - {id: n3, peer: "tcp://127.0.0.1:7103", client: "tcp://127.0.0.1:7203", events: "tcp://127.0.0.1:7303"}
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Config]:
    """Load a text as ``cluster.yaml``, with three good nodes unless it has its own."""

    def load(
        text: str = "", *, env: dict[str, str] | None = None, overrides: dict[str, object] | None = None
    ) -> Config:
        file = tmp_path / "cluster.yaml"
        file.write_text(text if "nodes:" in text else text + THREE)
        return config.load(file, env=env or {}, overrides=overrides)

    return load


@pytest.fixture
def refusal(load: Callable[..., Config], tmp_path: Path) -> Callable[..., list[str]]:
    """Load a text that is wrong; return the mistakes, with ``FILE`` for the path of the file."""

    def refusal(text: str = "", **sources: dict[str, str]) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            load(text, **sources)
        return [line.replace(str(tmp_path / "cluster.yaml"), "FILE") for line in raised.value.mistakes]

    return refusal
