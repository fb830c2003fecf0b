"""Writes under way: what has been handed to the disk, and what its reports make durable.

The disk takes its time, and the node goes on meanwhile: entries that are on their way to the disk may be truncated, and
others take their place, before the first report comes. So a report is worth only what no later truncation has taken back.
"""

from collections import deque
from math import inf
from typing import NamedTuple

from zraft.raft.log import Log
from zraft.raft.messages import Message
from zraft.raft.ready import Write
from zraft.raft.types import HardState, Index, NodeId, Snapshot


class _InFlight(NamedTuple):
    """A write that the disk has not reported yet."""

    id: int
    hard_state: HardState | None
    truncate_from: Index | None
    last_index: Index
    """Last entry that it brings; 0 without any."""
    since: float
    """When it was handed out."""


class Writes:
    """The writes of one node, numbered from 1.

    Parameters
    ----------
    durable
        The term and vote that recovery found.
    """

    def __init__(self, durable: HardState) -> None:
        self._in_flight: deque[_InFlight] = deque()
        """Writes that the disk has not reported yet, oldest first."""
        self.next_id = 1
        """Number of the next write."""
        self.begins_after: Snapshot | None = None
        """Behind which snapshot the log begins, if the disk is to hear of it with the next write."""
        self._handed = durable
        """The newest term and vote that were part of a write."""

    @property
    def since(self) -> float:
        """When the oldest write under way was handed out; never, without one."""
        return self._in_flight[0].since if self._in_flight else inf

    def next(self, standing: HardState, log: Log, responses: list[tuple[NodeId, Message]], now: float) -> Write | None:
        """Return what the disk does not know yet, with `responses` that wait for it.

        None when there is nothing to write, and no responses, or nothing under way for them to wait for: then they leave at
        once. Responses with nothing to write get a write of their own, behind those that they wait for.
        """
        hard_state = None
        if self._handed != standing:
            hard_state = self._handed = standing
        truncate_from, entries = log.take_unwritten()
        begins_after, self.begins_after = self.begins_after, None
        news = entries or hard_state is not None or truncate_from is not None or begins_after is not None
        if not news and not (responses and self._in_flight):
            return None
        write = Write(self.next_id, standing.term, hard_state, truncate_from, entries, responses, begins_after)
        self.next_id += 1
        last = entries[-1].index if entries else 0
        self._in_flight.append(_InFlight(write.id, hard_state, truncate_from, last, now))
        return write

    def reported(self, id: int, log: Log) -> HardState | None:
        """Hear that write `id` is durable; return the term and vote that it brought, if any."""
        assert self._in_flight and self._in_flight[0].id == id, f"write {id} reported out of order"
        write = self._in_flight.popleft()
        if write.last_index:
            # Entries of this write that have been truncated since are not durable *as our log has them*, even if others
            # with the same index have taken their place. (Truncations not handed out yet have put `handed_index` back.)
            cuts = [later.truncate_from for later in self._in_flight if later.truncate_from is not None]
            log.stabilize(min([write.last_index, *(cut - 1 for cut in cuts)]))
        return write.hard_state
