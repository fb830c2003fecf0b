"""Marches through changes of leader, in virtual time: places and steps are proposed by whoever leads, and happen once."""

import re

import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.machines.escort import commands
from zraft.machines.escort.commands import AskFormation, AskHistory, Formation, March, Move, Row
from zraft.machines.escort.plane import Vector, vector
from zraft.machines.escort.store import Escort
from zraft.raft.types import Role
from zraft.requests import Commands, Outcome

PACE_MS = 50


def escorts(count: int = 3, seed: int = 0) -> VirtualCluster:
    return VirtualCluster(count, seed, mount=lambda: {"escort": Escort()}).start()


def escort(node: VirtualNode) -> Escort:
    machine = node.machines._machines["escort"]
    assert isinstance(machine, Escort)
    return machine


def formation(node: VirtualNode) -> Formation:
    return commands.decode_formation(escort(node).query(commands.encode(AskFormation())))


def positions(node: VirtualNode) -> dict[str, Vector | None]:
    return {stand.node: stand.position for stand in formation(node).stands}


def history(node: VirtualNode) -> list[Row]:
    return commands.decode_page(escort(node).query(commands.encode(AskHistory()))).rows


def placed(node: VirtualNode) -> bool:
    return bool(positions(node)) and None not in positions(node).values()


def command(cluster: VirtualCluster, leader: VirtualNode, command: commands.Command) -> None:
    session = cluster.open_session(leader)
    reply = cluster.call(leader, Commands(0), cluster.batch(session, command, machine="escort"))
    assert reply.outcome == Outcome.DONE
    assert reply.result[0][0] == 0, reply.result


def arrived(node: VirtualNode) -> bool:
    marching = formation(node).marching
    return marching is not None and marching.arrived


def check_arrival(cluster: VirtualCluster, steps: int) -> None:
    """Bring all nodes back, wait for the end of the march, and check that each step was taken once, the same everywhere."""
    cluster.heal()
    for node in cluster.nodes.values():
        if not node.up:
            node.start()
    cluster.until(lambda: all(map(arrived, cluster.nodes.values())), "all arrive", 60_000)
    cluster.settled()
    for node in cluster.nodes.values():
        rows = history(node)
        assert [row.step for row in rows] == list(range(1, steps + 1))
        assert [row.leader_position for row in rows] == [vector(step, 0) for step in range(1, steps + 1)]
        assert {row.move for row in rows} == {vector(1, 0)}
        for row in rows:
            assert cluster._leaders[row.term] == row.leader
    states = {tuple(escort(node).snapshot()) for node in cluster.nodes.values()}
    assert len(states) == 1, "they differ"
    assert placed(cluster["n1"])


def test_everybody_is_placed_once_somebody_leads_and_then_it_is_quiet() -> None:
    cluster = escorts(5)
    leader = cluster.settled()
    for node in cluster.nodes.values():
        assert positions(node) == positions(leader)
        assert positions(node)[leader.id] == (0, 0)
        assert len(set(positions(node).values())) == 5
    last = leader.replica.raft.log.last
    cluster.run(20_000)
    assert leader.replica.raft.log.last == last


def test_other_dice_other_places() -> None:
    drawn = {tuple(positions(escorts(3, seed).settled()).values()) for seed in range(5)}
    assert len(drawn) == 5


def test_the_leaders_proposals_read_well_in_the_log() -> None:
    cluster = escorts()
    leader = cluster.settled()
    command(cluster, leader, March(vector(1, 0)))
    cluster.until(lambda: arrived(leader), "it arrives")
    step, march, place = (entry.text for entry in leader.replica.status(20).log if entry.kind == "command")
    assert (step, march) == ("escort step 1 of march 1", "escort march to 1 0, a step every 100 ms")
    assert re.fullmatch(r"escort place n\d at \[-?\d+, -?\d+\], n\d at \[-?\d+, -?\d+\] from the head", place)


def test_a_march_keeps_its_pace_and_ends() -> None:
    cluster = escorts()
    leader = cluster.settled()
    command(cluster, leader, March(vector(100, 0), PACE_MS))
    began = cluster.now
    cluster.until(lambda: arrived(leader), "it arrives")
    assert 99 * PACE_MS - 100 <= cluster.now - began <= 100 * (PACE_MS + 10)
    check_arrival(cluster, 100)
    last = leader.replica.raft.log.last
    cluster.run(10_000)
    assert leader.replica.raft.log.last == last


def test_a_new_leader_takes_the_heads_place_and_goes_on() -> None:
    cluster = escorts()
    leader = cluster.settled()
    before = positions(leader)
    command(cluster, leader, March(vector(20, 0), PACE_MS))
    cluster.until(lambda: formation(leader).step == 7, "seven steps")
    leader.kill()
    other = cluster.led()
    cluster.until(lambda: arrived(other), "it arrives")
    after = positions(other)
    assert after[other.id] == vector(20, 0)
    freed = before[other.id]
    assert freed is not None
    assert after[leader.id] == (freed[0] + 20_000, freed[1])
    check_arrival(cluster, 20)
    assert len({row.leader for row in history(other)}) >= 2


def test_places_are_drawn_by_the_next_leader_if_the_first_dies_before() -> None:
    cluster = escorts()
    leader = cluster.led()
    assert not placed(leader), "its proposal has not left yet"
    leader.kill()
    other = cluster.settled()
    leader.start()
    cluster.settled()
    assert all(placed(node) for node in cluster.nodes.values())
    assert positions(other)[other.id] == (0, 0)


@pytest.mark.parametrize("seed", range(10))
def test_each_step_is_taken_once_whatever_befalls_the_leaders(seed: int) -> None:
    cluster = escorts(5, seed)
    command(cluster, cluster.settled(), March(vector(40, 0), PACE_MS))
    for _ in range(6):
        cluster.run(cluster.random.uniform(100, 1_500))
        fault = cluster.random.choice(["kill", "isolate", "mute", "pause"])
        cluster.heal()
        for node in cluster.nodes.values():
            node.paused = False
            if not node.up:
                node.start()
        leaders = [node for node in cluster.running if node.role == Role.LEADER]
        for leader in leaders:
            if fault == "kill":
                leader.kill()
            elif fault == "isolate":
                cluster.isolate(leader.id)
            elif fault == "mute":
                cluster.cut |= {(other, leader.id) for other in cluster.ids}
            else:
                leader.paused = True
    for node in cluster.nodes.values():
        node.paused = False
    check_arrival(cluster, 40)
    assert len({row.term for row in history(cluster["n1"])}) > 1, "the march was over before anything befell anybody"


def test_a_march_outlives_the_death_of_all() -> None:
    cluster = escorts()
    leader = cluster.settled()
    command(cluster, leader, March(vector(30, 0), PACE_MS))
    cluster.until(lambda: formation(leader).step == 12, "twelve steps")
    for node in cluster.nodes.values():
        node.kill()
    cluster.run(5_000)
    check_arrival(cluster, 30)


def test_a_clients_move_waits_for_no_march() -> None:
    cluster = escorts()
    leader = cluster.settled()
    command(cluster, leader, March(vector(10, 0), PACE_MS))
    command(cluster, leader, Move(vector(0, 5)))
    cluster.until(lambda: arrived(leader), "it arrives")
    cluster.settled()
    assert positions(leader)[leader.id] == vector(10, 0)
    assert vector(0, 5) in [row.move for row in history(leader)]
    assert [row.step for row in history(leader)] == list(range(1, len(history(leader)) + 1))
