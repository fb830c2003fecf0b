"""Nodes that are configured differently, and whose configuration changes: their state is the same, and what was acknowledged stays."""

from virtual_cluster import VirtualCluster, VirtualNode

from zraft.machines.kv.commands import Put, SetLimits
from zraft.requests import Answer, Commands, Outcome, TransferRequest

LARGE = {"sessions": {"ttl_ms": 60_000, "count_max": 10}, "limits": {"key_bytes_max": 40, "value_bytes_max": 100}}
SMALL = {"sessions": {"ttl_ms": 2_000, "count_max": 1}, "limits": {"key_bytes_max": 1, "value_bytes_max": 2}}


def state(cluster: VirtualCluster) -> bytes:
    """Let all nodes come to rest, and return the state that they have in common."""
    cluster.settled()
    states = {b"".join(node.machines.snapshot()) for node in cluster.nodes.values()}
    assert len(states) == 1, "nodes differ"
    return states.pop()


def limits_of(node: VirtualNode) -> tuple[int, int, int, int]:
    sessions, limits = node.machines.sessions, node.machines.store.limits
    return sessions.ttl_ms, sessions.count_max, limits.key_bytes_max, limits.value_bytes_max


def put(cluster: VirtualCluster, node: VirtualNode, session: int, key: bytes, value: bytes) -> bytes:
    reply = cluster.call(node, Commands(0), cluster.batch(session, Put(key, value)))
    assert reply.outcome == Outcome.DONE
    return reply.result[0]


def kill(cluster: VirtualCluster) -> None:
    for node in cluster.nodes.values():
        node.kill()


def restart(cluster: VirtualCluster, options: dict[str, dict[str, int]]) -> VirtualNode:
    kill(cluster)
    cluster.options = dict.fromkeys(cluster.ids, options)
    cluster.start()
    return cluster.settled()


def test_whoever_leads_says_what_holds_on_every_node() -> None:
    cluster = VirtualCluster()
    cluster.options = {"n1": SMALL, "n2": LARGE, "n3": LARGE}
    leader = cluster.start().settled()
    for options, target in ((SMALL, "n1"), (LARGE, "n2"), (SMALL, "n1")):
        if leader.id != target:
            assert cluster.call(leader, TransferRequest(0, target)).outcome == Outcome.DONE
            leader = cluster.led(other_than=leader.id)
        cluster.settled()
        session = cluster.open_session(leader)
        answer = put(cluster, leader, session, b"key", b"value")
        assert answer[0] == (Answer.DONE if options is LARGE else Answer.INVALID)
        expected = (*options["sessions"].values(), *options["limits"].values())
        state(cluster)
        assert {limits_of(node) for node in cluster.nodes.values()} == {expected}


def test_what_was_acknowledged_under_other_options_stays_when_the_log_is_replayed() -> None:
    cluster = VirtualCluster()
    cluster.options = dict.fromkeys(cluster.ids, LARGE)
    leader = cluster.start().settled()
    sessions = [cluster.open_session(leader) for _ in range(3)]
    cluster.run(10_000)  # Longer than a session lives by the other options.
    answers = [put(cluster, leader, session, b"long key", b"long value") for session in sessions]
    assert [answer[0] for answer in answers] == [Answer.DONE] * 3
    before, store = state(cluster), leader.machines.store
    assert (store.revision, len(leader.machines.sessions)) == (3, 3)
    leader = restart(cluster, SMALL)
    assert leader.machines.store.revision == 3
    assert len(leader.machines.sessions) == 3, "no session has begun or ended under the new options"
    assert put(cluster, leader, sessions[0], b"long key", b"1")[0] == Answer.INVALID
    cluster.open_session(leader)
    assert len(leader.machines.sessions) == 1
    leader = restart(cluster, LARGE)
    assert state(cluster) != before
    assert leader.machines.store.revision == 3


def test_limits_that_hold_already_are_not_proposed_again() -> None:
    cluster = VirtualCluster()
    cluster.options = dict.fromkeys(cluster.ids, LARGE)
    for _ in range(3):
        leader = cluster.start().settled()
        cluster.run(5_000)
        kill(cluster)
    leader = cluster.start().settled()
    log = leader.replica.raft.log
    texts = [view.text for view in cluster.status(leader, log.last_index).log]
    assert sum("limit keys to 40 B, values to 100 B" in text for text in texts) == 1


def test_a_client_does_not_set_limits(cluster: VirtualCluster, leader: VirtualNode, session: int) -> None:
    reply = cluster.call(leader, Commands(0), cluster.batch(session, SetLimits(1, 1)))
    assert [answer[0] for answer in reply.result] == [Answer.INVALID]
    assert limits_of(leader)[2:] == (4_096, 1 << 20)
