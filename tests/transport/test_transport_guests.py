"""Peers that come and go, and those who speak before anybody has told of them."""

from pathlib import Path

import pytest
import zmq
from wires import CLUSTER_ID, Ends, Station, address, eventually, heartbeat, rounds

from zraft.codec import Codec
from zraft.peerlinks import GUEST_ROUNDS, GUESTS_MAX, routing_id
from zraft.transport import PEER_OUT


def speak(ends: Ends, station: Station, name: str, endpoint: str, round: int = 1) -> zmq.Socket[bytes]:
    """Send a heartbeat as a node that says it is reached at `endpoint`."""
    identity = routing_id(name, 7, endpoint)
    end = ends.connect(zmq.DEALER, station.me.peer, PEER_OUT | {zmq.ROUTING_ID: identity})
    assert end.poll(15_000, zmq.POLLOUT)
    end.send_multipart(Codec(CLUSTER_ID, name, 7).encode(heartbeat(round)))
    return end


def sends(station: Station, target: str) -> None:
    eventually(f"a connection to {target}", lambda: station.transport.send(target, heartbeat(9)))


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_whoever_is_not_known_yet_is_heard_and_answered(ends: Ends, place: Path, kind: str) -> None:
    n1, n2, n3 = (address(name, kind, place) for name in ("n1", "n2", "n3"))
    one, three = ends.station(n1, n2), ends.station(n3, n1)
    three.until_reached(one, heartbeat(1))
    one.until_reached(three, heartbeat(2))
    assert one.rejected == three.rejected == []


def test_a_guest_is_answered_where_it_is_reached_and_not_where_it_listens(ends: Ends, place: Path) -> None:
    """As in a container, whose ports are others outside."""
    n1, n2, outside = (address(name, "tcp", place) for name in ("n1", "n2", "n3"))
    one, three = ends.station(n1, n2), ends.station(outside)
    speak(ends, one, "n3", outside.peer)
    one.until("it is heard", lambda: one.peers)
    sends(one, "n3")
    three.until("it is answered", lambda: rounds(three.peers) == [9])


def test_a_guest_that_falls_silent_is_let_go_and_one_that_speaks_stays(ends: Ends) -> None:
    one = ends.one()
    end = speak(ends, one, "n3", "tcp://127.0.0.1:9")
    one.until("it is heard", lambda: one.peers)
    for _ in range(GUEST_ROUNDS - 1):
        one.transport.links.part(["n2"])
    assert one.transport.links.socket("n3") is not None
    end.send_multipart(Codec(CLUSTER_ID, "n3", 7).encode(heartbeat(2)))
    one.until("it is heard again", lambda: rounds(one.peers) == [1, 2])
    for _ in range(GUEST_ROUNDS - 1):
        one.transport.links.part(["n2"])
    assert one.transport.links.socket("n3") is not None
    one.transport.links.part(["n2"])
    assert one.transport.links.socket("n3") is None
    assert one.transport.links.socket("n2") is not None


def test_a_guest_that_becomes_a_member_stays_and_a_member_that_leaves_goes(ends: Ends, place: Path) -> None:
    n3 = address("n3", "ipc", place)
    one = ends.one()
    speak(ends, one, "n3", n3.peer)
    one.until("it is heard", lambda: one.peers)
    links = one.transport.links
    assert "n3" not in links
    before = links.socket("n3")
    links.meet({"n3": n3.peer})
    assert "n3" in links
    assert links.socket("n3") is before, "the connection that stands is kept"
    for _ in range(GUEST_ROUNDS + 1):
        links.part(["n2", "n3"])
    assert links.socket("n3") is before
    links.part(["n2"])
    assert links.socket("n3") is None
    assert before is not None and before.closed


def test_a_peer_that_moved_is_reached_at_its_new_place(ends: Ends, place: Path) -> None:
    n1, old, new = address("n1", "ipc", place), address("n2", "ipc", place), address("n2", "tcp", place)
    one, two = ends.station(n1, old), ends.station(new, n1)
    one.transport.links.meet({"n2": new.peer})
    one.until_reached(two, heartbeat(1))


@pytest.mark.parametrize("endpoint", ["", "tcp://*:1", "ipc://relative", "nonsense", "tcp://127.0.0.1:99999"])
def test_a_stranger_that_cannot_be_answered_stays_one(ends: Ends, endpoint: str) -> None:
    one = ends.one()
    speak(ends, one, "n3", endpoint)
    one.until("it is dropped", lambda: one.rejected == [("peer", "n3 is no peer of ours")])
    assert one.peers == []


def test_nobody_speaks_to_a_node_in_its_own_name(ends: Ends) -> None:
    one = ends.one()
    speak(ends, one, "n1", one.me.peer)
    one.until("it is dropped", lambda: one.rejected == [("peer", "n1 is no peer of ours")])


def test_there_are_so_many_guests_and_no_more(ends: Ends) -> None:
    one = ends.one()
    for number in range(GUESTS_MAX):
        speak(ends, one, f"g{number}", f"tcp://127.0.0.1:{number + 1}")
        one.until("it is heard", lambda number=number: len(one.peers) == number + 1)
    speak(ends, one, "late", "tcp://127.0.0.1:1000")
    one.until("it is dropped", lambda: one.rejected == [("peer", "late is no peer of ours")])
    speak(ends, one, "n2", one.others[0].peer)
    one.until("a peer is heard", lambda: one.peers[-1][0] == "n2")


def test_a_name_and_place_that_are_too_long_for_a_connection_are_left_to_the_name() -> None:
    assert routing_id("n1", 10, "tcp://h:1") == b"n1:000000000000000a:tcp://h:1"
    assert routing_id("n" * 64, 10, "tcp://" + "h" * 250) == b"n" * 64 + b":000000000000000a"
    assert len(routing_id("n" * 64, 10, "ipc://" + "p" * 167)) == 255
