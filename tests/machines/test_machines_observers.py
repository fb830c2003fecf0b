"""Machines that hear of leaders and memberships, in their places among the commands."""

from collections.abc import Iterable, Iterator

import msgspec
import pytest

from zraft.errors import InvalidRequest
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import Applied, Observer
from zraft.machines.sessions import Machines
from zraft.raft.types import Ballot, Cause, Entry, EntryKind, Membership
from zraft.requests import Batch, SessionChange

BALLOT = Ballot("n2", ("n1", "n2"), ("n3",), ("n1", "n2", "n3"), Cause.TIMEOUT, 12, 1_000)
MEMBERS = Membership(("n1", "n2", "n3"), disk_ids={"n1": "d"})


class Diary:
    """A machine that writes down all it hears of."""

    def __init__(self, wrong: Exception | None = None) -> None:
        self.pages: list[tuple[object, Applied]] = []
        self._wrong = wrong

    def apply(self, command: bytes, at: Applied) -> bytes:
        self.pages.append((command, at))
        return b""

    def query(self, query: bytes) -> bytes:
        return query

    def snapshot(self) -> Iterator[bytes]:
        return iter(())

    def restore(self, chunks: Iterable[bytes]) -> None:
        assert not list(chunks)

    def leader_elected(self, ballot: Ballot, at: Applied) -> None:
        self._hear(ballot, at)

    def membership_changed(self, membership: Membership, at: Applied) -> None:
        self._hear(membership, at)

    def _hear(self, what: object, at: Applied) -> None:
        self.pages.append((what, at))
        if self._wrong is not None:
            raise self._wrong


def entries() -> list[Entry]:
    command = msgspec.msgpack.encode(Batch(3, 1, "diary", [b"a"]))
    return [
        Entry(4, 1, EntryKind.MEMBERSHIP, 5, msgspec.msgpack.encode(MEMBERS)),
        Entry(4, 2, EntryKind.NOOP, 6, msgspec.msgpack.encode(BALLOT)),
        Entry(4, 3, EntryKind.SESSION, 6, msgspec.msgpack.encode(SessionChange())),
        Entry(4, 4, EntryKind.COMMAND, 7, command),
    ]


def test_an_observer_hears_of_leaders_and_memberships_among_its_commands() -> None:
    diary = Diary()
    machines = Machines({"kv": KeyValueStore(), "diary": diary})
    for entry in entries():
        machines.apply(entry)
    assert diary.pages == [
        (MEMBERS, Applied(1, 4, 5, 0, None, MEMBERS)),
        (BALLOT, Applied(2, 4, 6, 0, "n2", MEMBERS)),
        (b"a", Applied(4, 4, 7, 3, "n2", MEMBERS)),
    ]
    assert machines.leader == "n2"


def test_a_machine_that_observes_nothing_is_no_observer() -> None:
    assert isinstance(Diary(), Observer)
    assert not isinstance(KeyValueStore(), Observer)


@pytest.mark.parametrize("wrong", [ValueError("broken"), InvalidRequest("not wanted")])
@pytest.mark.parametrize("at", [0, 1])
def test_an_observer_that_fails_stops_the_node(wrong: Exception, at: int) -> None:
    machines = Machines({"diary": Diary(wrong)})
    machines_before = Machines({})
    for entry in entries()[:at]:
        machines_before.apply(entry)
    machines.restore(machines_before.snapshot())
    with pytest.raises(type(wrong), match=str(wrong)):
        machines.apply(entries()[at])


@pytest.mark.parametrize("data", [b"", b"n1", b"\xc1", msgspec.msgpack.encode(["n1", ["n1"]])])
def test_a_noop_without_a_ballot_is_not_applied(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        Machines({}).apply(Entry(1, 1, EntryKind.NOOP, 0, data))
