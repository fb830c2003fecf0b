"""An escort with a log of its own: whoever leads it, moves it and marches it, as entries one behind the other."""

from collections.abc import Callable, Sequence
from random import Random

from zraft.errors import InvalidRequest
from zraft.machines.escort import commands
from zraft.machines.escort.commands import (
    AskFormation,
    AskHistory,
    Command,
    Formation,
    March,
    Marching,
    Move,
    Row,
)
from zraft.machines.escort.plane import Vector, vector
from zraft.machines.escort.store import Escort
from zraft.machines.machine import Applied, Errand
from zraft.raft.types import Ballot, Membership, NodeId

ERRANDS_MAX = 1_000
Deed = Callable[[Escort], object]


def at(time_ms: int = 0, *, term: int = 1, session: int = 7) -> Applied:
    return Applied(1, term, time_ms, session, None, None)


def ballot(leader: NodeId) -> Ballot:
    return Ballot(leader, (leader,), (), (leader,), "timeout", 5, 0)


class Troop:
    """An escort, and all that it was told, so that it can be replayed.

    Parameters
    ----------
    members
        Who takes part from the beginning; nobody unless given.
    history_rows_max
        Of the escort.
    """

    def __init__(self, *members: NodeId, history_rows_max: int = 10_000) -> None:
        self.history_rows_max = history_rows_max
        self.escort = self.blank()
        self.deeds: list[Deed] = []
        self.now = 0
        """Cluster time."""
        self.term = 0
        self.random = Random(5)
        if members:
            self.join(*members)

    def blank(self) -> Escort:
        return Escort(history_rows_max=self.history_rows_max)

    def replayed(self) -> Escort:
        """Return an escort that was told the same from the beginning."""
        escort = self.blank()
        for deed in self.deeds:
            deed(escort)
        return escort

    def _do(self, deed: Deed) -> object:
        self.deeds.append(deed)
        return deed(self.escort)

    def join(self, *voters: NodeId, learners: Sequence[NodeId] = (), outgoing: Sequence[NodeId] = ()) -> None:
        """Let the membership be these."""
        membership = Membership(voters, tuple(outgoing), tuple(learners))
        where = at(self.now, term=self.term)
        self._do(lambda escort: escort.membership_changed(membership, where))

    def elect(self, node: NodeId) -> None:
        """Let a node lead the next term."""
        self.term += 1
        where = at(self.now, term=self.term)
        self._do(lambda escort: escort.leader_elected(ballot(node), where))

    def give(self, command: Command | bytes, *, session: int = 7) -> bytes:
        """Let a client, or with session 0 the leader, give a command."""
        raw = command if isinstance(command, bytes) else commands.encode(command)
        where = at(self.now, term=self.term, session=session)

        def deed(escort: Escort) -> bytes:
            try:
                return b"+" + escort.apply(raw, where)
            except InvalidRequest as error:
                return b"-" + str(error).encode()

        answer = self._do(deed)
        assert isinstance(answer, bytes)
        if answer.startswith(b"-"):
            raise InvalidRequest(answer[1:].decode())
        return answer[1:]

    def refusal(self, command: Command | bytes, *, session: int = 7) -> str:
        """Return why a command is refused; nothing has changed by it."""
        before = self.chunks()
        try:
            self.give(command, session=session)
        except InvalidRequest as error:
            assert self.chunks() == before, "a refused command changed something"
            return str(error)
        raise AssertionError(f"not refused: {command!r}")

    def move(self, x: float, y: float) -> Row:
        return commands.decode_row(self.give(Move(vector(x, y))))

    def march(self, x: float, y: float, every_ms: int = 100) -> Marching:
        return commands.decode_marching(self.give(March(vector(x, y), every_ms)))

    def wish(self) -> Errand | None:
        """Ask what is to happen next; asking changes nothing."""
        before = self.chunks()
        errand = self.escort.errand(self.random)
        assert self.chunks() == before
        return errand

    def attend(self) -> list[int]:
        """Carry out all errands, letting time pass as they need it; return the times of those that had to be waited for."""
        times = []
        errands = 0
        while (errand := self.wish()) is not None:
            errands += 1
            assert errands < ERRANDS_MAX, "it asks for errands for ever"
            if errand.due_ms > self.now:
                self.now = errand.due_ms
                times.append(self.now)
            self.give(errand.command, session=0)
        return times

    def chunks(self) -> list[bytes]:
        return list(self.escort.snapshot())

    @property
    def formation(self) -> Formation:
        return commands.decode_formation(self.escort.query(commands.encode(AskFormation())))

    @property
    def positions(self) -> dict[NodeId, Vector | None]:
        return {stand.node: stand.position for stand in self.formation.stands}

    @property
    def roles(self) -> dict[NodeId, str]:
        return {stand.node: stand.role for stand in self.formation.stands}

    @property
    def marching(self) -> Marching:
        marching = self.formation.marching
        assert marching is not None
        return marching

    @property
    def history(self) -> list[Row]:
        rows: list[Row] = []
        more = True
        while more:
            asked = AskHistory(rows[-1].step if rows else 0)
            page = commands.decode_page(self.escort.query(commands.encode(asked)))
            rows += page.rows
            more = page.more
        return rows
