"""The witness: sees all nodes and all disks, believes nobody, and raises `Violation` at the first breach.

It is told of every message, write, step, application, request and answer at the seams, and compares each with what is
durable and what is committed. What an event has not touched is not looked at again: an entry is compared when it is
written, a commit index when it moves, a pair of logs through the one table that all of them must agree with.
"""

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from zraft.machines.sessions import Result
from zraft.raft import invariants as core
from zraft.raft.leader import Leader
from zraft.raft.membership import decode
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
from zraft.raft.progress import Progress
from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, EntryKind, HardState, Index, NodeId, Role, Term
from zraft.requests import From, Outcome, Queries, Reply
from zraft.simulation.durable import Durable, Image
from zraft.simulation.states import States
from zraft.simulation.succession import check_change
from zraft.simulation.violation import Violation

if TYPE_CHECKING:
    from zraft.simulation.process import Process

DEEP_TURNS = 256
"""How often a whole log is walked."""


class Witness:
    """All that holds between nodes.

    Attributes
    ----------
    ledger : list of Entry
        What is committed, from index 1: grows, and never changes.
    leaders : dict
        Who led each term.
    checked : Counter
        How often each invariant was checked.
    durables : dict
        Every data directory that ever was, by node and disk_id.
    states : States
        What the committed entries have brought about.
    """

    def __init__(self, digest_entries: int) -> None:
        self.ledger: list[Entry] = []
        self.leaders: dict[Term, NodeId] = {}
        self.checked: Counter[str] = Counter()
        self.durables: dict[tuple[NodeId, str], Durable] = {}
        self.states = States(self.ledger, self.checked, digest_entries)
        self._committed_in: list[Term] = []
        """The term whose leader committed each entry of `ledger`; never falls."""
        self._entries: dict[EntryId, tuple[EntryId, Entry]] = {}
        """Every entry that was ever written: what came right before it, and what it said."""
        self._results: list[Result] = []
        """Of each committed entry, from index 1."""
        self._applied_at: dict[tuple[int, int], Index] = {}
        """Where each batch, by session and sequence, was carried out."""
        self._scripts: dict[Term, NodeId] = {}
        """Where the `leader` script of each term was started."""

    # -- at the seams --------------------------------------------------------------------------------------------------

    def sent(self, process: "Process", target: NodeId, message: Message) -> None:
        """Check that what `message` says of its sender is durable there."""
        self.checked["I7"] += 1
        if process.raft.log.commit_index != process.committed:
            self.committed(process)
        if process.disk_thread.failure is not None:
            raise Violation("I18", f"{process.id} sends {message} after {process.disk_thread.failure}")
        durable = process.durable.hard_state
        match message:
            case AppendEntries() | Heartbeat():
                if message.commit_index > len(self.ledger):
                    raise Violation("I5", f"{process.id} says that {message.commit_index} is committed")
            case AppendEntriesResponse(success=True):
                found = process.durable.id_at(message.match_index)
                if found != message.hint and message.match_index >= process.durable.base.index:
                    raise Violation("I7", f"{process.id} acknowledges {message.hint}; on its disk is {found}")
            case RequestVote():
                if durable != HardState(message.term, process.id):
                    raise Violation(
                        "I7", f"{process.id} asks for votes in term {message.term}; on its disk is {durable}"
                    )
            case RequestVoteResponse(granted=True):
                if durable != HardState(message.term, target):
                    raise Violation("I7", f"{process.id} votes for {target}@{message.term}; on its disk is {durable}")
            case PreVote() | PreVoteResponse(granted=True):
                return  # They speak of a term that nobody has taken.
        if message.term > durable.term:
            raise Violation("I7", f"{process.id} sends {message}; on its disk is {durable}")

    def submitted(self, process: "Process", write: Write) -> None:
        """Check the entries of a write against all that were ever written anywhere, and what it takes back."""
        if write.truncate_from is not None and write.begins_after is None:  # Else a snapshot stands for what goes.
            self._check_truncation(process, write.truncate_from)
        if not write.entries:
            return
        self.checked["I2"] += len(write.entries)
        log, entries = process.raft.log, self._entries
        first = write.entries[0].index
        before = EntryId(log.term_at(first - 1) or 0, first - 1)
        for entry in write.entries:
            id = entry.id
            known = entries.get(id)
            if known is None:
                entries[id] = (before, entry)
            elif known[0] != before or known[1] != entry:
                raise Violation("I2", f"{process.id} has {entry} behind {before}; elsewhere it is {known}")
            if entry.index != before.index + 1 or entry.term < before.term:
                raise Violation("I2", f"{process.id} has {id} behind {before}")
            if entry.kind == EntryKind.MEMBERSHIP:
                self.checked["I11"] += 1
                check_change(process.raft, entry)
            before = id

    def recovered(self, node: NodeId, durable: Durable, found: Image, writing: list[Write]) -> None:
        """Check what a node found on its disk against what was durable there, and what was just being written."""
        self.checked["I17"] += 1
        if found not in (durable.after([]), durable.after(writing)):
            last = found.entries[-1].id if found.entries else found.base
            raise Violation(
                "I17",
                f"{node} finds {found.hard_state} and entries behind {found.base} up to {last}; durable were "
                f"{durable.hard_state} and entries behind {durable.base} up to {durable.id_at(durable.last_index)}, "
                f"being written {writing}",
            )
        vote = found.hard_state
        if vote.voted_for is not None and durable.votes.get(vote.term, vote.voted_for) != vote.voted_for:
            raise Violation("I8", f"{node} finds a vote for {vote}; it had voted for {durable.votes[vote.term]}")

    def recovered_less(self, node: NodeId, durable: Durable, found: Image, acknowledged: EntryId) -> None:
        """Check what a node found that knows of damage: no more than was written, and that it knows what it has promised."""
        self.checked["I17"] += 1
        last = found.entries[-1].id if found.entries else found.base
        if found.hard_state != durable.hard_state or max(last, acknowledged) != durable.last:
            raise Violation(
                "I17",
                f"{node} finds {found.hard_state}, entries up to {last}, and that it has acknowledged {acknowledged}; durable "
                f"were {durable.hard_state} and entries up to {durable.last}",
            )
        for entry in found.entries:
            if (written := self._entries.get(entry.id)) is None or written[1] != entry:
                raise Violation("I17", f"{node} finds {entry}; written was {written}")

    def requested(self, process: "Process", client: bytes, request: object, id: int) -> None:
        """Take note of a request, and of how much is committed when it arrives."""
        waiting = process.asked.setdefault((client, id), [])
        sees_all = isinstance(request, Queries) and request.source != From.STALE
        waiting.append(len(self.ledger) if sees_all else 0)

    def replied(self, process: "Process", client: bytes, reply: Reply) -> None:
        """Check an answer."""
        self.checked["I20"] += 1
        waiting = process.asked.get((client, reply.id))
        if not waiting:
            raise Violation("I20", f"{process.id} answers {client!r}, who waits for nothing: {reply}")
        floor = waiting.pop(0)
        if not waiting:
            del process.asked[client, reply.id]
        if floor and reply.outcome == Outcome.DONE:
            self.checked["I13"] += 1
            if process.machines.index < floor:
                raise Violation(
                    "I13", f"{process.id} answers a read at {process.machines.index}; {floor} was committed"
                )

    def script_started(self, node: NodeId, token: Term) -> None:
        """Check that a `leader` script has the term's fencing token to itself."""
        self.checked["I23"] += 1
        if self.leaders.get(token) != node or token in self._scripts:
            raise Violation("I23", f"{node} starts one with token {token}; {self.leaders.get(token)} led that term")
        self._scripts[token] = node

    # -- after each step -----------------------------------------------------------------------------------------------

    def committed(self, process: "Process") -> None:
        """Check what a node has just committed; called right after the step in which it did."""
        raft = process.raft
        log, upto = raft.log, raft.log.commit_index
        first = max(process.committed, log.base.index) + 1
        if upto < process.committed:
            raise Violation("I8", f"{process.id} had committed {process.committed}, and now {upto}")
        self.checked["I5"] += 1
        known = len(self.ledger)
        base = log.base
        if base.index > process.committed and (base.index > known or self.ledger[base.index - 1].id != base):
            raise Violation("I5", f"{process.id} goes on behind a snapshot of all up to {base}, which is not committed")
        entries = log.slice(first, upto, 1 << 62)
        process.committed = upto
        ours = self.ledger[first - 1 : upto]
        if entries[: len(ours)] != ours:
            differs = next((mine, theirs) for mine, theirs in zip(entries, ours, strict=False) if mine != theirs)
            raise Violation("I5", f"{process.id} commits {differs[0]}; committed was {differs[1]}")
        if upto <= known:
            return
        leads = isinstance(raft.role, Leader)
        self.checked["I10"] += 1
        if not leads and process.seen.role is not Role.LEADER:  # Who commits its own removal leads no more right after.
            raise Violation("I10", f"{process.id} commits {upto} as {raft.role.name}; a leader has {known}")
        if leads and log.term_at(upto) != raft.term:
            raise Violation("I10", f"{process.id} leads term {raft.term} and commits {log.entry(upto).id}")
        self.ledger += entries[known + 1 - first :]
        self._committed_in += [raft.term] * (upto - known)
        self._check_durable_quorum(process, self.ledger[known:])
        for other in process.others():
            if isinstance(other.raft.role, Leader) and other.raft.term > raft.term:
                self._check_completeness(other)

    def applied(self, process: "Process", entry: Entry, result: Result, sequence: tuple[int, int] | None) -> None:
        """Check what an entry has brought about; `sequence` is its session's and batch's, if it was carried out anew."""
        index = entry.index
        if index > len(self.ledger):
            self.committed(process)
        self.checked["I4"] += 1
        if index > len(self.ledger) or self.ledger[index - 1] != entry:
            raise Violation("I5", f"{process.id} applies {entry}, which is not what is committed there")
        if sequence is not None:
            self.checked["I15"] += 1
            if self._applied_at.setdefault(sequence, index) != index:
                raise Violation(
                    "I15", f"{process.id} carries out {sequence} at {index} and {self._applied_at[sequence]}"
                )
        if index == len(self._results) + 1:
            self._results.append(result)
        elif index <= len(self._results) and self._results[index - 1] != result:
            raise Violation("I4", f"{process.id} answers {entry.id} by {result}; elsewhere {self._results[index - 1]}")
        self.states.applied(process, index)

    def turned(self, process: "Process") -> None:
        """Check a node after a turn of its loop."""
        raft = process.raft
        log, seen, role = raft.log, process.seen, raft.role
        if log.commit_index != process.committed:
            self.committed(process)
        self.checked["I8"] += 1
        if raft.term < seen.term or log.commit_index < seen.commit_index or log.last_applied < seen.last_applied:
            raise Violation("I8", f"{process.id} was at {seen}, and is at {process.look()}")
        if not log.last_applied <= log.commit_index <= log.last_index:
            raise Violation("I9", f"{process.id}: {log.last_applied}, {log.commit_index}, {log.last_index}")
        if raft.term == seen.term and seen.voted_for not in (None, raft.voted_for):
            raise Violation(
                "I8", f"{process.id} votes for {raft.voted_for} in term {raft.term}, after {seen.voted_for}"
            )
        self._check_stable(process)
        if isinstance(role, Leader):
            self._check_leader(process, role)
        process.seen = process.look()
        process.turns += 1
        if process.turns % DEEP_TURNS == 0:
            self.checked["I21"] += 1
            core.check_deep(raft)

    def _check_stable(self, process: "Process") -> None:
        """Check what a node believes to be on its own disk, as its log has it now."""
        raft, durable = process.raft, process.durable
        stable, newest = raft.log.stable_index, raft.snapshots.newest
        covered = max(durable.base.index, newest.last.index if newest else 0)  # A snapshot is on the disk by itself.
        if stable > covered and durable.id_at(stable) != (raft.log.term_at(stable), stable):
            raise Violation("I9", f"{process.id} believes {stable} to be on its disk, where {durable.id_at(stable)} is")
        if raft.durable.term > durable.hard_state.term:
            raise Violation(
                "I9", f"{process.id} believes {raft.durable} to be on its disk, where {durable.hard_state} is"
            )

    def _check_leader(self, process: "Process", role: Leader) -> None:
        raft, seen = process.raft, process.seen
        log = raft.log
        if seen.role is not Role.LEADER or seen.term != raft.term:
            self.checked["I1"] += 1
            if self.leaders.setdefault(raft.term, raft.id) != raft.id:
                raise Violation("I1", f"{raft.id} and {self.leaders[raft.term]} both lead term {raft.term}")
            self._check_completeness(process)
            process.matches = {}
        elif seen.last.index > log.base.index and log.term_at(seen.last.index) != seen.last.term:
            raise Violation(
                "I2", f"{raft.id} leads and had {seen.last}; now it has {log.term_at(seen.last.index)} there"
            )
        transfer = role.handover.transfer
        if transfer is not None:
            self.checked["I24"] += 1
            if transfer.deadline < raft.now:
                raise Violation(
                    "I24", f"{raft.id} hands over to {transfer.target} until {transfer.deadline} at {raft.now}"
                )
        matches, disk_ids = process.matches, raft.memberships.current.disk_ids
        for peer, progress in role.progress.items():
            known = matches.get(peer)
            if (known is None or known[0] is not progress or known[1] != progress.match_index) and peer in disk_ids:
                self._check_match(process, peer, disk_ids[peer], progress)

    def _check_match(self, process: "Process", peer: NodeId, disk_id: str, progress: Progress) -> None:
        self.checked["I9"] += 1
        known, index = process.matches.get(peer), progress.match_index
        durable = self.durables.get((peer, disk_id))
        process.matches[peer] = progress, index
        if index and (durable is None or durable.promised_index < index):
            held = durable and durable.promised_index
            raise Violation("I9", f"{process.id} believes that {peer} holds {index}; its disk holds {held}")
        if known is not None and known[0] is progress and index < known[1]:
            raise Violation("I9", f"{process.id} believed that {peer} holds {known[1]}, and now {index}")

    def _check_truncation(self, process: "Process", first_gone: Index) -> None:
        self.checked["I9"] += 1
        for other in process.others():
            role = other.raft.role
            progress = role.progress.get(process.id) if isinstance(role, Leader) else None
            if progress is not None and other.raft.term == process.raft.term and progress.match_index >= first_gone:
                raise Violation("I9", f"{process.id} removes {first_gone}; {other.id} believes it to be there")

    def _check_completeness(self, process: "Process") -> None:
        self.checked["I3"] += 1
        # Only what was committed in earlier terms: a vote that is long on its way elects a leader whose term is over by then.
        log, term = process.raft.log, process.raft.term
        upto, base = bisect_left(self._committed_in, term), log.base.index
        if log.last_index < upto or log.slice(base + 1, max(base, upto), 1 << 62) != self.ledger[base:upto]:
            raise Violation("I3", f"{process.id} leads term {term}, up to {log.last}; {upto} are committed")

    def _check_durable_quorum(self, process: "Process", entries: list[Entry]) -> None:
        self.checked["I6"] += 1
        current = process.raft.memberships.current
        halves = [(current.voters, entries), (current.outgoing, entries)]
        disk_ids = dict(current.disk_ids)
        for position, entry in enumerate(entries, start=1):
            brought = decode(entry.data) if entry.kind == EntryKind.MEMBERSHIP else current
            if brought.outgoing and brought is not current:
                # It was in force, and may have been left in the very step that committed it. Then it decided about entries
                # up to its own; those after it may be committed by what came after it alone (its voters are needed by both).
                halves += [(brought.voters, entries[:position]), (brought.outgoing, entries[:position])]
                disk_ids = {**brought.disk_ids, **disk_ids}
        for voters, decided in halves:
            disks = [self.durables.get((voter, disk_ids.get(voter, ""))) for voter in voters]
            for entry in decided if voters else ():
                holders = sum(disk is not None and disk.holds(entry) for disk in disks)
                if holders <= len(voters) // 2:
                    raise Violation("I6", f"{process.id} commits {entry.id}, durable at {holders} of {voters}")
