"""The escort as a client sees it: positions in units, whole ones as int."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

import msgspec

from zraft.client.calls import Again
from zraft.errors import InvalidRequest
from zraft.machines.escort import commands
from zraft.machines.escort.commands import EVERY_MS, Marching, Row
from zraft.machines.escort.plane import Number, units, vector
from zraft.raft.types import NodeId, Term

if TYPE_CHECKING:
    from zraft.client.client import Client

Point = tuple[float, float]
"""A position, or a difference of two, in units."""
_MACHINE = commands.MACHINE
_encode = commands.encode


class Position(msgspec.Struct, frozen=True):
    """Where a node is; the keys of ``zraft escort positions --json``."""

    node: NodeId
    role: str
    """``leader``, ``follower`` or ``learner``, as the log has it."""
    position: Point | None
    """None for the moment between joining and being placed."""


class Step(msgspec.Struct, frozen=True):
    """One move of the formation; the keys of ``zraft escort history --json``."""

    step: int
    """Counts all moves since the beginning, from 1, without a gap."""
    term: Term
    leader: NodeId
    """Who led that term."""
    move: Point
    leader_position: Point
    """Where the leader was afterwards."""


class March(msgspec.Struct, frozen=True):
    """A march and how far it has got."""

    number: int
    """Counts all marches since the beginning, from 1."""
    goal: Point
    every_ms: int
    """Cluster time between two steps."""
    steps: int
    """How many it has taken."""
    arrived: bool


class Formation(msgspec.Struct, frozen=True):
    """Where everybody is, and where to, at one moment."""

    positions: list[Position]
    """All members, in the order of the membership."""
    step: int
    """The newest row of the history; 0 before the first."""
    march: March | None
    """The newest march, arrived or not; None before the first."""


Steps = list[Step]


class EscortClient:
    """The escort; `Client.escort` is the one to use.

    Coordinates are numbers, or text, of at most three decimals, up to a million either way; a float is rounded to that. Each call
    has a twin that starts with ``submit_``, which returns a future at once.

    Every call raises `zraft.errors.InvalidRequest` for what can never be, `Unavailable` when nothing happened, and, `move`
    and `march` alone, `OutcomeUnknown` and `SessionExpired`. A future holds them, but for an InvalidRequest that is seen
    before anything is sent: that is raised at once.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    def move(self, x: Number, y: Number) -> Step:
        """Move the formation by [x, y], once; return the row of the history that this made."""
        step: Step = self._client.command(_MACHINE, _move(x, y), _read_row)
        return step

    def submit_move(self, x: Number, y: Number) -> "Future[Step]":
        """Do what `move` does, without waiting."""
        return self._client.submit_command(_MACHINE, _move(x, y), _read_row)

    def march(self, x: Number, y: Number, *, every_ms: int = EVERY_MS) -> March:
        """Set the goal of the formation's head, in place of any other, and return at once.

        Whoever leads takes the steps, each at most one unit long, whatever becomes of this client; `formation` tells how far
        it has got.

        Parameters
        ----------
        x, y
            The goal.
        every_ms
            Cluster time between two steps, 1 to 3,600,000.
        """
        march: March = self._client.command(_MACHINE, _set_out(x, y, every_ms), _read_march)
        return march

    def submit_march(self, x: Number, y: Number, *, every_ms: int = EVERY_MS) -> "Future[March]":
        """Do what `march` does, without waiting."""
        return self._client.submit_command(_MACHINE, _set_out(x, y, every_ms), _read_march)

    def positions(self) -> list[Position]:
        """Return where each member is; linearizable."""
        return self.formation().positions

    def submit_positions(self) -> "Future[list[Position]]":
        """Do what `positions` does, without waiting."""
        query = _encode(commands.AskFormation())
        return self._client.submit_query(_MACHINE, query, lambda result: _read_formation(result).positions)

    def formation(self) -> Formation:
        """Return where each member is, and the newest march; linearizable."""
        formation: Formation = self._client.query(_MACHINE, _encode(commands.AskFormation()), _read_formation)
        return formation

    def submit_formation(self) -> "Future[Formation]":
        """Do what `formation` does, without waiting."""
        return self._client.submit_query(_MACHINE, _encode(commands.AskFormation()), _read_formation)

    def history(self) -> Steps:
        """Return the newest 10,000 moves, oldest first; linearizable."""
        steps: Steps = self._client.query(_MACHINE, _encode(commands.AskHistory()), _pages())
        return steps

    def submit_history(self) -> "Future[Steps]":
        """Do what `history` does, without waiting."""
        return self._client.submit_query(_MACHINE, _encode(commands.AskHistory()), _pages())


def _move(x: Number, y: Number) -> bytes:
    return _encode(commands.Move(vector(x, y)))


def _set_out(x: Number, y: Number, every_ms: int) -> bytes:
    refusal = commands.why_no_pace(every_ms)
    if refusal is not None:
        raise InvalidRequest(refusal)
    return _encode(commands.March(vector(x, y), every_ms))


def _read_row(result: bytes) -> Step:
    return _step(commands.decode_row(result))


def _step(row: Row) -> Step:
    return Step(row.step, row.term, row.leader, units(row.move), units(row.leader_position))


def _read_march(result: bytes) -> March:
    return _march(commands.decode_marching(result))


def _march(marching: Marching) -> March:
    return March(marching.number, units(marching.goal), marching.every_ms, marching.steps, marching.arrived)


def _read_formation(result: bytes) -> Formation:
    found = commands.decode_formation(result)
    positions = [
        Position(stand.node, stand.role, None if stand.position is None else units(stand.position))
        for stand in found.stands
    ]
    return Formation(positions, found.step, None if found.marching is None else _march(found.marching))


def _pages() -> Callable[[bytes], Steps | Again]:
    """Return a reader that collects the pages of the history."""
    steps: Steps = []

    def read(result: bytes) -> Steps | Again:
        page = commands.decode_page(result)
        if steps and page.rows and page.rows[0].step != steps[-1].step + 1:
            steps.clear()  # So much has happened since the last page that what lay between is forgotten.
        steps.extend(map(_step, page.rows))
        if not page.more:
            return steps
        return Again(_encode(commands.AskHistory(steps[-1].step)))

    return read
