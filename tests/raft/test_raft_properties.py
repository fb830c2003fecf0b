"""Clever code against its dumb twin: quorums, the log, progress, rounds, votes and the flaws of messages."""

from collections import Counter
from itertools import combinations, pairwise, product
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zraft.raft import membership as memberships
from zraft.raft import quorum
from zraft.raft.core import Raft
from zraft.raft.log import ENTRY_BYTES, Log
from zraft.raft.messages import AppendEntries, Heartbeat, flaw
from zraft.raft.progress import Progress, ProgressState
from zraft.raft.reads import Rounds
from zraft.raft.state import Settings
from zraft.raft.types import Ballot, Cause, Entry, EntryId, EntryKind, HardState, Membership, Recovered

VOTERS_MAX = 9
JOINT_MAX = 4


def nodes(count: int, first: int = 1) -> tuple[str, ...]:
    return tuple(f"n{number}" for number in range(first, first + count))


def entry(term: int, index: int, kind: int = EntryKind.COMMAND, data: bytes = b"x", time_ms: int = 0) -> Entry:
    return Entry(term, index, kind, time_ms, data)


# -- quorum ------------------------------------------------------------------------------------------------------------


def has_majority(group: set[str], voters: tuple[str, ...]) -> bool:
    """More than half of `voters`, which is what a majority is; nobody needs one of nobody."""
    return not voters or 2 * len(group & set(voters)) > len(voters)


def subsets(members: tuple[str, ...]) -> list[set[str]]:
    return [set(chosen) for size in range(len(members) + 1) for chosen in combinations(members, size)]


def all_memberships() -> list[Membership]:
    simple = [Membership(nodes(count), learners=("learner",)) for count in range(1, VOTERS_MAX + 1)]
    joint = [
        Membership(nodes(new), outgoing=nodes(old, first))
        for new, old in product(range(1, JOINT_MAX + 1), repeat=2)
        for first in (1, 2, new + 1)  # The same voters, some in common, none in common.
    ]
    return simple + joint


@pytest.mark.parametrize("membership", all_memberships(), ids=lambda m: f"{len(m.voters)}-{'.'.join(m.outgoing)}")
def test_every_subset_is_a_quorum_or_not_as_counting_says(membership: Membership) -> None:
    everybody = tuple(sorted({*membership.voters, *membership.outgoing, *membership.learners, "stranger"}))
    for group in subsets(everybody):
        wins = has_majority(group, membership.voters) and has_majority(group, membership.outgoing)
        assert (quorum.reached(dict.fromkeys(group, 1), membership) == 1) is wins
        assert (quorum.tally(dict.fromkeys(group, True), membership) is quorum.Tally.WON) is wins
        against = {member: member in group for member in everybody}
        expected = quorum.Tally.WON if wins else quorum.Tally.LOST
        assert quorum.tally(against, membership) is expected, "with all votes in, an election is never open"


@pytest.mark.parametrize("count", range(1, VOTERS_MAX + 1))
def test_any_two_quorums_share_a_voter(count: int) -> None:
    voters = nodes(count)
    quorums = [g for g in subsets(voters) if quorum.reached(dict.fromkeys(g, 1), Membership(voters)) == 1]
    smallest = [g for g in quorums if len(g) == min(map(len, quorums))]
    assert all(a & b for a in smallest for b in smallest)


@given(st.data())
def test_reached_is_the_greatest_value_that_a_quorum_has(data: st.DataObject) -> None:
    membership = data.draw(st.sampled_from(all_memberships()))
    everybody = sorted({*membership.voters, *membership.outgoing})
    values = data.draw(st.dictionaries(st.sampled_from(everybody), st.integers(0, 6)))
    possible = [
        value
        for value in range(7)
        if all(
            has_majority({node for node in everybody if values.get(node, 0) >= value}, voters)
            for voters in (membership.voters, membership.outgoing)
        )
    ]
    assert quorum.reached(values, membership) == max(possible)


@given(st.data())
def test_an_open_election_can_still_go_both_ways(data: st.DataObject) -> None:
    membership = data.draw(st.sampled_from(all_memberships()))
    everybody = sorted({*membership.voters, *membership.outgoing})
    votes = data.draw(st.dictionaries(st.sampled_from(everybody), st.booleans()))
    silent = set(everybody) - votes.keys()
    outcomes = {quorum.tally(votes | dict.fromkeys(silent, last), membership) for last in (True, False)}
    now = quorum.tally(votes, membership)
    assert now is quorum.Tally.OPEN if len(outcomes) > 1 else now in outcomes


# -- votes -------------------------------------------------------------------------------------------------------------

IDS = [EntryId(0, 0), *(EntryId(term, index) for term in range(1, 4) for index in range(1, 4))]


@pytest.mark.parametrize("own", IDS, ids=str)
def test_vote_goes_to_a_log_at_least_as_up_to_date(own: EntryId) -> None:
    """Paper §5.4.1: later last term wins; with equal last terms, the longer log."""
    log = [entry(own.term, index) for index in range(1, own.index + 1)]
    bootstrap = Membership(nodes(3), disk_ids={"n1": "d1"})
    raft = Raft(Settings("n1", "d1"), Recovered(HardState(own.term), log), bootstrap, Random(0), 0.0)
    for candidate in IDS:
        at_least = candidate.term > own.term or (candidate.term == own.term and candidate.index >= own.index)
        assert (raft.may_vote_for(candidate, None) == "") is at_least, (candidate, own)


# -- the log -----------------------------------------------------------------------------------------------------------


class ListLog:
    """A log as one would write it on the first day: a list, and a copy of what the disk has."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.disk: list[Entry] = []
        self.flying: list[tuple[int | None, list[Entry]]] = []
        self.handed: list[Entry] = []
        """What the disk will have once all that flies has landed."""
        self.committed = 0

    def take(self) -> tuple[int | None, list[Entry]]:
        same = 0
        while same < min(len(self.handed), len(self.entries)) and self.handed[same] is self.entries[same]:
            same += 1
        write = (same + 1 if same < len(self.handed) else None, self.entries[same:])
        self.handed = list(self.entries)
        self.flying.append(write)
        return write

    def land(self) -> None:
        truncate_from, entries = self.flying.pop(0)
        if truncate_from is not None:
            del self.disk[truncate_from - 1 :]
        self.disk += entries

    @property
    def stable(self) -> int:
        count = 0
        while count < min(len(self.disk), len(self.entries)) and self.disk[count] is self.entries[count]:
            count += 1
        return count


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("replace"), st.integers(0, 6)),
        st.tuples(st.just("commit"), st.integers(0, 6)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("land"), st.just(0)),
    ),
    max_size=40,
)


class Twins:
    """A `Raft`'s log and a `ListLog`, driven side by side through the core's own bookkeeping of writes."""

    def __init__(self) -> None:
        self.raft = Raft(Settings("n1", "d1"), Recovered(HardState(), []), Membership(nodes(2)), Random(0), 0.0)
        self.model = ListLog()
        self.term = 1
        self.ids: list[int] = []

    def append(self, count: int) -> None:
        log = self.raft.log
        fresh = [entry(self.term, log.last_index + 1 + offset, data=b"y" * offset) for offset in range(count)]
        log.append(fresh)
        self.model.entries += fresh

    def replace(self, back: int) -> None:
        first = max(self.model.committed + 1, len(self.model.entries) - back)
        if first > len(self.model.entries):
            return
        self.term += 1
        self.raft.truncate(first)
        del self.model.entries[first - 1 :]
        self.append(1)

    def commit(self, ahead: int) -> None:
        self.model.committed = min(len(self.model.entries), self.model.committed + ahead)
        self.raft.commit(self.model.committed)

    def take(self, _: int) -> None:
        ready = self.raft.ready()
        truncate_from, entries = self.model.take()
        if ready is None or ready.write is None:
            assert truncate_from is None
            assert not entries
            self.model.flying.pop()
            return
        assert (ready.write.truncate_from, ready.write.entries) == (truncate_from, entries)
        self.ids.append(ready.write.id)

    def land(self, _: int) -> None:
        if self.ids:
            self.model.land()
            self.raft.written(self.ids.pop(0), 0.0)


@settings(max_examples=200)
@given(ACTS)
def test_log_and_its_disk_behave_like_lists(acts: list[tuple[str, int]]) -> None:
    twins = Twins()
    for name, argument in acts:
        getattr(twins, name)(argument)
        log, model = twins.raft.log, twins.model
        assert log.slice(1, log.last_index, 1 << 62) == model.entries
        assert log.last == (model.entries[-1].id if model.entries else EntryId(0, 0))
        assert log.stable_index <= model.stable, "believed durable, and is not"
        assert log.uncommitted_bytes == sum(len(each.data) for each in model.entries[model.committed :])
    while twins.ids:
        twins.land(0)
    twins.take(0)
    while twins.ids:
        twins.land(0)
    assert twins.raft.log.stable_index == len(twins.model.entries), "durable, and not believed"


TERMS = st.lists(st.integers(1, 4), max_size=8).map(sorted)


@given(TERMS, TERMS, st.integers(0, 8))
def test_conflict_is_the_first_place_that_differs_in_term(ours: list[int], theirs: list[int], prev: int) -> None:
    log = Log([entry(term, index) for index, term in enumerate(ours, 1)])
    sent = [entry(term, index) for index, term in enumerate(theirs, 1)][prev:]
    differs = [not (each.index <= len(ours) and ours[each.index - 1] == each.term) for each in sent]
    assert log.conflict(sent) == (differs.index(True) if True in differs else None)


@given(TERMS, TERMS)
def test_backing_up_never_skips_the_place_where_two_logs_meet(ours: list[int], theirs: list[int]) -> None:
    """Fast back-up (paper §5.3): each refusal goes back, not behind the last common entry, and one for each term at most."""
    leader = Log([entry(term, index) for index, term in enumerate(ours, 1)])
    follower = Log([entry(term, index) for index, term in enumerate(theirs, 1)])
    common = 0
    while common < min(len(ours), len(theirs)) and ours[common] == theirs[common]:
        common += 1
    probed = leader.last
    for _ in range(len({*ours, *theirs}) + 2):
        if follower.term_at(probed.index) == probed.term:
            break
        probed_next = leader.last_not_after(follower.last_not_after(probed))
        assert common <= probed_next.index < probed.index
        probed = probed_next
    assert follower.term_at(probed.index) == probed.term, "more round trips than terms"


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 20 + 8 * ENTRY_BYTES))
def test_slice_keeps_to_its_bytes_but_never_stands_still(sizes: list[int], bytes_max: int) -> None:
    log = Log([entry(1, index, data=b"." * size) for index, size in enumerate(sizes, 1)])
    found = log.slice(1, log.last_index, bytes_max)
    assert found, "one entry goes, whatever its size"
    assert len(found) == 1 or sum(len(each.data) + ENTRY_BYTES for each in found) <= bytes_max
    following = log.slice(1, len(found) + 1, 1 << 62)
    size = sum(len(each.data) + ENTRY_BYTES for each in following)
    assert len(found) == len(sizes) or size > bytes_max, "more would have fitted"


def test_an_absent_entry_has_no_term() -> None:
    log = Log([entry(1, 1)])
    assert (log.term_at(0), log.term_at(1), log.term_at(2)) == (0, 1, None)


def test_committed_entries_are_never_truncated() -> None:
    log = Log([entry(1, 1), entry(1, 2)])
    log.commit(1)
    with pytest.raises(AssertionError):
        log.truncate(1)
    log.truncate(2)


# -- what a leader knows of a follower ---------------------------------------------------------------------------------

PROGRESS_ACTS = st.lists(
    st.tuples(
        st.sampled_from(["send", "ack", "refuse", "unreachable", "give_up", "grow"]),
        st.integers(0, 12),
        st.integers(0, 12),
    ),
    max_size=40,
)


@given(PROGRESS_ACTS, st.integers(1, 3))
def test_progress_keeps_its_invariants(acts: list[tuple[str, int, int]], window: int) -> None:
    last, now = 5, 0.0
    progress = Progress(last + 1, now)
    for name, first, second in acts:
        match_before, state_before, next_before = progress.match_index, progress.state, progress.next_index
        if name == "grow":
            last += 1
        elif name == "send" and not progress.is_paused(window):
            progress.sent(min(last, progress.next_index + first), now)
        elif name == "ack":
            acked = min(first, last)
            assert progress.acknowledged(acked) is (acked > match_before)
            assert progress.state is ProgressState.REPLICATE
        elif name == "refuse":
            believed = progress.refused(min(first, last), min(second, last) + 1)
            assert not (believed and first <= match_before), "what is known to match was refused"
            assert not believed or progress.state is ProgressState.PROBE
            assert not (believed and state_before is ProgressState.PROBE) or progress.next_index <= next_before
        elif name == "unreachable":
            progress.probe()
        elif name == "give_up":
            progress.give_up_probe()
        assert progress.match_index >= match_before
        assert progress.match_index < progress.next_index <= last + 1
        assert len(progress.inflight) <= window
        assert list(progress.inflight) == sorted(set(progress.inflight))
        assert all(match < upto < progress.next_index for upto in progress.inflight for match in [progress.match_index])
        assert progress.state is ProgressState.REPLICATE or not progress.inflight


def test_a_refusal_of_what_was_probed_before_is_outdated() -> None:
    progress = Progress(10, 0.0)
    progress.sent(10, 0.0)
    assert progress.refused(9, 6)
    assert progress.next_index == 6
    assert not progress.refused(9, 2), "a copy of the same refusal"
    assert progress.next_index == 6


# -- rounds and reads --------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["accept", "start", "confirm"]), st.integers(0, 9)), max_size=50))
def test_a_read_is_confirmed_once_by_a_round_that_began_after_it(acts: list[tuple[str, int]]) -> None:
    rounds = Rounds(0.0)
    accepted_at: dict[int, tuple[int, int]] = {}
    confirmed: Counter[int] = Counter()
    for now, (name, number) in enumerate(acts):
        if name == "accept":
            accepted_at[now] = (rounds.sent, number)
            rounds.accept(now, number)
        elif name == "start":
            assert rounds.start(float(now)) == rounds.sent
            assert not rounds.wanted
        else:
            chosen = min(number, rounds.sent)
            for context, index in rounds.confirm(chosen):
                confirmed[context] += 1
                sent_then, commit_index = accepted_at[context]
                assert rounds.confirmed > sent_then, "confirmed by a round from before it"
                assert index == commit_index
    if accepted_at:
        rounds.confirm(rounds.start(1e9))
        confirmed.update(context for context in accepted_at if context not in confirmed)
    assert set(confirmed.values()) <= {1}
    assert not rounds.wanted


def test_a_round_tells_when_it_was_sent_and_not_when_it_was_answered() -> None:
    rounds = Rounds(0.0)
    rounds.start(10.0)
    rounds.start(20.0)
    rounds.confirm(1)
    assert rounds.confirmed_sent_at == 10.0
    assert rounds.under_way


# -- messages ----------------------------------------------------------------------------------------------------------

GOOD = [entry(2, 4), entry(2, 5, time_ms=7), entry(3, 6, time_ms=7)]
MEMBERS = memberships.encode(Membership(nodes(3)))
WON = Ballot("n1", nodes(2), (), nodes(3), Cause.TIMEOUT, 5, 0)
BALLOT = msgspec.msgpack.encode(WON)


def appended(entries: list[Entry], term: int = 3, prev: EntryId = EntryId(2, 3)) -> AppendEntries:  # noqa: B008
    return AppendEntries(term, prev, 0, entries)


def test_an_honest_message_has_no_flaw() -> None:
    assert flaw(appended(GOOD)) is None
    assert flaw(appended([])) is None
    assert flaw(appended([entry(2, 4, EntryKind.MEMBERSHIP, MEMBERS), entry(3, 5, EntryKind.NOOP, BALLOT)])) is None
    assert flaw(Heartbeat(1, 0, 1)) is None


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (appended(GOOD[1:]), "entry 5 follows 3"),
        (appended([GOOD[0], GOOD[0]]), "entry 4 follows 4"),
        (appended([entry(1, 4)]), "term 1 at 4 follows term 2"),
        (appended(GOOD, term=2), "an entry of term 3 in a message of term 2"),
        (appended([], term=1), "an entry of term 2 in a message of term 1"),
        (appended([entry(2, 4, time_ms=9), entry(2, 5, time_ms=8)]), "time 8 at 5 follows time 9"),
        (appended([entry(2, 4, kind=99)]), "entry 4 of kind 99 can't be understood"),
        (appended([entry(2, 4, EntryKind.MEMBERSHIP, b"\xff")]), "entry 4 of kind 3 can't be understood"),
        (appended([entry(2, 4, EntryKind.MEMBERSHIP, MEMBERS[:-9])]), "entry 4 of kind 3 can't be understood"),
        (
            appended([entry(2, 4, EntryKind.MEMBERSHIP, memberships.encode(Membership(())))]),
            "entry 4 of kind 3 can't be understood",
        ),
        (appended([entry(2, 4, EntryKind.NOOP, b"n1")]), "entry 4 of kind 0 can't be understood"),
        (appended([entry(2, 4, EntryKind.NOOP, b"")]), "entry 4 of kind 0 can't be understood"),
        (appended([entry(2, 4, EntryKind.NOOP, BALLOT[:-3])]), "entry 4 of kind 0 can't be understood"),
        (
            appended([entry(2, 4, EntryKind.NOOP, msgspec.msgpack.encode(msgspec.structs.replace(WON, leader="")))]),
            "entry 4 of kind 0 can't be understood",
        ),
        (appended([entry(2, 4, EntryKind.MEMBERSHIP, b"\x81\xa6voters\x91\xa2\xff\xfe")]), "can't be understood"),
        (appended([entry(2, 4, EntryKind.MEMBERSHIP, b"\x81\xa1x" + b"\x91" * 100_000)]), "can't be understood"),
    ],
)
def test_a_flaw_is_told(message: AppendEntries, told: str) -> None:
    assert told in (flaw(message) or "")


@given(st.integers(0, 3), st.integers(0, 4), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=5))
def test_no_flaw_means_log_matching(term: int, prev: int, ids: list[tuple[int, int]]) -> None:
    message = appended([entry(term, index) for term, index in ids], term, EntryId(min(term, prev), prev))
    chain = [message.prev, *(each.id for each in message.entries)]
    sound = all(a.index + 1 == b.index and a.term <= b.term for a, b in pairwise(chain)) and chain[-1].term <= term
    assert (flaw(message) is None) is sound


# -- memberships -------------------------------------------------------------------------------------------------------


def test_a_membership_is_in_force_from_the_log_and_falls_back_with_it() -> None:
    """Paper §6: a server always uses the latest configuration in its log, committed or not."""
    known = memberships.Memberships(Membership(nodes(3)))
    second, third = Membership(nodes(3), disk_ids={"n1": "d1"}), Membership(nodes(3), disk_ids={"n1": "d1", "n2": "d2"})
    entries = [
        entry(1, 1, EntryKind.MEMBERSHIP, memberships.encode(second)),
        entry(1, 2),
        entry(1, 3, EntryKind.MEMBERSHIP, memberships.encode(third)),
    ]
    known.appended(entries)
    known.truncated(4)
    assert known.current == third
    known.truncated(2)
    assert known.current == second
    assert known.changed_at == 1
    assert known.has_lost_data("n1", "d9")
    assert not known.has_lost_data("n2", "d9")
    known.truncated(1)
    assert known.current == Membership(nodes(3))
    assert known.changed_at == 0
