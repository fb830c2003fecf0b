"""Messages between peers: lost at most, never stale, never out of turn, and never a reason to wait."""

import time
from pathlib import Path

import pytest
import zmq
from wires import Ends, address, eventually, heartbeat, rounds

from zraft.codec import Codec
from zraft.raft.messages import AppendEntries, Message
from zraft.raft.types import Entry, EntryId, EntryKind
from zraft.requests import BATCH_BYTES_MAX
from zraft.transport import PEER_QUEUE_MAX

CLUSTER_ID = 0xC0FFEE


def entries_of(size: int) -> AppendEntries:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    return AppendEntries(1, EntryId(0, 0), 0, [Entry(1, 1, EntryKind.COMMAND, 0, data)])


def as_n2(message: Message, boot_id: int) -> list[bytes]:
    return Codec(CLUSTER_ID, "n2", boot_id).encode(message)


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_peers_hear_each_other_in_order(ends: Ends, kind: str) -> None:
    one, two = ends.two(kind)
    one.until_reached(two, heartbeat(0))
    two.until_reached(one, heartbeat(0))
    for round in range(1, 101):
        assert one.transport.send("n2", heartbeat(round))
    two.until("the last of the rounds", lambda: rounds(two.peers)[-1:] == [100])
    assert rounds(two.peers)[-100:] == list(range(1, 101))
    assert {source for source, _ in two.peers} == {"n1"}
    assert one.rejected == two.rejected == []


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_peer_back_under_a_new_boot_id_is_heard_and_reached(ends: Ends, kind: str) -> None:
    one, two = ends.two(kind)
    one.until_reached(two, heartbeat(1))
    two.until_reached(one, heartbeat(1))
    ends.close(two)
    back = ends.station(two.me, one.me)
    assert back.boot_id != two.boot_id
    back.until_reached(one, heartbeat(2))
    one.until_reached(back, heartbeat(2))
    assert one.rejected == back.rejected == []


def test_the_pipe_of_a_process_before_does_not_keep_the_new_one_out(ends: Ends) -> None:
    """A node whose machine stopped keeps its connection for seconds: the name alone would be taken all that time."""
    one = ends.one()
    old, new = ends.as_peer(one, boot_id=1), ends.as_peer(one, boot_id=2)
    for end, boot_id in ((old, 1), (new, 2), (old, 1), (new, 2)):
        count = len(one.peers)
        assert end.poll(15_000, zmq.POLLOUT)
        end.send_multipart(as_n2(heartbeat(boot_id), boot_id))
        one.until("it is heard", lambda count=count: len(one.peers) > count)
    assert rounds(one.peers) == [1, 2, 1, 2]
    assert one.rejected == []


def test_a_second_connection_under_the_same_routing_id_takes_over(ends: Ends) -> None:
    """Or a peer that connects anew would not be heard for as long as its old connection is not known to be dead."""
    one = ends.one()
    first = ends.as_peer(one, boot_id=9)
    assert first.poll(15_000, zmq.POLLOUT)
    first.send_multipart(as_n2(heartbeat(1), 9))
    one.until("the first is heard", lambda: rounds(one.peers) == [1])
    second = ends.as_peer(one, boot_id=9)
    assert second.poll(15_000, zmq.POLLOUT)
    for round in range(2, 50):
        second.send_multipart(as_n2(heartbeat(round), 9))
        one.until("the second is heard", lambda round=round: rounds(one.peers)[-1] == round)
    assert rounds(one.peers) == list(range(1, 50))


def test_at_the_high_water_mark_a_message_is_refused_and_none_vanishes(ends: Ends) -> None:
    one, two = ends.two()
    one.until_reached(two, heartbeat(0))
    two.peers.clear()
    one.transport.dropped.clear()
    refused: list[int] = []
    taken: list[int] = []
    longest_s = 0.0
    padding = "x" * 4_096
    for round in range(1, 20_000):
        message = AppendEntries(round, EntryId(0, 0), 0, [Entry(1, 1, EntryKind.COMMAND, 0, padding.encode())])
        began = time.monotonic()
        accepted = one.transport.send("n2", message)
        longest_s = max(longest_s, time.monotonic() - began)
        (taken if accepted else refused).append(round)
        if len(refused) == 100:
            break
    assert len(refused) == 100, "a peer that reads nothing was sent everything"
    assert len(taken) >= 0.9 * PEER_QUEUE_MAX  # ZeroMQ counts roughly.
    assert one.transport.dropped == {"n2": 100}
    assert longest_s < 0.5
    two.until("all that was taken", lambda: len(two.peers) >= len(taken))
    assert [message.term for _, message in two.peers] == taken
    one.until_reached(two, heartbeat(1))


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_nothing_queues_up_for_a_peer_that_is_not_there(ends: Ends, kind: str) -> None:
    one = ends.one(kind)
    assert [one.transport.send("n2", heartbeat(round)) for round in range(1, 1_001)] == [False] * 1_000
    assert one.transport.dropped == {"n2": 1_000}
    two = ends.station(*one.others, one.me)
    one.until_reached(two, heartbeat(2_000))
    assert set(rounds(two.peers)) == {2_000}


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_nothing_queues_up_for_a_peer_that_has_died(ends: Ends, kind: str) -> None:
    one, two = ends.two(kind)
    one.until_reached(two, heartbeat(0))
    ends.close(two)
    count = iter(range(1, 1_000_000))
    eventually("the loss is noticed", lambda: not one.transport.send("n2", heartbeat(next(count))))
    back = ends.station(two.me, one.me)
    one.until_reached(back, heartbeat(2_000_000))
    assert set(rounds(back.peers)) == {2_000_000}


def test_a_message_to_nobody_we_know_is_refused(ends: Ends) -> None:
    assert ends.one().transport.send("n9", heartbeat(1)) is False


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_the_biggest_entry_that_a_client_may_cause_gets_through(ends: Ends, kind: str) -> None:
    one, two = ends.two(kind)
    one.until_reached(two, heartbeat(0))
    biggest = entries_of(BATCH_BYTES_MAX)
    assert one.transport.send("n2", biggest)
    assert one.transport.send("n2", heartbeat(1))
    two.until("what came behind it", lambda: rounds(two.peers)[-1] == 1)
    assert ("n1", biggest) in two.peers


def test_followers_in_step_get_the_same_bytes_encoded_once(ends: Ends, place: Path) -> None:
    n1, n2, n3 = (address(name, "ipc", place) for name in ("n1", "n2", "n3"))
    one = ends.station(n1, n2, n3)
    two, three = ends.station(n2, n1), ends.station(n3, n1)
    one.until_reached(two, heartbeat(0))
    one.until_reached(three, heartbeat(0))
    message = entries_of(100)
    assert one.transport.send("n2", message)
    encoded = one.transport._encoded
    assert one.transport.send("n3", message)
    assert one.transport._encoded is encoded
    for other in (two, three):
        other.until("it", lambda other=other: ("n1", message) in other.peers)
    assert one.transport.send("n2", heartbeat(5))
    two.until("the next, which is another", lambda: rounds(two.peers)[-1] == 5)


def test_a_cut_link_loses_what_is_sent_and_hears_nothing_until_it_is_whole(ends: Ends) -> None:
    one, two = ends.two("ipc")
    one.until_reached(two, heartbeat(1))
    two.until_reached(one, heartbeat(1))
    one.transport.lost_to, one.transport.deaf_to = frozenset({"n2"}), frozenset({"n2"})
    assert one.transport.send("n2", heartbeat(2)), "whoever sends into a broken link is not told"
    assert two.transport.send("n1", heartbeat(2))
    assert one.transport.peers_in.poll(5_000), "it has come"
    one.turn()
    one.transport.lost_to = frozenset()
    one.until_reached(two, heartbeat(3))
    assert rounds(two.peers)[-1:] == [3]
    assert 2 not in rounds(two.peers)
    one.transport.deaf_to = frozenset()
    two.until_reached(one, heartbeat(4))
    assert 2 not in rounds(one.peers), "what came while it was deaf is gone"
    assert one.rejected == two.rejected == []
