"""``zraft kv``: the key-value store from the command line."""

import base64
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zraft.cli.find import find_config
from zraft.cli.options import NUMBER_MAX
from zraft.client.client import Client
from zraft.errors import ConfigError, NotFound
from zraft.machines.kv.commands import KeyValue, printable

app = typer.Typer(add_completion=False, no_args_is_help=True)

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Else ZRAFT_CONFIG, .zraft/cluster.yaml, config/cluster.yaml."),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="Give up after this long.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Key = Annotated[str, typer.Argument(metavar="KEY")]
IfValue = Annotated[str | None, typer.Option("--if-value", metavar="OLD", help="Only if that is its value.")]
FromFollower = Annotated[bool, typer.Option("--from-follower", help="Ask a node that need not lead; linearizable too.")]
Stale = Annotated[bool, typer.Option("--stale", help="Ask any node for what it has, however old.")]
Node = Annotated[str | None, typer.Option("--node", metavar="NODE", help="Ask this node alone, whoever leads.")]
IfRevision = Annotated[
    int | None, typer.Option("--if-revision", min=1, max=NUMBER_MAX, metavar="N", help="Only if put there.")
]


@app.callback()
def _kv() -> None:
    """Read and write the key-value store."""


@app.command()
def put(
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="- reads it from standard input, byte for byte.")],
    *,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Only if there is no such key.")] = False,
    if_value: IfValue = None,
    if_revision: IfRevision = None,
    node: Node = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Set KEY to VALUE; prints the new revision. Before a VALUE that begins with a dash, write --.

    With a condition, exit code 1 says that it is false and nothing has changed.
    """
    raw = sys.stdin.buffer.read() if value == "-" else _raw(value)
    expected = _expected(if_value, if_revision, if_absent)
    with _client(config_file, timeout, node) as client:
        if if_absent or expected is not None:
            revision = _compare_and_set(client, key, expected, raw)
        else:
            revision = client.kv.put(_raw(key), raw)
    print(json.dumps({**_field("key", _raw(key)), "revision": revision}) if as_json else revision)


@app.command()
def get(
    key: Key,
    *,
    from_follower: FromFollower = False,
    stale: Stale = False,
    node: Node = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print the value of KEY, byte for byte, with a newline behind it on a terminal; exit code 1 when there is none."""
    with _client(config_file, timeout, node) as client:
        entry = client.kv.entry(_raw(key), from_follower=from_follower, stale=stale)
    if entry is None:
        raise _missing(key)
    if as_json:
        print(json.dumps(_shown(entry)))
        return
    sys.stdout.buffer.write(entry.value + (b"\n" if sys.stdout.isatty() else b""))
    sys.stdout.buffer.flush()


@app.command()
def delete(
    key: Key,
    *,
    if_value: IfValue = None,
    if_revision: IfRevision = None,
    node: Node = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Remove KEY; exit code 1 when there is none, or a condition is false."""
    expected = _expected(if_value, if_revision)
    with _client(config_file, timeout, node) as client:
        if expected is not None:
            existed = _compare_and_set(client, key, expected, None) > 0
        else:
            existed = client.kv.delete(_raw(key))
    if as_json:
        print(json.dumps({**_field("key", _raw(key)), "deleted": existed}))
    if not existed:
        raise _missing(key)


@app.command("list")
def list_entries(
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]")] = "",
    *,
    from_follower: FromFollower = False,
    stale: Stale = False,
    node: Node = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print the keys that begin with PREFIX, one a line, in order; with --json whole entries in one array."""
    with _client(config_file, timeout, node) as client:
        entries = client.kv.list(_raw(prefix), from_follower=from_follower, stale=stale)
    if as_json:
        print(json.dumps([_shown(entry) for entry in entries]))
        return
    for entry in entries:
        print(printable(entry.key))


def _client(config_file: Path | None, timeout_s: float, node: str | None) -> Client:
    return Client(find_config(config_file), timeout_s=timeout_s, node=node)


def _expected(value: str | None, revision: int | None, absent: bool = False) -> bytes | int | None:
    """Return the condition as `compare_and_set` takes it; None for that there must be no key, or for none."""
    if absent + (value is not None) + (revision is not None) > 1:
        raise ConfigError("--if-absent, --if-value and --if-revision: give one of them; see zraft kv put --help")
    return revision if value is None else _raw(value)


def _compare_and_set(client: Client, key: str, expected: bytes | int | None, value: bytes | None) -> int:
    revision = client.kv.compare_and_set(_raw(key), expected, value)
    if revision is None:
        shown = printable(_raw(key))
        raise NotFound(f"{shown}: not as expected, and not changed; zraft kv get {shown} --json shows what it is")
    return revision


def _missing(key: str) -> NotFound:
    return NotFound(f"{printable(_raw(key))}: no such key; zraft kv list shows those that there are")


def _raw(argument: str) -> bytes:
    """Return the bytes that the shell gave: arguments that are not text reach Python as surrogates."""
    return argument.encode("utf-8", "surrogateescape")


def _shown(entry: KeyValue) -> dict[str, Any]:
    """Return an entry for JSON: text where it is text, else base64 under a name that says so."""
    return {
        **_field("key", entry.key),
        **_field("value", entry.value),
        "create_revision": entry.create_revision,
        "mod_revision": entry.mod_revision,
        "version": entry.version,
    }


def _field(name: str, raw: bytes) -> dict[str, str]:
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw).decode()}
