"""``zraft node``: one node of a cluster, in this process."""

from pathlib import Path
from typing import Annotated

import typer

from zraft import config
from zraft.cli.find import find_path
from zraft.errors import ConfigError

app = typer.Typer(add_completion=False, no_args_is_help=True)
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Else ZRAFT_CONFIG, .zraft/cluster.yaml, config/cluster.yaml."),
]


@app.callback()
def _node() -> None:
    """Run one node by itself; zraft cluster runs them all."""


@app.command("run")
def run(
    *,
    node_id: Annotated[str, typer.Option("--id", metavar="NODE", help="Which node of the configuration to be.")],
    config_file: ConfigFile = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log at level DEBUG.")] = False,
    log_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead of NODE.log in the log directory.")
    ] = None,
    status_every: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="Log a line of status this often.")
    ] = None,
    log_json: Annotated[
        bool | None, typer.Option("--log-json/--log-text", help="JSON objects, one a line, or text.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="TRACE, DEBUG, INFO, SUCCESS, WARNING or ERROR.")
    ] = None,
    supervised: Annotated[
        int | None, typer.Option(hidden=True, metavar="PID", help="End when this parent does.")
    ] = None,
) -> None:
    """Run a node until SIGTERM, which hands leadership over first."""
    path = find_path(config_file)
    level = log_level or ("DEBUG" if verbose else None)
    settings = config.load(path, overrides={"log.level": level, "log.json": log_json})
    if node_id not in {node.id for node in settings.nodes}:
        known = ", ".join(node.id for node in settings.nodes)
        raise ConfigError(f"{path}: there is no node {node_id!r} in it; its nodes are {known}")
    settings = config.own_port(settings, node_id)

    from zraft import logs, node  # noqa: PLC0415 - all of the above fails fast, before anything heavy is loaded

    logs.configure(settings, node_id, file=log_file)
    logs.say_warnings(settings)
    raise typer.Exit(node.run(settings, node_id, status_every_s=status_every, supervised=supervised))
