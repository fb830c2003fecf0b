"""What a leader does about who takes part: it meets nodes, lets them join, promotes them, and sees changes to their end.

A change is appended, and from there on in force at this node, committed or not (`membership`); it is carried through by
whoever leads, also by a later leader who finds it half done. So nothing here is remembered that a new leader could not find
in its log, except how far each learner has come, which it measures anew.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from zraft.raft import changes, membership, quorum
from zraft.raft.changes import Change, NotYet, Refused
from zraft.raft.progress import Progress
from zraft.raft.state import State
from zraft.raft.types import EntryId, EntryKind, Index, Membership, NodeId

ROUNDS_MISSED = 2.5
"""So many heartbeats without an answer, and a follower is doubted."""


class _Race(NamedTuple):
    """A learner's race to the end of the log as it was at one moment (thesis §4.2.1)."""

    goal: Index
    began: float


class _Farewell(NamedTuple):
    """A node that has left and is still told of it."""

    disk_id: str
    until: float
    """When to give up."""


class Roster:
    """The members, as the leader of one term sees them.

    Parameters
    ----------
    state
        The node's.
    append
        Puts an entry at the end of the leader's log.
    met
        The data directories under which voters have answered the candidate.
    """

    def __init__(self, state: State, append: Callable[[EntryKind, bytes], EntryId], met: dict[NodeId, str]) -> None:
        self._state = state
        self._append = append
        self._met = met
        """The data directories that this leader has met, registered or not."""
        self.progress: dict[NodeId, Progress] = {}
        """What is known of each follower (paper figure 2, nextIndex and matchIndex)."""
        self.lost: set[NodeId] = set()
        """Nodes met under another data directory than the registered one: they count for nothing."""
        self._leaving: dict[NodeId, _Farewell] = {}
        """Nodes that are members no more, and may not have heard so."""
        self._races: dict[NodeId, _Race] = {}
        """How far each learner has come."""
        self._marks = deque([(state.now, state.log.last_index)])
        """How far the log went at some moments, a heartbeat apart: the newest that lies an election timeout back, and those since."""
        self._adopt()

    @property
    def current(self) -> Membership:
        """The membership in force."""
        return self._state.memberships.current

    def counts(self, peer: NodeId) -> bool:
        """Whether entries go to `peer`, and what it says is heard: it is known by its data directory."""
        return peer not in self.lost and (peer in self.current.disk_ids or peer in self._leaving)

    def knows(self, peer: NodeId, disk_id: str) -> bool:
        """Return whether `disk_id` is the data directory that `peer` is known by; if so, note that it is not lost after all."""
        farewell = self._leaving.get(peer)
        known = self.current.disk_ids.get(peer) if farewell is None else farewell.disk_id
        if known == disk_id and peer in self.lost:
            self.lost.remove(peer)
            self._state.note("data_back", node=peer)
        return known == disk_id

    # -- data directories ----------------------------------------------------------------------------------------------

    def meet(self, peer: NodeId, disk_id: str) -> None:
        """Take note of the data directory that a node answers from."""
        if peer not in self.current.disk_ids and peer not in self._leaving:
            # Also one that was met before: it may have been on its way out then, and could not be registered.
            self._met[peer] = disk_id
            self.register()

    def entries_lost(self, peer: NodeId, lost_from: Index) -> Progress:
        """Begin anew with a follower whose disk has lost what it had acknowledged; return what is known of it now.

        What was committed through it stays so: until it has all of them back, it elects nobody who lacks any (`State.lacks_entries`).
        """
        before = self.progress[peer]
        if before.match_index < lost_from:
            return before
        self._state.note("entries_lost", node=peer, index=lost_from)
        self.progress[peer] = Progress(lost_from, self._state.now)
        return self.progress[peer]

    def data_lost(self, source: NodeId) -> None:
        """Count a node that came back under another data directory for nothing."""
        if source in self.progress and source not in self.lost:
            self.lost.add(source)
            self._state.note("data_lost", node=source)

    def register(self) -> None:
        """Put the data directories of nodes met for the first time into the membership.

        It waits for no earlier change: who votes stays the same, so any two quorums still share a voter. Were it to wait,
        a first leader whose voters die before they have its log would stand there for ever, with a majority of others
        that it does not know yet and so sends nothing. Only a voter on its way out is not registered. Say n3 has lost its
        data and is renewed: in the new membership it is a learner, in the old one still a voter, and its blank disk must
        not count among the old ones.
        """
        state, current = self._state, self.current
        stays = {*current.voters, *(node for node in current.learners if node not in current.outgoing)}
        members = [node for node in (state.id, *state.peers) if node in stays]
        new = {node: self._met[node] for node in members if node in self._met and node not in current.disk_ids}
        if not new:
            return
        state.note("membership", registered=", ".join(sorted(new)))
        self._change_to(msgspec.structs.replace(current, disk_ids={**current.disk_ids, **new}))

    # -- changes -------------------------------------------------------------------------------------------------------

    def change(self, change: Change, first_own_index: Index) -> EntryId:
        """Begin a change of membership, and return the entry that brings it into force.

        Raises
        ------
        Refused
            Another change is not finished, nothing of this leader's term is committed yet, the change makes no sense, or
            a learner has not caught up, or it would lose the quorum.
        """
        if self._state.log.commit_index < first_own_index:
            # Else two leaders, each unaware of the other's change that is not committed, could act on memberships whose
            # majorities need not meet: the bug that was found in 2015 in the published rule for one node at a time.
            raise NotYet("this leader has committed nothing in its term yet; try again in a moment")
        if self._state.memberships.open_change(self._state.log.commit_index):
            raise NotYet("another change of membership is under way; try again when it is done")
        goal = changes.target(self.current, change)
        unready = [node for node in change.promote if not self._is_ready(node)]
        if unready:
            # A voter that lacks the log is a vote less for whoever has it; one never met would not even know that it votes.
            raise NotYet(
                f"{', '.join(unready)} must answer, and catch up with the log, before a promotion; try again then"
            )
        self._check_quorum(goal)
        self._state.note("membership_change", voters=goal.voters, learners=goal.learners)
        return self._change_to(changes.entering(self.current, goal))

    def committed(self) -> None:
        """Go on where what is committed allows it: end a joint membership."""
        memberships = self._state.memberships
        if self.current.outgoing and memberships.changed_at <= self._state.log.commit_index:
            self._change_to(changes.leaving(self.current))

    @property
    def is_over(self) -> bool:
        """Whether this leader has committed a membership without itself: it has finished its change, and steps down."""
        current, log = self.current, self._state.log
        return (
            self._state.id not in current.voters
            and not current.outgoing
            and self._state.memberships.changed_at <= log.commit_index
        )

    def tick(self, first_own_index: Index) -> None:
        """Forget nodes that were told of their leave long enough, and promote learners that have caught up.

        Nobody is promoted before this leader has committed something of its term, for the reason that `change` gives.
        """
        now = self._state.now
        self._mark(now)
        for peer in [peer for peer, farewell in self._leaving.items() if now >= farewell.until]:
            del self._leaving[peer], self.progress[peer]
        if self._state.log.commit_index >= first_own_index:
            self._promote()

    def acknowledged(self, peer: NodeId) -> None:
        """See how fast a learner catches up, now that it holds more."""
        if peer not in self.current.learners:
            return
        log, now = self._state.log, self._state.now
        running = self._races.setdefault(peer, _Race(log.last_index, now))
        if self.progress[peer].match_index < running.goal:
            return
        # Thesis §4.2.1: the last round must be shorter than an election timeout, or promoting it could cost availability.
        # Whoever holds all that there is has the next round behind it as well: in a quiet cluster none would ever begin.
        in_step = self.progress[peer].match_index == log.last_index
        if in_step or now - running.began < self._state.settings.election_timeout_lower_ms:
            self.progress[peer].caught_up = True
        self._races[peer] = _Race(log.last_index, now)

    def _promote(self) -> None:
        """Make voters of the learners that have caught up, while no other change is open and the new quorum answers."""
        current = self.current
        ready = tuple(node for node in current.learners if node not in current.manual and self._is_ready(node))
        if not ready or self._state.memberships.open_change(self._state.log.commit_index):
            return
        goal = changes.target(current, Change(promote=ready))
        if self._shortfall(goal):
            return  # Later: whoever is to vote must be there now.
        self._state.note("membership_change", voters=goal.voters, learners=goal.learners)
        self._change_to(changes.entering(current, goal))

    def _is_ready(self, learner: NodeId) -> bool:
        """Whether a learner is there, and has caught up, and has not fallen behind since by more than an election timeout."""
        progress = self.progress.get(learner)
        if progress is None or not progress.caught_up:
            return False
        marked_at, marked = self._marks[0]
        long_ago = marked_at <= self._state.now - self._state.settings.election_timeout_lower_ms
        return self.answers(learner) and not (long_ago and progress.match_index < marked)

    def _mark(self, now: float) -> None:
        """Note how far the log goes."""
        settings, marks = self._state.settings, self._marks
        if now - marks[-1][0] >= settings.heartbeat_interval_ms:
            marks.append((now, self._state.log.last_index))
        while len(marks) > 1 and marks[1][0] <= now - settings.election_timeout_lower_ms:
            marks.popleft()

    def _check_quorum(self, goal: Membership) -> None:
        if set(goal.voters) == set(self.current.voters):
            return
        missing = self._shortfall(goal)
        if missing:
            raise Refused(missing)
        silent = [
            node for node in goal.voters if node != self._state.id and not self.answers(node, heartbeats=ROUNDS_MISSED)
        ]
        if len(goal.voters) - len(silent) < quorum.majority(len(goal.voters)):
            # It may have ended just now: begun, the change would take the quorum with it.
            raise NotYet(f"{', '.join(silent)} did not answer the last heartbeats; try again in a moment")

    def _shortfall(self, goal: Membership) -> str:
        """Say why `goal` would have no quorum now; empty when it would."""
        alive = [node for node in goal.voters if node == self._state.id or self.answers(node)]
        needed = quorum.majority(len(goal.voters))
        if not any(self._may_lead(node) for node in goal.voters):
            return f"none of the voters that it would leave may lead: {', '.join(goal.voters)} have priority 0"
        if len(alive) >= needed:
            return ""
        return (
            f"of the {len(goal.voters)} voters that it would leave ({', '.join(goal.voters)}), {needed} must answer, and "
            f"{len(alive)} {'does' if len(alive) == 1 else 'do'} ({', '.join(alive) or 'none'})"
        )

    def _may_lead(self, node: NodeId) -> bool:
        progress = self.progress.get(node)
        return bool(self._state.settings.priority if node == self._state.id else progress is None or progress.priority)

    def answers(self, node: NodeId, *, heartbeats: float | None = None) -> bool:
        """Whether a follower that counts has answered within an election timeout, or within so many heartbeats."""
        settings, progress = self._state.settings, self.progress.get(node)
        window: float = settings.election_timeout_upper_ms
        if heartbeats is not None:
            window = min(window, heartbeats * settings.heartbeat_interval_ms)
        since = self._state.now - window
        return progress is not None and self.counts(node) and progress.heard_at >= since

    def _change_to(self, new: Membership) -> EntryId:
        before = self.current
        id = self._append(EntryKind.MEMBERSHIP, membership.encode(new))
        self._adopt(before)
        return id

    def _adopt(self, before: Membership | None = None) -> None:
        """Take up whoever is new in the membership in force, and see off whoever has left it."""
        state, current = self._state, self.current
        for peer in state.peers:
            forgotten = before is not None and peer in before.disk_ids and peer not in current.disk_ids
            if peer in self.progress and peer not in self._leaving and not forgotten:
                continue
            if before is not None:
                # It joins, or begins anew: what is known of it need not be true of the data directory it will come with.
                self.lost.discard(peer)
                self._met.pop(peer, None)
                self._leaving.pop(peer, None)
                self._races.pop(peer, None)
            self.progress[peer] = Progress(state.log.last_index + 1, state.now)
        for peer in self.progress.keys() - set(state.peers) - self._leaving.keys():
            disk_id = before.disk_ids.get(peer) if before is not None else None
            if disk_id is None or peer in self.lost:
                del self.progress[peer]
            else:
                until = state.now + state.settings.election_timeout_upper_ms
                self._leaving[peer] = _Farewell(disk_id, until)
