"""What must hold between nodes, watched by somebody who sees them all (RELIABILITY's I1 to I13, as far as the core goes).

The witness is told of every message, every step and every crash, and raises `AssertionError` with one sentence. It
believes nobody: whatever a node promises is looked up in that node's durable image.
"""

from bisect import bisect_left

import msgspec
from raft_disk import Disk

from zraft.raft import invariants
from zraft.raft.core import Raft
from zraft.raft.leader import Leader
from zraft.raft.membership import Memberships
from zraft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Heartbeat,
    Message,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from zraft.raft.quorum import Tally, majority, tally
from zraft.raft.ready import ReadReady
from zraft.raft.types import Ballot, Entry, EntryKind, HardState, Index, Membership, NodeId, Role, Term


class Witness:
    """Sees all nodes and all disks, those of nodes that lost them too."""

    def __init__(self, bootstrap: Membership) -> None:
        self.bootstrap = bootstrap
        self.disks: dict[tuple[NodeId, str], Disk] = {}
        """Every data directory that ever was, by node and disk_id."""
        self.ledger: list[Entry] = []
        """What is committed, from index 1: grows, and never changes."""
        self._committed_in: list[Term] = []
        """The term whose leader committed each entry of `ledger`; never falls."""
        self.leaders: dict[Term, NodeId] = {}
        """Who led each term."""
        self.rafts: dict[NodeId, Raft] = {}
        """The nodes that run."""
        self._before: dict[NodeId, invariants.Glimpse] = {}
        self._reads: dict[int, Index] = {}

    # -- what it is told -----------------------------------------------------------------------------------------------

    def started(self, raft: Raft) -> None:
        """Take note of a node that starts."""
        self.rafts[raft.id] = raft
        self._before[raft.id] = invariants.glimpse(raft)
        self.stepped(raft)

    def stopped(self, node: NodeId) -> None:
        """Take note of a node that is gone."""
        del self.rafts[node], self._before[node]

    def stepped(self, raft: Raft) -> None:
        """Check everything after anything has happened at `raft`."""
        invariants.check_deep(raft)
        before = self._before[raft.id]
        invariants.check_step(before, raft)
        after = self._before[raft.id] = invariants.glimpse(raft)
        self._check_stable(raft)
        self._check_membership(raft)
        if after.role is Role.LEADER and (before.role, before.term) != (Role.LEADER, after.term):
            self._elected(raft)
        if after.commit_index > before.commit_index:
            self._committed(raft, before)
        if (after.last, after.term) != (before.last, before.term):
            self._check_log_matching(raft)

    def sent(self, raft: Raft, target: NodeId, message: Message) -> None:
        """Check that what `message` says of its sender is durable there (send-after-durable)."""
        disk = self.disks[raft.id, raft.settings.disk_id]
        durable, who = disk.hard_state, f"{raft.id} sends {target} {message}"
        match message:
            case PreVote():
                assert message.term - 1 <= durable.term, f"{who}, on a term that is not durable"
                return
            case PreVoteResponse(granted=True):
                return
            case RequestVote():
                assert durable == HardState(message.term, raft.id), f"{who}, its own vote is not durable"
                # Unless it follows this term's leader meanwhile: then the log is another, and nobody counts these votes.
                assert disk.last == message.last or raft.leader, f"{who}, its log on disk ends at {disk.last}"
            case RequestVoteResponse(granted=True):
                assert durable == HardState(message.term, target), f"{who}, on disk is {durable}"
            case AppendEntriesResponse(success=True):
                found = disk.id_at(message.match_index)
                assert found == message.hint, f"{who}, on disk is {found}"
            case AppendEntries() | Heartbeat():
                assert durable == HardState(message.term, raft.id), f"{who}, leadership that a crash would undo"
                assert message.commit_index <= len(self.ledger), f"{who}, more than is committed"
        assert message.term <= durable.term, f"{who}, in a term that is not durable"

    def applied(self, raft: Raft, entries: list[Entry]) -> None:
        """Check that what goes to the state machine is the committed sequence, without a gap or a repetition."""
        first = raft.log.last_applied + 1
        ours = self.ledger[first - 1 : first - 1 + len(entries)]
        assert entries == ours, f"{raft.id} applies {entries}, committed is {ours}"

    def installed(self, raft: Raft, state: list[Entry]) -> None:
        """Check that a state machine begins anew from nothing but what is committed, and loses nothing by it."""
        assert state == self.ledger[: len(state)], f"{raft.id} installs what was never committed"
        assert len(state) == raft.log.last_applied, f"{raft.id} has applied {raft.log.last_applied} by {len(state)}"

    def log(self, raft: Raft, upto: Index | None = None) -> list[Entry]:
        """Return a node's log from index 1: what it has compacted is committed, so everybody's is the same."""
        base = raft.log.base
        ours = self.ledger[: base.index]
        assert not base.index or ours[-1].id == base, f"{raft.id} has a log that begins behind {base}"
        rest = raft.log.slice(raft.log.first_index, raft.log.last_index, 1 << 62)
        return (ours + rest)[:upto]

    def read_asked(self, context: int) -> None:
        """Remember how much was committed, in true time, when a read came in."""
        self._reads[context] = len(self.ledger)

    def read_confirmed(self, raft: Raft, read: ReadReady) -> None:
        """Check that a confirmed read sees all that was committed when it came in; each is confirmed at most once."""
        floor = self._reads.pop(read.context)
        assert read.index >= floor, f"{raft.id} confirms read {read.context} at {read.index}: stale, {floor} committed"

    def read_lost(self, context: int) -> None:
        """Take note that a read is given up: it is never confirmed."""
        del self._reads[context]

    # -- what must hold ------------------------------------------------------------------------------------------------

    def _check_stable(self, raft: Raft) -> None:
        disk, stable = self.disks[raft.id, raft.settings.disk_id], raft.log.stable_index
        here = self.log(raft, stable)
        # A snapshot that has just arrived may tell more than the log, which is to begin anew behind it.
        assert here in (disk.entries[:stable], disk.whole[:stable]), (
            f"{raft.id} believes {stable} entries durable as it has them"
        )
        assert raft.durable == disk.hard_state, f"{raft.id} believes {raft.durable}, on disk is {disk.hard_state}"

    def _check_membership(self, raft: Raft) -> None:
        # A node that joins knows nobody at first; a snapshot tells it what the cluster began with.
        knows = raft.id in self.bootstrap.voters or raft.log.base.index
        derived = Memberships(self.bootstrap if knows else Membership(()))
        derived.appended(self.log(raft))
        assert raft.memberships.current == derived.current, f"{raft.id} acts on a membership that is not its log's last"

    def _elected(self, raft: Raft) -> None:
        first = self.leaders.setdefault(raft.term, raft.id)
        assert first == raft.id, f"two leaders in term {raft.term}: {first} and {raft.id} (paper §5.2)"
        self._check_completeness(raft)
        self._check_ballot(raft)

    def _check_ballot(self, raft: Raft) -> None:
        # The history that people read is the one that happened: a majority, and no vote that is not on its voter's disk.
        assert isinstance(raft.role, Leader)
        own = raft.log.slice(raft.role.first_own_index, raft.log.last_index, 1 << 62)
        (noop,) = (entry for entry in own if entry.kind == EntryKind.NOOP)
        ballot = msgspec.msgpack.decode(noop.data, type=Ballot)
        votes = dict.fromkeys(ballot.votes_for, True) | dict.fromkeys(ballot.votes_against, False)
        assert ballot.leader == raft.id, f"{raft.id} leads term {raft.term} by the ballot of {ballot.leader}"
        assert tally(votes, raft.memberships.current) is Tally.WON, f"{raft.id} leads term {raft.term} by {ballot}"
        for voter in ballot.votes_for:
            held = [disk.hard_state for (node, _), disk in self.disks.items() if node == voter]
            assert any(state.term > raft.term or state == HardState(raft.term, raft.id) for state in held), (
                f"{raft.id} counts a vote of {voter} that is not durable"
            )

    def _check_completeness(self, raft: Raft) -> None:
        # Only what was committed in earlier terms: a vote that is long on its way elects a leader whose term is over by then.
        upto = bisect_left(self._committed_in, raft.term)
        held = self.log(raft, upto)
        assert held == self.ledger[:upto], (
            f"{raft.id} leads term {raft.term} without all that is committed (paper §5.4.3)"
        )

    def _committed(self, raft: Raft, seen: invariants.Glimpse) -> None:
        before, upto = seen.commit_index, raft.log.commit_index
        known = min(upto, len(self.ledger))
        fresh = self.log(raft, known)[before:]
        assert fresh == self.ledger[before:known], f"{raft.id} commits other entries than were committed before"
        if upto <= len(self.ledger):
            return
        led = seen.role is Role.LEADER  # Who commits its own removal leads no more right after.
        assert led or isinstance(raft.role, Leader), (
            f"{raft.id} commits {upto} as {raft.role.name}, before any leader did"
        )
        self.ledger.extend(raft.log.slice(len(self.ledger) + 1, upto, 1 << 62))
        self._committed_in += [raft.term] * (len(self.ledger) - len(self._committed_in))
        self._check_durable_quorum(raft, upto)
        for other in self.rafts.values():
            if isinstance(other.role, Leader) and other.term > raft.term:
                self._check_completeness(other)

    def _check_durable_quorum(self, raft: Raft, index: Index) -> None:
        # Each committed entry up to here lies in the durable image of a majority, under the registered data directory.
        current = raft.memberships.current
        for voters in (current.voters, current.outgoing):
            holders = [voter for voter in voters if self._durably_holds(voter, current.disk_ids.get(voter), index)]
            needed = majority(len(voters)) if voters else 0
            assert len(holders) >= needed, f"{raft.id} commits {index}, durable at {holders} alone"

    def _durably_holds(self, voter: NodeId, disk_id: str | None, index: Index) -> bool:
        disk = self.disks.get((voter, disk_id or ""))
        if disk is None:
            return False
        # Whose disk has lost them votes for nobody who lacks them, as if it held them still.
        return self.ledger[:index] in (disk.whole[:index], disk.lost[:index] if disk.lacks_entries else None)

    def _check_log_matching(self, raft: Raft) -> None:
        ours = self.log(raft)
        for other in self.rafts.values():
            theirs = self.log(other)
            same = _last_common(ours, theirs)
            assert ours[:same] == theirs[:same], f"{raft.id} and {other.id} share entry {same} but not all before it"


def _last_common(ours: list[Entry], theirs: list[Entry]) -> Index:
    for index in range(min(len(ours), len(theirs)), 0, -1):
        if ours[index - 1].id == theirs[index - 1].id:
            return index
    return 0
