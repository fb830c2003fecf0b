"""The machines that every node mounts, and who says of each what its commands do; a new machine gets a line in both."""

from collections.abc import Callable, Mapping

from zraft.machines.catalog import commands as catalog
from zraft.machines.catalog.store import Catalog
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


def mounted(*, key_bytes_max: int, value_bytes_max: int) -> dict[str, StateMachine]:
    """Return all machines, empty, by name.

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
