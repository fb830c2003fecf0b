"""The machines that every node mounts beside those of its configuration, and who says of each what its commands do; a new machine gets a line in both."""

from collections.abc import Callable, Mapping

from zraft.config import Config
from zraft.machines.catalog import commands as catalog
from zraft.machines.catalog.store import Catalog
from zraft.machines.configured import describer, own_machines
from zraft.machines.escort import commands as escort
from zraft.machines.escort.store import Escort
from zraft.machines.history import commands as history
from zraft.machines.history.store import History
from zraft.machines.kv import commands as kv
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import StateMachine

DESCRIBERS: Mapping[str, Callable[[bytes], str]] = {
    kv.MACHINE: kv.describe,
    catalog.MACHINE: catalog.describe,
    escort.MACHINE: escort.describe,
    history.MACHINE: history.describe,
}
"""By machine: says what one command does, on one line; never raises."""


def mount(config: Config) -> tuple[dict[str, StateMachine], dict[str, Callable[[bytes], str]]]:
    """Return all machines of a cluster, empty, by name, and the describers of those that have one.

    Raises
    ------
    ConfigError
        A machine that the configuration names cannot be had; see `configured.own_machines`.
    """
    machines = mounted(key_bytes_max=config.limits.key_bytes_max, value_bytes_max=config.limits.value_bytes_max)
    own = own_machines(config, machines)
    described = {name: describe for name, each in own.items() if (describe := describer(each)) is not None}
    return machines | own, {**DESCRIBERS, **described}


def mounted(*, key_bytes_max: int, value_bytes_max: int) -> dict[str, StateMachine]:
    """Return the machines that zraft comes with, empty, by name.

    Parameters
    ----------
    key_bytes_max, value_bytes_max
        Limits of the key-value store.
    """
    return {
        kv.MACHINE: KeyValueStore(key_bytes_max=key_bytes_max, value_bytes_max=value_bytes_max),
        catalog.MACHINE: Catalog(),
        escort.MACHINE: Escort(),
        history.MACHINE: History(),
    }
