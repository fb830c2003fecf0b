"""The control socket: what it takes, what it drops, and what a command learns when nobody answers."""

import socket as sockets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from zraft.errors import (
    ConfigError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    ProtocolError,
    StorageError,
    Unavailable,
    ZraftError,
)
from zraft.supervisor.control import Asked, Control, Line, Request, decode_request, listens
from zraft.supervisor.tasks import Answer, Steps, Task, Wait

GARBAGE = [
    [],
    [b""],
    [b"\x00\xff" * 50],
    [b"{}"],
    [b'{"id": 1}'],
    [b'{"id": "1", "verb": "status"}'],
    [b'{"id": 1, "verb": "status", "more": 1}'],
    [b'{"id": 1, "verb": "status"}', b""],
    [b'{"id": 1, "verb": "\xff"}'],
    [b"[" * 60_000],
]


@pytest.fixture
def endpoint(place: Path) -> str:
    return f"ipc://{place}/c.sock"


@pytest.fixture
def control(endpoint: str) -> Iterator[Control]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    served = Control(context, endpoint)
    yield served
    served.close()
    context.destroy(linger=0)


def answer(control: Control, exit_code: int = 0, message: str = "done") -> None:
    assert control.socket.poll(5_000)
    asked = control.receive()
    assert asked is not None
    control.reply(asked, exit_code=exit_code, message=message, result={"verb": asked.request.verb})


def test_a_request_reaches_the_supervisor_and_its_reply_comes_back(control: Control, endpoint: str):
    thread = threading.Thread(target=answer, args=(control,))
    thread.start()
    with Line(endpoint) as line:
        reply = line.ask("kill", "n1", timeout_s=5)
    thread.join(5)
    assert (reply.message, reply.result) == ("done", {"verb": "kill"})


@pytest.mark.parametrize(
    ("code", "kind"), [(1, NotFound), (2, InvalidRequest), (3, Unavailable), (4, OutcomeUnknown), (5, StorageError)]
)
def test_a_refusal_becomes_the_error_with_its_exit_code(
    control: Control, endpoint: str, code: int, kind: type[ZraftError]
):
    thread = threading.Thread(target=answer, args=(control, code, "not so"))
    thread.start()
    with Line(endpoint) as line, pytest.raises(kind, match="not so") as caught:
        line.ask("kill", "n1", timeout_s=5)
    thread.join(5)
    assert caught.value.exit_code == code


@pytest.mark.parametrize("frames", GARBAGE)
def test_garbage_is_no_request(frames: list[bytes]):
    with pytest.raises(ProtocolError):
        decode_request(frames)


def test_garbage_is_counted_and_the_next_request_is_served(control: Control, endpoint: str):
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    for frames in GARBAGE[1:]:
        socket.send_multipart(frames)
    socket.send(b'{"id": 7, "verb": "status"}')
    assert control.socket.poll(5_000)
    asked = None
    deadline = time.monotonic() + 5
    while asked is None and time.monotonic() < deadline:
        asked = control.receive()
    assert asked is not None
    assert asked.request == Request(7, "status")
    assert control.rejected == len(GARBAGE) - 1
    context.destroy(linger=0)


def test_raw_bytes_on_the_socket_change_nothing(control: Control, place: Path, endpoint: str):
    with sockets.socket(sockets.AF_UNIX) as raw:
        raw.connect(str(place / "c.sock"))
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        thread = threading.Thread(target=answer, args=(control,))
        thread.start()
        with Line(endpoint) as line:
            assert line.ask("status", timeout_s=5).message == "done"
        thread.join(5)


def test_a_reply_to_somebody_who_has_gone_is_no_error(control: Control, endpoint: str):
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    socket.send(b'{"id": 1, "verb": "status"}')
    assert control.socket.poll(5_000)
    asked = control.receive()
    assert asked is not None
    context.destroy(linger=0)
    deadline = time.monotonic() + 10
    while has_way_to(control, asked.identity):
        assert time.monotonic() < deadline, "the connection stays"
        control.reply(asked, message="to somebody who is leaving")
        control.socket.poll(10)  # Not in haste: what is awaited is done by a thread that wants the processor too.
    control.reply(asked, message="to nobody")


def has_way_to(control: Control, identity: bytes) -> bool:
    try:
        control.socket.send_multipart([identity, b""], zmq.NOBLOCK)
    except zmq.Again:
        return True
    except zmq.ZMQError as error:
        assert error.errno == zmq.EHOSTUNREACH
        return False
    return True


def test_without_a_supervisor_it_says_so_at_once(endpoint: str):
    before = time.monotonic()
    with Line(endpoint) as line, pytest.raises(Unavailable, match="zraft cluster up"):
        line.ask("status", timeout_s=5)
    assert time.monotonic() - before < 1


def test_a_socket_file_that_was_left_behind_is_nobody(place: Path, endpoint: str):
    with sockets.socket(sockets.AF_UNIX) as left:
        left.bind(str(place / "c.sock"))
    assert (place / "c.sock").exists()
    assert not listens(endpoint)


def test_a_supervisor_that_does_not_answer_leaves_the_outcome_unknown(
    control: Control, endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("zraft.supervisor.control.GRACE_S", 0.05)
    with Line(endpoint) as line:
        with pytest.raises(OutcomeUnknown, match="kill may or may not"):
            line.ask("kill", "n1", timeout_s=0)
        with pytest.raises(Unavailable, match="does not answer"):
            line.ask("status", timeout_s=0)


def test_a_second_one_on_the_same_endpoint_is_refused(control: Control, endpoint: str):
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with pytest.raises(ConfigError, match=r"c\.sock"):
        Control(context, endpoint)
    context.destroy(linger=0)
    assert listens(endpoint)


# Tasks: a verb that waits, in virtual time.


class Door:
    def __init__(self) -> None:
        self.open = False
        self.met: list[bool] = []

    def steps(self) -> Steps:
        self.met.append((yield Wait(lambda: self.open, 1_000)))
        self.met.append((yield Wait(lambda: self.open, 1_000)))
        return Answer("through")


def task(steps: Steps) -> Task:
    return Task(Asked(b"", Request(1, "x")), steps)


def test_a_task_waits_for_its_condition_and_runs_as_far_as_it_can():
    door = Door()
    waiting = task(door.steps())
    waiting.advance(0)
    assert (waiting.ended, waiting.deadline_ms) == (False, 1_000)
    waiting.advance(999)
    assert not waiting.ended
    door.open = True
    waiting.advance(999)
    assert (waiting.ended, door.met) == (True, [True, True])
    assert waiting.answer == Answer("through")


def test_a_task_goes_on_at_its_deadline_and_is_told_so():
    door = Door()
    waiting = task(door.steps())
    waiting.advance(0)
    waiting.advance(1_000)
    assert (door.met, waiting.deadline_ms) == ([False], 2_000)


def test_an_error_ends_a_task():
    def steps() -> Steps:
        yield Wait(lambda: True, 0)
        raise Unavailable("no")

    waiting = task(steps())
    waiting.advance(0)
    assert waiting.ended
    assert isinstance(waiting.error, Unavailable)
