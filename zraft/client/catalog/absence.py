"""What is said of records that are not there."""

from zraft.errors import NotFound
from zraft.machines.catalog.commands import Key, kind_of, named


def missing(key: Key) -> NotFound:
    """Return the error for a record that is not there."""
    kind = kind_of(key)
    return NotFound(f"{named(key)}: no such {kind}; zraft catalog {kind} list shows those that there are")
