"""How things read for people; the transcripts of `scenarios/` show the rest."""

import msgspec
import pytest

from zraft.raft import describe, membership
from zraft.raft.messages import PreVote, TimeoutNow
from zraft.raft.ready import Note, ReadReady, RoleChange
from zraft.raft.types import Ballot, Entry, EntryId, EntryKind, Membership, Role


def made(*ids: tuple[int, int]) -> list[Entry]:
    return [Entry(term, index, EntryKind.COMMAND, 0, b"") for index, term in ids]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], "[]"),
        ([(1, 1)], "[1@1]"),
        ([(1, 1), (2, 1)], "[1@1 2@1]"),
        ([(1, 1), (2, 1), (3, 1)], "[1..3@1]"),
        ([(1, 1), (2, 2), (3, 2), (4, 2), (5, 4)], "[1@1 2..4@2 5@4]"),
        ([(1, 1), (3, 1), (4, 1)], "[1@1 3@1 4@1]"),
    ],
)
def test_entries_of_one_term_are_drawn_together(ids: list[tuple[int, int]], text: str) -> None:
    assert describe.entries(made(*ids)) == text


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (
            EntryKind.NOOP,
            msgspec.msgpack.encode(Ballot("n1", ("n1", "n2"), ("n3",), ("n1", "n2", "n3"), "timeout", 5, 0)),
            "2@1 no-op: n1 elected by timeout, for n1 n2, against n3, of n1 n2 n3",
        ),
        (EntryKind.COMMAND, b"abc", "2@1 command, 3 bytes"),
        (EntryKind.TICK, b"", "2@1 tick"),
        (
            EntryKind.MEMBERSHIP,
            membership.encode(Membership(("n1", "n2"), ("n3",), ("n4",), {"n1": "d1"})),
            "2@1 membership: voters n1 n2, outgoing n3, learners n4, registered n1",
        ),
        (99, b"?", "2@1 kind 99, 1 bytes"),
    ],
)
def test_an_entry_says_what_it_holds(kind: int, data: bytes, text: str) -> None:
    assert describe.entry(Entry(1, 2, kind, 0, data)) == text


def test_an_entry_that_cannot_be_read_is_described_all_the_same() -> None:
    for kind in (EntryKind.MEMBERSHIP, EntryKind.NOOP):
        assert "can't be read" in describe.entry(Entry(1, 2, kind, 0, b"\xff"))


def test_commands_read_as_their_machine_says() -> None:
    assert describe.entry(Entry(1, 2, EntryKind.COMMAND, 0, b"x=1"), bytes.decode) == "2@1 x=1"


def test_a_message_shows_its_term_where_it_is_not_the_senders() -> None:
    assert describe.sent("n1", 3, "n2", TimeoutNow(3)) == "n1@3 ⇥ n2 TimeoutNow"
    question = PreVote(4, EntryId(3, 7), "d1")
    assert describe.sent("n1", 3, "n2", question) == "n1@3 ⇥ n2 PreVote term=4 last=7@3"


def test_what_happens_to_a_node() -> None:
    led = RoleChange(Role.FOLLOWER, 3, "n2", "higher_term")
    assert describe.role_change("n1", led) == "n1@3 is follower of n2 (higher_term)"
    leads = RoleChange(Role.LEADER, 3, "n1", "election")
    assert describe.role_change("n1", leads) == "n1@3 is leader (election)"
    assert describe.read(ReadReady(7, 12)) == "read 7 confirmed at 12"
    assert describe.note(Note("data_lost", {"node": "n2"})) == "data_lost node=n2"
