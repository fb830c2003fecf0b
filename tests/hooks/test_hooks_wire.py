"""The lines between node and guard: whatever goes in comes out, and rubbish becomes a sentence."""

import itertools
import json
import os
import re

from hypothesis import example, given
from hypothesis import strategies as st

from zraft.hooks import wire

NUMBERS = st.integers(0, (1 << 63) - 1)
WORDS = st.text(st.characters(exclude_characters="\0"))
RUN_ORDERS = st.fixed_dictionaries(
    {
        "kind": st.just("run"),
        "seq": NUMBERS,
        "event": WORDS,
        "argv": st.lists(WORDS, min_size=1).filter(lambda words: words[0]),
        "env": st.dictionaries(WORDS.filter(lambda name: name and "=" not in name), WORDS),
        "cwd": WORDS,
        "timeout_ms": st.none() | NUMBERS,
        "grace_ms": NUMBERS,
        "deadline_ms": st.none() | NUMBERS,
    }
)
PINGS = st.builds(lambda n: {"kind": "ping", "n": n}, NUMBERS)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(at)]


@given(st.lists(RUN_ORDERS | PINGS, max_size=5), st.lists(NUMBERS, max_size=8))
def test_orders_come_out_as_they_went_in_however_the_bytes_are_cut(orders: list[dict], cuts: list[int]) -> None:
    decoder = wire.Decoder(wire.ORDERS)
    out = []
    for piece in pieces(b"".join(map(wire.encode, orders)), cuts):
        messages, mistakes = decoder.feed(piece)
        assert mistakes == []
        out += messages
    assert out == orders


@given(st.binary(max_size=200), st.lists(NUMBERS, max_size=4))
@example(b"[" * 100_000, [])
@example(b'{"kind":"ping","n":' + b"1" * 5_000 + b"}", [])
@example(b'{"kind":"ping","n":NaN}', [])
def test_rubbish_is_named_and_the_next_line_is_understood(rubbish: bytes, cuts: list[int]) -> None:
    decoder = wire.Decoder(wire.ORDERS)
    messages = []
    for piece in pieces(rubbish + b"\n" + wire.encode({"kind": "ping", "n": 7}), cuts):
        messages += decoder.feed(piece)[0]
    assert messages[-1] == {"kind": "ping", "n": 7}


VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda of: st.lists(of, max_size=4) | st.dictionaries(WORDS, of, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_what_is_no_order_is_refused_in_one_line(value: object) -> None:
    messages, mistakes = wire.Decoder(wire.ORDERS).feed(json.dumps(value).encode() + b"\n")
    assert messages == []
    assert len(mistakes) == 1
    assert len(mistakes[0].splitlines()) == 1


def test_a_line_that_is_too_long_is_refused_without_being_kept() -> None:
    decoder = wire.Decoder(wire.ORDERS)
    mistakes = []
    for _ in range(40):
        mistakes += decoder.feed(b"x" * (1 << 16))[1]
    assert mistakes == [f"a line of more than {wire.MESSAGE_BYTES_MAX} bytes"]
    assert len(decoder._pending) == 0
    assert decoder.feed(b'x\n{"kind":"end"}\n') == ([{"kind": "end"}], [])


def test_an_environment_that_is_no_utf8_survives() -> None:
    text = os.fsdecode(b"caf\xe9")
    order = {"kind": "run", "seq": 1, "event": "leader", "argv": ["/x", text], "env": {"A": text}, "cwd": "/"}
    order |= {"timeout_ms": None, "grace_ms": 1, "deadline_ms": None}
    assert wire.Decoder(wire.ORDERS).feed(wire.encode(order)) == ([order], [])


def test_each_wrong_field_is_named() -> None:
    right = {"kind": "run", "seq": 1, "event": "leader", "argv": ["/x"], "env": {}, "cwd": "/"}
    right |= {"timeout_ms": None, "grace_ms": 1, "deadline_ms": None}
    assert wire.flaw(right, wire.ORDERS) is None
    wrong = {
        "seq": [-1, 1 << 63, "1", None, True, 1.0],
        "event": [None, 1, "a\0b"],
        "argv": [[], [""], "/x", ["/x", "a\0b"], ["/x", 1]],
        "env": [[], {"A": 1}, {"": "x"}, {"A=B": "x"}, {"A": "a\0b"}],
        "cwd": [None, "a\0b"],
        "timeout_ms": [-1, "1", False],
        "grace_ms": [None, -1],
        "deadline_ms": [-1, "1"],
    }
    for name, values in wrong.items():
        for value in values:
            assert wire.flaw(right | {name: value}, wire.ORDERS) == f"run with a wrong {name}"
        without = {key: value for key, value in right.items() if key != name}
        assert wire.flaw(without, wire.ORDERS) == f"run without {name}"
    assert wire.flaw(right | {"user": "x"}, wire.ORDERS) == "run with user"


def test_the_table_in_the_docstring_names_every_kind_and_field() -> None:
    assert wire.__doc__ is not None
    documented = {}
    for kind, fields in re.findall(r"^(\w+)  +((?:[\w, ]|no field)+)(?::|$)", wire.__doc__, re.MULTILINE):
        documented[kind] = set() if fields == "no field" else set(fields.split(", "))
    defined = {kind: set(fields) for kind, fields in {**wire.ORDERS, **wire.REPORTS}.items()}
    assert documented == defined


def test_what_the_pipe_does_not_take_waits_in_order_and_within_bounds() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    writer = wire.Writer(writing, 10_000)
    sent = 0
    while writer.offer({"kind": "pong", "n": sent}):
        sent += 1
    assert 10_000 <= writer.backlog_bytes < 10_100
    decoder = wire.Decoder(wire.REPORTS)
    seen = []
    while len(seen) < sent:
        seen += decoder.feed(os.read(reading, 1 << 16))[0]
        writer.flush()
    assert [message["n"] for message in seen] == list(range(sent))
    os.close(reading)
    writer.put({"kind": "pong", "n": 0})
    assert writer.broken
    assert writer.backlog_bytes == 0
    os.close(writing)
