"""The child that writes a snapshot: what it keeps of the node, how its end is told, and that it never outlives anybody."""

import ctypes
import errno
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from awaiting import alive, eventually

from zraft import snapshotchild
from zraft.errors import StorageError
from zraft.seams import Unsaved
from zraft.snapshotchild import SnapshotChild

PR_GET_PDEATHSIG = 2
ROOT = Path(__file__).parents[2]


def ended(child: SnapshotChild) -> snapshotchild.Outcome:
    """Wait for its end, let go of it, and return what came of it."""
    eventually("the child ends", child.has_ended)
    outcome = child.outcome()
    child.close()
    return outcome


def told(tmp_path: Path, what: Callable[[], object]) -> str:
    """Return what `what` gives in a child."""
    file = tmp_path / "told"
    assert ended(SnapshotChild(lambda: file.write_text(str(what())) and None)) is None
    return file.read_text()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return a pipe by name: to open it for reading is to wait until somebody opens it for writing."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


# -- what it has -------------------------------------------------------------------------------------------------------


def open_files() -> dict[int, str]:
    return {int(name): os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}


def test_it_has_no_descriptor_but_those_that_lead_nowhere(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as port, (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(port.fileno(), True)
        far = os.dup2(lock.fileno(), os.sysconf("SC_OPEN_MAX") - 1)
        try:
            assert len(open_files()) > 5
            found = dict(json.loads(told(tmp_path, lambda: json.dumps([*open_files().items()]))))
        finally:
            os.close(far)
    assert {fd: path for fd, path in found.items() if path == "/dev/null"} == dict.fromkeys(range(3), "/dev/null")
    (listing,) = set(found) - {0, 1, 2}
    assert found[listing].startswith("/proc/"), "what it lists them by"


def test_what_is_printed_in_it_goes_nowhere(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def prints() -> str:
        os.write(1, b"from a state machine")
        os.write(2, b"from below")
        return "done"

    assert told(tmp_path, prints) == "done"
    assert capfd.readouterr() == ("", "")


def test_it_dies_with_whoever_forked_it_and_collects_no_garbage_and_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nicer: list[int] = []
    monkeypatch.setattr(os, "nice", nicer.append)  # Whoever runs these tests may be as nice as can be.

    def particulars() -> tuple[int, bool, list[int]]:
        number = ctypes.c_int()
        ctypes.CDLL(None).prctl(PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
        return number.value, gc.isenabled(), nicer

    assert gc.isenabled()
    assert told(tmp_path, particulars) == str((signal.SIGKILL.value, False, [19]))


def test_signals_have_their_default_effect_but_those_that_ask_to_stop(tmp_path: Path) -> None:
    def handlers() -> list[tuple[int, int]]:
        catchable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        odd = [(int(each), signal.getsignal(each)) for each in catchable if signal.getsignal(each) != signal.SIG_DFL]
        return [*sorted(odd), *signal.pthread_sigmask(signal.SIG_BLOCK, ())]  # type: ignore[list-item]

    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        expected = [(each.value, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)]
        assert told(tmp_path, handlers) == str(expected)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set(), "and here they are as they were"


def test_it_has_the_state_as_it_was(tmp_path: Path, gate: Path) -> None:
    state = {"as": "it was"}

    def write() -> None:
        gate.read_bytes()
        (tmp_path / "told").write_text(str(state))

    child = SnapshotChild(write)
    state["as"] = "it became"
    gate.write_bytes(b"")
    assert ended(child) is None
    assert (tmp_path / "told").read_text() == "{'as': 'it was'}"


def test_only_the_main_thread_forks_it() -> None:
    """The kernel has a child die with the thread that forked it, not with the process."""
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            SnapshotChild(lambda: None)
        except AssertionError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert raised


# -- how it ends -------------------------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[[], None]:
    def write() -> None:
        raise error

    return write


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_what_the_system_refused_is_told_by_its_number(code: int) -> None:
    outcome = ended(SnapshotChild(raising(OSError(code, "said the disk", "/a/file"))))
    assert isinstance(outcome, OSError)
    assert (outcome.errno, outcome.strerror) == (code, os.strerror(code))


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a state\0 that\ud800 can't be written"), r"ValueError: a state that\ud800 can't be written"),
        (SystemExit(0), "SystemExit: 0"),
        (KeyError("x" * 100_000), "KeyError: 'xxx"),
        (OSError("no number"), "OSError: no number"),
        (Unspeakable(), "Unspeakable"),
    ],
    ids=["text", "exit", "long", "no errno", "unspeakable"],
)
def test_a_mistake_in_a_machine_is_told_in_words(error: BaseException, words: str) -> None:
    outcome = ended(SnapshotChild(raising(error)))
    assert isinstance(outcome, StorageError)
    assert str(outcome).startswith(f"a snapshot can't be written: {words}")


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")])
def test_want_of_memory_is_no_fault_of_the_disk(error: BaseException) -> None:
    assert ended(SnapshotChild(raising(error))) == Unsaved("the process that wrote it had not the memory")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGRTMIN + 3])
def test_whoever_kills_it_is_told_of(gate: Path, number: int) -> None:
    name = {signal.SIGKILL: "SIGKILL", signal.SIGSEGV: "SIGSEGV"}.get(number, f"signal {int(number)}")  # type: ignore[call-overload]
    child = SnapshotChild(lambda: gate.read_bytes() and None)
    assert not child.has_ended()
    os.kill(child.pid, number)
    assert ended(child) == Unsaved(f"the process that wrote it was ended by {name}")


def test_signals_that_ask_to_stop_are_left_to_the_node(tmp_path: Path, gate: Path) -> None:
    ready = tmp_path / "ready"

    def write() -> None:
        ready.touch()
        gate.read_bytes()

    child = SnapshotChild(write)
    eventually("it has come to its work", ready.exists)
    os.kill(child.pid, signal.SIGINT)
    os.kill(child.pid, signal.SIGTERM)
    gate.write_bytes(b"")
    assert ended(child) is None


def test_its_end_is_heard_of_though_children_are_ignored_here() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert ended(SnapshotChild(lambda: None)) is None
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_whoever_lets_go_of_it_ends_it(gate: Path) -> None:
    child = SnapshotChild(lambda: gate.read_bytes() and None)
    child.close()
    assert not Path(f"/proc/{child.pid}").exists(), "not even as something that nobody has collected"


def test_a_child_that_cannot_be_watched_is_none(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def refuse(pid: int) -> int:
        pids.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        SnapshotChild(lambda: gate.read_bytes() and None)
    assert not Path(f"/proc/{pids[0]}").exists()


def test_a_child_whose_node_has_died_before_it_could_arrange_to_die_too_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 1 << 22)
        child = SnapshotChild((tmp_path / "told").touch)
    outcome = ended(child)
    assert isinstance(outcome, OSError) and outcome.errno == errno.ESRCH
    assert not (tmp_path / "told").exists()


FORKS = """
import sys, time
from pathlib import Path
from zraft.snapshotchild import SnapshotChild
child = SnapshotChild(lambda: Path(sys.argv[1]).read_bytes() and None)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.processes
def test_it_dies_with_a_node_that_is_killed(gate: Path) -> None:
    command = [sys.executable, "-c", FORKS, str(gate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as node:
        assert node.stdout is not None
        pid = int(node.stdout.readline())
        assert alive(pid)
        node.kill()
        eventually("its child is gone", lambda: not alive(pid), within_s=5)
