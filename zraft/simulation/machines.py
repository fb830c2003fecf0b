"""The machines that a simulated cluster replicates: the key-value store, the scroll, and one of the user's own.

A machine under test is named by its class, as in a configuration, and mounted as ``own``. What clients ask of it comes from two
methods that it may have; each takes seeded dice, and must throw no others:

``simulated_commands(random) -> list[bytes]``
    The commands of one batch.
``simulated_queries(random) -> list[bytes]``
    The queries of one request.

Without the first, commands are random bytes, most of which a machine refuses, by `InvalidRequest` or whatever it raises; without the second nobody asks.
"""

from collections.abc import Callable
from random import Random

from zraft.errors import ConfigError
from zraft.machines.configured import made
from zraft.machines.kv import commands as kv
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import StateMachine
from zraft.simulation import scroll

OWN = "own"
"""The name under which the machine under test is mounted."""
_COMMANDS_MAX, _BYTES_MAX = 4, 40
Asked = Callable[[Random], list[bytes]]


def mounted(path: str = "") -> dict[str, StateMachine]:
    """Return the machines, empty, by name.

    Parameters
    ----------
    path
        ``pkg.mod:Class`` of the machine under test, or nothing.

    Raises
    ------
    ConfigError
        There is no such class, or it is no machine.
    """
    machines: dict[str, StateMachine] = {kv.MACHINE: KeyValueStore(), scroll.MACHINE: scroll.Scroll()}
    if path:
        machines[OWN] = made(path)
    return machines


def asked_of(machine: StateMachine) -> tuple[Asked, Asked | None]:
    """Return what makes commands and queries for a machine under test; None when nobody asks it.

    Both raise `ConfigError` when the machine gives something that cannot be asked.
    """
    commands = _checked(machine, "simulated_commands") or _noise
    return commands, _checked(machine, "simulated_queries")


def _checked(machine: StateMachine, name: str) -> Asked | None:
    method = getattr(machine, name, None)
    if method is None:
        return None

    def asked(random: Random) -> list[bytes]:
        given = method(random)
        if not isinstance(given, list) or not given or not all(isinstance(each, bytes) for each in given):
            raise ConfigError(
                f"{type(machine).__name__}.{name}() must give a list of bytes, one at least, and gave {given!r:.80}"
            )
        return given

    return asked


def _noise(random: Random) -> list[bytes]:
    return [random.randbytes(random.randrange(_BYTES_MAX)) for _ in range(random.randint(1, _COMMANDS_MAX))]
