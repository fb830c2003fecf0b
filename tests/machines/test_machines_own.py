"""What the cluster gives machines by itself: commands of session 0, and the errands that they come from."""

from random import Random

import msgspec
import pytest

from zraft.errors import ConfigError
from zraft.machines.kv.store import KeyValueStore
from zraft.machines.machine import Applied, Errand
from zraft.machines.sessions import Machines, Result
from zraft.raft.types import Ballot, Entry, EntryKind
from zraft.requests import Answer, Batch, Outcome

encode = msgspec.msgpack.encode


class Eager(KeyValueStore):
    """A store that wants something, and keeps what it learned when it got it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Applied] = []
        self.error: Exception | None = None

    def errand(self, random: Random) -> Errand | None:
        if self.error is not None:
            raise self.error
        return Errand(5, b"%d" % random.randrange(6))

    def apply(self, command: bytes, at: Applied) -> bytes:
        self.seen.append(at)
        return command


class Node:
    """Machines of which one is eager."""

    def __init__(self) -> None:
        self.eager = Eager()
        self.failures: list[tuple[str, str]] = []
        self.machines = Machines(
            {"kv": KeyValueStore(), "eager": self.eager},
            on_failure=lambda name, error: self.failures.append((name, type(error).__name__)),
        )

    def apply(self, kind: EntryKind, data: bytes) -> Result:
        return self.machines.apply(Entry(3, self.machines.index + 1, kind, 40, data))


@pytest.fixture
def node() -> Node:
    """Return a node that n2 leads."""
    node = Node()
    node.apply(EntryKind.NOOP, encode(Ballot("n2", ("n2",), (), ("n2",), "timeout", 5, 0)))
    return node


def test_a_command_of_the_clusters_own_is_applied_whenever_it_comes_and_leaves_no_session(node: Node) -> None:
    for _ in range(2):
        result = node.apply(EntryKind.COMMAND, encode(Batch(0, 0, "eager", [b"a", b"b"])))
        assert result == Result(Outcome.DONE, [bytes([Answer.DONE]) + b"a", bytes([Answer.DONE]) + b"b"])
    assert node.eager.seen == [Applied(2, 3, 40, 0, "n2", None)] * 2 + [Applied(3, 3, 40, 0, "n2", None)] * 2
    assert len(node.machines.sessions) == 0


def test_a_command_of_the_clusters_own_for_a_machine_that_is_not_mounted_stops_the_node(node: Node) -> None:
    with pytest.raises(
        ConfigError, match="entry 2 of the log is for the machine 'nobody', which this node does not have"
    ):
        node.apply(EntryKind.COMMAND, encode(Batch(0, 0, "nobody", [b"a"])))
    assert not node.eager.seen


def test_machines_that_want_something_are_asked_by_name_and_with_the_dice_given(node: Node) -> None:
    assert list(node.machines.proactive) == ["eager", "kv"]
    drawn = {node.machines.errand("eager", Random(seed)) for seed in range(30)}
    assert drawn == {Errand(5, b"%d" % number) for number in range(6)}


def test_a_machine_that_fails_to_say_what_it_wants_wants_nothing_and_is_reported(node: Node) -> None:
    node.eager.error = KeyError("k")
    assert node.machines.errand("eager", Random(1)) is None
    assert node.failures == [("eager", "KeyError")]
