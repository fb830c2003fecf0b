"""The machine of the escort; the package says by which rules it moves."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random

import msgspec

from zraft.errors import InvalidRequest
from zraft.machines.escort import commands, plane
from zraft.machines.escort.commands import (
    AskFormation,
    AskHistory,
    Formation,
    March,
    Marching,
    Move,
    Page,
    Place,
    Row,
    Stand,
    Step,
)
from zraft.machines.escort.plane import SCALE, Vector
from zraft.machines.machine import Applied, Errand
from zraft.raft.types import Ballot, Membership, NodeId

HISTORY_ROWS_MAX = 10_000
_ROWS_PER_CHUNK = 2_000
_HEAD_PLACE: Vector = (0, 0)
_encode = commands.encode


class _State(msgspec.Struct, array_like=True):
    """Everything but the history."""

    members: tuple[NodeId, ...] = ()
    """Who takes part, in the order of the membership."""
    learners: tuple[NodeId, ...] = ()
    """Those of them without a vote."""
    head: NodeId | None = None
    """Who was elected last; None before the first election."""
    position: Vector = (0, 0)
    """Where the head is."""
    offsets: dict[NodeId, Vector] = {}
    """The places of the others, seen from the head; no two alike."""
    step: int = 0
    """How many rows the history has ever had."""
    marches: int = 0
    """How many marches there have been."""
    marching: Marching | None = None
    """The newest of them."""


_decode_state = msgspec.msgpack.Decoder(_State).decode
_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


class Escort:
    """The machine ``escort``: also an `Observer`, and `Proactive`.

    Parameters
    ----------
    history_rows_max
        How many rows of the history are kept, the newest; the same on every node.
    """

    def __init__(self, *, history_rows_max: int = HISTORY_ROWS_MAX) -> None:
        self._state = _State()
        self._rows: deque[Row] = deque(maxlen=history_rows_max)
        """The history, oldest first."""

    # -- who takes part ------------------------------------------------------------------------------------------------

    def leader_elected(self, ballot: Ballot, at: Applied) -> None:
        """Let the new leader and the old one change places."""
        state = self._state
        old, state.head = state.head, ballot.leader
        if old == ballot.leader:
            return
        freed = state.offsets.pop(ballot.leader, None)
        if old is not None and old in state.members and freed is not None:
            state.offsets[old] = freed

    def membership_changed(self, membership: Membership, at: Applied) -> None:
        """Let go of the places of those who are gone."""
        state = self._state
        state.members = tuple(dict.fromkeys((*membership.voters, *membership.outgoing, *membership.learners)))
        state.learners = membership.learners
        state.offsets = {node: place for node, place in state.offsets.items() if node in state.members}

    # -- what the leader proposes by itself ----------------------------------------------------------------------------

    def errand(self, random: Random) -> Errand | None:
        """Return the placement of those who have no place, else the next step of the march."""
        missing = self._without_place()
        if missing:
            return Errand(0, _encode(Place(self._draw(missing, random))))
        march = self._state.marching
        if march is None or march.arrived:
            return None
        return Errand(march.due_ms, _encode(Step(march.number, march.steps + 1)))

    def _without_place(self) -> list[NodeId]:
        state = self._state
        if state.head is None:
            return []
        return [node for node in state.members if node != state.head and node not in state.offsets]

    def _draw(self, nodes: list[NodeId], random: Random) -> dict[NodeId, Vector]:
        taken = {_HEAD_PLACE, *self._state.offsets.values()}
        drawn: dict[NodeId, Vector] = {}
        for node in nodes:
            place = _HEAD_PLACE
            while place in taken:
                place = (_any_coordinate(random), _any_coordinate(random))
            taken.add(place)
            drawn[node] = place
        return drawn

    # -- commands ------------------------------------------------------------------------------------------------------

    def apply(self, command: bytes, at: Applied) -> bytes:
        """Carry out a `commands.Command`."""
        try:
            decoded = commands.decode_command(command)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a command of escort") from error
        match decoded:
            case Move(by):
                return _encode(self._move(by, at))
            case March(to, every_ms):
                return _encode(self._march(to, every_ms, at))
        if at.session:
            raise InvalidRequest("places and the steps of a march are the leader's to propose; ask for a march")
        return _encode(self._place(decoded) if isinstance(decoded, Place) else self._step(decoded, at))

    def _move(self, by: Vector, at: Applied) -> Row:
        state = self._state
        head = self._head()
        position = plane.add(state.position, by)
        if not plane.is_within(position):
            limit = plane.LIMIT // SCALE
            raise InvalidRequest(f"the head would leave the plane, which reaches to {limit:,} either way")
        state.position = position
        state.step += 1
        row = Row(state.step, at.term, head, by, position)
        self._rows.append(row)
        march = state.marching
        if march is not None and position == march.goal:
            state.marching = msgspec.structs.replace(march, arrived=True)
        return row

    def _head(self) -> NodeId:
        if self._state.head is None:
            raise InvalidRequest("there is no head to move: nobody was ever elected")
        return self._state.head

    def _march(self, to: Vector, every_ms: int, at: Applied) -> Marching:
        if not plane.is_within(to):
            limit = plane.LIMIT // SCALE
            raise InvalidRequest(f"the goal is off the plane, which reaches to {limit:,} either way")
        refusal = commands.why_no_pace(every_ms)
        if refusal is not None:
            raise InvalidRequest(refusal)
        self._head()
        state = self._state
        state.marches += 1
        arrived = state.position == to
        state.marching = Marching(state.marches, to, every_ms, at.time_ms, arrived=arrived)
        return state.marching

    def _step(self, step: Step, at: Applied) -> Row:
        march = self._state.marching
        if march is None or march.arrived or (step.march, step.number) != (march.number, march.steps + 1):
            raise InvalidRequest(f"step {step.number} of march {step.march} is not the next")
        taken = msgspec.structs.replace(march, steps=step.number, due_ms=at.time_ms + march.every_ms)
        self._state.marching = taken
        return self._move(plane.step_along(plane.subtract(march.goal, self._state.position)), at)

    def _place(self, places: Place) -> list[NodeId]:
        state = self._state
        placed = []
        for node, place in places.offsets.items():
            if node in self._without_place() and place not in {_HEAD_PLACE, *state.offsets.values()}:
                state.offsets[node] = place
                placed.append(node)
        return placed

    # -- queries -------------------------------------------------------------------------------------------------------

    def query(self, query: bytes) -> bytes:
        """Answer a `commands.Query`."""
        try:
            decoded = commands.decode_query(query)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a query of escort") from error
        if isinstance(decoded, AskFormation):
            state = self._state
            return _encode(Formation([self._stand(node) for node in state.members], state.step, state.marching))
        assert isinstance(decoded, AskHistory), "a query that the decoder knows and the escort does not"
        return _encode(self._page(decoded.after))

    def _stand(self, node: NodeId) -> Stand:
        state = self._state
        if node == state.head:
            return Stand(node, commands.LEADER, state.position)
        role = commands.LEARNER if node in state.learners else commands.FOLLOWER
        offset = state.offsets.get(node)
        return Stand(node, role, None if offset is None else plane.add(state.position, offset))

    def _page(self, after: int) -> Page:
        forgotten = self._state.step - len(self._rows)
        first = max(0, after - forgotten)
        rows = list(islice(self._rows, min(first, len(self._rows)), first + commands.PAGE_ROWS_MAX))
        return Page(rows, first + len(rows) < len(self._rows))

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> Iterator[bytes]:
        """Return the state as of this call: a chunk with everything but the history, then chunks of rows."""
        return _chunks(_encode(self._state), list(self._rows))

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by that of a snapshot."""
        remaining = iter(chunks)
        head = next(remaining, None)
        state = _State() if head is None else _decode_state(head)
        rows = [row for chunk in remaining for row in _decode_rows(chunk)]
        self._state, self._rows = state, deque(rows, maxlen=self._rows.maxlen)


def _chunks(head: bytes, rows: list[Row]) -> Iterator[bytes]:
    yield head
    for at in range(0, len(rows), _ROWS_PER_CHUNK):
        yield _encode(rows[at : at + _ROWS_PER_CHUNK])


def _any_coordinate(random: Random) -> int:
    return random.randint(-plane.PLACE_UNITS_MAX, plane.PLACE_UNITS_MAX) * SCALE
