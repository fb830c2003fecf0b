"""What is no message of ours is counted with its reason, dropped, and changes nothing for those who speak properly."""

from typing import Any

import msgspec
import pytest
import zmq
from wires import CLUSTER_ID, Ends, Station, eventually, heartbeat, hello, rounds, seal

from zraft.codec import FRAME_BYTES_MAX, Codec
from zraft.raft.messages import AppendEntries, Heartbeat
from zraft.raft.types import Entry, EntryId, EntryKind
from zraft.requests import Commands, Hello, Queries, Reply

HEARTBEAT, HELLO, COMMANDS, QUERIES, REPLY = 7, 32, 35, 36, 64
BEAT = msgspec.msgpack.encode(Heartbeat(1, 0, 1))
HAIL = msgspec.msgpack.encode(Hello(1))

WRONG_EVERYWHERE: dict[str, tuple[list[bytes], str]] = {
    "one frame": ([b"x"], "1 frames"),
    "an empty frame": ([b""], "1 frames"),
    "four frames": ([*seal(HEARTBEAT, BEAT), b"", b""], "4 frames"),
    "a thousand frames": ([b"x"] * 1_000, "1000 frames"),
    "a short header": ([b"zR", b""], "header"),
    "a header without a source": ([seal(HEARTBEAT, BEAT, source=b"")[0], BEAT], "header"),
    "a source of 65 bytes": (seal(HEARTBEAT, BEAT, source=b"n" * 65), "header"),
    "another magic": (seal(HEARTBEAT, BEAT, magic=b"ZR"), "magic"),
    "another version": (seal(HEARTBEAT, BEAT, version=2), "version 2"),
    "an unknown kind": (seal(200, BEAT), "kind 200"),
    "a reply": (seal(REPLY, msgspec.msgpack.encode(Reply(1, 0))), "kind 64"),
    "a huge total of allowed frames": ([b"x" * 40, bytes(9 << 20), bytes(9 << 20)], "over 16 MiB"),
}
WRONG_BY_KIND: dict[str, tuple[dict[str, Any], bool, str]] = {
    "another cluster": ({"cluster": 1}, False, "cluster 0000000000000001"),
    "no cluster": ({"cluster": 0}, False, "cluster 0000000000000000"),
    "a wrong checksum": ({"crc": 1}, False, "checksum"),
    "a third frame": ({}, True, "does not have 3 frames"),
    "a source that is no text": ({"source": b"\xff\xfe"}, False, "utf-8"),
}


@pytest.fixture
def station(ends: Ends) -> Station:
    return ends.one()


@pytest.fixture
def peer(ends: Ends, station: Station) -> zmq.Socket[bytes]:
    """Connect under the name of the one peer."""
    peer = ends.as_peer(station)
    assert peer.poll(15_000, zmq.POLLOUT)
    return peer


@pytest.fixture
def client(ends: Ends, station: Station) -> zmq.Socket[bytes]:
    client = ends.as_client(station)
    assert client.poll(15_000, zmq.POLLOUT)
    return client


def refuses_from_peer(station: Station, peer: zmq.Socket[bytes], frames: list[bytes], why: str) -> None:
    """Send `frames`, and a proper message behind them: that alone arrives."""
    peer.send_multipart(frames)
    peer.send_multipart(seal(HEARTBEAT, BEAT))
    station.until("the proper one", lambda: station.peers)
    assert station.peers == [("n2", Heartbeat(1, 0, 1))]
    assert len(station.reasons("peer")) == 1
    assert why in station.reasons("peer")[0]


def refuses_from_client(station: Station, client: zmq.Socket[bytes], frames: list[bytes], why: str) -> None:
    client.send_multipart(frames)
    client.send_multipart(hello(9))
    station.until("the proper one", lambda: station.asked)
    assert [asked[1:] for asked in station.asked] == [(Hello(9), None)]
    assert len(station.reasons("client")) == 1
    assert why in station.reasons("client")[0]


@pytest.mark.parametrize("what", WRONG_EVERYWHERE)
def test_frames_that_are_no_message(
    station: Station, peer: zmq.Socket[bytes], client: zmq.Socket[bytes], what: str
) -> None:
    frames, why = WRONG_EVERYWHERE[what]
    refuses_from_peer(station, peer, frames, why)
    refuses_from_client(station, client, frames, why)


@pytest.mark.parametrize("what", WRONG_BY_KIND)
def test_a_message_that_is_sealed_wrongly(
    station: Station, peer: zmq.Socket[bytes], client: zmq.Socket[bytes], what: str
) -> None:
    changed, third, why = WRONG_BY_KIND[what]
    more = [b"third"] if third else []
    refuses_from_peer(station, peer, seal(HEARTBEAT, BEAT, *more, **changed), why)
    if what != "no cluster":
        refuses_from_client(station, client, seal(HELLO, HAIL, *more, **changed), why)


def test_only_a_hello_may_come_without_a_cluster(station: Station, client: zmq.Socket[bytes]) -> None:
    queries = msgspec.msgpack.encode(Queries(1, "kv", []))
    refuses_from_client(station, client, seal(QUERIES, queries, cluster=0), "cluster 0000000000000000")
    client.send_multipart(seal(HELLO, HAIL, cluster=0))
    station.until("the hello", lambda: len(station.asked) == 2)


def test_commands_without_their_batch(station: Station, client: zmq.Socket[bytes]) -> None:
    commands = msgspec.msgpack.encode(Commands(1))
    refuses_from_client(station, client, seal(COMMANDS, commands), "does not have 2 frames")


def test_a_request_on_the_peer_socket_and_a_peer_message_on_the_client_socket(
    station: Station, peer: zmq.Socket[bytes], client: zmq.Socket[bytes]
) -> None:
    refuses_from_peer(station, peer, seal(HELLO, HAIL), "kind 32 does not belong on this socket")
    refuses_from_client(station, client, seal(HEARTBEAT, BEAT), "kind 7 does not belong on this socket")


def test_a_body_that_is_not_what_its_kind_says(station: Station, peer: zmq.Socket[bytes]) -> None:
    refuses_from_peer(station, peer, seal(HEARTBEAT, msgspec.msgpack.encode(["a", 0, 1])), "Expected `int`")


def test_a_message_from_a_name_that_is_no_peer(ends: Ends, station: Station) -> None:
    stranger = ends.as_peer(station, name="n9")
    stranger.send_multipart(seal(HEARTBEAT, BEAT, source=b"n9"))
    station.until("it is refused", lambda: station.rejected)
    assert station.rejected == [("peer", "n9 is no peer of ours")]
    assert station.peers == []


def test_a_message_under_our_own_name(ends: Ends, station: Station) -> None:
    mirror = ends.as_peer(station, name="n1")
    mirror.send_multipart(seal(HEARTBEAT, BEAT, source=b"n1"))
    station.until("it is refused", lambda: station.rejected)
    assert station.peers == []


@pytest.mark.parametrize("changed", [{"boot": 8}, {"boot": 1 << 63}])
def test_a_message_whose_name_is_not_its_connections(
    station: Station, peer: zmq.Socket[bytes], changed: dict[str, Any]
) -> None:
    refuses_from_peer(station, peer, seal(HEARTBEAT, BEAT, **changed), "another name than the message's, n2")


def test_a_peer_without_a_routing_id_of_its_own(ends: Ends, station: Station) -> None:
    nameless = ends.connect(zmq.DEALER, station.me.peer)
    nameless.send_multipart(seal(HEARTBEAT, BEAT))
    station.until("it is refused", lambda: station.rejected)
    assert station.peers == []


def test_entries_that_no_honest_peer_would_send(station: Station, peer: zmq.Socket[bytes]) -> None:
    gap = AppendEntries(1, EntryId(0, 0), 0, [Entry(1, 2, EntryKind.NOOP, 0, b"")])
    refuses_from_peer(station, peer, Codec(CLUSTER_ID, "n2", 7).encode(gap), "n2: entry 2 follows 0")


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_frame_over_the_limit_costs_its_sender_the_connection_and_nobody_else_anything(ends: Ends, kind: str) -> None:
    station = ends.one(kind)
    good, bad = ends.as_peer(station, boot_id=7), ends.as_peer(station, boot_id=8)
    good.send_multipart(seal(HEARTBEAT, BEAT))
    station.until("the good one", lambda: station.peers)
    bad.send_multipart([bytes(FRAME_BYTES_MAX + 1), b""])
    proper = Codec(CLUSTER_ID, "n2", 8).encode(heartbeat(2))

    def is_back() -> bool:
        if bad.poll(50, zmq.POLLOUT):
            bad.send_multipart(proper, zmq.NOBLOCK)
        station.turn()
        return 2 in rounds(station.peers)

    eventually("the other is back", is_back)
    good.send_multipart(Codec(CLUSTER_ID, "n2", 7).encode(heartbeat(3)))
    station.until("the good one", lambda: 3 in rounds(station.peers))
    assert station.rejected == []


def test_a_frame_exactly_at_the_limit_of_the_socket_is_refused_by_the_codec(
    station: Station, peer: zmq.Socket[bytes]
) -> None:
    refuses_from_peer(station, peer, [b"x" * 40, bytes(FRAME_BYTES_MAX)], "over 16 MiB")
