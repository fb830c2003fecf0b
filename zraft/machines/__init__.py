"""Replicated state: the interface of a state machine, client sessions, and the machines that zraft comes with.

Read `machine` first (what a machine is, and what determinism asks of it), then `sessions` (how commands become
exactly-once), then `kv`. Each machine has a `commands` module, the one part of it that clients see. `mounts` says which machines
every node has, and `configured` finds those that users bring.
"""
