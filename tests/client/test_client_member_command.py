"""``zraft member`` as a user types it, on fake nodes."""

import json
from typing import Any

import msgspec
import pytest
from fake_cluster import SERVE, FakeCluster
from typed_commands import TypedCommands

from zraft import requests
from zraft.raft.types import Endpoints
from zraft.requests import Joining, Member, Members, MembershipChange, MembersRequest, Outcome, Reply

AT = Endpoints("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3")
PLACE = "--peer tcp://127.0.0.1:1 --client tcp://127.0.0.1:2 --events tcp://127.0.0.1:3"
KNOWN = Members(
    "n1",
    3,
    7,
    True,
    (
        Member("n1", "voter", True, None, None, 7, True, False, AT),
        Member("n2", "voter", False, None, None, 0, False, True, None),
        Member("n4", "learner", False, "auto", "n2", 5, True, False, AT),
        Member("n5", "learner", False, "manual", None, 7, True, False, AT),
    ),
)


class Shell(TypedCommands):
    """Runs ``zraft member`` against three fake nodes, whose leader answers what it is told to."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__(cluster, "member", options_at=1)
        cluster.behaviour = self._answer
        cluster.start()
        self.answer = Reply(0, Outcome.DONE, msgspec.to_builtins(KNOWN))
        self.asked: list[Any] = []

    def _answer(self, name: str, request: Any, batch: requests.Batch | None) -> str | Reply:
        if not isinstance(request, MembersRequest | MembershipChange):
            return SERVE
        self.asked.append(msgspec.structs.replace(request, id=0))
        return self.answer

    def run(self, line: str, *, code: int = 0) -> str:
        """Return what ``zraft member LINE`` prints; check its exit code."""
        self.asked.clear()
        return super().run(line, code=code)


@pytest.fixture
def shell(cluster: FakeCluster) -> Shell:
    return Shell(cluster)


def test_who_is_no_member_is_not_removed_nor_those_named_beside_him(shell: Shell) -> None:
    shell.run("remove n1 n9 n2 n3", code=2)
    assert "n9, n3: no such member; there are n1, n2, n4, n5" in shell.said
    assert shell.asked == [MembersRequest(0)]


def test_who_is_no_member_is_not_replaced_unless_that_is_done_already(shell: Shell) -> None:
    shell.run(f"replace n9 n4 {PLACE}", code=2)
    assert "n9: no such member" in shell.said
    shell.run("replace n9", code=2)
    assert shell.asked == [MembersRequest(0)]
    assert shell.run(f"replace n9 n2 {PLACE}").startswith("NODE  ROLE")


def test_list_shows_who_takes_part(shell: Shell) -> None:
    assert shell.run("list").splitlines() == [
        "NODE  ROLE     LEADER  LOG  ANSWERS  PEER               NOTE",
        "n1    voter    yes     7/7  yes      tcp://127.0.0.1:1",
        "n2    voter    no      0/7  no       -                  has lost its data: zraft member replace n2",
        "n4    learner  no      5/7  yes      tcp://127.0.0.1:1  in place of n2",
        "n5    learner  no      7/7  yes      tcp://127.0.0.1:1  waits for zraft member promote",
        "a change is under way",
    ]
    assert shell.asked == [MembersRequest(0)]


def test_as_json_it_has_every_key(shell: Shell) -> None:
    shown = json.loads(shell.run("list --json"))
    assert {key: shown[key] for key in shown if key != "members"} == {
        "leader": "n1",
        "term": 3,
        "last_index": 7,
        "changing": True,
    }
    assert [each["node"] for each in shown["members"]] == ["n1", "n2", "n4", "n5"]
    assert shown["members"][2] == {
        "node": "n4",
        "role": "learner",
        "leader": False,
        "promote": "auto",
        "replaces": "n2",
        "match_index": 5,
        "answers": True,
        "lost_data": False,
        "endpoints": {"peer": AT.peer, "client": AT.client, "events": AT.events},
    }
    assert shown["members"][1]["endpoints"] is None


@pytest.mark.parametrize(
    ("line", "wish"),
    [
        (f"add n4 {PLACE}", MembershipChange(0, (Joining("n4", AT),))),
        (f"add n4 --manual {PLACE}", MembershipChange(0, (Joining("n4", AT),), True)),
        (f"replace n1 n4 {PLACE}", MembershipChange(0, (Joining("n4", AT, "n1"),))),
        ("replace n2", MembershipChange(0, renew=("n2",))),
        ("promote n4 n5", MembershipChange(0, promote=("n4", "n5"))),
        ("remove n1 n2", MembershipChange(0, remove=("n1", "n2"))),
    ],
)
def test_each_command_asks_for_what_it_says_and_shows_what_came_of_it(
    shell: Shell, line: str, wish: MembershipChange
) -> None:
    assert shell.run(line).startswith("NODE  ROLE")
    looks = (
        [MembersRequest(0)] if line.split(maxsplit=1)[0] in ("remove", "replace") else []
    )  # Whether they are members at all.
    assert shell.asked == [*looks, wish]
    assert json.loads(shell.run(f"{line} --json"))["leader"] == "n1"


def test_where_a_node_is_stands_in_the_configuration_unless_it_is_given(shell: Shell, cluster: FakeCluster) -> None:
    node = cluster.config.node("n3")
    shell.run("add n3")
    assert shell.asked == [MembershipChange(0, (Joining("n3", Endpoints(node.peer, node.client, node.events)),))]
    shell.run("add n3 --client tcp://127.0.0.1:2")
    assert shell.asked[0].add[0].endpoints == Endpoints(node.peer, AT.client, node.events)


def test_whether_learners_wait_is_for_the_configuration_to_say_unless_it_is_given(shell: Shell) -> None:
    shell.document["membership"] = {"promote": "manual"}
    for options, manual in (("", True), ("--auto", False), ("--manual", True)):
        shell.run(f"add n4 {PLACE} {options}")
        assert shell.asked[0].manual is manual


def test_what_cannot_be_known_is_asked_for(shell: Shell) -> None:
    shell.run("add n4 --peer tcp://127.0.0.1:1", code=2)
    assert shell.said == f"{shell.file} does not name n4: say where it is reached, with --client, --events"
    shell.run("replace n1 --peer tcp://127.0.0.1:1", code=2)
    assert "name it: zraft member replace OLD NEW" in shell.said
    shell.run("add n4 --peer x --client y --events z", code=2)
    assert shell.said.startswith("an endpoint must be tcp://HOST:PORT or ipc://PATH")
    assert shell.asked == []


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.INVALID, 2), (Outcome.REFUSED, 3), (Outcome.UNKNOWN, 4)],
)
def test_the_exit_code_says_how_it_ended(shell: Shell, outcome: Outcome, code: int) -> None:
    shell.answer = Reply(0, outcome, None, None, "of the 2 voters that it would leave")
    assert shell.run("promote n4 --timeout 0.3", code=code) == ""
    assert "of the 2 voters that it would leave" in shell.said
