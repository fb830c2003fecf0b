"""What a leader proposes by itself: ticks when sessions have outlived their time, and the errands of machines."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from random import Random

import msgspec
import pytest
from virtual_cluster import HEARTBEAT_MS, VirtualCluster, VirtualNode

from zraft.errors import InvalidRequest
from zraft.machines.machine import Applied, Errand
from zraft.raft.messages import AppendEntries, Heartbeat, Message
from zraft.raft.types import Entry, EntryKind, Role
from zraft.requests import Batch, Commands, Outcome, TransferRequest

TTL_MS = 60_000
"""Of sessions in the virtual cluster."""
DICE = 1 << 30
TURNS_MAX = 200


class Steps(msgspec.Struct):
    """What the machine below keeps."""

    goal: int = 0
    every_ms: int = 0
    due_ms: int = 0
    taken: list[tuple[int, int, int]] = []
    """Number, dice and time of each step, in order."""


class Walk:
    """A machine that takes steps by itself, the first at once; a client sets how many there shall be, and how often."""

    def __init__(self) -> None:
        self.steps = Steps()
        self.asked = 0
        self.refused: list[int] = []

    def errand(self, random: Random) -> Errand | None:
        self.asked += 1
        steps = self.steps
        if len(steps.taken) == steps.goal:
            return None
        return Errand(steps.due_ms, msgspec.msgpack.encode(("step", len(steps.taken) + 1, random.randrange(DICE))))

    def apply(self, command: bytes, at: Applied) -> bytes:
        what, number, value = msgspec.msgpack.decode(command)
        steps = self.steps
        if what == "walk":
            steps.goal, steps.every_ms, steps.due_ms = number, value, at.time_ms
            return b""
        assert at.session == 0, "a step is the cluster's own"
        if number != len(steps.taken) + 1:
            self.refused.append(number)
            raise InvalidRequest("not the next")
        steps.taken.append((number, value, at.time_ms))
        steps.due_ms = at.time_ms + steps.every_ms
        return b""

    def query(self, query: bytes) -> bytes:
        return b""

    def snapshot(self) -> Iterator[bytes]:
        return iter([msgspec.msgpack.encode(self.steps)])

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.steps = msgspec.msgpack.decode(b"".join(chunks), type=Steps)


def walkers(count: int = 3, seed: int = 0) -> VirtualCluster:
    return VirtualCluster(count, seed, mount=lambda: {"walk": Walk()}).start()


def walk(node: VirtualNode, name: str = "walk") -> Walk:
    machine = node.machines._machines[name]
    assert isinstance(machine, Walk)
    return machine


def set_off(cluster: VirtualCluster, leader: VirtualNode, goal: int, every_ms: int, name: str = "walk") -> float:
    """Have a client ask for steps; return when that was applied."""
    session = cluster.open_session(leader)
    command = msgspec.msgpack.encode(("walk", goal, every_ms))
    reply = cluster.call(leader, Commands(0), cluster.batch(session, command, machine=name))
    assert reply.outcome == Outcome.DONE
    return cluster.now


def entries(node: VirtualNode, kind: EntryKind) -> list[Entry]:
    log = node.replica.raft.log
    found = [log.entry(index) for index in range(log.first_index, log.last_index + 1)]
    return [entry for entry in found if entry.kind == kind]


def sent(node: VirtualNode, kind: type[Message]) -> int:
    return sum(effect[0] == "send" and isinstance(effect[2], kind) for effect in node.effects)


def advance(cluster: VirtualCluster, events: int) -> None:
    for _ in range(events):
        cluster._advance(cluster._next())


def turn_until(cluster: VirtualCluster, condition: Callable[[], bool]) -> None:
    """Let time pass until something holds, which takes seconds at most: as many turns as there are heartbeats, not more."""
    turns = 0
    while not condition():
        assert turns < TURNS_MAX, "it does not wait, it spins"
        advance(cluster, 1)
        turns += 1


# -- ticks -------------------------------------------------------------------------------------------------------------


def test_a_session_expires_by_the_logs_time_though_nobody_writes(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    opened_ms = leader.machines.time_ms
    last = leader.replica.raft.log.last_index
    cluster.run(TTL_MS - 2_000)
    assert leader.replica.raft.log.last_index == last, "nothing is due, so nothing is written"
    cluster.run(4_000)
    for node in cluster.nodes.values():
        assert len(node.machines.sessions) == 0
        (tick,) = entries(node, EntryKind.TICK)
        assert opened_ms + TTL_MS < tick.time_ms <= opened_ms + TTL_MS + 1_000
        assert tick.data == b""
    assert cluster.status(leader, 1).log[0].text == "time alone"
    cluster.run(2 * TTL_MS)
    assert leader.replica.raft.log.last_index == last + 1, "once is enough"
    assert cluster.answered(cluster.put(leader, session, b"k")).outcome == Outcome.SESSION_EXPIRED


def test_a_session_that_is_used_lives_and_needs_no_tick(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    for _ in range(4):
        cluster.run(TTL_MS - 1_000)
        assert cluster.answered(cluster.put(leader, session, b"k")).outcome == Outcome.DONE
    assert not entries(leader, EntryKind.TICK)


def test_sessions_that_expire_together_share_a_tick(cluster: VirtualCluster, leader: VirtualNode) -> None:
    for _ in range(20):
        cluster.open_session(leader)
        cluster.run(30)
    cluster.run(TTL_MS + 2_000)
    assert len(leader.machines.sessions) == 0
    assert 1 <= len(entries(leader, EntryKind.TICK)) <= 2


def test_time_in_which_nobody_led_does_not_count(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    follower = next(node for node in cluster.nodes.values() if node is not leader)
    cluster.run(10_000)
    for node in cluster.nodes.values():
        if node is not follower:
            node.kill()
    cluster.run(2 * TTL_MS)
    leader.start()
    other = cluster.led()
    assert cluster.answered(cluster.put(other, session, b"k")).outcome == Outcome.DONE


def test_the_next_leader_ticks_too(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    cluster.run(TTL_MS // 2)
    leader.kill()
    other = cluster.led()
    cluster.until(lambda: not len(other.machines.sessions), "the session expires", 2 * TTL_MS)
    assert [entry.term for entry in entries(other, EntryKind.TICK)] == [other.term]


# -- errands -----------------------------------------------------------------------------------------------------------


def test_a_cluster_in_which_nothing_is_due_is_idle() -> None:
    cluster = walkers()
    leader = cluster.settled()
    set_off(cluster, leader, goal=2, every_ms=30_000)
    cluster.until(lambda: len(walk(leader).steps.taken) == 1, "the first step, which is due at once")
    asked = walk(leader).asked
    cluster.settled()
    leader.effects.clear()
    cluster.run(20_000)
    assert sent(leader, Heartbeat) == 2 * 20_000 // HEARTBEAT_MS, "no round but the heartbeats"
    assert sent(leader, AppendEntries) == 0
    assert walk(leader).asked == asked, "machines are asked when something was applied, and not otherwise"


@pytest.mark.parametrize("every_ms", [7, 40, 100, 250])
def test_errands_come_at_the_pace_that_was_asked_for_whatever_that_of_heartbeats(every_ms: int) -> None:
    cluster = walkers()
    leader = cluster.settled()
    began = set_off(cluster, leader, goal=20, every_ms=every_ms)
    cluster.until(lambda: len(walk(leader).steps.taken) == 20, "all steps are taken")
    took = cluster.now - began
    assert 19 * every_ms - HEARTBEAT_MS <= took <= 20 * (every_ms + 10), "a round and a commit take some milliseconds"
    times = [time for _, _, time in walk(leader).steps.taken]
    assert all(later - earlier >= every_ms for earlier, later in pairwise(times))


def test_each_machine_has_its_own_pace() -> None:
    cluster = VirtualCluster(mount=lambda: {"brisk": Walk(), "slow": Walk()}).start()
    leader = cluster.settled()
    set_off(cluster, leader, goal=200, every_ms=13, name="brisk")
    set_off(cluster, leader, goal=5, every_ms=400, name="slow")
    cluster.until(lambda: len(walk(leader, "slow").steps.taken) == 5, "the slow one arrives")
    times = [time for _, _, time in walk(leader, "slow").steps.taken]
    assert all(400 <= later - earlier <= 420 for earlier, later in pairwise(times))
    assert len(walk(leader, "brisk").steps.taken) >= 4 * 400 // (13 + 10)


def test_an_errand_on_a_heartbeat_needs_no_round_of_its_own() -> None:
    cluster = walkers()
    leader = cluster.settled()
    set_off(cluster, leader, goal=1_000, every_ms=HEARTBEAT_MS)
    cluster.run(1_000)
    leader.effects.clear()
    cluster.run(5_000)
    assert sent(leader, Heartbeat) <= 2 * 5_000 // HEARTBEAT_MS + 2
    assert sent(leader, AppendEntries) >= 2 * 45


def test_one_errand_is_under_way_at_a_time() -> None:
    cluster = walkers()
    leader = cluster.settled()
    set_off(cluster, leader, goal=5, every_ms=0)
    cluster.run(1)
    others = [node.id for node in cluster.nodes.values() if node is not leader]
    cluster.cut |= {(id, leader.id) for id in others}
    last = leader.replica.raft.log.last_index
    cluster.run(400)
    assert leader.role == Role.LEADER
    assert leader.replica.raft.log.last_index <= last + 1
    cluster.heal()
    cluster.until(lambda: len(walk(leader).steps.taken) == 5, "all steps are taken")
    assert not walk(leader).refused


def test_dice_are_thrown_by_the_leader_and_equal_everywhere() -> None:
    cluster = walkers()
    leader = cluster.settled()
    set_off(cluster, leader, goal=10, every_ms=5)
    cluster.until(lambda: len(walk(leader).steps.taken) == 10, "all steps are taken")
    cluster.settled()
    taken = walk(leader).steps.taken
    assert len({dice for _, dice, _ in taken}) == 10
    assert all(walk(node).steps.taken == taken for node in cluster.nodes.values())
    batches = [msgspec.msgpack.decode(entry.data, type=Batch) for entry in entries(leader, EntryKind.COMMAND)]
    assert [(batch.session, batch.sequence, batch.machine) for batch in batches[1:]] == [(0, 0, "walk")] * 10


def test_a_follower_and_a_leader_that_is_none_yet_ask_nobody() -> None:
    cluster = walkers()
    leader = cluster.settled()
    set_off(cluster, leader, goal=3, every_ms=0)
    cluster.until(lambda: len(walk(leader).steps.taken) == 3, "all steps are taken")
    assert [walk(node).asked for node in cluster.nodes.values() if node is not leader] == [0, 0]


def test_a_leader_handing_over_holds_errands_back_without_spinning() -> None:
    cluster = walkers()
    leader = cluster.settled()
    set_off(cluster, leader, goal=50, every_ms=20)
    cluster.run(200)
    taken = len(walk(leader).steps.taken)
    target = next(node for node in cluster.nodes.values() if node is not leader)
    target.paused = True
    assert cluster.call(leader, TransferRequest(0, target.id)).outcome == Outcome.DONE
    turn_until(cluster, lambda: leader.role != Role.LEADER)  # It has told its successor in vain, and stands again.
    assert len(walk(leader).steps.taken) <= taken + 1
    target.paused = False
    cluster.until(lambda: len(walk(cluster.led()).steps.taken) == 50, "all steps are taken")


def test_a_leader_whom_nobody_answers_waits_without_spinning() -> None:
    """A heartbeat has left and will never be confirmed, and the round that the next step needs would come after it."""
    cluster = walkers()
    leader = cluster.settled()
    set_off(cluster, leader, goal=50, every_ms=HEARTBEAT_MS + 50)
    cluster.until(lambda: len(walk(leader).steps.taken) == 3, "three steps are taken")
    cluster.cut |= {(other, leader.id) for other in cluster.ids}
    turn_until(cluster, lambda: leader.role != Role.LEADER)


def test_errands_among_the_commands_of_clients_are_proposed_once_each() -> None:
    cluster = walkers()
    leader = cluster.settled()
    session = cluster.open_session(leader)
    set_off(cluster, leader, goal=30, every_ms=3)
    while len(walk(leader).steps.taken) < 30:
        cluster.put(leader, session, b"k")
        cluster.run(1)
    cluster.settled()
    check_steps(cluster, 30)


def test_who_leads_again_begins_anew() -> None:
    cluster = walkers()
    leader = cluster.settled()
    set_off(cluster, leader, goal=60, every_ms=20)
    cluster.run(100)
    cluster.isolate(leader.id)  # It asks for a round that nobody will answer, and then wants a step that others take.
    other = cluster.led(other_than=leader.id)
    cluster.run(200)
    cluster.heal()
    cluster.until(lambda: other.replica.raft.role.roster.answers(leader.id), "it follows, and answers")
    assert cluster.call(other, TransferRequest(0, leader.id)).outcome == Outcome.DONE
    cluster.until(lambda: leader.replica.raft.is_established, "it leads again")
    taken, began = len(walk(leader).steps.taken), cluster.now
    cluster.until(lambda: len(walk(leader).steps.taken) == taken + 10, "ten more steps")
    assert cluster.now - began < 10 * 30, "its rounds are asked for as before"
    check_steps(cluster, 60)


def test_an_errand_that_was_lost_with_a_long_log_does_not_stand_in_the_way_of_the_next() -> None:
    cluster = walkers()
    leader = cluster.settled()
    session = cluster.open_session(leader)
    command = msgspec.msgpack.encode(("walk", 5, 300))
    cluster.ask(leader, Commands(0), cluster.batch(session, command, machine="walk"))
    cluster.until(lambda: walk(leader).steps.goal, "it is applied, and the first step due")
    for _ in range(30):
        cluster.put(leader, session, b"k")
    cluster.isolate(leader.id)
    cluster.run(1)
    last = leader.replica.raft.log.entry(leader.replica.raft.log.last_index)
    assert msgspec.msgpack.decode(last.data, type=Batch).machine == "walk"
    other = cluster.led(other_than=leader.id)
    cluster.heal()
    cluster.until(lambda: other.replica.raft.role.roster.answers(leader.id), "it follows, and answers")
    assert cluster.call(other, TransferRequest(0, leader.id)).outcome == Outcome.DONE
    cluster.until(lambda: leader.replica.raft.is_established, "it leads again")
    check_steps(cluster, 5)


def test_a_single_node_runs_its_errands() -> None:
    cluster = walkers(1)
    leader = cluster.settled()
    set_off(cluster, leader, goal=10, every_ms=15)
    cluster.until(lambda: len(walk(leader).steps.taken) == 10, "all steps are taken", 1_000)


# -- leaders that change -----------------------------------------------------------------------------------------------


def check_steps(cluster: VirtualCluster, goal: int) -> None:
    """Wait until all steps are taken everywhere; each must be there once, in order, and the same at all nodes."""
    cluster.heal()
    for node in cluster.nodes.values():
        if not node.up:
            node.start()
    cluster.until(lambda: all(len(walk(node).steps.taken) == goal for node in cluster.nodes.values()), "all steps")
    (taken,) = {tuple(walk(node).steps.taken) for node in cluster.nodes.values()}
    assert [number for number, _, _ in taken] == list(range(1, goal + 1))
    assert not any(walk(node).refused for node in cluster.nodes.values()), "proposed though it was not the next"
    cluster.run(2_000)
    assert {tuple(walk(node).steps.taken) for node in cluster.nodes.values()} == {taken}, "it went on after its goal"


@pytest.mark.parametrize("fault", ["kill", "isolate", "mute"])
@pytest.mark.parametrize("after", range(0, 45, 3))
def test_no_step_is_lost_or_taken_twice_whenever_the_leader_goes(after: int, fault: str) -> None:
    """After each number of events, so before and after each proposal is made, sent, held, committed and applied."""
    for offset in range(3):
        cluster = walkers(3, seed=after)
        leader = cluster.settled()
        set_off(cluster, leader, goal=6, every_ms=20)
        advance(cluster, after + offset)
        if fault == "kill":
            leader.kill()
        elif fault == "isolate":
            cluster.isolate(leader.id)
        else:  # Its entries arrive, and it never hears so: the next leader commits them.
            cluster.cut |= {(other, leader.id) for other in cluster.ids}
        cluster.led(other_than=leader.id)
        check_steps(cluster, 6)


@pytest.mark.parametrize("seed", range(8))
def test_no_step_is_lost_or_taken_twice_in_a_random_history(seed: int) -> None:
    cluster = walkers(5, seed)
    set_off(cluster, cluster.settled(), goal=60, every_ms=25)
    for _ in range(8):
        cluster.run(cluster.random.uniform(0, 1_500))
        node = cluster[cluster.random.choice(cluster.ids)]
        leaders = [each for each in cluster.running if each.role == Role.LEADER]
        node = cluster.random.choice([node, *leaders])
        if not node.up:
            node.start()
        elif cluster.random.random() < 0.5 and len(cluster.running) > 3:
            node.kill()
        else:
            cluster.heal()
            cluster.isolate(node.id)
    check_steps(cluster, 60)
