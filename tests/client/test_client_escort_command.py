"""``zraft escort`` as a user types it, on fake nodes.

The commands run in this process; tests/cluster runs them as processes, on real nodes.
"""

from typing import Any

import pytest
from escort_fakes import Fakes
from fake_cluster import FakeCluster
from typed_commands import TypedCommands

from zraft import requests
from zraft.machines.escort.commands import March, Move


class Shell(TypedCommands):
    """Runs ``zraft escort`` against three fake nodes."""

    def __init__(self, fakes: Fakes) -> None:
        super().__init__(fakes.cluster, "escort", options_at=1)


@pytest.fixture
def fakes(cluster: FakeCluster) -> Fakes:
    """Return three fake nodes in their places."""
    fakes = Fakes(cluster)
    fakes.attend()
    return fakes


@pytest.fixture
def shell(fakes: Fakes) -> Shell:
    """Return a shell beside them."""
    return Shell(fakes)


def at_each_look(cluster: FakeCluster, do: Any) -> None:
    """Have something happen right before each query is answered."""

    def behave(_: str, request: Any, __: Any) -> str:
        if isinstance(request, requests.Queries):
            do()
        return "serve"

    cluster.behaviour = behave


def test_move_takes_numbers_as_people_write_them(shell: Shell) -> None:
    assert shell.run("move 1 2") == "step 1: leader n1 at [1, 2]\n"
    assert shell.run("move -1 -0.5") == "step 2: leader n1 at [0, 1.5]\n"
    assert shell.run("move -- -1 0") == "step 3: leader n1 at [-1, 1.5]\n"
    row = {"step": 4, "term": 1, "leader": "n1", "move": [-0.001, 10], "leader_position": [-1.001, 11.5]}
    assert shell.json("move -.001 10") == row


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("move 1", "Missing argument 'Y'"),
        ("move 1 2 3", "unexpected extra argument"),
        ("move 1 -x", "'-x' is not a number"),
        ("move 1 --jsn 2", "unexpected extra argument"),
        ("move 0.0001 0", "more than three decimals"),
        ("move 1000000.5 0", "off the plane"),
        ("march", "Missing option '--to'"),
        ("march --to 1", "requires 2 arguments"),
        ("march --to 1 north", "'north' is not a number"),
        ("march --to 1 1 --every-ms 0", "--every-ms"),
        ("history --since 3", "No such option"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2_and_one_line(shell: Shell, fakes: Fakes, line: str, says: str) -> None:
    assert shell.run(line, code=2) == ""
    assert says in shell.said
    assert shell.json("history") == []


def test_no_cluster_is_exit_code_3(shell: Shell, cluster: FakeCluster) -> None:
    cluster.stop()
    for line in ("move 1 1", "march --to 1 1", "positions", "history"):
        shell.run(f"{line} --timeout 0.2", code=3)


def test_positions_are_a_table_or_json_as_documented(shell: Shell) -> None:
    shown = shell.json("positions")
    assert [(each["node"], each["role"]) for each in shown] == [
        ("n1", "leader"),
        ("n2", "follower"),
        ("n3", "follower"),
    ]
    assert shown[0] == {"node": "n1", "role": "leader", "position": [0, 0]}
    head, *lines = shell.run("positions").splitlines()
    assert head.split() == ["NODE", "ROLE", "POSITION"]
    assert [line.split(maxsplit=2) for line in lines] == [
        [each["node"], each["role"], str(each["position"])] for each in shown
    ]


def test_a_node_without_a_place_is_shown_without_one(cluster: FakeCluster) -> None:
    shell = Shell(Fakes(cluster))
    assert shell.json("positions")[1] == {"node": "n2", "role": "follower", "position": None}
    assert shell.run("positions").splitlines()[2].split() == ["n2", "follower", "-"]


def test_history_is_a_table_or_json_as_documented(shell: Shell) -> None:
    shell.run("move 1 2")
    shell.run("move -1 0.5")
    assert shell.json("history") == [
        {"step": 1, "term": 1, "leader": "n1", "move": [1, 2], "leader_position": [1, 2]},
        {"step": 2, "term": 1, "leader": "n1", "move": [-1, 0.5], "leader_position": [0, 2.5]},
    ]
    assert shell.run("history").splitlines()[2].split(maxsplit=3) == ["2", "1", "n1", "[-1, 0.5]  [0, 2.5]"]


def test_a_march_is_awaited_and_says_when_it_arrives(shell: Shell, fakes: Fakes, cluster: FakeCluster) -> None:
    def step() -> None:
        march = fakes.cluster.machines.errand("escort", fakes.random)
        if march is not None:
            fakes.attend()

    at_each_look(cluster, step)
    printed = shell.run("march --to -2 0 --every-ms 1")
    assert printed == "march 1 to [-2, 0], a step every 1 ms\narrived at [-2, 0] after 2 steps\n"
    assert shell.run("march --to -2 0") == "arrived at [-2, 0] after 0 steps\n"
    ended = {"number": 3, "goal": [0, 0], "every_ms": 100, "steps": 2, "arrived": True}
    assert shell.json("march --to 0 0") == ended
    assert shell.run("positions").splitlines()[-1] == "march 3 to [0, 0]: arrived after 2 steps"


def test_a_march_that_is_not_awaited_goes_on(shell: Shell, fakes: Fakes) -> None:
    assert shell.run("march --to 9 0 --detach") == "march 1 to [9, 0], a step every 100 ms\n"
    fakes.attend(2)
    assert shell.run("positions").splitlines()[-1] == "march 1 to [9, 0]: 2 steps taken, one every 100 ms"
    going = {"number": 2, "goal": [-9, 0], "every_ms": 50, "steps": 0, "arrived": False}
    assert shell.json("march --to -9 0 --detach --every-ms 50") == going


def test_a_march_that_another_one_replaces_ends_with_exit_code_1(
    shell: Shell, fakes: Fakes, cluster: FakeCluster
) -> None:
    at_each_look(cluster, lambda: fakes.commit(March((7_000, 7_000))))
    shell.run("march --to 5 5", code=1)
    assert shell.said.startswith("march 1 is over: another one to [7, 7] has taken its place")


def test_a_detour_is_no_arrival(shell: Shell, fakes: Fakes, cluster: FakeCluster) -> None:
    looks: list[int] = []

    def happen() -> None:
        looks.append(1)
        fakes.commit(Move((0, 1_000) if len(looks) == 1 else (1_000, -1_000)))

    at_each_look(cluster, happen)
    assert shell.run("march --to 1 0 --every-ms 1").endswith("arrived at [1, 0] after 0 steps\n")
    assert len(looks) > 1
