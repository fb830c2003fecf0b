"""``client.escort`` against fake nodes: what goes out, what comes back, and in which units."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from escort_fakes import Fakes
from fake_cluster import FakeCluster

from zraft import requests
from zraft.client.client import Client
from zraft.client.escort import Formation, March, Position, Step
from zraft.errors import InvalidRequest
from zraft.machines.escort import commands
from zraft.machines.escort.plane import Number
from zraft.machines.escort.store import Escort


@pytest.fixture
def fakes(cluster: FakeCluster) -> Fakes:
    """Return three fake nodes."""
    return Fakes(cluster)


@pytest.fixture
def client(fakes: Fakes, connect: Callable[..., Client]) -> Client:
    """Return a client of them."""
    return connect()


def test_positions_are_in_units_and_none_until_they_are_drawn(fakes: Fakes, client: Client) -> None:
    assert client.escort.positions() == [
        Position("n1", "leader", (0, 0)),
        Position("n2", "follower", None),
        Position("n3", "follower", None),
    ]
    fakes.attend()
    for each in client.escort.positions()[1:]:
        assert each.position is not None
        assert all(isinstance(coordinate, int) and abs(coordinate) <= 50 for coordinate in each.position)
    assert client.escort.submit_positions().result() == client.escort.positions()


def test_a_move_happens_once_and_returns_its_row(client: Client) -> None:
    assert client.escort.move(1, -0.5) == Step(1, 1, "n1", (1, -0.5), (1, -0.5))
    assert client.escort.submit_move("-1", Decimal("0.501")).result() == Step(2, 1, "n1", (-1, 0.501), (0, 0.001))
    assert client.escort.positions()[0].position == (0, 0.001)


def test_a_move_whose_answer_is_lost_is_not_made_twice(
    fakes: Fakes, cluster: FakeCluster, connect: Callable[..., Client]
) -> None:
    lost: list[int] = []

    def lose_the_first(_: str, __: object, batch: requests.Batch | None) -> str:
        if batch is None or lost:
            return "serve"
        lost.append(1)
        return "mute"

    cluster.behaviour = lose_the_first
    client = connect()
    assert client.escort.move(1, 0).step == 1
    assert lost
    assert [step.leader_position for step in client.escort.history()] == [(1, 0)]


def test_a_march_is_a_goal_whose_steps_are_counted(fakes: Fakes, client: Client) -> None:
    fakes.attend()
    assert client.escort.formation().march is None
    assert client.escort.march(3, 4, every_ms=20) == March(1, (3, 4), 20, 0, False)
    fakes.attend(2)
    going = client.escort.formation()
    assert isinstance(going, Formation)
    assert (going.step, going.march) == (2, March(1, (3, 4), 20, 2, False))
    fakes.attend(3)
    assert client.escort.submit_formation().result().march == March(1, (3, 4), 20, 5, True)
    assert client.escort.submit_march(3, 4).result() == March(2, (3, 4), 100, 0, True)
    assert client.escort.history()[1] == Step(2, 1, "n1", (0.6, 0.8), (1.2, 1.6))


def test_the_history_comes_in_pages_and_in_order(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.escort.history() == []
    for _ in range(7):
        client.escort.move(1, 0)
    monkeypatch.setattr(commands, "PAGE_ROWS_MAX", 3)
    assert [step.step for step in client.escort.history()] == list(range(1, 8))
    assert client.escort.submit_history().result() == client.escort.history()


def test_a_history_that_goes_on_while_it_is_read_has_no_gap(
    fakes: Fakes, cluster: FakeCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "PAGE_ROWS_MAX", 3)
    escort = Escort(history_rows_max=5)
    with cluster.changed:
        escort.restore(cluster.machines._machines["escort"].snapshot())
        cluster.machines._machines["escort"] = escort
    mover = Client(cluster.config)
    for _ in range(6):
        mover.escort.move(1, 0)
    pages: list[int] = []

    def more_between_pages(_: str, request: object, __: object) -> str:
        if isinstance(request, requests.Queries):
            pages.append(1)
            if len(pages) == 2:
                fakes.commit(*[commands.Move((1_000, 0))] * 6)
        return "serve"

    cluster.behaviour = more_between_pages
    steps = [step.step for step in client.escort.history()]
    mover.close()
    assert len(pages) > 2
    assert steps == list(range(8, 13)), "rows 2 to 4 had been read, and 5 to 7 were forgotten by then"


@pytest.mark.parametrize(
    ("x", "says"), [("north", "not a number"), ("0.0001", "three decimals"), (2e6, "off the plane")]
)
def test_what_is_no_place_is_refused_before_anything_is_sent(
    cluster: FakeCluster, client: Client, x: Number, says: str
) -> None:
    for call in (client.escort.move, client.escort.march, client.escort.submit_move, client.escort.submit_march):
        with pytest.raises(InvalidRequest, match=says):
            call(x, 0)
    with pytest.raises(InvalidRequest, match="a step every 0 ms"):
        client.escort.submit_march(1, 1, every_ms=0)
    assert not cluster.of(requests.Commands)


def test_what_the_escort_refuses_is_told(client: Client) -> None:
    client.escort.move(1_000_000, 0)
    with pytest.raises(InvalidRequest, match="leave the plane"):
        client.escort.move(0.001, 0)
