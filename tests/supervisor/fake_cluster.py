"""``fake_cluster.py CONFIG``: a supervisor over `fake_node` programs, in a process of its own."""

import os
import sys
from pathlib import Path

from zraft import config
from zraft.config import Config
from zraft.supervisor.loop import Supervisor
from zraft.supervisor.output import Prefixer, Printer

NODE = Path(__file__).with_name("fake_node.py")


def command(settings: Config, node_id: str) -> list[str]:
    return [sys.executable, str(NODE), settings.path, node_id, str(os.getpid())]


def main() -> int:
    settings = config.load(sys.argv[1])
    printer = Printer(1, Prefixer([node.id for node in settings.nodes], colour=False))
    try:
        return Supervisor(settings, printer, environment=os.environ, command=command).run()
    finally:
        printer.close(2)


if __name__ == "__main__":
    sys.exit(main())
