"""The history of the cluster as a client sees it: elections and leaders, and the events of its nodes."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from zraft import events as recorded
from zraft.client.calls import Again
from zraft.client.history.elections import KINDS, Election, merged_elections
from zraft.client.history.past import Past, read_past
from zraft.client.history.reading import merged
from zraft.errors import InvalidRequest, Unavailable
from zraft.events import Event
from zraft.machines.history import commands
from zraft.machines.history.commands import Elections, Leaders, Leadership
from zraft.raft.types import NodeId, Term

if TYPE_CHECKING:
    from zraft.client.client import Client

Found = TypeVar("Found")
Note = Callable[[str], None]


def _unheard(line: str) -> None:
    """Nobody asked what is missing."""


class HistoryClient:
    """The history; `Client.history` is the one to use.

    What the log holds is read linearizably and is complete, for the newest 10,000 terms; for that the cluster needs a leader.
    What only a node itself has recorded is asked of all nodes, and is there as far as they answer.

    Every call raises `Unavailable` when nobody could serve it. `note` is called with a line about each node whose events are
    missing.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    def elections(self, term: Term | None = None, *, note: Note = _unheard) -> list[Election]:
        """Return all elections, or that of one term, oldest first; a term of which nothing is known is not there."""
        won = self._client.wait(self._submit_elections(term))
        found = self._past(KINDS, note)
        elections = merged_elections(won, (event for stream in found.streams for event in stream))
        return [election for election in elections if term in (None, election.term)]

    def leaders(self, term: Term | None = None) -> list[Leadership]:
        """Return all leaders, or that of one term, oldest first; a term of which none is known is not there.

        All of it is in the log, why each one ended too: the cause for which the next one stood. What only a leader itself knew of
        its end, that it was stopped, or stepped down since no majority answered it, is among the `events` of the kinds
        ``stopping`` and ``role``.
        """
        return self._client.wait(self._submit_leaders(term))

    def events(
        self,
        nodes: Iterable[NodeId] | None = None,
        *,
        kinds: Iterable[str] = (),
        since_ms: int = 0,
        note: Note = _unheard,
    ) -> list[Event]:
        """Return what the nodes have recorded, oldest first.

        Parameters
        ----------
        nodes
            Only of these nodes.
        kinds
            Only of these kinds, see `zraft.events`; of all if there are none.
        since_ms
            Only what is not older than this, in milliseconds since 1970 by the clock of each node.

        Raises
        ------
        InvalidRequest
            No event of such a kind is ever recorded, or the cluster has no such node.
        Unavailable
            None of the nodes answers. What those record that do not answer is missing.
        """
        wanted = list(kinds)
        for kind in wanted:
            if kind not in recorded.RECORDED:
                kinds_there_are = ", ".join(sorted(recorded.RECORDED))
                raise InvalidRequest(f"no event of the kind {kind!r} is recorded; there are {kinds_there_are}")
        found = self._past(wanted, note, nodes, since_ms)
        if found.silent and len(found.silent) == len({reading.node for reading in found.readings}):
            raise Unavailable(f"none of {', '.join(found.silent)} answers; is the cluster running?")
        return merged(found.streams)

    def _past(self, kinds: list[str], note: Note, nodes: Iterable[NodeId] | None = None, since_ms: int = 0) -> Past:
        topology = self._client.topology()
        asked = list(topology.endpoints) if nodes is None else list(nodes)
        for node in asked:
            if node not in topology.endpoints:
                raise InvalidRequest(f"there is no node {node!r}; there are {', '.join(topology.endpoints)}")
        endpoints = {node: topology.endpoints[node] for node in asked}
        timeout_s = self._client.timeout_s
        past = read_past(topology.cluster_id, endpoints, kinds=kinds, since_ms=since_ms, timeout_s=timeout_s)
        for line in past.notes():
            note(line)
        return past

    def _submit_elections(self, term: Term | None) -> "Future[list[commands.Election]]":
        found: list[commands.Election] = []

        def read(result: bytes) -> list[commands.Election] | Again:
            page = commands.decode_elections(result)
            found.extend(page.elections)
            return Again(commands.encode(Elections(found[-1].term))) if page.more else found

        return self._submit(Elections(term=term), read)

    def _submit_leaders(self, term: Term | None) -> "Future[list[Leadership]]":
        found: list[Leadership] = []

        def read(result: bytes) -> list[Leadership] | Again:
            page = commands.decode_leaders(result)
            found.extend(page.leaders)
            return Again(commands.encode(Leaders(found[-1].term))) if page.more else found

        return self._submit(Leaders(term=term), read)

    def _submit(
        self, query: Elections | Leaders, read: Callable[[bytes], list[Found] | Again]
    ) -> "Future[list[Found]]":
        return self._client.submit_query(commands.MACHINE, commands.encode(query), read)
