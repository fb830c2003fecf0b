"""``zraft node`` among the other commands: its help, and the way to `node`."""

import typer

from zraft.cli.node import run_node

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def _node() -> None:
    """Run one node by itself; zraft cluster runs them all."""


@app.command(
    "run",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def run(context: typer.Context) -> None:
    """Run a node until SIGTERM, which hands leadership over first."""
    raise typer.Exit(run_node(context.args))
