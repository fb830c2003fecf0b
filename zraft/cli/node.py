"""``zraft node run``: one node of a cluster, in this process.

It reads its own options: see `main`.
"""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from zraft import config
from zraft.cli.find import find_path
from zraft.cli.requirements import check_libzmq
from zraft.config.rules import LEVELS
from zraft.errors import ConfigError

_STATUS_EVERY_MIN_S = 0.1


def run_node(arguments: list[str]) -> int:
    """Run a node until it is told to stop; return its exit code."""
    options = _parser().parse_args(arguments)
    path = find_path(options.config)
    level = options.log_level or ("DEBUG" if options.verbose else None)
    settings = config.load(path, overrides={"log.level": level, "log.json": options.log_json})
    known = [node.id for node in settings.nodes]
    if options.id not in known:
        raise ConfigError(f"{path}: there is no node {options.id!r} in it; its nodes are {', '.join(known)}")
    if options.join:
        settings = config.own_join(settings, options.id)
    advertised = settings.node(options.id).peer
    settings = config.own_priority(config.own_port(settings, options.id), options.id)
    check_libzmq()

    from zraft import logs, node  # noqa: PLC0415 - all of the above fails fast, before anything heavy is loaded

    logs.configure(settings, options.id, file=options.log_file)
    if options.supervised is None:
        logs.say_warnings(settings)  # A supervisor has said them once, for all of its nodes.
    return node.run(
        settings,
        options.id,
        status_every_s=options.status_every,
        supervised=options.supervised,
        advertised=advertised,
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as the other commands do."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="zraft node run",
        description="Run a node until SIGTERM, which hands leadership over first.",
        allow_abbrev=False,
    )

    def option(*names: str, **how: Any) -> None:
        parser.add_argument(*names, **how)

    option("--id", metavar="NODE", required=True, help="which node of the configuration to be")
    option("--config", metavar="FILE", type=Path, help="else ZRAFT_CONFIG, .zraft/cluster.yaml, config/cluster.yaml")
    option("--join", action="store_true", help="without data, wait to be added to the cluster: zraft member add")
    option("-v", "--verbose", action="store_true", help="log at level DEBUG")
    option("--log-file", metavar="FILE", type=Path, help="instead of NODE.log in the log directory")
    option("--log-json", action=argparse.BooleanOptionalAction, help="one JSON object a line, or text")
    option("--log-level", metavar="LEVEL", help=f"one of {', '.join(LEVELS)}")
    option("--status-every", metavar="SECONDS", type=_seconds, help="log a line of status this often")
    option("--supervised", metavar="PID", type=int, help=argparse.SUPPRESS)
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not _STATUS_EVERY_MIN_S <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least {_STATUS_EVERY_MIN_S}, not {text}")
    return seconds
