"""Whatever one node says, another reads; an older and a newer one understand each other."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import CLUSTER_ID, CODEC, KINDS, frames, messages, of
from struct_bytes import reseal

from zraft.codec import PEER_KINDS, REPLY_KINDS, REQUEST_KINDS, Codec, cluster_of
from zraft.errors import ProtocolError
from zraft.raft.messages import Heartbeat, Message, PreVote
from zraft.raft.types import EntryId
from zraft.requests import (
    BATCH_BYTES_MAX,
    CALLS_MAX,
    Batch,
    Commands,
    Hello,
    Queries,
    Request,
    SessionChange,
    StatusRequest,
    TransferRequest,
)

SHAPE_EXAMPLES = 30
"""Of each kind, where it matters which fields there are rather than what is in them."""
NAMES = st.text(min_size=1, max_size=64).filter(lambda name: len(name.encode()) <= 64)


@given(message=messages, batch=st.binary(max_size=100), source=NAMES, boot_id=st.integers(0, (1 << 64) - 1))
def test_every_message_comes_back_as_it_was(message: Any, batch: bytes, source: str, boot_id: int) -> None:
    third = batch if isinstance(message, Commands) else None
    received = CODEC.decode(Codec(CLUSTER_ID, source, boot_id).encode(message, third), KINDS)
    assert received == (source, boot_id, message, third)
    assert type(received.message) is type(message)


@given(frames=frames())
def test_the_cluster_can_be_read_before_anything_else(frames: list[bytes]) -> None:
    assert cluster_of(frames) == CLUSTER_ID


@given(junk=st.lists(st.binary(max_size=30), max_size=3))
def test_what_is_too_short_has_no_cluster(junk: list[bytes]) -> None:
    found = cluster_of(junk)
    assert (found is None) == (not junk or len(junk[0]) < 20)


def test_every_message_and_request_has_a_kind_of_its_own() -> None:
    assert set(PEER_KINDS.values()) == set(Message.__args__)
    assert set(REQUEST_KINDS.values()) == set(Request.__args__)
    assert len(PEER_KINDS) + len(REQUEST_KINDS) + len(REPLY_KINDS) == len(set(KINDS.values()))


def test_the_layout_on_the_wire_is_this_one() -> None:
    """Nodes of different versions meet on the wire: a change here is a change of the protocol's version."""
    head, body = Codec(0x0102030405060708, "n1", 0x1112131415161718).encode(Heartbeat(3, 2, 1))
    assert head.hex(" ") == "7a 52 01 07 01 02 03 04 05 06 07 08 11 12 13 14 15 16 17 18 7e e1 74 d9 6e 31"
    assert body.hex(" ") == "93 03 02 01"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_fields_that_a_newer_node_appends_are_passed_over(kind: type[msgspec.Struct]) -> None:
    @settings(max_examples=SHAPE_EXAMPLES)
    @given(message=of(kind), appended=st.lists(st.integers(0, 9) | st.text(max_size=3), min_size=1, max_size=3))
    def check(message: msgspec.Struct, appended: list[Any]) -> None:
        fields = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
        sent = reseal(kind, fields + appended)
        assert CODEC.decode(sent, KINDS).message == message

    check()


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_fields_that_an_older_node_lacks_have_their_default_and_no_others_may_be_missing(
    kind: type[msgspec.Struct],
) -> None:
    fields = msgspec.structs.fields(kind)
    needed = sum(field.required for field in fields)

    @settings(max_examples=SHAPE_EXAMPLES)
    @given(message=of(kind))
    def check(message: msgspec.Struct) -> None:
        values = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
        for count in range(len(fields)):
            sent = reseal(kind, values[:count])
            if count < needed:
                with pytest.raises(ProtocolError):
                    CODEC.decode(sent, KINDS)
                continue
            received = CODEC.decode(sent, KINDS).message
            for position, field in enumerate(fields):
                wanted = getattr(message, field.name) if position < count else field.default
                assert getattr(received, field.name) == wanted

    check()


@pytest.mark.parametrize("number", [-1, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("place", range(3))
def test_a_term_or_index_beyond_63_bits_is_refused(place: int, number: int) -> None:
    fields = [1, 1, 1]
    fields[place] = number
    with pytest.raises(ProtocolError, match="Expected `int`"):
        CODEC.decode(reseal(Heartbeat, fields), KINDS)


@pytest.mark.parametrize("last", [[-1, 0], [0, 1 << 63], [0], [0, 0, 0], [0.5, 0], ["0", 0]])
def test_an_entry_id_that_is_none_is_refused(last: list[Any]) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(reseal(PreVote, [1, last, "d"]), KINDS)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Queries, [1, "kv", [b""] * (CALLS_MAX + 1)]),
        (Queries, [1, "m" * 65, []]),
        (TransferRequest, [1, "n" * 65]),
    ],
)
def test_a_request_that_would_keep_a_node_busy_is_refused_before_it_is_read(
    kind: type[msgspec.Struct], fields: list[Any]
) -> None:
    with pytest.raises(ProtocolError, match="of length <="):
        CODEC.decode(reseal(kind, fields), KINDS)


def test_an_entry_id_comes_back_as_one() -> None:
    received = CODEC.decode(CODEC.encode(PreVote(1, EntryId(2, 3), "d")), KINDS).message
    assert received.last.index == 3


def test_a_batch_and_a_session_change_with_unknown_fields_are_none() -> None:
    """Two nodes that understood one entry differently would drift apart; so here nothing is passed over."""
    for kind, fields in ((Batch, [1, 1, "kv", [], 0]), (SessionChange, [0, 1, 1, 0])):
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=kind)


def test_a_client_that_does_not_know_the_cluster_may_say_hello_and_no_more() -> None:
    stranger = Codec(0, "client", 1)
    assert CODEC.decode(stranger.encode(Hello(1)), REQUEST_KINDS).message == Hello(1)
    with pytest.raises(ProtocolError, match="cluster"):
        CODEC.decode(stranger.encode(StatusRequest(1)), REQUEST_KINDS)


@pytest.mark.parametrize("source", ["", "x" * 65, "é" * 33])
def test_a_name_has_1_to_64_bytes(source: str) -> None:
    with pytest.raises(AssertionError, match="1 to 64 bytes"):
        Codec(1, source, 1)


def test_the_biggest_batch_fits_into_a_message_and_so_does_the_entry_that_it_becomes() -> None:
    batch = bytes(BATCH_BYTES_MAX)
    assert CODEC.decode(CODEC.encode(Commands(1), batch), KINDS).batch == batch
