"""More clever code against its dumb twin: memberships, changes, compacted logs, writes, snapshots, flow control."""

from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zraft.raft import changes, quorum
from zraft.raft.changes import Change, Refused
from zraft.raft.log import Log
from zraft.raft.membership import Memberships, encode
from zraft.raft.messages import InstallSnapshot, Message, TimeoutNow
from zraft.raft.progress import Progress, ProgressState
from zraft.raft.reads import ForwardedReads
from zraft.raft.snapshots import KEPT, Snapshots
from zraft.raft.types import Endpoints, Entry, EntryId, EntryKind, HardState, Membership, NodeId, Snapshot
from zraft.raft.writes import Writes

NODES = ("n1", "n2", "n3", "n4", "n5")
NOWHERE = Endpoints("", "", "")


def entry(term: int, index: int, data: bytes = b"x", kind: int = EntryKind.COMMAND) -> Entry:
    return Entry(term, index, kind, index, data)


def snapshot(index: int, term: int = 1, size: int = 10, membership: Membership | None = None) -> Snapshot:
    return Snapshot(EntryId(term, index), index, membership or Membership(("n1",)), size, bytes([index]) * 32)


# -- who takes part, over time -----------------------------------------------------------------------------------------

FIRST = Membership(("n1",))
SOME = [Membership(NODES[:count], outgoing=NODES[:old]) for count in range(1, 4) for old in (0, 2)]
SOME += [Membership(("n1",), learners=("n5",)), Membership(("n1",), disk_ids={"n1": "d1"})]


class MembershipsMachine(RuleBasedStateMachine):
    """`Memberships` beside the whole log, from which each answer is read off anew."""

    def __init__(self) -> None:
        super().__init__()
        self.known = Memberships(FIRST)
        self.log: list[Membership | None] = [FIRST]
        """By index: the membership that an entry brings, if any; what the cluster began with at 0."""
        self.base = 0
        self.committed = 0

    @rule(membership=st.sampled_from([None, None, *SOME]))
    def append(self, membership: Membership | None) -> None:
        index = len(self.log)
        self.log.append(membership)
        kind = EntryKind.COMMAND if membership is None else EntryKind.MEMBERSHIP
        self.known.appended([entry(1, index, b"" if membership is None else encode(membership), kind)])

    @rule(back=st.integers(0, 4))
    def truncate(self, back: int) -> None:
        first_gone = max(self.committed + 1, len(self.log) - back)
        del self.log[first_gone:]
        self.known.truncated(first_gone)

    @rule(ahead=st.integers(0, 4))
    def commit(self, ahead: int) -> None:
        self.committed = min(len(self.log) - 1, self.committed + ahead)

    @rule(back=st.integers(0, 3))
    def compact(self, back: int) -> None:
        self.base = max(self.base, self.committed - back)
        self.known.compacted(self.base)

    @precondition(lambda self: len(self.log) > 5)
    @rule(ahead=st.integers(1, 4), membership=st.sampled_from(SOME))
    def begin_anew(self, ahead: int, membership: Membership) -> None:
        self.base = self.committed = self.committed + ahead
        self.log = [*[None] * self.base, membership]
        self.known.restarted(self.base, membership)

    def at(self, index: int) -> tuple[int, Membership]:
        return next((each, m) for each in range(index, -1, -1) if (m := self.log[each]) is not None)

    @invariant()
    def the_last_one_in_the_log_is_in_force(self) -> None:
        at, current = self.at(len(self.log) - 1)
        assert self.known.current == current
        assert self.known.changed_at == max(at, self.known.changed_at if at <= self.base else 0)

    @invariant()
    def what_was_in_force_is_known_as_far_as_the_log_goes(self) -> None:
        for index in range(self.base, len(self.log)):
            assert self.known.at(index) == self.at(index)[1]

    @invariant()
    def a_change_is_open_until_it_is_committed_and_left(self) -> None:
        def parts(m: Membership) -> tuple[object, ...]:
            return m.voters, m.outgoing, m.learners

        settled = self.at(self.committed)[1]
        newer = [m for m in self.log[self.committed + 1 :] if m is not None]
        is_open = bool(self.known.current.outgoing) or any(parts(m) != parts(settled) for m in newer)
        assert self.known.open_change(self.committed) is is_open

    @invariant()
    def whatever_may_come_into_force_again_is_known(self) -> None:
        settled = self.at(self.committed)[1]
        newer = [m for m in self.log[self.committed + 1 :] if m is not None]
        others = [*self.known.others(self.committed), self.known.current]
        assert all(m in others for m in (settled, *newer))


MembershipsMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
test_memberships = MembershipsMachine.TestCase


# -- changes -----------------------------------------------------------------------------------------------------------


@st.composite
def asked(draw: st.DrawFn) -> tuple[Membership, Change]:
    parts = draw(st.lists(st.sampled_from(["voter", "learner", "none"]), min_size=5, max_size=5))
    voters = tuple(node for node, part in zip(NODES, parts, strict=True) if part == "voter") or ("n9",)
    learners = tuple(node for node, part in zip(NODES, parts, strict=True) if part == "learner")
    some = st.lists(st.sampled_from(NODES), unique=True, max_size=3).map(tuple)
    joining = dict.fromkeys(draw(some), NOWHERE)
    change = Change(add=joining, promote=draw(some), demote=draw(some), remove=draw(some), renew=draw(some))
    known = {node: f"{node}-a" for node in (*voters, *learners)}
    return Membership(voters, learners=learners, disk_ids=known), change


def quorums(membership: Membership) -> list[set[NodeId]]:
    everybody = sorted({*membership.voters, *membership.outgoing})
    groups = [set(each) for size in range(len(everybody) + 1) for each in combinations(everybody, size)]
    return [group for group in groups if quorum.reached(dict.fromkeys(group, 1), membership) == 1]


@settings(max_examples=100)
@given(asked())
def test_no_two_quorums_on_the_way_of_a_change_are_apart(given: tuple[Membership, Change]) -> None:
    """Two nodes may believe in memberships that follow each other: whatever both decide, one voter was asked by both."""
    current, change = given
    try:
        goal = changes.target(current, change)
    except Refused:
        return
    first = changes.entering(current, goal)
    last = changes.leaving(first) if first.outgoing else first
    assert (last.voters, last.learners, last.outgoing) == (goal.voters, goal.learners, ())
    for before, after in ((current, first), (first, last)):
        assert all(a & b for a in quorums(before) for b in quorums(after))


@settings(max_examples=100)
@given(asked())
def test_a_change_does_what_it_says_or_is_refused(given: tuple[Membership, Change]) -> None:
    current, change = given
    members = {*current.voters, *current.learners}
    sensible = (
        not members & change.add.keys()
        and {*change.promote} <= {*current.learners}
        and {*change.demote} <= {*current.voters}
        and {*change.renew, *change.remove} <= members
    )
    voters = ({*current.voters} | {*change.promote}) - {*change.remove} - {*change.demote} - {*change.renew}
    voters |= {*change.promote} - {*change.remove} if sensible else set()
    if not sensible or not voters:
        with pytest.raises(Refused):
            changes.target(current, change)
        return
    goal = changes.target(current, change)
    assert {*goal.voters, *goal.learners} >= (members | change.add.keys()) - {*change.remove} - {*change.promote}
    assert not {*goal.voters} & {*goal.learners}
    assert not ({*goal.voters} | {*goal.learners}) & ({*change.remove} - {*change.promote})
    assert not goal.disk_ids.keys() & {*change.renew}
    assert {*change.demote} - {*change.remove} <= {*goal.manual}


# -- a log, its disk, and what is compacted ----------------------------------------------------------------------------


class LogMachine(RuleBasedStateMachine):
    """A `Log` with its `Writes` beside the whole list of entries, and beside a disk that does what it is told, late."""

    def __init__(self) -> None:
        super().__init__()
        self.log, self.writes = Log(), Writes(HardState())
        self.all: list[Entry] = []
        self.term = 1
        self.voted = 0
        self.disk: list[Entry] = []
        self.disk_term = HardState()
        self.flying: list[tuple[int, int | None, Snapshot | None, list[Entry], HardState | None]] = []

    @rule(count=st.integers(1, 3), data=st.binary(max_size=3))
    def append(self, count: int, data: bytes) -> None:
        fresh = [entry(self.term, len(self.all) + 1 + number, data) for number in range(count)]
        self.log.append(fresh)
        self.all += fresh

    @rule(back=st.integers(0, 4))
    def replace(self, back: int) -> None:
        first_gone = max(self.log.commit_index + 1, len(self.all) - back)
        if first_gone > len(self.all):
            return
        self.term += 1
        self.log.truncate(first_gone)
        del self.all[first_gone - 1 :]

    @rule(ahead=st.integers(0, 4))
    def commit_and_apply(self, ahead: int) -> None:
        index = min(len(self.all), self.log.commit_index + ahead)
        self.log.commit(index)
        self.log.last_applied = index

    @precondition(lambda self: min(self.log.last_applied, self.log.stable_index) > self.log.base.index)
    @rule()
    def compact(self) -> None:
        last = self.all[min(self.log.last_applied, self.log.stable_index) - 1]
        self.log.compact(last.id)
        self.writes.begins_after = snapshot(last.index, last.term)

    @rule(ahead=st.integers(1, 5))
    def install(self, ahead: int) -> None:
        index = self.log.commit_index + ahead
        if self.log.term_at(index) == self.term:
            return
        del self.all[self.log.commit_index :]
        self.term += 1
        self.all += [entry(self.term, len(self.all) + 1 + number) for number in range(ahead)]
        self.log.restart(self.all[-1].id, self.all[-1].time_ms)
        self.writes.begins_after = snapshot(index, self.term)

    @rule(responses=st.integers(0, 1), vote=st.booleans())
    def hand_over(self, responses: int, vote: bool) -> None:
        self.voted = max(self.voted, self.term) if vote else self.voted
        standing = HardState(self.term, "n1" if self.voted == self.term else None)
        sent: list[tuple[NodeId, Message]] = [("n2", TimeoutNow(self.term))] * responses
        write = self.writes.next(standing, self.log, sent, 0.0)
        if write is None:
            assert not (sent and self.flying), "a promise that waits for nothing, though the disk is behind"
            return
        assert write.responses == sent
        self.flying.append((write.id, write.truncate_from, write.begins_after, write.entries, write.hard_state))

    @precondition(lambda self: bool(self.flying))
    @rule()
    def land(self) -> None:
        id, truncate_from, begins_after, entries, hard_state = self.flying.pop(0)
        if truncate_from is not None:
            assert truncate_from <= len(self.disk) + 1, "a truncation of what was never there"
            del self.disk[truncate_from - 1 :]
        if begins_after is not None and len(self.disk) < begins_after.last.index:
            self.disk += self.all[len(self.disk) : begins_after.last.index]  # As the snapshot has them.
        if entries:
            assert entries[0].index == len(self.disk) + 1, "a gap on the disk"
            self.disk += entries
        self.disk_term = hard_state or self.disk_term
        assert self.writes.reported(id, self.log) == hard_state

    @invariant()
    def every_place_reads_as_in_the_list(self) -> None:
        log = self.log
        assert log.last_index == len(self.all)
        assert log.slice(log.first_index, log.last_index, 1 << 62) == self.all[log.base.index :]
        for index in range(len(self.all) + 3):
            known = EntryId(0, 0).term if index == 0 and not log.base.index else None
            if log.base.index <= index <= len(self.all) and index:
                known = self.all[index - 1].term
            assert log.term_at(index) == known
        assert log.uncommitted_bytes == sum(len(each.data) for each in self.all[log.commit_index :])
        assert log.last_time_ms == (self.all[-1].time_ms if self.all else 0)

    @invariant()
    def what_is_believed_durable_is(self) -> None:
        stable = self.log.stable_index
        beyond = self.log.base.index  # What a snapshot stands for is durable by itself.
        assert self.disk[beyond:stable] == self.all[beyond:stable] or stable <= beyond

    @invariant()
    def a_hint_is_never_before_the_place_where_two_logs_meet(self) -> None:
        log = self.log
        for term in (0, self.term - 1, self.term):
            asked_at = EntryId(term, len(self.all))
            hint = log.last_not_after(asked_at)
            fitting = [e.id for e in self.all[log.base.index :] if e.term <= term]
            if fitting:
                assert hint == fitting[-1]
            else:
                assert hint.index <= log.base.index

    def teardown(self) -> None:
        while self.flying:
            self.land()
        self.hand_over(0, vote=False)
        while self.flying:
            self.land()
        assert self.disk == self.all, "all is written in the end"
        assert self.log.stable_index == len(self.all)
        assert self.disk_term.term == self.term


LogMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
test_log = LogMachine.TestCase


# -- snapshots ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 3), max_size=6))
def test_two_snapshots_are_kept_and_the_log_from_the_older_one_on(steps: list[int]) -> None:
    kept, every = Snapshots(()), []
    for step in steps:
        every.append(snapshot((every[-1].last.index if every else 0) + step))
        upto = kept.taken(every[-1])
        assert kept.kept == every[-KEPT:]
        assert kept.newest == every[-1]
        assert upto == (every[-KEPT] if len(every) >= KEPT else None)


def test_a_snapshot_that_the_leaders_has_overtaken_is_not_kept() -> None:
    """It was begun before the leader's was installed, and ends before the log begins: nobody could go on behind it."""
    snapshots = Snapshots((snapshot(3),))
    snapshots.installed(snapshot(9))
    for late in (snapshot(5), snapshot(9)):
        assert snapshots.taken(late) is None
        assert snapshots.kept == [snapshot(9)]
    assert snapshots.taken(snapshot(10)) == snapshot(9)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.booleans()), max_size=30))
def test_pieces_are_taken_in_order_one_at_a_time_and_of_one_snapshot(pieces: list[tuple[str, int, bool]]) -> None:
    named = {"a": snapshot(5, size=4), "b": snapshot(7, size=4)}
    arriving = Snapshots(())
    name, have, flying = "", 0, None
    for which, offset, lands in pieces:
        if which != name:
            name, have, flying = which, 0, None
        wanted = flying is None and offset == have
        assert arriving.take(InstallSnapshot(1, named[which], offset, b"x")) is wanted
        flying = offset if wanted else flying
        if lands and flying is not None:
            assert not arriving.stored(named["a" if which == "b" else "b"], 1), "not the one that arrives"
            have, flying = flying + 1, None
            assert arriving.stored(named[which], have)
            if have == named[which].size:
                name, have = "", 0
                assert arriving.arriving is None
        assert not arriving.arriving or (arriving.offset == have and arriving.with_disk is (flying is not None))


# -- flow control, with a follower at the other end --------------------------------------------------------------------

PIECES = 3
FLOW_STEPS = 150


class Flow:
    """A `Progress` in a real exchange: a leader's log that is compacted, a follower, and a network that loses."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.last, self.base = 5, 0
        self.held = 0
        """How much of the leader's log the follower has; it holds nothing else."""
        self.pieces = 0
        self.progress = Progress(self.last, 0.0)  # The last one is the leader's own, appended when it was elected.
        self.window = 2
        self.out: list[tuple[str, int, int]] = []
        self.back: list[tuple[str, int, int]] = []
        self.seen: set[ProgressState] = set()

    def grow(self) -> None:
        self.last += self.dice.randint(1, 3)

    def compact(self) -> None:
        self.base = min(self.last, self.base + self.dice.randint(1, 3))

    def send(self) -> None:
        progress = self.progress
        waits = progress.state is ProgressState.SNAPSHOT or progress.probe_sent
        if progress.next_index <= self.base and not waits:
            progress.begin_snapshot(snapshot(self.last, size=PIECES))
            self.send_piece()
        while progress.next_index <= self.last and not progress.is_paused(self.window):
            upto = min(self.last, progress.next_index + 1)
            self.out.append(("append", progress.next_index - 1, upto))
            progress.sent(upto, 0.0)
            assert len(progress.inflight) <= self.window

    def send_piece(self) -> None:
        snap = self.progress.snapshot
        assert snap is not None
        self.out.append(("piece", snap.last.index, self.progress.offset))

    def arrive(self) -> None:
        if not self.out:
            return
        kind, first, second = self.take(self.out)
        if kind == "append" and first > self.held:
            self.back.append(("refused", first, self.held + 1))
        elif kind == "append":
            self.held = max(self.held, second)
            self.back.append(("ack", second, 0))
        elif first <= self.held:
            self.back.append(("ack", first, 0))
        else:
            self.pieces = self.pieces + 1 if second == self.pieces else self.pieces
            if self.pieces == PIECES:
                self.held, self.pieces = first, 0
                self.back.append(("ack", first, 0))
            else:
                self.back.append(("more", first, self.pieces))

    def answer(self) -> None:
        if not self.back:
            return
        kind, first, second = self.take(self.back)
        before = self.progress.match_index
        if kind == "ack":
            sending = self.progress.snapshot
            assert self.progress.acknowledged(first) is (first > before)
            assert sending is None or first >= sending.last.index or self.progress.snapshot is sending
        elif kind == "refused":
            if self.progress.refused(first, second):
                assert self.progress.state is ProgressState.PROBE
        elif self.progress.wants(EntryId(1, first), second):
            self.send_piece()

    def take(self, way: list[tuple[str, int, int]]) -> tuple[str, int, int]:
        """Take a message off the way: mostly the oldest, at times any, at times a copy of it."""
        position = 0 if self.dice.random() < 0.7 else self.dice.randrange(len(way))
        return way[position] if self.dice.random() < 0.1 else way.pop(position)

    def lose(self) -> None:
        if self.out or self.back:
            (self.out or self.back).pop(0)

    def crash(self) -> None:
        self.pieces = 0  # What had arrived of a snapshot was not durable.

    def heartbeat(self) -> None:
        """Do what a leader does when a follower answers a heartbeat, and nothing else is under way."""
        progress = self.progress
        progress.give_up_probe()
        if progress.state is ProgressState.SNAPSHOT:
            self.send_piece()
        elif progress.state is ProgressState.REPLICATE and progress.next_index > self.base:
            self.out.append(("append", progress.next_index - 1, progress.next_index - 1))

    def unreachable(self) -> None:
        self.progress.probe()

    def check(self) -> None:
        progress = self.progress
        assert progress.match_index <= self.held <= self.last
        assert progress.match_index < progress.next_index <= self.last + 1
        assert (progress.snapshot is not None) is (progress.state is ProgressState.SNAPSHOT)
        assert progress.state is ProgressState.REPLICATE or not progress.inflight
        assert list(progress.inflight) == sorted(set(progress.inflight))

    def run(self) -> None:
        acts = {self.send: 8, self.arrive: 8, self.answer: 8, self.grow: 3, self.heartbeat: 3, self.compact: 1}
        acts |= {self.lose: 1, self.crash: 1, self.unreachable: 0.5}
        for act in self.dice.choices([*acts], [*acts.values()], k=FLOW_STEPS):
            act()
            self.check()
            self.seen.add(self.progress.state)
        for _ in range(FLOW_STEPS):
            self.send()
            self.arrive()
            self.answer()
            if not self.out and not self.back:
                self.heartbeat()
        assert self.progress.match_index == self.held == self.last, "once nothing is lost any more, all arrives"


def test_all_arrives_whatever_is_lost_late_doubled_or_compacted() -> None:
    seen: set[ProgressState] = set()
    for seed in range(40):
        flow = Flow(seed)
        flow.run()
        seen |= flow.seen
    assert seen == {*ProgressState}


def test_an_acknowledgement_from_before_does_not_end_a_snapshot() -> None:
    progress = Progress(6, 0.0)
    wanted = snapshot(9)
    progress.begin_snapshot(wanted)
    assert progress.acknowledged(3)
    assert (progress.state, progress.snapshot, progress.next_index) == (ProgressState.SNAPSHOT, wanted, 10)
    assert progress.acknowledged(9)
    assert (progress.state, progress.snapshot, progress.next_index) == (ProgressState.REPLICATE, None, 10)


# -- reads that a follower answers -------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["accept", "ask"]) | st.integers(0, 9), max_size=30))
def test_an_answer_confirms_what_came_before_its_attempt_and_nothing_twice(acts: list[str | int]) -> None:
    reads = ForwardedReads(Random(1))
    came: list[tuple[int, int]] = []
    """Each read, and how many attempts had begun before it came."""
    attempts: list[int] = []
    confirmed: set[int] = set()
    for number, act in enumerate(acts):
        if act == "accept":
            reads.accept(number)
            came.append((number, len(attempts)))
        elif act == "ask":
            attempts.append(reads.ask(float(number)))
        elif attempts and isinstance(act, int):
            position = act % len(attempts)  # Of any attempt, in any order, also twice.
            found = reads.answered(attempts[position])
            assert set(found) == {read for read, before in came if before <= position} - confirmed
            assert len(found) == len(set(found))
            confirmed |= {*found}
            waits = any(before < len(attempts) for read, before in came if read not in confirmed)
            assert (reads.asked_at is not None) == waits
            assert reads.answered(attempts[0] - 1) == reads.answered(attempts[-1] + 1) == []
    assert len(attempts) == len(set(attempts))
