"""What a simulation is made from: a seed, and what a user wants otherwise than it was drawn. Written down it is one line that replays it."""

import shlex

import msgspec

from zraft.simulation.plan import Plan, draw

NO_FAULTS = "none"


class Recipe(msgspec.Struct, frozen=True):
    """One simulation; the options of ``zraft simulate --replay``. None stands for as drawn."""

    seed: int
    nodes: int | None = None
    faults: tuple[str, ...] | None = None
    """Kinds that may happen, if the seed has drawn them."""
    clients: int | None = None
    events: int | None = None
    """After how many the faults end."""
    machine: str = ""

    def plan(self) -> Plan:
        """Draw the plan.

        Raises
        ------
        ConfigError
            There is no such kind of fault.
        """
        drawn = draw(self.seed, nodes=self.nodes, faults=self.faults, machine=self.machine)
        changes = {name: value for name in ("clients", "events") if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(drawn, **changes)

    @property
    def line(self) -> str:
        """The command that runs it again."""
        words = ["zraft", "simulate", "--replay", str(self.seed)]
        for name in ("nodes", "clients", "events"):
            if (value := getattr(self, name)) is not None:
                words += [f"--{name}", str(value)]
        if self.faults is not None:
            words += ["--faults", ",".join(self.faults) or NO_FAULTS]
        if self.machine:
            words += ["--machine", self.machine]
        return shlex.join(words)
