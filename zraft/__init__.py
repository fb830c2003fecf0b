"""zraft: Raft as ZeroMQ actors.

A program needs two names: `Client`, and `DistDict` on top of it. What they raise is in `zraft.errors`, all of it under
`ZraftError`.

Who wants to read the code begins with `raft`, whose docstring is an essay on Raft and says in which order to read its
files: it is the protocol alone, and knows no world. Then `seams` (the world, as five protocols) and `replica` (which joins the
core with everything else, and holds the one function that carries out a `Ready`). Then the rooms that these join, in any
order: `storage` (the log on disk, byte by byte), `machines` (what is replicated), `hooks` (scripts, and the guard that runs
them), `codec` with `requests` and `events` (the wire). Last the world: `transport`, `disk` with `diskthread` and `snapshotchild` (which `hugepages` makes quick to fork), `eventfile` and `node`, which binds them to one loop;
`supervisor`, `client`, `monitor` and `cli`, which see a node from outside; and `simulation`, another world for the same replica.

Departures from the first design: `endpoints`, `frames` and `socketoptions` are rooms of their own, since node, client and supervisor
all need them; what clients wait for is in `serving` beside the replica, requests about the
membership in `admissions`, where nodes are reached in `addresses`, the links to peers as they come and go in `peerlinks` and `neighbours`;
copies of the whole state in `copies`, with what is said about them in `statepieces`; what becomes of a cluster that is lost in
`rescue`; what a leader proposes by itself is in `upkeep`, when a node takes a snapshot and how it travels in `compaction`, links that a drill has cut in
`cuts`, what a node is put together from in `parts`; the wording of log lines is in `narration`, pieces of the log are in `excerpt`, and what a
node tells at level DEBUG in `particulars`. The loop awaits a small write for at most a millisecond (`diskthread`), which costs less than another turn.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zraft.client.client import Client
    from zraft.client.distdict import DistDict
    from zraft.errors import InvalidRequest, OutcomeUnknown, SessionExpired, Unavailable, ZraftError

__version__ = "0.1.0"
__all__ = [
    "Client",
    "DistDict",
    "InvalidRequest",
    "OutcomeUnknown",
    "SessionExpired",
    "Unavailable",
    "ZraftError",
    "__version__",
]

_HOMES = {
    "Client": "zraft.client.client",
    "DistDict": "zraft.client.distdict",
    **dict.fromkeys(
        ("InvalidRequest", "OutcomeUnknown", "SessionExpired", "Unavailable", "ZraftError"), "zraft.errors"
    ),
}


def __getattr__(name: str) -> Any:
    """Import what the package exports when it is first asked for, so that `import zraft` alone is light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'zraft' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
