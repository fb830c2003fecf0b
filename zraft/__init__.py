"""zraft: Raft as ZeroMQ actors.

A program needs two names: `Client`, and `DistDict` on top of it. What they raise is in `zraft.errors`, all of it under
`ZraftError`.
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
