"""The rules of the Raft paper (extended version), quoted one by one, each with a test of it against `zraft.raft`.

The cluster is that of `raft_rig`: bare cores in virtual time, with a witness that checks all that must always hold. A
docstring is the quotation; where zraft keeps a rule in another way than the paper says, a second paragraph tells how.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec
import pytest
from raft_rig import Packet, Rig

from zraft.machines.machine import Applied
from zraft.machines.sessions import Machines
from zraft.raft import quorum
from zraft.raft.changes import Change
from zraft.raft.leader import Leader
from zraft.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    InstallSnapshotResponse,
    Message,
    PreVote,
    RequestVote,
    RequestVoteResponse,
)
from zraft.raft.progress import ProgressState
from zraft.raft.types import Endpoints, Entry, EntryId, EntryKind, HardState, Membership, Snapshot
from zraft.requests import Batch

HEARTBEAT_MS = 100
TIMEOUT_LOWER_MS, TIMEOUT_UPPER_MS = 500, 1_000
"""What `Settings` has; every election timeout lies between."""
NOWHERE = Endpoints("", "", "")
M = TypeVar("M", bound=Message)


# -- a cluster, and how to talk to it ----------------------------------------------------------------------------------


def started(
    count: int = 3, *, terms: dict[str, list[int]] | None = None, term: int = 0, spare: int = 0, **settings: int
) -> Rig:
    """Start nodes, those in `terms` with a log made by hand: one term for each entry; in `term`, or that of its last
    one.
    """
    rig = Rig(count, spare=spare, **settings)
    for id, made in (terms or {}).items():
        disk = rig.disks[id]
        disk.entries = [Entry(term, index, EntryKind.COMMAND, 0, b"x") for index, term in enumerate(made, 1)]
        disk.hard_state = HardState(max(term, disk.entries[-1].term))
    for id in rig.ids:
        rig.start(id)
    return rig


def led(count: int = 3, **options: int) -> Rig:
    """Start a cluster in which n1 leads term 1, and everybody knows that its first entry is committed."""
    rig = started(count, **options)
    rig.campaign("n1")
    rig.stabilize()
    rig.elapse(HEARTBEAT_MS, flowing=True)
    return rig


def write(rig: Rig, id: str) -> None:
    """Let the disk of one node finish all that waits."""
    while rig.disks[id].waiting:
        rig.disk_step(id)


def reply(rig: Rig, source: str, target: str, message: Message) -> list[Message]:
    """Hand a message to a node, let its disk work, and return what it sends back."""
    rig.network.clear()
    rig.deliver(Packet(source, target, message))
    write(rig, target)
    return [packet.message for packet in rig.network if packet[:2] == (target, source)]


def sent(rig: Rig, kind: type[M], *, source: str = "", target: str = "") -> list[M]:
    """Return the messages of a kind that are under way."""
    return [
        packet.message
        for packet in rig.network
        if isinstance(packet.message, kind) and packet.source.startswith(source) and packet.target.startswith(target)
    ]


def request_vote(rig: Rig, source: str, term: int, last: EntryId) -> RequestVote:
    return RequestVote(term, last, False, rig.disks[source].disk_id)


def pass_on(rig: Rig, *, to: str, kind: type[Message] = Message) -> None:
    """Deliver what is under way to one node, and lose the rest of it."""
    packets = [packet for packet in rig.network if packet.target == to and isinstance(packet.message, kind)]
    rig.network = [packet for packet in rig.network if packet not in packets]
    for packet in packets:
        rig.deliver(packet)


def terms_of(rig: Rig, id: str) -> list[int]:
    """Return the terms of a node's whole log."""
    return [entry.term for entry in rig.witness.log(rig.rafts[id])]


def leader_of(rig: Rig) -> Leader:
    role = rig.leaders[-1].role
    assert isinstance(role, Leader)
    return role


def elected(rig: Rig, id: str) -> Leader:
    """Let a node stand, and deliver messages until it leads: what it then sends is still under way."""
    rig.elapse(TIMEOUT_LOWER_MS, flowing=False)
    rig.network.clear()
    rig.campaign(id)
    while not rig.leaders or rig.leaders[-1].id != id:
        rig.deliver(rig.network.pop(0))
        for each in rig.rafts:
            write(rig, each)
    return leader_of(rig)


def cut_off(rig: Rig, *ids: str) -> None:
    """Cut the links between some nodes and all others, both ways, and lose what is under way on them."""
    rig.cut = {(a, b) for a in rig.ids for b in rig.ids if (a in ids) != (b in ids)}
    rig.network = [packet for packet in rig.network if packet[:2] not in rig.cut]


def stand(rig: Rig, id: str) -> None:
    """Let a node's election timer run out once those who heard a leader have forgotten it, and see it through."""
    rig.elapse(TIMEOUT_LOWER_MS, flowing=False)
    rig.campaign(id)
    rig.stabilize()


# -- figure 2: state ---------------------------------------------------------------------------------------------------


def test_figure_2_current_term() -> None:
    """Latest term server has seen (initialized to 0 on first boot, increases monotonically)."""
    rig = started()
    assert {raft.term for raft in rig.rafts.values()} == {0}
    reply(rig, "n2", "n1", request_vote(rig, "n2", 5, EntryId(0, 0)))
    assert rig.rafts["n1"].term == 5
    reply(rig, "n3", "n1", request_vote(rig, "n3", 4, EntryId(0, 0)))
    assert rig.rafts["n1"].term == 5


def test_figure_2_voted_for() -> None:
    """CandidateId that received vote in current term (or null if none)."""
    rig = started()
    assert rig.rafts["n1"].voted_for is None
    reply(rig, "n2", "n1", request_vote(rig, "n2", 1, EntryId(0, 0)))
    assert rig.rafts["n1"].voted_for == "n2"
    reply(rig, "n2", "n1", Heartbeat(2, 0, 1))
    assert rig.rafts["n1"].voted_for is None, "a term in which it has not voted"


def test_figure_2_persistent_state() -> None:
    """Persistent state on all servers: (Updated on stable storage before responding to RPCs)."""
    rig = started()
    rig.deliver(Packet("n2", "n1", request_vote(rig, "n2", 1, EntryId(0, 0))))
    assert not rig.network, "answered before the vote is on the disk"
    write(rig, "n1")
    assert sent(rig, RequestVoteResponse)[0].granted
    rig.crash("n1")
    rig.start("n1")
    assert (rig.rafts["n1"].term, rig.rafts["n1"].voted_for) == (1, "n2")


def test_figure_2_log() -> None:
    """Each entry contains command for state machine, and term when entry was received by leader (first index is 1)."""
    rig = led()
    made = rig.propose("n1", b"x=1")
    assert made == EntryId(1, 2), "behind the leader's first entry"
    entry = rig.rafts["n1"].log.entry(2)
    assert (entry.data, entry.term) == (b"x=1", 1)
    assert rig.rafts["n1"].log.first_index == 1


def test_figure_2_commit_index() -> None:
    """Index of highest log entry known to be committed (initialized to 0, increases monotonically).

    After each start too: it is found out anew.
    """
    rig = led()
    assert rig.rafts["n2"].log.commit_index == 1
    rig.crash("n2")
    assert rig.start("n2").log.commit_index == 0
    rig.elapse(HEARTBEAT_MS, flowing=True)
    assert rig.rafts["n2"].log.commit_index == 1


def test_figure_2_last_applied() -> None:
    """Index of highest log entry applied to state machine (initialized to 0, increases monotonically)."""
    rig = started()
    assert rig.rafts["n1"].log.last_applied == 0
    rig.campaign("n1")
    rig.stabilize()
    assert rig.rafts["n1"].log.last_applied == 1
    rig.crash("n1")
    assert rig.start("n1").log.last_applied == 0


def test_figure_2_next_index() -> None:
    """Index of the next log entry to send to that server (initialized to leader last log index + 1)."""
    leader = elected(started(terms={"n1": [1, 1, 1], "n2": [1], "n3": [1, 1, 1]}), "n1")
    assert {each.next_index for each in leader.progress.values()} == {4}


def test_figure_2_match_index() -> None:
    """For each server, index of highest log entry known to be replicated on server (initialized to 0, increases
    monotonically).
    """
    rig = started(terms={"n1": [1, 1, 1], "n2": [1], "n3": [1, 1, 1]})
    leader = elected(rig, "n1")
    assert {each.match_index for each in leader.progress.values()} == {0}
    rig.stabilize()
    assert {each.match_index for each in leader.progress.values()} == {4}
    stale = AppendEntriesResponse(leader.state.term, True, 2, EntryId(1, 2), rig.disks["n2"].disk_id)
    rig.deliver(Packet("n2", "n1", stale))
    assert leader.progress["n2"].match_index == 4


# -- figure 2: AppendEntries -------------------------------------------------------------------------------------------


def test_figure_2_append_entries_1() -> None:
    """Reply false if term < currentTerm."""
    rig = started(terms={"n1": [1, 3]})
    (answer,) = reply(rig, "n2", "n1", AppendEntries(2, EntryId(3, 2), 0, []))
    assert isinstance(answer, AppendEntriesResponse)
    assert (answer.success, answer.term) == (False, 3)


@pytest.mark.parametrize("prev", [EntryId(2, 3), EntryId(2, 2)], ids=["no entry there", "an entry of another term"])
def test_figure_2_append_entries_2(prev: EntryId) -> None:
    """Reply false if log doesn't contain an entry at prevLogIndex whose term matches prevLogTerm."""
    rig = started(terms={"n1": [1, 1]})
    (answer,) = reply(rig, "n2", "n1", AppendEntries(2, prev, 0, []))
    assert isinstance(answer, AppendEntriesResponse)
    assert not answer.success
    assert terms_of(rig, "n1") == [1, 1], "nothing is taken away yet"


def test_figure_2_append_entries_3() -> None:
    """If an existing entry conflicts with a new one (same index but different terms), delete the existing entry and all
    that follow it.
    """
    rig = started(terms={"n1": [1, 1, 1, 1]})
    new = [Entry(1, 2, EntryKind.COMMAND, 0, b"x"), Entry(2, 3, EntryKind.COMMAND, 0, b"x")]
    reply(rig, "n2", "n1", AppendEntries(2, EntryId(1, 1), 0, new))
    assert terms_of(rig, "n1") == [1, 1, 2]


def test_figure_2_append_entries_4() -> None:
    """Append any new entries not already in the log."""
    rig = started(terms={"n1": [1, 1]})
    new = [Entry(1, index, EntryKind.COMMAND, 0, b"x") for index in (1, 2, 3)]
    reply(rig, "n2", "n1", AppendEntries(1, EntryId(0, 0), 0, new))
    assert terms_of(rig, "n1") == [1, 1, 1]
    reply(rig, "n2", "n1", AppendEntries(1, EntryId(0, 0), 0, new[:1]))
    assert terms_of(rig, "n1") == [1, 1, 1], "a message that says less takes nothing away"


def test_figure_2_append_entries_5() -> None:
    """If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)."""
    rig = led()
    cut_off(rig, "n3")
    rig.propose("n1", b"x=1")
    rig.stabilize()
    rig.propose("n1", b"x=2")
    rig.stabilize()
    assert rig.rafts["n1"].log.commit_index == 3
    second = rig.rafts["n1"].log.entry(2)
    rig.deliver(Packet("n1", "n3", AppendEntries(1, EntryId(1, 1), 3, [second])))
    assert rig.rafts["n3"].log.commit_index == 2, "as far as this message tells, though the leader has committed more"


# -- figure 2: RequestVote ---------------------------------------------------------------------------------------------


def test_figure_2_request_vote_1() -> None:
    """Reply false if term < currentTerm."""
    rig = started(terms={"n1": [3]})
    (answer,) = reply(rig, "n2", "n1", request_vote(rig, "n2", 2, EntryId(9, 9)))
    assert isinstance(answer, RequestVoteResponse)
    assert (answer.granted, answer.term) == (False, 3)


def test_figure_2_request_vote_2() -> None:
    """If votedFor is null or candidateId, and candidate's log is at least as up-to-date as receiver's log, grant
    vote.
    """
    rig = started(terms={"n1": [1, 1]})
    asked = [("n2", EntryId(1, 1)), ("n2", EntryId(1, 2)), ("n2", EntryId(1, 2)), ("n3", EntryId(1, 2))]
    granted = []
    for candidate, last in asked:
        (answer,) = reply(rig, candidate, "n1", request_vote(rig, candidate, 2, last))
        assert isinstance(answer, RequestVoteResponse)
        granted.append(answer.granted)
    assert granted == [False, True, True, False]


# -- figure 2: rules for servers ---------------------------------------------------------------------------------------


def test_figure_2_all_servers_apply() -> None:
    """If commitIndex > lastApplied: increment lastApplied, apply log[lastApplied] to state machine."""
    rig = led(apply_bytes_max=1)
    for number in range(5):
        rig.propose("n1", bytes([number]))
    rig.stabilize()
    raft = rig.rafts["n1"]
    assert raft.log.last_applied == raft.log.commit_index == 6, "the witness has seen each, once, in order"


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
@pytest.mark.parametrize("kind", ["request", "response"])
def test_figure_2_all_servers_term(role: str, kind: str) -> None:
    """If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to follower."""
    rig = led() if role == "leader" else started()
    if role == "candidate":
        rig.campaign("n1")
        pass_on(rig, to="n2")
        pass_on(rig, to="n1")
    raft = rig.rafts["n1"]
    assert raft.role.name == role
    disk_id = rig.disks["n2"].disk_id
    message = AppendEntries(9, EntryId(0, 0), 0, []) if kind == "request" else HeartbeatResponse(9, 0, disk_id)
    rig.deliver(Packet("n2", "n1", message))
    assert (raft.role.name, raft.term) == ("follower", 9)


def test_figure_2_followers_respond() -> None:
    """Respond to RPCs from candidates and leaders."""
    rig = started()
    for message in (
        request_vote(rig, "n2", 1, EntryId(0, 0)),
        AppendEntries(1, EntryId(0, 0), 0, []),
        Heartbeat(1, 0, 1),
    ):
        assert len(reply(rig, "n2", "n1", message)) == 1


def test_figure_2_followers_time_out() -> None:
    """If election timeout elapses without receiving AppendEntries RPC from current leader or granting vote to
    candidate: convert to candidate.

    By way of a pre-vote (thesis §9.6): first it asks whether it would win.
    """
    rig = started()
    raft = rig.rafts["n1"]
    for message in (
        Heartbeat(1, 0, 1),
        AppendEntries(1, EntryId(0, 0), 0, []),
        request_vote(rig, "n2", 2, EntryId(0, 0)),
    ):
        rig.now = raft.deadline - 1
        reply(rig, "n2", "n1", message)
        assert raft.deadline >= rig.now + TIMEOUT_LOWER_MS
    rig.now = raft.deadline
    rig.tick("n1")
    assert raft.role.name == "pre_candidate"
    assert {packet.target for packet in rig.network if isinstance(packet.message, PreVote)} == {"n2", "n3"}


def test_figure_2_refused_vote_resets_no_timer() -> None:
    """If election timeout elapses without [...] granting vote to candidate: convert to candidate."""
    rig = started(terms={"n1": [1]})
    before = rig.rafts["n1"].role.timer_from
    rig.now = 100
    (answer,) = reply(rig, "n2", "n1", request_vote(rig, "n2", 1, EntryId(0, 0)))
    assert isinstance(answer, RequestVoteResponse)
    assert not answer.granted
    assert rig.rafts["n1"].role.timer_from == before


def test_figure_2_candidates_start_election() -> None:
    """On conversion to candidate, start election: increment currentTerm, vote for self, reset election timer, send
    RequestVote RPCs to all other servers.
    """
    rig = started(terms={"n1": [4]})
    rig.campaign("n1")
    pass_on(rig, to="n2")
    pass_on(rig, to="n1")
    raft = rig.rafts["n1"]
    assert (raft.role.name, raft.term, raft.voted_for) == ("candidate", 5, "n1")
    assert raft.role.timer_from == rig.now
    assert not sent(rig, RequestVote), "its own vote is not on the disk yet"
    write(rig, "n1")
    assert {packet.target for packet in rig.network if isinstance(packet.message, RequestVote)} == {"n2", "n3"}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_figure_2_candidates_win(count: int) -> None:
    """If votes received from majority of servers: become leader."""
    rig = started(count)
    rig.campaign("n1")
    for voter in rig.ids[1 : count // 2 + 1]:
        pass_on(rig, to=voter)
        pass_on(rig, to="n1")
    # The pre-vote is won; those who are asked now are asked one by one.
    write(rig, "n1")
    for voter in rig.ids[1 : count // 2 + 1]:
        assert not rig.leaders, "without a majority"
        for packet in [each for each in rig.network if each.target == voter and isinstance(each.message, RequestVote)]:
            rig.network.remove(packet)
            rig.deliver(packet)
        write(rig, voter)
        pass_on(rig, to="n1")
    assert [raft.id for raft in rig.leaders] == ["n1"]


def test_figure_2_candidates_give_way() -> None:
    """If AppendEntries RPC received from new leader: convert to follower."""
    rig = started()
    rig.campaign("n1")
    pass_on(rig, to="n2")
    pass_on(rig, to="n1")
    rig.deliver(Packet("n2", "n1", AppendEntries(1, EntryId(0, 0), 0, [])))
    raft = rig.rafts["n1"]
    assert (raft.role.name, raft.leader, raft.term) == ("follower", "n2", 1)


def test_figure_2_candidates_start_anew() -> None:
    """If election timeout elapses: start new election.

    It asks again whether it would win before it takes another term (thesis §9.6).
    """
    rig = started()
    rig.campaign("n1")
    pass_on(rig, to="n2")
    pass_on(rig, to="n1")
    write(rig, "n1")
    rig.network.clear()
    rig.now = rig.rafts["n1"].deadline
    rig.tick("n1")
    assert {message.term for message in sent(rig, PreVote)} == {2}


def test_figure_2_leaders_heartbeat() -> None:
    """Upon election: send initial empty AppendEntries RPCs (heartbeat) to each server; repeat during idle periods to
    prevent election timeouts.

    A heartbeat is a message of its own here, and carries no entries.
    """
    rig = started()
    elected(rig, "n1")
    assert {packet.target for packet in rig.network if isinstance(packet.message, Heartbeat)} == {"n2", "n3"}
    rig.stabilize()
    rig.elapse(20 * TIMEOUT_UPPER_MS, flowing=True)
    assert {raft.term for raft in rig.rafts.values()} == {1}


def test_figure_2_leaders_append() -> None:
    """If command received from client: append entry to local log, respond after entry applied to state machine."""
    rig = led()
    made = rig.propose("n1", b"x=1")
    raft = rig.rafts["n1"]
    assert made is not None
    assert (raft.log.last_index, raft.log.last_applied) == (made.index, made.index - 1)
    rig.stabilize()
    assert raft.log.last_applied == made.index, "now whoever waits for that index is answered"


def test_figure_2_leaders_send() -> None:
    """If last log index >= nextIndex for a follower: send AppendEntries RPC with log entries starting at nextIndex."""
    rig = led()
    next_index = leader_of(rig).progress["n2"].next_index
    rig.propose("n1", b"x=1")
    (message,) = sent(rig, AppendEntries, target="n2")
    assert [entry.index for entry in message.entries] == [next_index]
    assert message.prev == EntryId(1, next_index - 1)


def test_figure_2_leaders_success() -> None:
    """If successful: update nextIndex and matchIndex for follower."""
    rig = led()
    rig.propose("n1", b"x=1")
    rig.stabilize()
    progress = leader_of(rig).progress["n2"]
    assert (progress.match_index, progress.next_index) == (2, 3)


def test_figure_2_leaders_retry() -> None:
    """If AppendEntries fails because of log inconsistency: decrement nextIndex and retry."""
    rig = started(terms={"n1": [1, 2, 2], "n2": [1], "n3": [1, 2, 2]})
    leader = elected(rig, "n1")
    pass_on(rig, to="n2")
    write(rig, "n2")
    pass_on(rig, to="n1", kind=AppendEntriesResponse)
    assert leader.progress["n2"].next_index == 2
    (message,) = sent(rig, AppendEntries, target="n2")
    assert message.prev == EntryId(1, 1)


def test_figure_2_leaders_commit() -> None:
    """If there exists an N such that N > commitIndex, a majority of matchIndex[i] >= N, and log[N].term == currentTerm:
    set commitIndex = N.
    """
    rig = led(5)
    rig.propose("n1", b"x=1")
    write(rig, "n1")
    for voter, commits in (("n2", 1), ("n3", 2)):
        pass_on(rig, to=voter)
        write(rig, voter)
        pass_on(rig, to="n1")
        assert rig.rafts["n1"].log.commit_index == commits


# -- section 5.1: terms ------------------------------------------------------------------------------------------------


def test_5_1_larger_term() -> None:
    """If one server's current term is smaller than the other's, then it
    updates its current term to the larger value.
    """
    rig = led()
    rig.crash("n3")
    rig.disks["n3"].hard_state = HardState(7)
    rig.start("n3")
    rig.elapse(5 * TIMEOUT_UPPER_MS, flowing=True)
    assert len({raft.term for raft in rig.rafts.values()}) == 1
    assert rig.rafts["n1"].term >= 7


def test_5_1_out_of_date() -> None:
    """If a candidate or leader discovers that its term is out of date, it immediately reverts to follower state."""
    rig = led()
    rig.deliver(Packet("n2", "n1", HeartbeatResponse(2, 1, rig.disks["n2"].disk_id)))
    assert rig.rafts["n1"].role.name == "follower"


@pytest.mark.parametrize("kind", ["vote", "append", "heartbeat", "snapshot"])
def test_5_1_stale_request(kind: str) -> None:
    """If a server receives a request with a stale term number, it rejects the request."""
    rig = led()
    rig.elapse(TIMEOUT_UPPER_MS, flowing=False)
    rig.network.clear()
    reply(rig, "n2", "n3", Heartbeat(5, 0, 1))
    snapshot = InstallSnapshot(1, snapshot_of_nothing(), 0, b"x")
    requests: dict[str, Message] = {
        "vote": request_vote(rig, "n1", 1, EntryId(9, 9)),
        "append": AppendEntries(1, EntryId(0, 0), 0, []),
        "heartbeat": Heartbeat(1, 0, 2),
        "snapshot": snapshot,
    }
    before = (rig.rafts["n3"].leader, rig.rafts["n3"].deadline)
    (answer,) = reply(rig, "n1", "n3", requests[kind])
    assert answer.term == 5
    assert not getattr(answer, "granted", False)
    assert not getattr(answer, "success", False)
    assert (rig.rafts["n3"].leader, rig.rafts["n3"].deadline) == before, "no sign of life of a leader"


def snapshot_of_nothing() -> Snapshot:
    return Snapshot(EntryId(1, 9), 0, Membership(("n1", "n2", "n3")), 1, bytes(32))


# -- section 5.2: leader election --------------------------------------------------------------------------------------


def test_5_2_begin_as_followers() -> None:
    """When servers start up, they begin as followers."""
    rig = led()
    rig.crash("n1")
    assert rig.start("n1").role.name == "follower"


def test_5_2_remains_follower() -> None:
    """A server remains in follower state as long as it receives valid RPCs from a leader or candidate."""
    rig = led()
    rig.elapse(30 * TIMEOUT_UPPER_MS, flowing=True)
    assert [rig.rafts[id].role.name for id in ("n2", "n3")] == ["follower", "follower"]


def test_5_2_one_vote() -> None:
    """Each server will vote for at most one candidate in a given term, on a first-come-first-served basis.

    Over a restart too.
    """
    rig = started()
    (first,) = reply(rig, "n2", "n1", request_vote(rig, "n2", 1, EntryId(0, 0)))
    rig.crash("n1")
    rig.start("n1")
    (second,) = reply(rig, "n3", "n1", request_vote(rig, "n3", 1, EntryId(0, 0)))
    assert isinstance(first, RequestVoteResponse)
    assert isinstance(second, RequestVoteResponse)
    assert (first.granted, second.granted) == (True, False)


def test_5_2_vote_belongs_to_the_term() -> None:
    """Each server will vote for at most one candidate in a given term [...]; a change of role does not change that."""
    rig = started()
    rig.campaign("n1")
    pass_on(rig, to="n2")
    pass_on(rig, to="n1")
    write(rig, "n1")
    reply(rig, "n2", "n1", Heartbeat(1, 0, 1))
    assert rig.rafts["n1"].role.name == "follower"
    rig.now += TIMEOUT_LOWER_MS
    (answer,) = reply(rig, "n3", "n1", request_vote(rig, "n3", 1, EntryId(0, 0)))
    assert isinstance(answer, RequestVoteResponse)
    assert not answer.granted


def test_5_2_legitimate_leader() -> None:
    """If the leader's term is at least as large as the candidate's current term, then the candidate recognizes the
    leader as legitimate and returns to follower state. If the term in the RPC is smaller [...] the candidate rejects
    the RPC and continues in candidate state.
    """
    rig = started(terms={"n1": [2]})
    rig.campaign("n1")
    pass_on(rig, to="n2")
    pass_on(rig, to="n1")
    raft = rig.rafts["n1"]
    assert (raft.role.name, raft.term) == ("candidate", 3)
    rig.deliver(Packet("n3", "n1", AppendEntries(2, EntryId(0, 0), 0, [])))
    assert raft.role.name == "candidate"
    rig.deliver(Packet("n3", "n1", AppendEntries(3, EntryId(0, 0), 0, [])))
    assert raft.role.name == "follower"


def test_5_2_randomized_timeouts() -> None:
    """Election timeouts are chosen randomly from a fixed interval."""
    rig = started(9)
    drawn = {raft.role.timeout_ms for raft in rig.rafts.values()}
    assert len(drawn) == 9
    assert all(TIMEOUT_LOWER_MS <= timeout <= TIMEOUT_UPPER_MS for timeout in drawn)


def test_5_2_split_votes_are_resolved() -> None:
    """Raft uses randomized election timeouts to ensure that split votes are rare and that they are resolved quickly."""
    rounds = []
    for seed in range(30):
        rig = Rig(4, seed=seed)
        for id in rig.ids:
            rig.start(id)
        rig.campaign("n1")
        rig.campaign("n2")  # Both at once: they split the votes.
        rig.stabilize()
        rig.elapse(10 * TIMEOUT_UPPER_MS, flowing=True)
        assert len(rig.leaders) == 1
        rounds.append(rig.leaders[0].term)
    assert sorted(rounds)[len(rounds) // 2] <= 3


# -- section 5.3: log replication --------------------------------------------------------------------------------------


def test_5_3_retries_indefinitely() -> None:
    """If followers crash or run slowly, or if network packets are lost, the leader retries AppendEntries RPCs
    indefinitely [...] until all followers eventually store all log entries.
    """
    rig = led()
    cut_off(rig, "n3")
    rig.propose("n1", b"x=1")
    rig.elapse(20 * TIMEOUT_UPPER_MS, flowing=True)
    assert terms_of(rig, "n3") == [1]
    rig.cut.clear()
    rig.elapse(TIMEOUT_UPPER_MS, flowing=True)
    assert terms_of(rig, "n3") == terms_of(rig, "n1")


def test_5_3_commits_preceding_entries() -> None:
    """[It] also commits all preceding entries in the leader's log, including entries created by previous leaders."""
    rig = started(terms={"n1": [1, 2, 2], "n2": [1], "n3": [1]})
    elected(rig, "n1")
    rig.stabilize()
    assert [entry.term for entry in rig.witness.ledger] == [1, 2, 2, 3]


def test_5_3_followers_find_out() -> None:
    """It includes that index in future AppendEntries RPCs (including heartbeats) so that the other servers eventually
    find out.
    """
    rig = led()
    rig.propose("n1", b"x=1")
    rig.stabilize()
    rig.elapse(HEARTBEAT_MS, flowing=True)
    assert {raft.log.commit_index for raft in rig.rafts.values()} == {2}


def test_5_3_applied_in_log_order() -> None:
    """Once a follower learns that a log entry is committed, it applies the entry to its local state machine (in log
    order).
    """
    rig = led()
    for number in range(4):
        rig.propose("n1", bytes([number]))
    rig.stabilize()
    rig.elapse(HEARTBEAT_MS, flowing=True)
    assert {raft.log.last_applied for raft in rig.rafts.values()} == {5}, (
        "the witness has compared each with what is committed"
    )


def test_5_3_log_matching() -> None:
    """If two entries in different logs have the same index and term, then the logs are identical in all preceding
    entries.
    """
    rig = started(7, terms=FIGURE_7, term=7)
    elected(rig, "n1")
    rig.stabilize()
    logs = [rig.witness.log(raft) for raft in rig.rafts.values()]
    assert all(log == logs[0] for log in logs)


FIGURE_7 = {
    "n1": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
    "n2": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "n3": [1, 1, 1, 4],
    "n4": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "n5": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "n6": [1, 1, 1, 4, 4, 4, 4],
    "n7": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}
"""The leader for term 8, and followers (a) to (f)."""


def test_5_3_followers_duplicate_the_leader() -> None:
    """The leader handles inconsistencies by forcing the followers' logs to duplicate its own."""
    rig = started(7, terms=FIGURE_7, term=7)
    elected(rig, "n1")
    rig.stabilize()
    assert all(terms_of(rig, id) == [*FIGURE_7["n1"], 8] for id in rig.ids)


def test_5_3_leader_append_only() -> None:
    """A leader never overwrites or deletes entries in its own log."""
    rig = started(terms={"n1": [1, 2], "n2": [1], "n3": [1]})
    elected(rig, "n1")
    rig.deliver(Packet("n2", "n1", AppendEntries(3, EntryId(1, 1), 0, [Entry(3, 2, EntryKind.COMMAND, 0, b"")])))
    assert terms_of(rig, "n1")[:2] == [1, 2]


def test_5_3_one_message_per_term() -> None:
    """One AppendEntries RPC will be required for each term with conflicting entries, rather than one RPC per entry."""
    rig = started(terms={"n1": [1] + 40 * [4], "n2": [1] + 30 * [2] + 30 * [3], "n3": [1] + 40 * [4]})
    leader = elected(rig, "n1")
    messages = 0
    while leader.progress["n2"].state is not ProgressState.REPLICATE:
        messages += len(sent(rig, AppendEntries, target="n2"))
        pass_on(rig, to="n2")
        write(rig, "n2")
        pass_on(rig, to="n1")
    assert messages <= 3


# -- section 5.4: safety -----------------------------------------------------------------------------------------------


def test_5_4_1_denies_its_vote() -> None:
    """The voter denies its vote if its own log is more up-to-date than that of the candidate."""
    rig = led()
    cut_off(rig, "n3")
    rig.propose("n1", b"x=1")
    rig.stabilize()
    rig.crash("n1")
    rig.cut.clear()
    stand(rig, "n3")
    assert not rig.leaders
    stand(rig, "n2")
    assert [raft.id for raft in rig.leaders] == ["n2"]


@pytest.mark.parametrize(
    ("candidate", "voter"),
    [([1, 1, 1], [2]), ([2], [2, 2])],
    ids=["the log with the later term is more up-to-date", "whichever log is longer is more up-to-date"],
)
def test_5_4_1_more_up_to_date(candidate: list[int], voter: list[int]) -> None:
    """If the logs have last entries with different terms, then the log with the later term is more up-to-date. If the
    logs end with the same term, then whichever log is longer is more up-to-date.
    """
    rig = started(terms={"n1": voter})
    (refused,) = reply(rig, "n2", "n1", request_vote(rig, "n2", 5, EntryId(candidate[-1], len(candidate))))
    rig = started(terms={"n1": candidate})
    (granted,) = reply(rig, "n2", "n1", request_vote(rig, "n2", 5, EntryId(voter[-1], len(voter))))
    assert isinstance(refused, RequestVoteResponse)
    assert isinstance(granted, RequestVoteResponse)
    assert (refused.granted, granted.granted) == (False, True)


def test_5_4_2_own_term_only() -> None:
    """Raft never commits log entries from previous terms by counting replicas. Only log entries from the leader's
    current term are committed by counting replicas.
    """
    rig = started(5, terms={"n1": [1, 2], "n2": [1, 2], "n3": [1], "n4": [1], "n5": [1]}, append_bytes_max=1)
    leader = elected(rig, "n1")
    for voter in ("n2", "n3"):
        for _ in range(3):
            pass_on(rig, to=voter)
            write(rig, voter)
            if leader.progress[voter].match_index < 2:
                pass_on(rig, to="n1")
    assert sum(terms_of(rig, id)[:2] == [1, 2] for id in rig.ids) >= 3, "a majority has it"
    assert rig.rafts["n1"].log.commit_index == 0
    rig.stabilize()
    assert rig.rafts["n1"].log.commit_index == 3, "with the first entry of its own"


# -- section 5.5: crashes, and section 5.6: timing ---------------------------------------------------------------------


def test_5_5_retries_until_it_is_back() -> None:
    """Raft handles these failures by retrying indefinitely; if the crashed server restarts, then the RPC will complete
    successfully.
    """
    rig = led()
    rig.crash("n3")
    rig.propose("n1", b"x=1")
    rig.elapse(10 * TIMEOUT_UPPER_MS, flowing=True)
    rig.start("n3")
    rig.elapse(TIMEOUT_UPPER_MS, flowing=True)
    assert terms_of(rig, "n3") == terms_of(rig, "n1")
    assert rig.rafts["n1"].term == 1


def test_5_5_idempotent() -> None:
    """If a follower receives an AppendEntries request that includes log entries already present in its log, it ignores
    those entries in the new request.
    """
    rig = started(terms={"n1": [1, 1]})
    message = AppendEntries(1, EntryId(1, 1), 0, [Entry(1, 2, EntryKind.COMMAND, 0, b"x")])
    first = reply(rig, "n2", "n1", message)
    assert first == reply(rig, "n2", "n1", message)
    assert terms_of(rig, "n1") == [1, 1]


def test_5_6_safety_must_not_depend_on_timing() -> None:
    """Safety must not depend on timing: the system must not produce incorrect results just because some event happens
    more quickly or slowly than expected.

    A leader that stood still while the others elected another answers no read, and commits nothing.
    """
    rig = led()
    cut_off(rig, "n1")
    context = rig.read("n1")
    rig.propose("n1", b"x=1")
    asleep = rig.rafts.pop("n1")
    rig.elapse(5 * TIMEOUT_UPPER_MS, flowing=True)
    assert len(rig.leaders) == 1
    rig.rafts["n1"] = asleep
    rig.cut.clear()
    rig.tick("n1")
    rig.elapse(TIMEOUT_UPPER_MS, flowing=True)
    assert context not in rig.confirmed
    assert b"x=1" not in [entry.data for entry in rig.witness.ledger]


def test_5_6_broadcast_is_faster_than_the_timeout() -> None:
    """The broadcast time should be an order of magnitude less than the election timeout so that leaders can reliably
    send the heartbeat messages required to keep followers from starting elections.
    """
    rig = led()
    settings = rig.rafts["n1"].settings
    assert settings.heartbeat_interval_ms * 5 <= settings.election_timeout_lower_ms
    rig.cut.add(("n1", "n2"))
    rig.elapse(3 * HEARTBEAT_MS, flowing=True)
    rig.cut.clear()
    rig.elapse(TIMEOUT_UPPER_MS, flowing=True)
    assert rig.rafts["n1"].term == 1, "a few lost heartbeats cost nothing"


# -- section 6: membership ---------------------------------------------------------------------------------------------


def joint(rig: Rig) -> None:
    """Bring n4 and n5 in as learners, and begin to replace n2 and n3 by them, n1 having sent nothing of it yet."""
    rig.change("n1", Change(add={"n4": NOWHERE, "n5": NOWHERE}, manual=True))
    rig.elapse(3 * HEARTBEAT_MS, flowing=True)
    rig.cut = {("n1", id) for id in rig.ids}
    rig.change("n1", Change(promote=("n4", "n5"), remove=("n2", "n3")))
    rig.cut.clear()


def test_6_entries_go_to_both_configurations() -> None:
    """Log entries are replicated to all servers in both configurations."""
    rig = led(spare=2)
    joint(rig)
    rig.propose("n1", b"x=1")
    assert {packet.target for packet in rig.network if isinstance(packet.message, AppendEntries)} == {
        "n2",
        "n3",
        "n4",
        "n5",
    }


def test_6_either_configuration_may_lead() -> None:
    """Any server from either configuration may serve as leader."""
    for id in ("n2", "n4"):
        rig = led(spare=2)
        rig.change("n1", Change(add={"n4": NOWHERE, "n5": NOWHERE}, manual=True))
        rig.elapse(3 * HEARTBEAT_MS, flowing=True)
        rig.change("n1", Change(promote=("n4", "n5"), remove=("n2", "n3")))
        for voter in ("n2", "n3", "n4", "n5"):
            pass_on(rig, to=voter)
            write(rig, voter)
        rig.network.clear()
        rig.crash("n1")
        assert rig.rafts[id].memberships.current.outgoing
        elected(rig, id)


@pytest.mark.parametrize("silent", [("n2", "n3"), ("n4", "n5")], ids=["without the old", "without the new"])
def test_6_separate_majorities(silent: tuple[str, str]) -> None:
    """Agreement [...] requires separate majorities from both the old and new configurations.

    For elections and entry commitment.
    """
    rig = led(spare=2)
    joint(rig)
    open_at = rig.rafts["n1"].log.last_index
    cut_off(rig, *silent)
    rig.elapse(3 * HEARTBEAT_MS, flowing=True)
    assert rig.rafts["n1"].log.commit_index < open_at
    heard = dict.fromkeys({"n1", "n2", "n3", "n4", "n5"} - {*silent}, True)
    assert quorum.tally(heard, rig.rafts["n1"].memberships.current) is quorum.Tally.OPEN
    rig.cut.clear()
    rig.elapse(3 * HEARTBEAT_MS, flowing=True)
    assert rig.rafts["n1"].log.commit_index > open_at
    assert rig.rafts["n1"].memberships.current.voters == ("n1", "n4", "n5")


def test_6_latest_configuration_in_its_log() -> None:
    """A server always uses the latest configuration in its log, regardless of whether the entry is committed."""
    rig = led(spare=2)
    joint(rig)
    assert rig.rafts["n1"].memberships.current.outgoing == ("n1", "n2", "n3")
    assert rig.rafts["n1"].log.commit_index < rig.rafts["n1"].memberships.changed_at


def test_6_falls_back_with_its_entry() -> None:
    """A server always uses the latest configuration in its log; so also when that is an older one again."""
    rig = led(spare=2)
    rig.elapse(3 * HEARTBEAT_MS, flowing=True)
    cut_off(rig, "n1")
    rig.change("n1", Change(add={"n4": NOWHERE}))
    assert rig.rafts["n1"].memberships.current.learners == ("n4",)
    rig.elapse(5 * TIMEOUT_UPPER_MS, flowing=True)
    rig.cut.clear()
    rig.elapse(TIMEOUT_UPPER_MS, flowing=True)
    assert rig.rafts["n1"].memberships.current.learners == ()


def test_6_new_servers_have_no_vote_at_first() -> None:
    """New servers join the cluster as non-voting members (the leader replicates log entries to them, but they are not
    considered for majorities).
    """
    rig = led(spare=2)
    rig.change("n1", Change(add={"n4": NOWHERE, "n5": NOWHERE}, manual=True))
    rig.elapse(3 * HEARTBEAT_MS, flowing=True)
    assert terms_of(rig, "n4") == terms_of(rig, "n1")
    committed = rig.rafts["n1"].log.commit_index
    rig.cut = {("n1", "n2"), ("n1", "n3")}
    rig.propose("n1", b"x=1")
    rig.elapse(HEARTBEAT_MS, flowing=True)
    assert len(terms_of(rig, "n5")) == committed + 1
    assert rig.rafts["n1"].log.commit_index == committed, "three of five have it, and one of three voters"


def test_6_promoted_once_caught_up() -> None:
    """Once the new servers have caught up with the rest of the cluster, the reconfiguration can proceed."""
    rig = led(spare=1)
    rig.cut = {("n1", "n4")}
    rig.change("n1", Change(add={"n4": NOWHERE}))
    rig.elapse(TIMEOUT_UPPER_MS, flowing=True)
    assert rig.rafts["n1"].memberships.current.voters == ("n1", "n2", "n3")
    rig.cut.clear()
    rig.elapse(TIMEOUT_UPPER_MS, flowing=True)
    assert rig.rafts["n1"].memberships.current.voters == ("n1", "n2", "n3", "n4")


def test_6_removed_leader() -> None:
    """The leader steps down (returns to follower state) once it has committed the C-new log entry."""
    rig = led()
    rig.change("n1", Change(remove=("n1",)))
    changed_at = rig.rafts["n1"].memberships.changed_at
    assert rig.rafts["n1"].role.name == "leader"
    rig.stabilize()
    raft = rig.rafts["n1"]
    assert raft.role.name == "learner"
    assert raft.log.commit_index > changed_at
    assert raft.memberships.current.voters == ("n2", "n3")


def test_6_does_not_count_itself() -> None:
    """It replicates log entries but does not count itself in majorities."""
    rig = led(4)
    rig.change("n1", Change(remove=("n1",)))
    rig.cut = {("n1", "n4"), ("n1", "n3")}
    rig.elapse(3 * HEARTBEAT_MS, flowing=True)
    raft = rig.rafts["n1"]
    new = Membership(("n2", "n3", "n4"))
    assert quorum.reached({"n1": 9, "n2": 9}, new) == 0
    assert raft.log.commit_index < raft.memberships.changed_at, "n1 and n2 are two, and one of the three who stay"


def test_6_disregards_request_vote() -> None:
    """If a server receives a RequestVote RPC within the minimum election timeout of hearing from a current leader, it
    does not update its term or grant its vote.
    """
    rig = led()
    rig.elapse(3 * TIMEOUT_UPPER_MS, flowing=True)
    rig.now = rig.rafts["n2"].role.timer_from + TIMEOUT_LOWER_MS - 1
    question = request_vote(rig, "n3", 9, EntryId(9, 9))
    assert reply(rig, "n3", "n2", question) == []
    assert rig.rafts["n2"].term == 1
    rig.now += 1
    assert reply(rig, "n3", "n2", question)
    assert rig.rafts["n2"].term == 9


# -- section 7: log compaction -----------------------------------------------------------------------------------------


def compacted(rig: Rig, *ids: str) -> None:
    """Write, and let nodes take snapshots, twice: the log then begins behind the first of them."""
    leader = rig.leaders[-1].id
    for _ in range(2):
        for number in range(5):
            rig.propose(leader, bytes([number]))
        rig.elapse(2 * HEARTBEAT_MS, flowing=True)
        for id in ids:
            rig.snapshot(id)
        rig.stabilize()


def test_7_each_server_by_itself() -> None:
    """Each server takes snapshots independently, covering just the committed entries in its log."""
    rig = led()
    cut_off(rig, "n1", "n2")
    compacted(rig, "n2")
    logs = {id: raft.log for id, raft in rig.rafts.items()}
    assert (logs["n1"].base.index, logs["n2"].base.index, logs["n3"].base.index) == (0, 6, 0)
    assert logs["n2"].base.index <= logs["n2"].commit_index


def test_7_may_delete() -> None:
    """Once a server completes writing a snapshot, it may delete all log entries up through the last included index, as
    well as any prior snapshot.

    The one before is kept, and the log from there on, in case the newest turns out to be damaged.
    """
    rig = led()
    compacted(rig, "n1")
    raft = rig.rafts["n1"]
    assert [each.last.index for each in raft.snapshots.kept] == [6, 11]
    assert raft.log.first_index == 7
    compacted(rig, "n1")
    assert [each.last.index for each in raft.snapshots.kept] == [16, 21]


def test_7_metadata() -> None:
    """The last included index is the index of the last entry in the log that the snapshot replaces (the last entry the
    state machine had applied), and the last included term is the term of this entry.
    """
    rig = led()
    compacted(rig, "n1")
    newest = rig.rafts["n1"].snapshots.newest
    assert newest is not None
    assert newest.last == EntryId(1, rig.rafts["n1"].log.last_applied)


def test_7_consistency_check_behind_the_snapshot() -> None:
    """These are preserved to support the AppendEntries consistency check for the first log entry following the
    snapshot, since that entry needs a previous log index and term.
    """
    rig = led()
    compacted(rig, "n3")
    base = rig.rafts["n3"].log.base
    (answer,) = reply(rig, "n1", "n3", AppendEntries(1, base, 0, []))
    assert isinstance(answer, AppendEntriesResponse)
    assert answer.success


def test_7_latest_configuration() -> None:
    """To enable cluster membership changes, the snapshot also includes the latest configuration in the log as of last
    included index.
    """
    rig = led(spare=1)
    rig.change("n1", Change(add={"n4": NOWHERE}, manual=True))
    compacted(rig, "n1")
    newest = rig.rafts["n1"].snapshots.newest
    assert newest is not None
    assert newest.membership.learners == ("n4",)


def lagging(**settings: int) -> Rig:
    """Return a cluster in which n3 lacks what the others have compacted."""
    rig = led(**settings)
    cut_off(rig, "n3")
    compacted(rig, "n1", "n2")
    rig.cut.clear()
    return rig


def test_7_install_snapshot() -> None:
    """The leader uses a new RPC called InstallSnapshot to send snapshots to followers that are too far behind."""
    rig = lagging()
    rig.elapse(5 * HEARTBEAT_MS, flowing=True)
    assert rig.rafts["n3"].log.base.index == 11
    assert rig.rafts["n3"].log.last_applied == 11


def test_7_prefix_of_its_log() -> None:
    """If instead the follower receives a snapshot that describes a prefix of its log [...], then log entries covered by
    the snapshot are deleted but entries following the snapshot are still valid and must be retained.

    All of them stay here: what is covered goes when this node compacts its log itself.
    """
    rig = led()
    compacted(rig, "n1")
    rig.cut = {("n1", "n2")}
    for number in range(3):
        rig.propose("n1", bytes([number]))
    rig.stabilize()
    before = terms_of(rig, "n3")
    newest = rig.rafts["n1"].snapshots.newest
    assert newest is not None
    piece = rig.disks["n1"].piece(InstallSnapshot(1, newest, 0), 1 << 20)
    assert piece is not None
    (answer,) = reply(rig, "n1", "n3", piece)
    assert isinstance(answer, AppendEntriesResponse)
    assert (answer.success, answer.match_index) == (True, newest.last.index)
    assert terms_of(rig, "n3") == before


def test_7_discards_its_entire_log() -> None:
    """In this case, the follower discards its entire log; it is all superseded by the snapshot.

    It "may possibly have uncommitted entries that conflict with the snapshot".
    """
    rig = led()
    cut_off(rig, "n1")
    for _ in range(3):
        rig.propose("n1", b"lost")
    rig.elapse(5 * TIMEOUT_UPPER_MS, flowing=True)
    compacted(rig, "n2", "n3")
    assert terms_of(rig, "n1") == [1, 1, 1, 1]
    rig.cut.clear()
    rig.elapse(TIMEOUT_UPPER_MS, flowing=True)
    assert rig.rafts["n1"].log.base.index == rig.leaders[-1].snapshots.kept[-1].last.index
    assert b"lost" not in [entry.data for entry in rig.witness.log(rig.rafts["n1"])]


def test_figure_13_rule_1() -> None:
    """Reply immediately if term < currentTerm."""
    rig = lagging()
    newest = rig.rafts["n1"].snapshots.newest
    assert newest is not None
    (answer,) = reply(rig, "n2", "n3", InstallSnapshot(0, newest, 0, b"x"))
    assert isinstance(answer, InstallSnapshotResponse)
    assert answer.term == 1
    assert rig.rafts["n3"].snapshots.arriving is None


def test_figure_13_rules_2_to_5() -> None:
    """Create new snapshot file if first chunk (offset is 0). Write data into snapshot file at given offset. Reply and
    wait for more data chunks if done is false. Save snapshot file.
    """
    rig = lagging()
    rig.chunk_bytes = 30
    newest = rig.rafts["n1"].snapshots.newest
    assert newest is not None
    offsets, offset = [], 0
    while offset < newest.size:
        piece = rig.disks["n1"].piece(InstallSnapshot(1, newest, offset), 30)
        assert piece is not None
        (answer,) = reply(rig, "n1", "n3", piece)
        offsets.append(offset)
        offset = answer.offset if isinstance(answer, InstallSnapshotResponse) else newest.size
    assert offsets == list(range(0, newest.size, 30))
    assert rig.rafts["n3"].snapshots.newest == newest
    rig.network.clear()


def test_figure_13_rule_6() -> None:
    """If existing log entry has same index and term as snapshot's last included entry, retain log entries following it.

    n3 has come by these entries in some other way, and does not know that they are committed.
    """
    rig = led()
    rig.crash("n3")
    compacted(rig, "n1", "n2")
    newest = rig.rafts["n1"].snapshots.newest
    assert newest is not None
    for number in range(3):
        rig.propose("n1", bytes([number]))
    rig.stabilize()
    rig.disks["n3"].entries = list(rig.witness.log(rig.rafts["n1"]))
    assert rig.start("n3").log.commit_index == 0
    piece = rig.disks["n1"].piece(InstallSnapshot(1, newest, 0), 1 << 20)
    assert piece is not None
    reply(rig, "n1", "n3", piece)
    log = rig.rafts["n3"].log
    assert (log.commit_index, log.last_index) == (newest.last.index, newest.last.index + 3)


def test_figure_13_rule_8() -> None:
    """Reset state machine using snapshot contents (and load snapshot's cluster configuration)."""
    rig = led(spare=1)
    cut_off(rig, "n3")
    rig.change("n1", Change(add={"n4": NOWHERE}, manual=True))
    compacted(rig, "n1", "n2")
    rig.cut.clear()
    rig.elapse(5 * HEARTBEAT_MS, flowing=True)
    raft = rig.rafts["n3"]
    assert raft.memberships.current == rig.rafts["n1"].memberships.current
    assert raft.log.last_applied == len(rig.witness.ledger), "the witness has compared the state with what is committed"


# -- section 8: clients ------------------------------------------------------------------------------------------------


def test_8_rejects_and_tells_the_leader() -> None:
    """That server will reject the client's request and supply information about the most recent leader it has heard
    from.
    """
    rig = led()
    assert rig.propose("n2", b"x=1") is None
    assert rig.rafts["n2"].leader == "n1"


def test_8_serial_numbers() -> None:
    """If it receives a command whose serial number has already been executed, it responds immediately without re-
    executing the request.
    """
    machines = Machines({"count": Count()})
    registered = Entry(1, 1, EntryKind.SESSION, 0, msgspec.msgpack.encode(machines.session_change()))
    session = machines.apply(registered).value
    batch = msgspec.msgpack.encode(Batch(session, 1, "count", [b"one"]))
    answers = [machines.apply(Entry(1, index, EntryKind.COMMAND, 0, batch)).value for index in (2, 3)]
    assert answers[0] == answers[1] == [b"\x00" + b"1"]


class Count:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, command: bytes, at: Applied) -> bytes:
        self.count += 1
        return str(self.count).encode()

    def query(self, query: bytes) -> bytes:
        return str(self.count).encode()

    def snapshot(self) -> Iterable[bytes]:
        return [str(self.count).encode()]

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.count = int(b"".join(chunks))


def test_8_blank_no_op() -> None:
    """Raft handles this by having each leader commit a blank no-op entry into the log at the start of its term.

    For people it holds the ballot; to the protocol it says nothing.
    """
    rig = led()
    stand_by = rig.rafts["n2"]
    rig.crash("n1")
    stand(rig, "n2")
    first = next(entry for entry in rig.witness.log(stand_by) if entry.term == stand_by.term)
    assert first.kind == EntryKind.NOOP
    assert first in rig.witness.ledger


def test_8_knows_what_is_committed() -> None:
    """At the start of its term, it may not know which those are. To find out, it needs to commit an entry from its
    term.
    """
    rig = led()
    rig.crash("n1")
    leader = elected(rig, "n2")
    context = rig.read("n2")
    while rig.rafts["n2"].log.commit_index < leader.first_own_index:
        assert context not in rig.confirmed
        packet = rig.network.pop(0)
        rig.deliver(packet)
        write(rig, packet.target)
        write(rig, "n2")
    rig.stabilize()
    assert context in rig.confirmed


def test_8_exchanges_heartbeats() -> None:
    """Raft handles this by having the leader exchange heartbeat messages with a majority of the cluster before
    responding to read-only requests.
    """
    rig = led()
    context = rig.read("n1")
    assert context not in rig.confirmed
    pass_on(rig, to="n2", kind=Heartbeat)
    pass_on(rig, to="n1")
    assert context in rig.confirmed
    cut_off(rig, "n1")
    deposed = rig.read("n1")
    rig.elapse(5 * TIMEOUT_UPPER_MS, flowing=True)
    assert deposed not in rig.confirmed
