"""Any bytes at all end in a message or in ProtocolError, and damaged ones never in a message."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapes import CODEC, KINDS, frames
from struct_bytes import recheck, seal

from zraft import events
from zraft.codec import FRAME_BYTES_MAX, Received
from zraft.errors import ProtocolError

REPLY = 64
DAMAGES = 20
"""Of each message that is drawn."""
junk = st.lists(st.binary(max_size=120), max_size=5)


def understood(frames: list[bytes]) -> Received | None:
    """Decode, letting ProtocolError alone pass; None when it was raised."""
    try:
        return CODEC.decode(frames, KINDS)
    except ProtocolError as error:
        assert str(error)
        return None


def damaged(before: list[bytes], dice: Random) -> list[bytes]:
    """Return the frames of a message after something has happened to them."""
    after = list(before)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(after)) if after else 0
        part = after[at] if after else b""
        spot = dice.randrange(len(part)) if part else 0
        match dice.choice(["flip", "cut", "insert", "drop", "repeat", "swap", "move"]):
            case "flip" if part:
                after[at] = part[:spot] + bytes([part[spot] ^ dice.randint(1, 255)]) + part[spot + 1 :]
            case "cut" if part:
                after[at] = part[:spot]
            case "insert" if after:
                after[at] = part[:spot] + dice.randbytes(dice.randint(1, 8)) + part[spot:]
            case "drop" if after:
                del after[at]
            case "repeat" if after:
                after.insert(at, part)
            case "swap":
                after.reverse()
            case "move" if at + 1 < len(after) and part:
                after[at : at + 2] = [part[:spot], part[spot:] + after[at + 1]]
    return after


@given(frames=junk)
@example(frames=[])
@example(frames=[b"", b""])
@settings(max_examples=500)
def test_noise_is_no_message(frames: list[bytes]) -> None:
    assert understood(frames) is None


@given(noise=junk)
@settings(max_examples=500)
def test_noise_with_a_true_checksum_raises_nothing_else(noise: list[bytes]) -> None:
    understood(recheck(noise))


@given(code=st.sampled_from(sorted(KINDS)), body=st.binary(max_size=200), third=st.none() | st.binary(max_size=50))
@settings(max_examples=1_000)
def test_any_body_under_a_true_checksum_raises_nothing_else(code: int, body: bytes, third: bytes | None) -> None:
    understood(seal(code, body, *([] if third is None else [third])))


@given(before=frames(), seed=st.integers(0, (1 << 64) - 1))
@settings(max_examples=200)
def test_a_damaged_message_is_never_understood(before: list[bytes], seed: int) -> None:
    dice = Random(seed)
    for _ in range(DAMAGES):
        after = damaged(before, dice)
        assert (understood(after) is not None) == (after == before)


@given(before=frames(), seed=st.integers(0, (1 << 64) - 1))
@settings(max_examples=200)
def test_a_message_changed_before_its_checksum_was_made_raises_nothing_else(before: list[bytes], seed: int) -> None:
    dice = Random(seed)
    for _ in range(DAMAGES):
        understood(recheck(damaged(before, dice)))


class Hostile:
    """Bodies that have broken decoders, each with a `Reply` around it, since that holds anything at all."""

    NESTED_LISTS = b"\x91" * 100_000
    NESTED_MAPS = b"\x81\xa0" * 100_000
    A_LIST_SAID_TO_BE_HUGE = b"\xdd\xff\xff\xff\xff"
    A_MAP_SAID_TO_BE_HUGE = b"\xdf\xff\xff\xff\xff"
    A_TEXT_SAID_TO_BE_HUGE = b"\xdb\xff\xff\xff\xff"
    BYTES_SAID_TO_BE_HUGE = b"\xc6\xff\xff\xff\xff"
    AN_EXTENSION_SAID_TO_BE_HUGE = b"\xc9\xff\xff\xff\xff\x01"
    TEXT_THAT_IS_NONE = b"\xa2\xc3\x28"
    A_MAP_AS_A_KEY = b"\x81\x80\x01"
    A_LIST_AS_A_KEY = b"\x81\x91\x90\x01"
    A_MAP_IN_A_LIST_AS_A_KEY = b"\x81\x91\x80\x01"
    A_TIME_BEYOND_TIME = b"\xd6\xff\xff\xff\xff\xff"
    A_TIME_OF_12_BYTES_BEYOND_TIME = b"\xc7\x0c\xff" + b"\xff" * 12
    A_TIME_OF_THREE_BYTES = b"\xc7\x03\xff\x00\x00\x00"
    A_RESERVED_BYTE = b"\xc1"
    NO_NUMBER = b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"


HOSTILE = {name: value for name, value in vars(Hostile).items() if name.isupper()}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_msgpack_raises_nothing_else(name: str) -> None:
    for code in KINDS:
        understood(seal(code, HOSTILE[name]))
    understood(seal(REPLY, b"\x93\x01\x00" + HOSTILE[name]))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_events_raise_nothing_else(name: str) -> None:
    event = events.Event(1, "c", "n", "0", 1, 0, 0, None, "log", {"x": 4_711})
    topic, body = events.encode(event)
    number = msgspec.msgpack.encode(4_711)
    for hostile in (HOSTILE[name], body.replace(number, HOSTILE[name])):
        assert hostile != body
        try:
            events.decode([topic, hostile])
        except ProtocolError as error:
            assert str(error)


@given(frames=junk)
def test_noise_is_no_event(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        events.decode(frames)


@given(
    data=st.dictionaries(st.text(max_size=5), st.integers(0, 5) | st.text(max_size=5), max_size=4), seq=st.integers(1)
)
def test_an_event_comes_back_as_it_was(data: dict[str, Any], seq: int) -> None:
    event = events.Event(1, "c", "n1", "0f", seq % (1 << 63), 5, 2, "leader", "log", data)
    frames = events.encode(event)
    assert frames[0] == b"n1/log"
    assert events.decode(frames) == event


def test_a_message_of_more_than_16_mib_is_refused_however_it_is_cut() -> None:
    half = FRAME_BYTES_MAX // 2
    with pytest.raises(ProtocolError, match="over 16 MiB"):
        CODEC.decode(seal(35, bytes(half), bytes(half)), KINDS)
