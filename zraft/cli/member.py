"""``zraft member``: who takes part in the cluster, and changes of it.

These commands change the membership alone. Nodes of a cluster on this machine are started and stopped with it by
``zraft cluster add`` and ``remove``.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.client.client import Client
from zraft.config import Config
from zraft.errors import ConfigError, InvalidRequest
from zraft.monitor.table import Line, grid, text_or_dash
from zraft.raft.types import Endpoints, NodeId
from zraft.requests import Member, Members
from zraft.supervisor.output import wants_colour

app = typer.Typer(add_completion=False, no_args_is_help=True)

_HEADERS = ("NODE", "ROLE", "LEADER", "LOG", "ANSWERS", "PEER", "NOTE")
Name = Annotated[str, typer.Argument(metavar="NODE", show_default=False)]
Names = Annotated[list[str], typer.Argument(metavar="NODE...", show_default=False)]
Peer = Annotated[str | None, typer.Option(metavar="ENDPOINT", help="Where other nodes reach it.")]
ForClients = Annotated[str | None, typer.Option("--client", metavar="ENDPOINT", help="Where clients reach it.")]
ForMonitors = Annotated[str | None, typer.Option("--events", metavar="ENDPOINT", help="Where monitors subscribe.")]
Manual = Annotated[
    bool | None,
    typer.Option("--manual/--auto", help="Promote it by hand, or once it has caught up. Else membership.promote."),
]


@app.callback()
def _member() -> None:
    """Show and change who takes part in the cluster; exit code 2 for a change that would lose the quorum."""


@app.command("list")
def list_members(config_file: ConfigFile = None, timeout: Timeout = 5.0, as_json: AsJson = False) -> None:
    """Show who takes part, as the leader sees it."""
    with _client(find_config(config_file), timeout) as client:
        show(client.members.list(), as_json=as_json)


@app.command()
def add(
    node: Name,
    *,
    peer: Peer = None,
    for_clients: ForClients = None,
    for_monitors: ForMonitors = None,
    manual: Manual = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Let NODE join, which runs already: zraft node run --join. The leader makes it a voter once it has caught up.

    Where it is reached is taken from the configuration, if that names it.
    """
    config = find_config(config_file)
    endpoints = endpoints_of(config, node, peer, for_clients, for_monitors)
    with _client(config, timeout) as client:
        known = client.members.add(node, endpoints, manual=_is_manual(config, manual))
    show(known, as_json=as_json)


@app.command()
def remove(nodes: Names, config_file: ConfigFile = None, timeout: Timeout = 5.0, as_json: AsJson = False) -> None:
    """Have members leave, all in one change; the leader, too. Their processes go on, and take part in nothing.

    Exit code 2 when one of them is no member, and then nobody leaves.
    """
    with _client(find_config(config_file), timeout) as client:
        _check_known(client, nodes)
        show(client.members.remove(*nodes), as_json=as_json)


@app.command()
def promote(nodes: Names, config_file: ConfigFile = None, timeout: Timeout = 5.0, as_json: AsJson = False) -> None:
    """Make voters of learners, all in one change."""
    with _client(find_config(config_file), timeout) as client:
        show(client.members.promote(*nodes), as_json=as_json)


@app.command()
def replace(
    old: Annotated[str, typer.Argument(metavar="OLD", show_default=False)],
    new: Annotated[str | None, typer.Argument(metavar="[NEW]", show_default=False)] = None,
    *,
    peer: Peer = None,
    for_clients: ForClients = None,
    for_monitors: ForMonitors = None,
    manual: Manual = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Have NEW, which runs already, take the place of OLD in the very change that makes NEW a voter.

    Without NEW, a member that has lost its data begins anew in its own place; one that has its data stays as it is.
    """
    config = find_config(config_file)
    if new is None and (peer or for_clients or for_monitors):
        raise ConfigError(
            "--peer, --client and --events say where NEW is reached; name it: zraft member replace OLD NEW"
        )
    endpoints = None if new is None else endpoints_of(config, new, peer, for_clients, for_monitors)
    with _client(config, timeout) as client:
        _check_known(client, [old], instead=new)
        if new is None or endpoints is None:
            known = client.members.renew(old)
        else:
            known = client.members.add(new, endpoints, manual=_is_manual(config, manual), replaces=old)
    show(known, as_json=as_json)


def _check_known(client: Client, nodes: Sequence[NodeId], instead: NodeId | None = None) -> None:
    """Refuse names that are no member's, lest a slip looks like success; unless `instead` votes in their place already."""
    roles = {each.node: each.role for each in client.members.list().members}
    members = list(roles)
    unknown = [node for node in nodes if node not in roles]
    if unknown and roles.get(instead or "") != "voter":
        raise InvalidRequest(f"{', '.join(unknown)}: no such member; there are {', '.join(members)}")


def endpoints_of(
    config: Config, node: NodeId, peer: str | None, for_clients: str | None, for_monitors: str | None
) -> Endpoints:
    """Return where a node is reached: as the options say, else as the configuration does.

    Raises
    ------
    ConfigError
        Neither says it.
    """
    listed = next((each for each in config.nodes if each.id == node), None)
    given = (peer, for_clients, for_monitors)
    known = (None, None, None) if listed is None else (listed.peer, listed.client, listed.events)
    found = [option or other for option, other in zip(given, known, strict=True)]
    missing = [f"--{name}" for name, value in zip(("peer", "client", "events"), found, strict=True) if value is None]
    if missing:
        raise ConfigError(f"{config.path} does not name {node}: say where it is reached, with {', '.join(missing)}")
    return Endpoints(*(value or "" for value in found))


def show(known: Members, *, as_json: bool) -> None:
    """Print the membership."""
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(as_keys(known)), indent=2).decode())
        return
    rows = [_line(each, known) for each in known.members]
    print("\n".join(grid(_HEADERS, rows, colour=wants_colour(sys.stdout.fileno(), os.environ))))
    if known.changing:
        print("a change is under way")


def as_keys(known: Members) -> dict[str, Any]:
    """Return the keys of ``zraft member list --json``."""
    keys: dict[str, Any] = msgspec.to_builtins(known)
    for each in keys["members"]:
        endpoints = each.pop("endpoints")
        each["endpoints"] = (
            None if endpoints is None else dict(zip(("peer", "client", "events"), endpoints, strict=True))
        )
    return keys


def _line(member: Member, known: Members) -> Line:
    notes = [f"in place of {member.replaces}"] if member.replaces else []
    notes += ["waits for zraft member promote"] if member.promote == "manual" else []
    notes += [f"has lost its data: zraft member replace {member.node}"] if member.lost_data else []
    cells = (
        member.node,
        member.role,
        "yes" if member.leader else "no",
        f"{member.match_index}/{known.last_index}",
        "yes" if member.answers else "no",
        text_or_dash(member.endpoints and member.endpoints.peer),
        "; ".join(notes),
    )
    return Line(cells, "leader" if member.leader else "" if member.answers else "down")


def _client(config: Config, timeout_s: float) -> Client:
    return Client(config, timeout_s=timeout_s)


def _is_manual(config: Config, option: bool | None) -> bool:
    return config.membership.promote == "manual" if option is None else option
