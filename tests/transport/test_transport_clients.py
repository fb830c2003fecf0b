"""Answers to clients: delivered even if the node ends right after, never waited for, and never lost unseen."""

import time
from pathlib import Path

import pytest
import zmq
from wires import CLUSTER_ID, Ends, eventually, hello

from zraft.codec import REPLY_KINDS, Codec
from zraft.requests import Commands, Hello, Outcome, Reply
from zraft.transport import CLIENT_QUEUE_MAX

CODEC = Codec(CLUSTER_ID, "client", 7)


def answers(client: zmq.Socket[bytes], count: int) -> list[int]:
    """Receive that many replies and return their ids."""
    ids = []
    while len(ids) < count:
        assert client.poll(15_000), f"only {len(ids)} of {count} answers"
        ids.append(CODEC.decode(client.recv_multipart(), REPLY_KINDS).message.id)
    return ids


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_request_comes_with_its_batch_and_its_reply_goes_to_whoever_asked(ends: Ends, kind: str) -> None:
    station = ends.one(kind)
    first, second = ends.as_client(station), ends.as_client(station)
    first.send_multipart(CODEC.encode(Commands(1), b"batch"))
    second.send_multipart(hello(2))
    station.until("both", lambda: len(station.asked) == 2)
    by_id = {request.id: (client, request, batch) for client, request, batch in station.asked}
    assert by_id[1][1:] == (Commands(1), b"batch")
    assert by_id[2][1:] == (Hello(2), None)
    for id, (client, *_) in by_id.items():
        station.transport.reply(client, Reply(id, Outcome.DONE))
    assert answers(first, 1) == [1]
    assert answers(second, 1) == [2]


def test_a_turn_takes_no_more_than_it_is_told_to(ends: Ends) -> None:
    station = ends.one()
    client = ends.as_client(station)
    for id in range(10):
        client.send_multipart(hello(id))
    taken: list[int] = []

    def take() -> bool:
        some = [request.id for _, request, _ in station.transport.receive_clients(3)]
        assert len(some) <= 3
        taken.extend(some)
        return len(taken) == 10

    eventually("all ten", take)
    assert taken == list(range(10))


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_reply_to_a_client_that_has_gone_is_counted(ends: Ends, kind: str) -> None:
    station = ends.one(kind)
    client = ends.as_client(station)
    client.send_multipart(hello(1))
    station.until("it asks", lambda: station.asked)
    name = station.asked[0][0]
    client.close()

    def counted() -> int:
        station.transport.reply(name, Reply(1, Outcome.DONE))
        return station.transport.dropped["clients"]

    eventually("its going is noticed", counted)
    assert station.reasons("client")[0].startswith("a reply could not be sent: ")
    other = ends.as_client(station)
    other.send_multipart(hello(2))
    station.until("another asks", lambda: len(station.asked) == 2)
    station.transport.reply(station.asked[1][0], Reply(2, Outcome.DONE))
    assert answers(other, 1) == [2]


def test_a_client_that_reads_nothing_costs_a_bounded_number_of_replies_and_no_time(ends: Ends) -> None:
    station = ends.one()
    client = ends.as_client(station, {zmq.RCVHWM: 10})
    client.send_multipart(hello(1))
    station.until("it asks", lambda: station.asked)
    name = station.asked[0][0]
    began = time.monotonic()
    sent = 0
    while not station.transport.dropped["clients"]:
        sent += 1
        station.transport.reply(name, Reply(sent, Outcome.DONE))
        assert sent < 10 * CLIENT_QUEUE_MAX, "replies without end are kept for it"
    assert time.monotonic() - began < 10
    assert len(station.reasons("client")) == station.transport.dropped["clients"] == 1
    assert answers(client, sent - 1) == list(range(1, sent))


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_replies_sent_right_before_the_end_arrive(ends: Ends, kind: str) -> None:
    station = ends.one(kind)
    client = ends.as_client(station)
    client.send_multipart(hello(1))
    station.until("it asks", lambda: station.asked)
    for id in range(200):
        station.transport.reply(station.asked[0][0], Reply(id, Outcome.DONE, bytes(10_000)))
    ends.close(station)
    assert answers(client, 200) == list(range(200))


def test_closing_waits_half_a_second_at_most_for_a_client_that_reads_nothing(ends: Ends, place: Path) -> None:
    station = ends.one()
    client = ends.as_client(station, {zmq.RCVHWM: 1})
    client.send_multipart(hello(1))
    station.until("it asks", lambda: station.asked)
    for id in range(1_000):
        station.transport.reply(station.asked[0][0], Reply(id, Outcome.DONE, bytes(10_000)))
    began = time.monotonic()
    ends.close(station)
    assert time.monotonic() - began < 3
    assert (place / "n1.client.lock").exists()
