"""A taken endpoint fails loudly, and a live one is never stolen."""

import os
import re
from pathlib import Path

import pytest
import zmq
from wires import Ends, address, free_port, hello

from zraft.config import Node
from zraft.endpoints import bind
from zraft.errors import ConfigError


def refusal(ends: Ends, endpoint: str) -> str:
    """Return the one line with which a node that cannot have this client endpoint gives up."""
    me = Node("n1", f"ipc://{ends.place}/own.peer", endpoint, f"ipc://{ends.place}/own.events")
    with pytest.raises(ConfigError) as caught:
        ends.station(me)
    (line,) = caught.value.mistakes
    assert line.startswith(endpoint) or endpoint in line
    assert "\n" not in line
    return line


def test_a_port_in_use_is_named_with_what_to_do(ends: Ends) -> None:
    held = ends.one("tcp")
    line = refusal(ends, held.me.client)
    assert "client socket of n1's port is in use by another process" in line
    assert "configure another port" in line


def test_whoever_fails_to_start_lets_go_of_what_it_had_bound(ends: Ends) -> None:
    held = ends.one("tcp")
    for _ in range(2):
        refusal(ends, held.me.client)  # The second time would otherwise meet the peer socket of the first.


def test_a_live_ipc_socket_is_not_stolen(ends: Ends) -> None:
    held = ends.one("ipc")
    line = refusal(ends, held.me.client)
    assert "in use by another process; stop that one, or give this node another endpoint" in line
    client = ends.as_client(held)
    client.send_multipart(hello(1))
    held.until("the first still serves it", lambda: held.asked)


def test_an_ipc_path_left_behind_by_a_killed_process_is_taken_over(ends: Ends, place: Path) -> None:
    me = address("n1", "ipc", place)
    for endpoint in (me.peer, me.client, me.events):
        path = Path(endpoint.removeprefix("ipc://"))
        bound = zmq.Context.instance().socket(zmq.PULL)
        bound.bind(f"{endpoint}.other")
        os.rename(f"{path}.other", path)
        bound.close(0)
        assert path.is_socket()
        path.with_name(path.name + ".lock").touch(0o600)
    station = ends.station(me)
    ends.as_client(station).send_multipart(hello(1))
    station.until("it serves", lambda: station.asked)


@pytest.mark.parametrize("what", ["a file", "a directory", "a link", "a link to a socket", "a pipe"])
def test_a_path_at_which_something_else_lies_is_left_alone(ends: Ends, place: Path, what: str) -> None:
    path = place / "precious"
    match what:
        case "a file":
            path.write_text("precious")
        case "a directory":
            path.mkdir()
        case "a link":
            path.symlink_to(place / "elsewhere")
        case "a link to a socket":
            path.symlink_to(ends.one().me.client.removeprefix("ipc://"))
        case _:
            os.mkfifo(path)
    before = path.lstat()
    line = refusal(ends, f"ipc://{path}")
    assert line == (
        f"ipc://{path}: there is something at the path of the client socket of n1 that is no socket; remove it, or configure"
        " another path"
    )
    assert path.lstat() == before
    assert not path.with_name("precious.lock").exists()


def test_after_a_close_the_same_endpoints_can_be_had_again(ends: Ends) -> None:
    station = ends.one("ipc")
    ends.close(station)
    ends.station(station.me)


def test_sockets_are_for_their_owner_alone(ends: Ends) -> None:
    station = ends.one("ipc")
    for endpoint in (station.me.peer, station.me.client, station.me.events):
        path = Path(endpoint.removeprefix("ipc://"))
        assert path.stat().st_mode & 0o077 == 0
        assert path.with_name(path.name + ".lock").stat().st_mode & 0o077 == 0


def test_a_directory_that_is_missing_is_made_for_the_owner_alone(ends: Ends, place: Path) -> None:
    ends.station(address("n1", "ipc", place / "sockets"))
    assert (place / "sockets").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_open_to_others_is_refused(ends: Ends, place: Path, mode: int) -> None:
    shared = place / "shared"
    shared.mkdir()
    shared.chmod(mode)
    line = refusal(ends, f"ipc://{shared}/s")
    assert f"must belong to you alone: chmod 700 {shared}" in line
    assert list(shared.iterdir()) == []


def test_a_lock_that_is_a_link_is_not_followed(ends: Ends, place: Path) -> None:
    victim = place / "victim"
    (place / "s.lock").symlink_to(victim)
    assert "cannot use this client socket" in refusal(ends, f"ipc://{place}/s")
    assert not victim.exists()


def test_a_directory_that_cannot_be_made(ends: Ends, place: Path) -> None:
    (place / "file").touch()
    line = refusal(ends, f"ipc://{place}/file/s")
    assert re.search(r"cannot use this client socket.*: (Not a directory|File exists): ", line)


def test_an_address_that_is_not_this_machines(ends: Ends) -> None:
    line = refusal(ends, f"tcp://192.0.2.1:{free_port()}")
    assert "this machine does not have the address of the client socket" in line


def test_a_path_that_is_too_long_for_a_socket(ends: Ends, place: Path) -> None:
    line = refusal(ends, f"ipc://{place}/{'x' * 120}")
    assert "cannot bind the client socket" in line


def test_a_failed_bind_gives_its_lock_back(place: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        endpoint = f"ipc://{place}/{'x' * 120}"
        for _ in range(2):
            with pytest.raises(ConfigError, match="cannot bind"):
                bind(pull, endpoint)


def test_the_umask_is_put_back(ends: Ends) -> None:
    before = os.umask(0o022)
    try:
        ends.one("ipc")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
