"""The frame of the command line: it finds the command, and turns every end of it into an exit code and at most one line."""

import importlib
import os
import sys
import traceback
from types import TracebackType
from typing import Any

import typer
import typer.core
import typer.main

from zraft import __version__
from zraft.cli.find import find_config
from zraft.errors import ZraftError

__all__ = ["app", "find_config", "run"]

_MODULES = {
    "cluster": "zraft.cli.cluster",
    "status": "zraft.cli.status",
    "monitor": "zraft.cli.monitor",
    "kv": "zraft.cli.kv",
    "node": "zraft.cli.node",
}
_LIBZMQ_MIN = (4, 3, 3)
"""Older ones lose messages when a peer comes back under the same name, and can be crashed from the network."""
_INTERRUPTED = 130
_BROKEN_PIPE = 141
# Whatever typer raises about the command line. Newer versions of it bring their own copy of click, so this is the one name
# that all of them have.
_CommandLineError: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__base__ is Exception)


class _Commands(typer.core.TyperGroup):
    """Commands by name; the module of one is imported when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _MODULES:
            return None
        noun = importlib.import_module(_MODULES[cmd_name]).app
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
    import zmq  # noqa: PLC0415 - `zraft --help` needs no socket

    if zmq.zmq_version_info() < _LIBZMQ_MIN:
        raise ZmqTooOld


class ZmqTooOld(ZraftError):
    """The ZeroMQ library under pyzmq is one that zraft cannot rely on."""

    exit_code = 2

    def __str__(self) -> str:
        import zmq  # noqa: PLC0415

        return f"libzmq {zmq.zmq_version()} is too old; 4.3.3 or later is needed: pip install --upgrade pyzmq"


def run() -> None:
    """Run the command line of this process and exit."""
    if sys.flags.optimize:
        _say("python -O removes the assertions that keep data safe; run without it (and without PYTHONOPTIMIZE)")
        sys.exit(2)
    code = _guarded()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _BROKEN_PIPE
    if code == _BROKEN_PIPE:
        # The interpreter flushes once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _guarded() -> int:
    """Run the command; return its exit code, having said on stderr why it is not 0."""
    try:
        result = app(prog_name="zraft", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except SystemExit as end:
        # Typer turns a broken pipe into a plain 1.
        code = (
            _BROKEN_PIPE if isinstance(end.__context__, BrokenPipeError) else end.code if type(end.code) is int else 1
        )
    except ZraftError as error:
        _say(str(error))
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except _CommandLineError as error:
        code = _usage(error)
    except Exception as error:  # noqa: BLE001 - the outermost frame: nobody may meet a traceback unasked
        code = _unexpected(error, error.__traceback__)
    return code


def _usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        where = context.command_path if context is not None else "zraft"
        _say(f"{' '.join(error.format_message().split()).rstrip('.')}; see {where} --help")
    return int(error.exit_code)


def _unexpected(error: Exception, trace: TracebackType | None) -> int:
    if os.environ.get("ZRAFT_DEBUG"):
        traceback.print_exception(error)
    frames = traceback.extract_tb(trace)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    _say(f"internal error: {type(error).__name__}: {text}{where}; ZRAFT_DEBUG=1 shows all of it")
    return 1


def _say(text: str) -> None:
    for line in text.splitlines():
        print(f"zraft: {line}", file=sys.stderr)
