"""The frame of the command line: every end of a command becomes an exit code, and at most one line for each mistake.

Errors meant for people are `ZraftError`; each class has its exit code. Nobody meets a traceback unasked.
"""

import os
import sys
import traceback

from zraft.cli.find import find_config
from zraft.cli.requirements import check_python
from zraft.errors import ZraftError

__all__ = ["find_config", "run"]

_INTERRUPTED = 130
_BROKEN_PIPE = 141


def run() -> None:
    """Run the command line of this process and exit."""
    code = _guarded(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _BROKEN_PIPE
    if code == _BROKEN_PIPE:
        # The interpreter flushes once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _guarded(arguments: list[str]) -> int:
    """Run the command; return its exit code, having said on stderr why it is not 0."""
    try:
        check_python()
        return _dispatch(arguments)
    except ZraftError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the outermost frame
        return _unexpected(error)


def _dispatch(arguments: list[str]) -> int:
    if arguments[:2] == ["node", "run"]:
        # Not by way of typer, which costs a tenth of a second: five nodes start at once, and again after each crash.
        from zraft.cli.node import run_node  # noqa: PLC0415

        return run_node(arguments[2:])
    from zraft.cli import commands  # noqa: PLC0415

    return commands.run(arguments)


def _unexpected(error: Exception) -> int:
    if os.environ.get("ZRAFT_DEBUG"):
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    _say(f"internal error: {type(error).__name__}: {text}{where}; ZRAFT_DEBUG=1 shows all of it")
    return 1


def _say(text: str) -> None:
    for line in text.splitlines():
        print(f"zraft: {line}", file=sys.stderr)
