"""The commands by name; the module of each is imported when it is used."""

import importlib
from typing import Any

import typer
import typer.core
import typer.main

from zraft import __version__
from zraft.cli.requirements import check_libzmq
from zraft.errors import ConfigError

MODULES = {
    "cluster": "zraft.cli.cluster",
    "status": "zraft.cli.status",
    "log": "zraft.cli.log",
    "snapshot": "zraft.cli.snapshot",
    "leader": "zraft.cli.leader",
    "member": "zraft.cli.member",
    "monitor": "zraft.cli.monitor",
    "elections": "zraft.cli.elections",
    "leaders": "zraft.cli.leaders",
    "events": "zraft.cli.events",
    "kv": "zraft.cli.kv",
    "catalog": "zraft.cli.catalog",
    "escort": "zraft.cli.escort",
    "simulate": "zraft.cli.simulate",
    "node": "zraft.cli.node_command",
}
INTERRUPTED = 130
# Whatever typer raises about the command line. Newer versions of it bring their own copy of click, so this is the one name
# that all of them have.
_CommandLineError: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__base__ is Exception)


class _Commands(typer.core.TyperGroup):
    """Finds the module of a command."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in MODULES:
            return None
        noun = importlib.import_module(MODULES[cmd_name]).app
        noun.rich_markup_mode = None
        return typer.main.get_command(noun)


app = typer.Typer(
    cls=_Commands, add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"zraft {__version__}")
        raise typer.Exit


@app.callback()
def _frame(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
    ),
) -> None:
    """Raft as ZeroMQ actors: one leader, one log, and scripts that follow them.

    Exit codes: 0 done; 1 not found, or a condition that is false; 2 usage or configuration; 3 unavailable;
    4 outcome unknown; 5 storage failed or damaged.
    """
    check_libzmq()


def run(arguments: list[str]) -> int:
    """Run the command that `arguments` name; return its exit code.

    Raises
    ------
    ConfigError
        The arguments make no sense.
    BrokenPipeError
        Whoever read the output is gone.
    """
    try:
        result = app(arguments, prog_name="zraft", standalone_mode=False)
    except _CommandLineError as error:
        return _usage(error)
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer turns it into a plain 1.
            raise BrokenPipeError from end
        raise
    return result if isinstance(result, int) else 0


def _usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "zraft"
    message = " ".join(error.format_message().split()).rstrip(".")
    raise ConfigError(f"{message}; see {where} --help") from error
