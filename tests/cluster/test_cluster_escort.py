"""The escort on real nodes: what its predecessor showed, from the shell."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from typing import Any

import pytest
from awaiting import PATIENCE_S, eventually
from cluster_rig import ZRAFT, Clusters

pytestmark = pytest.mark.processes


def shown(shared: Clusters, line: str) -> Any:
    """Return what ``zraft escort LINE --json`` prints."""
    return json.loads(shared.run("escort", *line.split(), "--json").stdout)


def places(shared: Clusters) -> dict[str, Any]:
    return {each["node"]: each["position"] for each in shown(shared, "positions")}


def leader_of(shared: Clusters) -> str:
    (leader,) = (each["node"] for each in shown(shared, "positions") if each["role"] == "leader")
    return leader


def newest(shared: Clusters) -> int:
    """Return the number of the newest step."""
    return max((row["step"] for row in shown(shared, "history")), default=0)


def test_everybody_has_a_place_within_fifty_units_of_the_leader(shared: Clusters):
    found = shown(shared, "positions")
    assert [each["node"] for each in found] == ["n1", "n2", "n3"]
    assert sorted(each["role"] for each in found) == ["follower", "follower", "leader"]
    head = places(shared)[leader_of(shared)]
    assert len({tuple(each["position"]) for each in found}) == 3
    for each in found:
        assert all(abs(own - its) <= 50 for own, its in zip(each["position"], head, strict=True))


def test_a_move_moves_all_by_the_same_and_is_a_row_of_the_history(shared: Clusters):
    before = places(shared)
    step = newest(shared)
    shared.run("escort", "move", "-1", "0.5")
    shared.run("escort", "move", "--", "-1", "0")
    after = places(shared)
    assert after == {node: [x - 2, y + 0.5] for node, (x, y) in before.items()}
    leader = leader_of(shared)
    rows = shown(shared, "history")[step:]
    term = shared.status()[leader]["term"]
    x, y = before[leader]
    assert rows == [
        {"step": step + 1, "term": term, "leader": leader, "move": [-1, 0.5], "leader_position": [x - 1, y + 0.5]},
        {"step": step + 2, "term": term, "leader": leader, "move": [-1, 0], "leader_position": [x - 2, y + 0.5]},
    ]


def test_a_march_arrives_and_says_so(shared: Clusters):
    x, y = places(shared)[leader_of(shared)]
    step = newest(shared)
    printed = shared.run("escort", "march", "--to", str(x - 20), str(y), "--every-ms", "10").stdout.splitlines()
    assert printed[-1] == f"arrived at [{x - 20}, {y}] after 20 steps"
    rows = shown(shared, "history")[step:]
    assert [row["step"] for row in rows] == list(range(step + 1, step + 21))
    assert [row["leader_position"] for row in rows] == [[x - taken, y] for taken in range(1, 21)]


@pytest.mark.alone
def test_a_new_leader_takes_the_heads_place_and_the_march_goes_on(shared: Clusters):
    before, head = places(shared), leader_of(shared)
    x, y = before[head]
    going = shown(shared, f"march --to {x + 60} {y} --every-ms 50 --detach")
    shared.say("kill", "leader")
    shared.leader()
    ended = eventually("it arrives", lambda: [line for line in table(shared) if "arrived" in line])
    assert ended == [f"march {going['number']} to [{x + 60}, {y}]: arrived after 60 steps"]
    after, new = places(shared), leader_of(shared)
    assert new != head
    assert after[new] == [x + 60, y]
    assert after[head] == [before[new][0] + 60, before[new][1]]
    rows = shown(shared, "history")[-60:]
    assert [row["leader_position"] for row in rows] == [[x + taken, y] for taken in range(1, 61)]
    assert {row["leader"] for row in rows} >= {new}


def table(shared: Clusters) -> list[str]:
    return shared.run("escort", "positions").stdout.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_draws_on_the_terminal_and_gives_it_back(shared: Clusters, number: int):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 110, 0, 0))
    process = subprocess.Popen(
        [*ZRAFT, "escort", "positions", "--watch"],
        cwd=shared.place,
        env=shared.environment | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    try:
        while b"\x1b[J" not in drawn:
            assert select.select([ours], [], [], PATIENCE_S)[0], drawn
            drawn += os.read(ours, 1 << 16)
        process.send_signal(number)
        while b"\x1b[?1049l" not in drawn:
            assert select.select([ours], [], [], PATIENCE_S)[0], drawn
            drawn += os.read(ours, 1 << 16)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = drawn.decode()
    assert text.startswith("\x1b[?1049h")
    assert f"@ {leader_of(shared)}" in text
    assert text.count("NODE  ROLE") >= 1
    assert "Traceback" not in text


def test_watching_without_a_terminal_prints_what_changes(shared: Clusters):
    process = subprocess.Popen(
        [*ZRAFT, "escort", "positions", "--watch", "--json"],
        cwd=shared.place,
        env=shared.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as lines:
        first = json.loads(lines.readline())
        shared.run("escort", "move", "0", "1")
        second = json.loads(lines.readline())
        process.send_signal(signal.SIGTERM)
        assert lines.read() == ""
    assert process.wait(PATIENCE_S) == 0
    moved = [{**each, "position": [each["position"][0], each["position"][1] + 1]} for each in first]
    assert second == moved == shown(shared, "positions")
