"""A machine that fails: every exception but two is an answer, the same from however deep a stack, and none is told in full to clients."""

import asyncio
import functools
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from zraft.errors import InvalidRequest, ZraftError
from zraft.machines import depth
from zraft.machines.configured import describer
from zraft.machines.failures import told
from zraft.machines.machine import Applied, Errand
from zraft.machines.sessions import Machines, Result
from zraft.raft.types import Entry, EntryKind
from zraft.requests import ANSWERS_BYTES_MAX, BATCH_BYTES_MAX, Answer, Batch, Outcome

encode = msgspec.msgpack.encode


class OwnBase(BaseException):
    """Derives from no Exception."""


class Mute(InvalidRequest):
    """Has no text to give."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Sly(Exception):
    """Calls itself for ever when it is shown."""

    def __str__(self) -> str:
        return str(self)

    __repr__ = __str__


FAILURES: list[BaseException] = [
    OSError(28, "no space"),
    RecursionError("too deep"),
    SystemExit(0),
    GeneratorExit(),
    StopIteration(),
    asyncio.CancelledError(),
    BaseExceptionGroup("both", [SystemExit(1), ValueError()]),
    OwnBase(object()),
    Sly(),
]


class Failing:
    """Raises what it is told to, wherever it is asked, and keeps how deep it got."""

    def __init__(self) -> None:
        self.wrong: BaseException | None = None
        self.wanted: Any = None
        self.reached: list[int] = []

    def apply(self, command: bytes, at: Applied) -> bytes:
        if command == b"dive":
            self.reached.append(0)
            self.dive(1)
        elif command == b"nest":
            return b"%d" % len(json.dumps(nested(400)))
        elif command == b"fail":
            self.fail()
        return command

    def dive(self, depth: int) -> None:
        self.reached[-1] = depth
        self.dive(depth + 1)

    def fail(self) -> None:
        if self.wrong is not None:
            raise self.wrong

    def query(self, query: bytes) -> bytes:
        self.fail()
        return query

    def errand(self, random: Random) -> Errand | None:
        self.fail()
        return self.wanted

    def describe(self, command: bytes) -> str:
        self.fail()
        return "fine"

    def snapshot(self) -> Iterator[bytes]:
        return iter([encode(self.reached)])

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.reached = [each for chunk in chunks for each in msgspec.msgpack.decode(chunk)]


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


class Node:
    """Machines of which one fails, and what was told of it."""

    def __init__(self) -> None:
        self.failing = Failing()
        self.told: list[str] = []
        self.machines = Machines({"m": self.failing}, on_failure=lambda name, error: self.told.append(told(error)))

    def apply(self, *commands: bytes) -> Result:
        data = encode(Batch(0, 0, "m", list(commands)))
        return self.machines.apply(Entry(1, self.machines.index + 1, EntryKind.COMMAND, 0, data))


def failed(error: BaseException) -> bytes:
    return bytes([Answer.INVALID]) + b"the machine m failed: " + type(error).__name__.encode()


def done(value: bytes) -> bytes:
    return bytes([Answer.DONE]) + value


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_is_the_answer_by_its_type_and_ends_no_node(error: BaseException) -> None:
    node = Node()
    node.failing.wrong = error
    assert node.apply(b"a", b"fail", b"b") == Result(Outcome.DONE, [done(b"a"), failed(error), done(b"b")])
    assert node.machines.query("m", b"q") == failed(error)
    assert node.machines.errand("m", Random(1)) is None
    assert len(node.told) == 3
    assert node.told[0].startswith(type(error).__name__)
    describe = describer(node.failing)
    assert describe is not None
    assert describe(b"abc") == f"3 B that describe() fails at: {type(error).__name__}"


def test_a_refusal_that_cannot_say_why_is_a_failure() -> None:
    node = Node()
    node.failing.wrong = Mute()
    assert node.apply(b"fail").value == [failed(SystemExit())]
    assert node.machines.query("m", b"q") == failed(SystemExit())


def test_a_node_without_memory_stops_and_names_the_entry_and_is_not_stopped_by_a_query() -> None:
    node = Node()
    node.apply(b"a")
    node.failing.wrong = MemoryError("12 TiB")
    with pytest.raises(ZraftError) as raised:
        node.apply(b"a", b"fail", b"b")
    assert str(raised.value) == (
        "entry 2 of the log: the machine 'm' had not the memory for command 2 of 3; this node stops rather than differ"
        " from the others: give it more, and start it again"
    )
    assert node.machines.query("m", b"q") == failed(MemoryError())
    assert node.machines.errand("m", Random(1)) is None


def test_whoever_sits_in_front_of_it_may_interrupt_it() -> None:
    node = Node()
    node.failing.wrong = KeyboardInterrupt()
    describe = describer(node.failing)
    assert describe is not None
    asked: list[Callable[[], object]] = [
        lambda: node.apply(b"fail"),
        lambda: node.machines.query("m", b"q"),
        lambda: node.machines.errand("m", Random(1)),
        lambda: describe(b""),
    ]
    for ask in asked:
        with pytest.raises(KeyboardInterrupt):
            ask()


@pytest.fixture
def _as_in_a_node() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_as_in_a_node")
def test_where_no_one_can_interrupt_it_so_it_is_the_machine_that_raises() -> None:
    node = Node()
    node.failing.wrong = KeyboardInterrupt()
    assert node.apply(b"fail", b"a").value == [failed(KeyboardInterrupt()), done(b"a")]
    assert node.machines.query("m", b"q") == failed(KeyboardInterrupt())
    assert node.machines.errand("m", Random(1)) is None
    describe = describer(node.failing)
    assert describe is not None
    assert describe(b"abc") == "3 B that describe() fails at: KeyboardInterrupt"


# -- size --------------------------------------------------------------------------------------------------------------


def too_long(size: int, done: str = "") -> bytes:
    text = f"{done}the machine m answered with {size:,} bytes; {ANSWERS_BYTES_MAX:,} at most for one request"
    return bytes([Answer.INVALID]) + text.encode()


def test_answers_that_no_reply_could_hold_are_named_and_the_others_given() -> None:
    node = Node()
    half = bytes(ANSWERS_BYTES_MAX // 2)
    carried_out = "it was carried out, but "
    answers = [done(half), too_long(2 * len(half) + 2, carried_out), done(b"a")]
    assert node.apply(half, half, b"a").value == answers
    assert node.apply(b"dive").value == [failed(RecursionError())]
    assert node.machines.query("m", half + half) == too_long(len(half) * 2 + 1)
    assert node.machines.query("m", (half + half)[:-1]) == done((half + half)[:-1])
    assert [line.startswith("ValueError: the machine m answered with") for line in node.told] == [True, False, True]


# -- depth -------------------------------------------------------------------------------------------------------------


def below(frames: int, act: Callable[[], Any]) -> Any:
    return act() if frames == 0 else below(frames - 1, act)


def below_c(frames: int, act: Callable[[], Any]) -> Any:
    """Go down through functions written in C as well, which the interpreter may count too."""
    return act() if frames == 0 else functools.reduce(lambda *_: below_c(frames - 1, act), (1, 2))


def in_a_thread(act: Callable[[], Any]) -> Any:
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(act()))
    thread.start()
    thread.join()
    return got[0]


PLACES: list[Callable[[Callable[[], Any]], Any]] = [
    lambda act: act(),
    lambda act: below(10, act),
    lambda act: below(10, act),
    lambda act: below(700, act),
    lambda act: below_c(50, act),
    lambda act: below(100, act),
    in_a_thread,
]


def test_a_machine_may_go_equally_deep_wherever_it_is_called() -> None:
    states = set()
    limit = sys.getrecursionlimit()
    one = Node()
    for place in PLACES:
        node = Node()
        result = place(lambda node=node: node.apply(b"a", b"dive", b"nest", b"dive"))
        assert result.value == [done(b"a"), failed(RecursionError()), done(b"802"), failed(RecursionError())]
        assert place(lambda: one.apply(b"dive")).value == [failed(RecursionError())]
        states.add(b"".join(node.machines.snapshot()))
        assert sys.getrecursionlimit() == limit
    assert len(states) == 1
    assert len(set(one.failing.reached)) == 1, "not from batch to batch of one node either"
    assert depth.FRAMES_MAX - 10 < one.failing.reached[0] <= depth.FRAMES_MAX


def test_the_depth_is_that_of_whoever_asks() -> None:
    first = depth.here()
    assert below(0, depth.here) == first + 1
    assert below(7, depth.here) == below(7, depth.here) == first + 8
    assert depth.here() == first
    assert in_a_thread(depth.here) < first


# -- errands -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        b"command",
        (0, b"command"),
        Errand("now", b""),  # type: ignore[arg-type]
        Errand(0.5, b""),  # type: ignore[arg-type]
        Errand(0, "command"),  # type: ignore[arg-type]
        Errand(1 << 63, b""),
        Errand(0, bytes(BATCH_BYTES_MAX + 1)),
    ],
    ids=lambda wanted: type(wanted).__name__,
)
def test_what_could_not_be_proposed_is_no_errand(wanted: Any) -> None:
    node = Node()
    node.failing.wanted = wanted
    assert node.machines.errand("m", Random(1)) is None
    (line,) = node.told
    assert "errand() gave" in line


def test_what_can_be_proposed_is_an_errand() -> None:
    node = Node()
    for wanted in (None, Errand(0, b""), Errand((1 << 63) - 1, bytes(BATCH_BYTES_MAX))):
        node.failing.wanted = wanted
        assert node.machines.errand("m", Random(1)) is wanted
    assert node.told == []


def test_what_is_told_of_a_failure_is_a_line_of_bounded_length() -> None:
    assert told(ValueError("a\nb\x1b[2J")) == "ValueError: a\\nb\\x1b[2J"
    assert told(Sly()) == "Sly: and its text cannot be had: RecursionError"
    assert len(told(ValueError("x" * 10_000))) == 200
