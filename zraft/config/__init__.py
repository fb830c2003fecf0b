"""YAML, environment and flags to one frozen `Config`; every mistake reported at once, with its place and its key.

Precedence: command-line flag, environment, file, default. Every option ``section.key`` has the variable
``ZRAFT_SECTION_KEY``. Relative paths in the file are relative to the file's own directory, those in a variable or a flag
to the current one.

Read in this order: `schema` (what there is), `document` (YAML to values with line numbers), `environment` (variables),
`settings` (the layers, each value checked for itself), `location` (paths and endpoints), `rules` (what must hold
between values), `loading` (all of it, in order).
"""

from zraft.config.environment import HOOK_VARIABLES, OTHER_VARIABLES, VARIABLES, read_env_file
from zraft.config.loading import load, own_join, own_port, own_priority
from zraft.config.schema import (
    Cluster,
    Config,
    Election,
    Events,
    Heartbeat,
    Hooks,
    Limits,
    Log,
    Membership,
    Monitor,
    Node,
    Sessions,
    Storage,
    Supervisor,
)

__all__ = [
    "HOOK_VARIABLES",
    "OTHER_VARIABLES",
    "VARIABLES",
    "Cluster",
    "Config",
    "Election",
    "Events",
    "Heartbeat",
    "Hooks",
    "Limits",
    "Log",
    "Membership",
    "Monitor",
    "Node",
    "Sessions",
    "Storage",
    "Supervisor",
    "load",
    "own_join",
    "own_port",
    "own_priority",
    "read_env_file",
]
