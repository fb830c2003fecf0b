"""What a leader knows of one follower, and how fast it may send to it.

A `Progress` owns its transitions. It starts in PROBE, sending one message and waiting, until an acknowledgement shows
where the two logs meet; then it is in REPLICATE and sends ahead of the answers, up to a window. A refusal or an
unreachable peer brings it back to PROBE. One that lacks entries which the leader's log has no more is in SNAPSHOT,
getting them piece by piece, one piece at a time, until it acknowledges the whole.
"""

from collections import deque
from enum import StrEnum
from math import inf

from zraft.raft.types import EntryId, Index, Snapshot


class ProgressState(StrEnum):
    """How entries flow to a follower."""

    PROBE = "probe"
    """One message at a time, until the logs are known to meet."""
    REPLICATE = "replicate"
    """A window of messages ahead of the answers."""
    SNAPSHOT = "snapshot"
    """Pieces of a snapshot, each after the one before has arrived (paper §7)."""


class Progress:
    """One follower, as its leader sees it; new in every term.

    Invariants: match_index < next_index; in PROBE nothing is in flight but the probe; `snapshot` is there in SNAPSHOT alone.
    """

    def __init__(self, next_index: Index, now: float) -> None:
        self.state = ProgressState.PROBE
        """How entries flow; changed here alone."""
        self.match_index: Index = 0
        """Highest index known to be durable there and equal to ours; only rises within a term."""
        self.next_index: Index = next_index
        """Next index to send."""
        self.inflight: deque[Index] = deque()
        """Last index of each message under way in REPLICATE, rising."""
        self.probe_sent = False
        """In PROBE: a message is under way, so wait."""
        self.snapshot: Snapshot | None = None
        """In SNAPSHOT: which one it is being sent."""
        self.offset = 0
        """In SNAPSHOT: where the piece under way begins."""
        self.sent_at = now
        """When entries, a probe or a piece of a snapshot were last sent."""
        self.round = 0
        """Highest heartbeat round that it answered."""
        self.heard_at = -inf
        """When it last answered anything."""
        self.priority = 1
        """How much it should lead rather than others, as it says itself."""
        self.caught_up = False
        """Of a learner: it has followed the log closely enough to become a voter (thesis §4.2.1)."""

    def is_paused(self, inflight_max: int) -> bool:
        """Whether nothing may be sent to it now."""
        if self.state is ProgressState.PROBE:
            return self.probe_sent
        if self.state is ProgressState.SNAPSHOT:
            return True
        return len(self.inflight) >= inflight_max

    def sent(self, last: Index, now: float) -> None:
        """Note that entries up to `last`, or none when `last` is right before `next_index`, left for it."""
        self.sent_at = now
        if self.state is ProgressState.PROBE:
            self.probe_sent = True
            return
        if last >= self.next_index:
            self.inflight.append(last)
            self.next_index = last + 1

    def acknowledged(self, match_index: Index) -> bool:
        """Take an acknowledgement; True when it brought `match_index` forward, which it never lowers.

        In PROBE any acknowledgement shows where the logs meet, also one that brings nothing forward.
        """
        advanced = match_index > self.match_index
        self.match_index = max(self.match_index, match_index)
        if self.snapshot is not None and match_index < self.snapshot.last.index:
            return advanced  # Said before the snapshot was there; on with it.
        if self.state is not ProgressState.REPLICATE:
            self.state = ProgressState.REPLICATE
            self.next_index = self.match_index + 1
            self.probe_sent = False
            self.snapshot = None
        self.next_index = max(self.next_index, self.match_index + 1)
        while self.inflight and self.inflight[0] <= match_index:
            self.inflight.popleft()
        return advanced

    def refused(self, prev_index: Index, next_index: Index) -> bool:
        """Take a refusal of a message behind `prev_index`; go on from `next_index`. False when it is outdated."""
        if prev_index <= self.match_index or self.state is ProgressState.SNAPSHOT:
            return False
        if self.state is ProgressState.PROBE and prev_index != self.next_index - 1:
            return False
        self.probe()
        self.next_index = max(self.match_index + 1, min(prev_index, next_index))
        return True

    def probe(self) -> None:
        """Find out anew where the logs meet: what was sent ahead may be lost."""
        self.state = ProgressState.PROBE
        self.snapshot = None
        self.inflight.clear()
        self.probe_sent = False
        self.next_index = self.match_index + 1

    def begin_snapshot(self, snapshot: Snapshot) -> None:
        """Send `snapshot` instead of entries, from its beginning."""
        self.probe()
        self.state = ProgressState.SNAPSHOT
        self.snapshot, self.offset = snapshot, 0
        self.next_index = max(self.next_index, snapshot.last.index + 1)

    def wants(self, last: EntryId, offset: int) -> bool:
        """Take a question for another piece; False when it is outdated, or that piece is under way."""
        snapshot = self.snapshot
        if snapshot is None or snapshot.last != last or offset == self.offset or not 0 <= offset < snapshot.size:
            return False
        self.offset = offset
        return True

    def heard(self, round: int) -> None:
        """Take a heartbeat's answer."""
        self.round = max(self.round, round)

    def give_up_probe(self) -> None:
        """Take the probe under way for lost, so that another may be sent."""
        self.probe_sent = False
