"""The simulator finds what it is for: each of these breaks one rule of the code that it runs, and must be caught under that rule's number.

A rule is broken in this process alone, by `monkeypatch`. The seeds are the first ones; how many of them it may take is part of
what is tested.
"""

from typing import Any

import msgspec
import pytest

from zraft import codec
from zraft.machines.sessions import Machines
from zraft.machines.table import Session
from zraft.raft import quorum
from zraft.raft.candidate import Candidate
from zraft.raft.handover import Handover
from zraft.raft.leader import Leader
from zraft.raft.log import Log
from zraft.raft.ready import ReadReady, Ready
from zraft.raft.types import EntryId
from zraft.raft.voter import Voter
from zraft.replica import Replica
from zraft.requests import Reply
from zraft.simulation.disk import DiskFile
from zraft.simulation.plan import draw
from zraft.simulation.run import run
from zraft.simulation.seams import Links
from zraft.storage.recovery import Found

EVENTS = 4_000
SEEDS_MAX = 12
Patch = pytest.MonkeyPatch


def found(*numbers: str, **changes: Any) -> None:
    """Assert that one of the first seeds finds a breach of one of these invariants, and that none finds another before.

    What `changes` in the plans makes it likely that there is occasion.
    """
    for seed in range(SEEDS_MAX):
        report = run(msgspec.structs.replace(draw(seed, nodes=3), events=EVENTS, **changes))
        if report.violation:
            assert report.broken in numbers, report.violation
            return
    raise AssertionError(f"nothing found in {SEEDS_MAX} seeds")


def test_a_response_that_leaves_before_it_is_durable(monkeypatch: Patch) -> None:
    carry_out = Replica._carry_out

    def hasty(self: Replica, ready: Ready) -> None:
        if ready.write is not None:
            self._send(ready.write.responses)
        carry_out(self, ready)

    monkeypatch.setattr(Replica, "_carry_out", hasty)
    found("I7")


def test_a_vote_given_twice(monkeypatch: Patch) -> None:
    answer_vote = Voter.answer_vote

    def generous(self: Voter, *args: Any) -> None:
        self.voted_for = None
        answer_vote(self, *args)

    monkeypatch.setattr(Voter, "answer_vote", generous)
    found(
        "I8", "I7", "I1", election_lower_ms=100.0, election_upper_ms=110.0, faults={"isolate": 500.0, "kill_all": 900.0}
    )


def test_entries_of_an_earlier_term_committed_by_counting(monkeypatch: Patch) -> None:
    def maybe_commit(self: Leader) -> None:
        log = self.state.log
        held = {peer: each.match_index for peer, each in self.progress.items() if self.roster.counts(peer)}
        index = quorum.reached(held | {self.state.id: log.stable_index}, self.state.memberships.current)
        if index > log.commit_index:
            self.state.commit(index)
            self.roster.committed()

    monkeypatch.setattr(Leader, "maybe_commit", maybe_commit)
    found("I10")


def test_a_quorum_of_less_than_a_majority(monkeypatch: Patch) -> None:
    monkeypatch.setattr(quorum, "majority", lambda count: max(1, count // 2))
    found("I6", "I3", "I1", "I5", "I10")


def test_a_candidate_whose_own_vote_is_not_durable(monkeypatch: Patch) -> None:
    ask = Candidate.ask

    def hasty(self: Candidate) -> None:
        ask(self)
        self.state.sends += self.state.responses
        self.state.responses.clear()

    monkeypatch.setattr(Candidate, "ask", hasty)
    found("I7")


def test_a_late_message_that_takes_away_what_was_acknowledged(monkeypatch: Patch) -> None:
    def conflict(self: Log, entries: list[Any]) -> int | None:
        return next((i for i, entry in enumerate(entries) if entry.index > self.commit_index), None)

    monkeypatch.setattr(Log, "conflict", conflict)
    found("I9", "I6", "I3", append_bytes_max=1, faults={"reorder": 0.2, "late_duplicate": 0.2})


def test_a_read_answered_before_anybody_has_confirmed_it(monkeypatch: Patch) -> None:
    def read(self: Leader, context: Any) -> None:
        if isinstance(context, int):
            self.state.reads.append(ReadReady(context, 0))
        else:
            proper(self, context)

    proper = Leader.read
    monkeypatch.setattr(Leader, "read", read)
    busy = {"clients": 8, "client_think_ms": 30.0, "client_timeout_ms": 100.0}
    found("I13", election_lower_ms=100.0, election_upper_ms=1_000.0, faults={"isolate": 1_000.0}, **busy)


def test_a_batch_carried_out_twice(monkeypatch: Patch) -> None:
    def command(self: Machines, entry: Any, batch: Any) -> Any:
        session = self.sessions.use(batch.session, entry.time_ms) if batch is not None else None
        if isinstance(session, Session):
            session.sequence = 0
        return applied(self, entry, batch)

    applied = Machines._command
    monkeypatch.setattr(Machines, "_command", command)
    found("I15")


def test_a_sync_that_does_nothing(monkeypatch: Patch) -> None:
    monkeypatch.setattr(DiskFile, "datasync", lambda self: None)
    found("I17")


def test_damaged_messages_that_are_let_in(monkeypatch: Patch) -> None:
    class Nothing:
        size = codec._CRC.size
        pack = codec._CRC.pack

        def unpack_from(self, *args: Any) -> tuple[Any]:
            class Anything:
                __eq__ = lambda self, other: True
                __ne__ = lambda self, other: False
                __hash__ = None

            return (Anything(),)

    monkeypatch.setattr(codec, "_CRC", Nothing())
    found("I22")


def test_a_handover_that_never_ends(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Handover, "_abort", lambda self: True)
    found("I24", faults={"transfer": 60.0, "single_link": 300.0, "loss": 0.2})


def test_a_request_answered_twice(monkeypatch: Patch) -> None:
    reply = Links.reply

    def twice(self: Links, client: bytes, answer: Reply) -> None:
        reply(self, client, answer)
        reply(self, client, answer)

    monkeypatch.setattr(Links, "reply", twice)
    found("I20")


ROT = {"faults": {"bit_rot": 300.0, "kill": 5_000.0}, "clients": 3, "client_think_ms": 400.0}
"""Disks rot, and have the time to tell in slots how far they are."""


def test_a_damaged_end_of_the_log_that_is_taken_for_a_write_cut_off(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Found, "is_short", property(lambda self: False))
    found("I17", **ROT)


def test_lost_entries_that_nobody_stands_for(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Found, "acknowledged", property(lambda self: EntryId(0, 0)))
    found("I17", **ROT)
