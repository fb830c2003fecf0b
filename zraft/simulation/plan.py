"""What one simulation is to be like, drawn from its seed before anything happens.

A *swarm*: each kind of fault is there in about half of the plans only, at a rate of its own, and sizes and timeouts are drawn too.
A plan in which everything happens at once hides whatever needs quiet; one without a kind shows what that kind covers up.

A plan is plain data, all that a run depends on: whoever shrinks a failure takes kinds, events or nodes out of it and
runs it again.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from zraft.errors import ConfigError
from zraft.simulation.dice import Dice, chance, log_uniform

MESSAGE_FAULTS: Final = {
    "loss": "a message is lost",
    "duplicate": "a message arrives twice",
    "late_duplicate": "it arrives once more, up to ten election timeouts later",
    "reorder": "a message overtakes those before it on its link",
    "corrupt": "a byte of it is another, or frames are missing; whoever gets it must reject it",
}
"""Rates are probabilities for each message, between nodes and to and from clients."""
LINK_FAULTS: Final = {
    "slow_link": "a link takes ten times as long and more",
    "clog": "a link delivers nothing for up to 5 s, then everything",
    "kind_filter": "one kind of message is lost, everywhere",
    "isolate": "one node is cut off",
    "split": "the nodes fall into two parts",
    "bridge": "they fall into two parts but for one node that talks to both",
    "ring": "each node talks to its two neighbours alone",
    "chain": "each node talks to its neighbours in a row alone",
    "single_link": "one link is cut",
    "one_way": "messages go in one direction alone, between two parts",
    "client_side": "clients see a minority of the nodes alone",
    "swizzle": "links of all nodes clog one after the other and are freed in another order",
}
PROCESS_FAULTS: Final = {
    "kill": "a process dies; its disk keeps what was written, synced or not",
    "kill_all": "all processes die at once",
    "kill_in_recovery": "a process dies while it recovers, at any of its operations on the disk",
    "lose_all": "power is lost, and with it all that was not synced",
    "keep_prefix": "power is lost, and with it the newest of what was not synced",
    "keep_sectors": "power is lost: of what was not synced, any sectors last",
    "torn": "power is lost in the midst of a sector, which then holds garbage",
    "zeros": "power is lost: files have grown, and hold zeros where they were not synced",
    "names_kept": "power is lost: names are as they were made last, without the data behind them",
    "keep_all": "power is lost just after all reached the disk",
    "blackout": "power is lost everywhere at once",
    "pause": "a process is stopped (SIGSTOP) while its disk and guard go on",
    "slow": "all that a process does takes 10 to 100 times as long",
    "suspend": "a machine sleeps, disk and guard too; its clock runs on",
    "clean_stop": "a node is stopped as `zraft cluster stop` does, and started again",
    "kill_guard": "the guard dies beside its node",
    "wipe": "a node comes back without its data, and is taken up anew",
}
DISK_FAULTS: Final = {
    "write_error": "a write fails with EIO",
    "short_write": "a part is written, then the disk fails",
    "sync_error": "a sync fails, once; the pages count as clean from then on",
    "read_error": "a read fails while a node recovers",
    "full": "the disk is full for a while: nothing can grow",
    "read_only": "the file system is read-only for a while",
    "bit_rot": "a bit flips on the disk of a node that is down",
    "stall": "a sync does not return for a while",
    "slow_disk": "each sync takes up to a second for a while",
}
CLOCK_FAULTS: Final = {
    "clock_rate": "a node's clock runs fast or slow",
    "wall_jump": "wall time jumps, by a second or by years",
}
COMMAND_FAULTS: Final = {
    "transfer": "leadership is handed over on request",
    "member_add": "a node joins",
    "member_replace": "a node takes another's place",
    "member_demote": "a voter becomes a learner",
    "member_promote": "a learner becomes a voter",
    "member_remove": "a node leaves",
    "member_remove_leader": "the leader is told to leave",
    "member_several": "several changes at once",
}
FAULTS: Final = MESSAGE_FAULTS | LINK_FAULTS | PROCESS_FAULTS | DISK_FAULTS | CLOCK_FAULTS | COMMAND_FAULTS
CAPACITY_FAULTS: Final = {
    "drop_newest": "a link holds a few messages; the next is refused, as a socket at its high-water mark does",
    "drop_oldest": "a link holds a few messages; the next takes the oldest one's place",
}
CLIENT_FAULTS: Final = {
    "client_crash": "a client dies while it waits, and another comes in its place",
    "client_gives_up": "a client waits for an answer no longer, and asks for something else in the same session",
    "client_idle": "a client asks for nothing until its session has expired",
}
"""Rates are probabilities for each request."""
KINDS: Final = FAULTS | CAPACITY_FAULTS | CLIENT_FAULTS
"""Every kind of fault, and what it does."""
POWER_FAULTS: Final = ("lose_all", "keep_prefix", "keep_sectors", "torn", "zeros", "names_kept", "keep_all")


class Plan(msgspec.Struct, frozen=True):
    """Everything that a simulation depends on. Times in milliseconds, sizes in bytes."""

    seed: int
    """Of all dice thrown while it runs."""
    nodes: int
    """Voters at the beginning, n1, n2, …"""
    spare: int
    """Nodes that are there and may join."""
    faults: dict[str, float]
    """Kinds that happen: a probability for each message, the link's capacity, or the mean time between two."""
    events: int
    """How many events the safety phase has, at most."""
    safety_ms: float
    """How long it lasts, at most."""
    election_lower_ms: float
    election_upper_ms: float
    heartbeat_ms: float
    delay_min_ms: float
    delay_mean_ms: float
    """What a message takes at least, and besides that on average."""
    sync_ms: float
    """What a write to the disk takes on average."""
    brisk: float
    """How probable it is that a write is durable before its `submit` returns."""
    turn_ms: float
    """What a turn of the loop takes."""
    disk_stall_ms: int
    segment_bytes: int
    append_bytes_max: int
    apply_bytes_max: int
    inflight_max: int
    uncommitted_bytes_max: int
    priorities: tuple[int, ...]
    """Of all nodes, spare ones too."""
    clock_drift: float
    """By how much rates of clocks differ from 1, at most, where `clock_rate` is on."""
    digest_entries: int
    """Whole states are compared each so many entries."""
    snapshot_bytes: int
    """How much the log grows, at the least, before a snapshot is taken."""
    piece_bytes: int
    """Pieces in which snapshots travel."""
    session_ttl_ms: int
    clients: int
    keys: int
    client_think_ms: float
    """Between two requests of a client, on average."""
    client_timeout_ms: float
    """What a client waits before it asks again."""
    machine: str = ""
    """``pkg.mod:Class``, mounted besides; empty for none."""


def draw(seed: int, *, nodes: int | None = None, faults: Iterable[str] | None = None, machine: str = "") -> Plan:
    """Draw the plan of a seed.

    Parameters
    ----------
    nodes
        How many voters it begins with; drawn too when None.
    faults
        The kinds that may happen, all of them when None; each is then drawn as ever.
    machine
        A user's own machine, mounted besides.

    Raises
    ------
    ConfigError
        There is no such kind of fault.
    """
    allowed = _allowed(faults)
    dice = Dice(seed)
    random = dice.of("plan")
    lower = log_uniform(random, 100, 1_000)
    upper = lower * log_uniform(random, 1.1, 6)
    drawn = random.choice((1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 7))
    clients = random.choice((1, 2, 3, 5, 8, 13, 20))
    count = nodes or drawn
    spare = random.choice((0, 1, 1, 2))
    return Plan(
        seed=seed,
        nodes=count,
        spare=spare,
        faults=_faults(dice, allowed, upper),
        events=int(log_uniform(random, 8_000, 32_000)),
        safety_ms=300_000.0,
        election_lower_ms=lower,
        election_upper_ms=upper,
        heartbeat_ms=lower / random.uniform(3, 10),
        delay_min_ms=random.uniform(0, lower / 50),
        delay_mean_ms=log_uniform(random, 0.2, lower / 30),
        sync_ms=log_uniform(random, 0.1, lower / 30),
        brisk=random.choice((0.0, 0.5, 0.95)),
        turn_ms=log_uniform(random, 0.01, 0.5),
        disk_stall_ms=int(upper * random.choice((0.5, 1, 3))),
        segment_bytes=int(log_uniform(random, 256, 256 << 10)),
        append_bytes_max=random.choice((1, 200, 256 << 10, 256 << 10)),
        apply_bytes_max=random.choice((1, 200, 256 << 10, 256 << 10)),
        inflight_max=random.choice((1, 2, 64, 64)),
        uncommitted_bytes_max=random.choice((2_000, 64 << 20, 64 << 20)),
        priorities=_priorities(dice, count + spare),
        clock_drift=random.choice((0.001, 0.05, 0.2)),
        digest_entries=random.choice((20, 50, 100)),
        snapshot_bytes=int(log_uniform(random, 300, 64 << 10)),
        piece_bytes=int(log_uniform(random, 50, 16 << 10)),
        session_ttl_ms=int(upper * log_uniform(random, 5, 500)),
        clients=clients,
        keys=random.choice((1, 2, 3, 5, 10, 20)),
        client_think_ms=clients * upper * log_uniform(random, 0.03, 1),
        client_timeout_ms=upper * random.uniform(0.5, 4),
        machine=machine,
    )


def _allowed(faults: Iterable[str] | None) -> list[str]:
    allowed = list(KINDS) if faults is None else list(faults)
    unknown = [kind for kind in allowed if kind not in KINDS]
    if unknown:
        raise ConfigError(f"no such fault: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return allowed


def _priorities(dice: Dice, count: int) -> tuple[int, ...]:
    """Draw how much each node should lead; the first one may, so that somebody may. Equal in most plans."""
    uneven = chance(dice.of("plan/priorities"), 0.25)
    others = (dice.of(f"plan/n{number}").choice((0, 1, 1, 2)) for number in range(2, count + 1))
    return (1, *(drawn if uneven else 1 for drawn in others))


def _faults(dice: Dice, allowed: list[str], upper_ms: float) -> dict[str, float]:
    """Draw which kinds there are, and how often; each kind by its own dice, so that none depends on which are allowed."""
    found = {}
    calm = log_uniform(dice.of("plan/calm"), 0.7, 4)
    for kind in KINDS:
        random = dice.of(f"plan/{kind}")
        drawn = chance(random, 0.5)
        if kind in MESSAGE_FAULTS:
            rate = log_uniform(random, 0.001, 0.2 if kind == "loss" else 0.3 if kind == "duplicate" else 0.05)
        elif kind in CAPACITY_FAULTS:
            rate = float(int(log_uniform(random, 2, 2_000)))
        elif kind in CLIENT_FAULTS:
            rate = log_uniform(random, 0.002, 0.3 if kind == "client_gives_up" else 0.05)
        else:
            often = (
                3 if kind in (*COMMAND_FAULTS, "wipe", "bit_rot") else 1
            )  # Many of them find that they cannot be now.
            rate = upper_ms * calm * log_uniform(random, 5, 50) / often
        if drawn and kind in allowed:
            found[kind] = rate
    return found
