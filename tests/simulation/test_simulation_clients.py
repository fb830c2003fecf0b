"""Simulated clients, against a system that is right: they are what the checkers believe, so they must not lie."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from pretended_cluster import LEADER, OTHER, PretendedCluster

from zraft.errors import ConfigError
from zraft.machines.machine import Applied
from zraft.requests import Batch, Commands, Queries
from zraft.simulation import clients
from zraft.simulation.checkers import judge
from zraft.simulation.clients import Workload
from zraft.simulation.history import Ending, History, Kind
from zraft.simulation.machines import OWN, mounted
from zraft.simulation.plan import draw
from zraft.simulation.violation import Violation

CLIENT_KINDS = {"client_crash": 0.1, "client_gives_up": 0.2, "client_idle": 0.05}


def lived(seed: int = 0, *, loss: int = 5, until: float = 1_000, **changes: Any) -> tuple[PretendedCluster, Workload]:
    plan = msgspec.structs.replace(draw(seed, nodes=3, faults=[]), clients=6, keys=3, session_ttl_ms=400)
    plan = msgspec.structs.replace(plan, client_think_ms=10, client_timeout_ms=20, **changes)
    cluster = PretendedCluster(plan, loss=loss)
    workload = Workload(cluster)  # type: ignore[arg-type]
    workload.start()
    cluster.run(until)
    workload.finish()
    cluster.run(until + 10_000)
    return cluster, workload


def endings(workload: Workload) -> Counter[Ending]:
    return Counter(each.ending for each in workload.history.operations)


def test_everything_asked_for_ends_and_nobody_asks_for_more_when_it_is_over() -> None:
    cluster, workload = lived()
    assert not workload.pending
    assert endings(workload)[Ending.OK] > 100
    newest = max(each.invoked_ms for each in workload.history.operations if each.kind is not Kind.OPEN)
    assert newest <= 1_000
    asked = len(cluster.requests)
    cluster.run(1_000_000)
    assert len(cluster.requests) == asked


@pytest.mark.parametrize("faults", [{}, {"duplicate": 0.1}, CLIENT_KINDS, {"duplicate": 0.1, **CLIENT_KINDS}])
def test_what_clients_note_is_true(faults: dict[str, float]) -> None:
    cluster, workload = lived(3, faults=faults, loss=15)
    judge(workload.history.operations, cluster.committed, mounted(), states={LEADER: cluster.mounted})


def test_a_batch_is_repeated_with_the_same_numbers_and_bytes() -> None:
    cluster, _ = lived(loss=25)
    batches: dict[tuple[int, int], Batch] = {}
    repeated = 0
    for _, _, request, batch in cluster.requests:
        if isinstance(request, Commands):
            assert batch is not None
            known = batches.setdefault((batch.session, batch.sequence), batch)
            assert known == batch
            repeated += known is not batch
    assert repeated > 10
    per_session = Counter(session for session, _ in batches)
    for session, count in per_session.items():
        assert sorted(sequence for other, sequence in batches if other == session) == list(range(1, count + 1))


def test_hints_are_followed_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "SOURCES", (1, 0, 0))  # Of reads, those that only the leader answers.
    cluster, _ = lived(loss=0)
    asked = Counter(node for _, node, _, _ in cluster.requests)
    assert asked[LEADER] > 5 * asked[OTHER] > 0


def test_both_kinds_of_clients_are_there_and_those_of_the_closed_loop_ask_for_one_thing_at_a_time() -> None:
    _, workload = lived()
    most: Counter[bytes] = Counter()
    for number, each in enumerate(workload.history.operations):
        others = [
            other
            for other in workload.history.operations[:number]
            if other.client == each.client and (other.returned is None or other.returned > each.invoked)
        ]
        apart = {(other.kind, other.invoked_ms) for other in [*others, each] if other.kind is not Kind.OPEN}
        most[each.client] = max(most[each.client], len(apart))
    assert min(most.values()) == 1
    assert max(most.values()) > 1


def test_faults_of_clients_happen_and_are_counted() -> None:
    cluster, workload = lived(faults=CLIENT_KINDS, loss=20, until=3_000)
    assert all(cluster.hits[kind] > 5 for kind in CLIENT_KINDS), cluster.hits
    assert {each.client for each in workload.history.operations} > {b"c1.1", b"c1.2"}
    assert endings(workload)[Ending.UNKNOWN] > 5
    assert endings(workload)[Ending.FAILED] > 0, "somebody was certain"
    assert len({each.session for each in workload.history.operations if each.kind is Kind.OPEN}) > 6


def test_nobody_is_certain_that_something_failed_where_the_network_repeats() -> None:
    _, workload = lived(faults={"duplicate": 0.1, "client_gives_up": 0.3, "client_idle": 0.1}, loss=20)
    assert endings(workload)[Ending.FAILED] == 0


def test_once_all_is_healed_no_client_fails() -> None:
    plan = msgspec.structs.replace(draw(1, nodes=3, faults=[]), clients=3, client_think_ms=5, faults=CLIENT_KINDS)
    cluster = PretendedCluster(plan)
    cluster.healed = True
    workload = Workload(cluster)  # type: ignore[arg-type]
    workload.start()
    cluster.run(2_000)
    assert not cluster.hits


def test_a_damaged_reply_is_passed_over_and_one_that_nobody_asked_for_is_not() -> None:
    cluster, _ = lived()
    cluster.damaged(b"c1.1")
    with pytest.raises(Violation, match="I20"):
        cluster.unasked(b"c1.1")


def test_the_same_seed_asks_for_the_same() -> None:
    first, second = (lived(4)[1].history.operations for _ in range(2))
    assert first == second
    assert lived(5)[1].history.operations != first


def test_a_history_tells_of_two_things_which_was_first() -> None:
    history = History()
    one = history.invoke(b"a", Kind.READ, 1.0)
    other = history.invoke(b"b", Kind.READ, 1.0)
    history.succeed(one, 1.0, b"\x00", 1, 1)
    history.lose(other, 1.0)
    assert (one.invoked, other.invoked, one.returned, other.returned) == (1, 2, 3, None)
    assert not history.pending
    with pytest.raises(AssertionError, match="has ended already"):
        history.fail(one, 2.0)


# -- a machine of the user's own -----------------------------------------------------------------------------------------


class Counting:
    """Counts; its clients know how to ask."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, command: bytes, at: Applied) -> bytes:
        self.count += command[0]
        return b"%d" % self.count

    def query(self, query: bytes) -> bytes:
        return b"%d" % self.count

    def snapshot(self) -> list[bytes]:
        return [b"%d" % self.count]

    def restore(self, chunks: Any) -> None:
        self.count = int(b"".join(chunks) or b"0")

    def simulated_commands(self, random: Any) -> list[bytes]:
        return [bytes([random.randrange(256)])]

    def simulated_queries(self, random: Any) -> list[bytes]:
        return [b""]


class Mute(Counting):
    """Says nothing of what may be asked."""

    simulated_commands = simulated_queries = None


class Forgetful(Counting):
    """Not deterministic: what it says depends on how often this process has made one."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Forgetful.made += 1
        self.count = Forgetful.made


@pytest.mark.parametrize("name", ["Counting", "Mute"])
def test_a_machine_under_test_is_asked_and_judged(name: str) -> None:
    cluster, workload = lived(machine=f"{__name__}:{name}")
    own = [each for each in workload.history.operations if each.machine == OWN]
    assert len(own) > 50
    judge(workload.history.operations, cluster.committed, mounted(f"{__name__}:{name}"))
    asked = [
        request for _, _, request, _ in cluster.requests if isinstance(request, Queries) and request.machine == OWN
    ]
    assert bool(asked) == (name == "Counting")


def test_a_machine_that_depends_on_more_than_its_commands_is_seen() -> None:
    cluster, workload = lived(machine=f"{__name__}:Forgetful")
    with pytest.raises(Violation, match="C1"):
        judge(workload.history.operations, cluster.committed, mounted(f"{__name__}:Forgetful"))


def test_a_machine_that_is_not_to_be_had_is_told() -> None:
    with pytest.raises(ConfigError, match="there is no module nowhere"):
        mounted("nowhere:At")
