"""A machine of one's own that fails: the same answer and the same state at every node, whoever leads and whoever restarts."""

from collections.abc import Iterable, Iterator

import msgspec
import pytest
from virtual_cluster import VirtualCluster, VirtualNode

from zraft.errors import ConfigError, InvalidRequest
from zraft.machines.depth import FRAMES_MAX
from zraft.machines.machine import Applied
from zraft.requests import Answer, Commands, Outcome, Queries

encode = msgspec.msgpack.encode


class Ledger:
    """Adds numbers up, and fails in every way, having written half of what it was told."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def apply(self, command: bytes, at: Applied) -> bytes:
        if command == b"refuse":
            raise InvalidRequest("not text: \udcff")
        self.numbers.append(at.index)
        if command == b"raise":
            raise KeyError(object())
        if command == b"nothing":
            return None  # type: ignore[return-value]
        if command == b"exit":
            raise SystemExit(0)
        if command == b"disk":
            raise OSError(5, "Input/output error")
        if command == b"deep":
            return self.apply(command, at)
        self.numbers.append(int(command))
        return b"%d" % sum(self.numbers)

    def query(self, query: bytes) -> bytes:
        if query == b"no memory":
            raise MemoryError
        if query:
            return Ledger().apply(query, Applied(0, 0, 0, 0, None, None))
        return encode(self.numbers)

    def snapshot(self) -> Iterator[bytes]:
        return iter([encode(self.numbers)])

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.numbers = [number for chunk in chunks for number in msgspec.msgpack.decode(chunk)]


@pytest.fixture
def cluster() -> VirtualCluster:
    return VirtualCluster(mount=lambda: {"ledger": Ledger()}).start()


FAILURES = {
    b"raise": b"the machine ledger failed: KeyError",
    b"nothing": b"the machine ledger failed: TypeError",
    b"no number": b"the machine ledger failed: ValueError",
    b"refuse": rb"not text: \udcff",
    b"exit": b"the machine ledger failed: SystemExit",
    b"disk": b"the machine ledger failed: OSError",
    b"deep": b"the machine ledger failed: RecursionError",
}


def states(cluster: VirtualCluster) -> set[bytes]:
    """Return the whole state of every running node, sessions with their answers included: one, if they agree."""
    cluster.settled()
    return {b"".join(node.machines.snapshot()) for node in cluster.running}


def test_an_exception_inside_apply_is_the_same_answer_and_the_same_state_at_every_node(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    batch = cluster.batch(session, b"1", *FAILURES, b"2", machine="ledger")
    first = cluster.call(leader, Commands(0), batch)
    assert first.outcome == Outcome.DONE
    assert first.result[1:-1] == [bytes([Answer.INVALID]) + text for text in FAILURES.values()]
    assert [first.result[0][0], first.result[-1][0]] == [Answer.DONE] * 2, "the others of the batch are applied"
    assert len(states(cluster)) == 1
    leader.kill()
    second = cluster.call(cluster.led(), Commands(0), batch)
    assert (second.outcome, second.result) == (first.outcome, first.result), (
        "what the old leader said, the new one says"
    )
    leader.start()
    assert len(states(cluster)) == 1, "a node that replays its log fails just as it did"
    at, deep = session + 1, FRAMES_MAX - 1
    kept = [at, 1, *[at] * (len(FAILURES) - 2 + deep), at, 2]
    for node in cluster.running:
        assert node.machines.query("ledger", b"")[1:] == encode(kept), "half of it was written"


def test_an_exception_inside_a_query_is_its_answer_and_ends_no_node(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    queries = [*FAILURES, b"no memory"]
    answers = [*FAILURES.values(), b"the machine ledger failed: MemoryError"]
    reply = cluster.call(leader, Queries(0, "ledger", queries))
    assert reply.result == [bytes([Answer.INVALID]) + text for text in answers]
    assert cluster.call(leader, Queries(0, "ledger", [b""])).outcome == Outcome.DONE


def test_a_node_that_lacks_the_machine_stops_and_the_others_go_on(
    cluster: VirtualCluster, leader: VirtualNode, follower: VirtualNode, session: int
) -> None:
    follower.kill()
    cluster.mount = dict
    follower.start()
    asked = cluster.ask(leader, Commands(0), cluster.batch(session, b"1", machine="ledger"))
    with pytest.raises(ConfigError, match="is for the machine 'ledger', which this node does not have; mount it here"):
        cluster.answered(asked)
        cluster.settled()
    follower.kill()
    assert cluster.answered(asked).result == [bytes([Answer.DONE]) + b"%d" % (session + 2)]
    cluster.mount = lambda: {"ledger": Ledger()}
    follower.start()
    assert len(states(cluster)) == 1


def test_a_leader_that_lacks_the_machine_lets_no_command_for_it_into_the_log(
    cluster: VirtualCluster, leader: VirtualNode, session: int
) -> None:
    last = leader.replica.raft.log.last_index
    reply = cluster.call(leader, Commands(0), cluster.batch(session, b"1", machine="other"))
    assert (reply.outcome, reply.message) == (Outcome.INVALID, "no machine 'other' is mounted")
    assert leader.replica.raft.log.last_index == last
