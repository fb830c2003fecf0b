"""The machine ``history``: observes the ballots that leaders put into the log, and keeps the newest.

All of it follows from committed entries, so it is the same on every node, and outlives any of them. A candidacy that was
lost leaves nothing in the log, nor does a leader that never committed; these are in the event files of the nodes alone.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from zraft.errors import InvalidRequest
from zraft.machines.history import commands
from zraft.machines.history.commands import PAGE_MAX, Election, Elections, ElectionsPage, Leadership, LeadersPage
from zraft.machines.machine import Applied
from zraft.raft.types import Ballot, Membership

_encode = commands.encode
_decode = msgspec.msgpack.Decoder(list[Election]).decode


class History:
    """The elections of the cluster; an `Observer`.

    Parameters
    ----------
    terms_max
        How many elections are kept; must be the same on every node.
    """

    def __init__(self, *, terms_max: int = commands.TERMS_MAX) -> None:
        self._elections: deque[Election] = deque(maxlen=terms_max)
        """Oldest first; terms rise."""

    def leader_elected(self, ballot: Ballot, at: Applied) -> None:
        """Keep the ballot; the oldest one makes room."""
        assert not self._elections or at.term > self._elections[-1].term, f"a second leader in term {at.term}"
        self._elections.append(Election(at.term, at.time_ms, ballot))

    def membership_changed(self, membership: Membership, at: Applied) -> None:
        """Nothing: each ballot says who had a vote."""

    def apply(self, command: bytes, at: Applied) -> bytes:
        """Refuse: there are no commands."""
        raise InvalidRequest("the history writes itself: it takes no commands")

    def query(self, query: bytes) -> bytes:
        """Answer a `commands.Query`."""
        try:
            decoded = commands.decode_query(query)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a query of history") from error
        first, end = self._span(decoded.after, decoded.term)
        more = end < len(self._elections) and decoded.term is None
        if type(decoded) is Elections:
            return _encode(ElectionsPage([self._elections[position] for position in range(first, end)], more))
        return _encode(LeadersPage([self._leadership(position) for position in range(first, end)], more))

    def _span(self, after: int, term: int | None) -> tuple[int, int]:
        """Return from where to where the page reaches."""
        if term is not None:
            after = max(after, term - 1)
        first = bisect_right(self._elections, after, key=lambda election: election.term)
        end = min(first + PAGE_MAX, len(self._elections))
        if term is not None:
            end = first + (first < end and self._elections[first].term == term)
        return first, end

    def _leadership(self, position: int) -> Leadership:
        election = self._elections[position]
        own = (election.ballot.leader, election.term, election.ballot.wall_ms, election.time_ms)
        if position + 1 == len(self._elections):
            return Leadership(*own, None, None, None)
        following = self._elections[position + 1]
        return Leadership(*own, following.ballot.wall_ms, following.time_ms, following.ballot.cause)

    def snapshot(self) -> Iterator[bytes]:
        """Return the state as of this call, some hundred KiB to a chunk."""
        return _chunks(list(self._elections))

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by that of a snapshot."""
        elections = [election for chunk in chunks for election in _decode(chunk)]
        self._elections = deque(elections, self._elections.maxlen)


def _chunks(elections: Sequence[Election]) -> Iterator[bytes]:
    for first in range(0, len(elections), PAGE_MAX):
        yield _encode(list(elections[first : first + PAGE_MAX]))
