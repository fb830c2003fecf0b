"""``supervisor_process.py CONFIG``: a supervisor over `supervisor_fake_node` programs, in a process of its own."""

import os
import sys
from pathlib import Path

from zraft import config
from zraft.config import Config
from zraft.errors import ZraftError
from zraft.supervisor.loop import Supervisor
from zraft.supervisor.output import Prefixer, Printer

NODE = Path(__file__).with_name("supervisor_fake_node.py")


def command(settings: Config, node_id: str) -> list[str]:
    return [sys.executable, str(NODE), settings.path, node_id, str(os.getpid())]


def main() -> int:
    settings = config.load(sys.argv[1])
    printer = Printer(1, Prefixer([node.id for node in settings.nodes], colour=False))
    try:
        return Supervisor(settings, printer, environment=os.environ, command=command).run()
    except ZraftError as error:
        print(error)
        return error.exit_code
    finally:
        printer.close(2)


if __name__ == "__main__":
    sys.exit(main())
