"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

NUMBER_MAX = (1 << 63) - 1
"""No index, term or revision is ever higher."""

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Else ZRAFT_CONFIG, .zraft/cluster.yaml, config/cluster.yaml."),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="Give up after this long.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
