"""What must be true of the Python and the ZeroMQ under us."""

import sys

from zraft.errors import ConfigError

LIBZMQ_MIN = (4, 3, 3)
"""Older ones lose messages when a peer comes back under the same name, and can be crashed from the network."""


def check_python() -> None:
    """Refuse an interpreter that drops assertions."""
    if sys.flags.optimize:
        raise ConfigError(
            "python -O removes the assertions that keep data safe; run without it (and without PYTHONOPTIMIZE)"
        )


def check_libzmq() -> None:
    """Refuse a ZeroMQ library that zraft cannot rely on."""
    import zmq  # noqa: PLC0415 - `zraft --help` needs no socket

    if zmq.zmq_version_info() < LIBZMQ_MIN:
        raise ConfigError(
            f"libzmq {zmq.zmq_version()} is too old; 4.3.3 or later is needed: pip install --upgrade pyzmq"
        )
