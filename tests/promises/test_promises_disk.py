"""What is acknowledged survives disks that fail, stall, fill up or rot under some node, and nodes killed at any moment."""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from promises_rig import LIMIT_S, NODES, Cluster, Led, Worker, figures, size, wait_for

from zraft import Client
from zraft.raft.types import NodeId
from zraft.storage.records import turns
from zraft.storage.segments import segment_name, serial_of

pytestmark = [pytest.mark.processes, pytest.mark.timeout(LIMIT_S)]

KILLS = size(20, 1_000)
"""Nodes killed while segments follow each other."""
FLIPS = size(3, 12)
FAULTY = Path(__file__).parent / "faulty_disk"
THREE = NODES[:3]
SEGMENT_BYTES = 1 << 16
"""The least: a segment is full after some dozens of puts."""


class Ledger:
    """Puts one key after the other, and knows which were acknowledged."""

    def __init__(self, client: Client, times: int) -> None:
        self._client = client
        self._times = times
        """How often each value repeats its key."""
        self.acknowledged: dict[str, bytes] = {}

    def step(self) -> None:
        """Put the next one, for as long as it takes."""
        key = f"key-{len(self.acknowledged):06d}"
        value = key.encode() * self._times
        self._client.kv.put(key, value)
        self.acknowledged[key] = value

    def await_more(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        goal = len(self.acknowledged) + count
        wait_for(f"{count} more puts", lambda: len(self.acknowledged) >= goal or None)

    def check(self, client: Client) -> None:
        """All of them are there."""
        found = {entry.key.decode(): entry.value for entry in client.kv.list("key-")}
        missing = [key for key, value in self.acknowledged.items() if found.get(key) != value]
        assert not missing, f"acknowledged, and not there: {missing}"


@contextmanager
def written(cluster: Cluster, times: int = 100) -> Iterator[Ledger]:
    """Have keys written all the while."""
    with cluster.client() as client:
        ledger = Ledger(client, times)
        with Worker(ledger.step):
            ledger.await_more(20)
            yield ledger


def started(cluster: Cluster, **environment: str) -> Led:
    """Bring three nodes up whose disks may be told to fail; return who leads."""
    place = cluster.place
    place.environment |= {"FAULTY_DISK": str(place.path), "PYTHONPATH": f"{FAULTY}:{place.environment['PYTHONPATH']}"}
    place.environment |= environment
    cluster.up(nodes=3)
    return cluster.whole(3)


def failed(cluster: Cluster, node: NodeId) -> str:
    """Wait until a node has ended because of its disk; return what is said of that."""
    return wait_for(f"{node} has failed", lambda: why_failed(cluster, node) or None)


def why_failed(cluster: Cluster, node: NodeId) -> str:
    """Return what `zraft cluster status` says of a node that has failed; nothing of any other."""
    row = next(line for line in cluster.say("status").splitlines() if line.startswith(f"{node} "))
    _, state, _, _, _, _, _, *why = row.split()
    return " ".join(why) if state in ("failed", "backoff") else ""


def told_by(cluster: Cluster, node: NodeId) -> str:
    return said(cluster, node) + why_failed(cluster, node)


def said(cluster: Cluster, node: NodeId) -> str:
    """Return what a node has logged."""
    return "".join(file.read_text() for file in cluster.directory.rglob(f"{node}.log"))


def test_a_sync_that_fails_once_ends_the_node_and_is_not_tried_again(cluster: Cluster) -> None:
    started(cluster)
    with written(cluster) as ledger:
        for node in THREE:
            order = cluster.place.path / f"{node}.fail"
            order.touch()
            wait_for(f"{node} has failed", lambda order=order: not order.exists() or None)
            why = failed(cluster, node)
            assert why.startswith("cannot write ")
            assert "Input/output error; find the cause" in why
            ledger.await_more(20)
            cluster.say("start", node)
            cluster.whole(3)
    with cluster.client() as client:
        ledger.check(client)
    figures("a sync that fails", f"three nodes, one after the other; {len(ledger.acknowledged):,} puts, none lost")


@pytest.mark.alone
def test_another_leads_within_three_seconds_of_a_stall_of_the_leaders_disk(cluster: Cluster) -> None:
    led = started(cluster)
    took = []
    for _ in range(size(2, 5)):
        with written(cluster):
            stall = cluster.place.path / f"{led.node}.stall"
            stall.touch()
            began = time.monotonic()
            before, led = led, cluster.led(led)
            took.append(time.monotonic() - began)
            assert led.node != before.node
            stall.unlink()
        led = cluster.whole(3)
    figures("a stalled disk", f"another leads after {', '.join(f'{seconds:.2f}' for seconds in took)} s")
    assert max(took) < 3


@pytest.mark.timeout(2 * LIMIT_S)  # Each kill takes three commands, whose start alone takes a second on a busy machine.
def test_nodes_killed_while_segments_follow_each_other_lose_nothing(cluster: Cluster) -> None:
    started(cluster, ZRAFT_STORAGE_SEGMENT_BYTES=str(SEGMENT_BYTES))
    chosen = random.Random(5)
    with written(cluster) as ledger:
        for _ in range(KILLS):
            ledger.await_more(chosen.randint(1, 20))
            cluster.kill(chosen.choice(THREE))
        ledger.await_more(20)
    cluster.whole(3)
    with cluster.client() as client:
        ledger.check(client)
    cluster.say("down")
    for node in THREE:
        assert "all of it is intact" in cluster.place.zraft("log", "verify", cluster.directory / "data" / node)
        newest = max(serials(cluster.directory / "data" / node))
        assert newest > 10, "segments have followed each other"
    figures(
        "kills", f"{KILLS:,} while segments of 64 KiB follow each other; {len(ledger.acknowledged):,} puts, none lost"
    )


def serials(directory: Path) -> list[int]:
    return [serial for path in directory.iterdir() if (serial := serial_of(path.name)) is not None]


def flip(directory: Path, chosen: random.Random, *, last: bool) -> str:
    """Flip a bit in a log at rest: in the last write of all, or in any other; return where."""
    for serial in sorted(serials(directory), reverse=True):
        path = directory / segment_name(serial)
        data = bytearray(path.read_bytes())
        found = list(turns(bytes(data), serial))
        if found and (last or len(found) > 1):
            turn = found[-1] if last else chosen.choice(found[:-1])
            offset = chosen.randrange(turn.offset, turn.records[-1].end)
            data[offset] ^= 1 << chosen.randrange(8)
            path.write_bytes(data)
            return f"{path.name} at {offset}"
    raise AssertionError("nothing was ever written")


def test_a_bit_that_flips_on_one_of_three_costs_nothing_acknowledged(cluster: Cluster) -> None:
    """The node says so; whichever of the others leads then has everything, also when the leader of before is the one hit."""
    led, chosen = started(cluster), random.Random(7)
    for number in range(FLIPS):
        with written(cluster) as ledger:
            pass
        cluster.say("down")
        hit = led.node if number % 2 == 0 else chosen.choice(THREE)
        where = flip(cluster.directory / "data" / hit, chosen, last=number % 3 != 2)
        cluster.up(nodes=3)
        wait_for(f"{hit} tells of {where}", lambda hit=hit: "damaged at offset" in told_by(cluster, hit) or None)
        with cluster.client() as client:
            ledger.check(client)
        state = cluster.processes()[hit]["state"]
        if state == "running":
            led = cluster.whole(3)
            assert "holds again what its disk had lost" in said(cluster, hit) or "no entry that this node" in said(
                cluster, hit
            )
            continue
        cluster.say("down")  # It refuses its log: give it another directory, and take it up anew.
        os.rename(cluster.directory / "data" / hit, cluster.place.path / f"{hit}-{number}")
        cluster.up(nodes=3)
        wait_for(f"{hit} is found to have lost its data", lambda hit=hit: data_lost(cluster, hit) or None)
        cluster.place.zraft("member", "replace", hit, "--config", cluster.file)
        led = wait_for(f"{hit} votes again", lambda: cluster._agreed(3))
    figures("bits", f"{FLIPS} flipped on one of three nodes at rest: each was told of, and nothing lost")


def data_lost(cluster: Cluster, node: NodeId) -> bool:
    with cluster.client() as client:
        return any(member.node == node and member.lost_data for member in client.members.list().members)


@pytest.mark.skipif(os.geteuid() != 0, reason="ONLY ROOT MAY MOUNT: a full disk is not tried")
def test_a_node_whose_disk_is_full_says_so_and_comes_back_with_space(cluster: Cluster) -> None:
    data = cluster.directory / "data" / "n2"
    data.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", data], check=False, capture_output=True
    ).returncode:
        pytest.skip("NO MOUNT: this root may not mount a tmpfs, a full disk is not tried")
    try:
        started(cluster, ZRAFT_STORAGE_SEGMENT_BYTES=str(SEGMENT_BYTES))
        with written(cluster, times=1_500) as ledger:
            assert "No space left on device; free some space" in failed(cluster, "n2")
            ledger.await_more(50)
        subprocess.run(["mount", "-o", "remount,size=64m", data], check=True)
        cluster.say("start", "n2")  # Now, rather than when it is tried again by itself.
        cluster.whole(3)
        with cluster.client() as client:
            ledger.check(client)
        cluster.say("down")
        assert "all of it is intact" in cluster.place.zraft("log", "verify", data)
    finally:
        subprocess.run(["umount", "-l", data], check=True)
    figures(
        "a full disk", f"{len(ledger.acknowledged):,} puts, none lost; the node is back with them once there is space"
    )
