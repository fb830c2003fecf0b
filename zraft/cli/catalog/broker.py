"""``zraft catalog broker``."""

from typing import Annotated

import typer

from zraft.cli.catalog import asking, show
from zraft.cli.catalog.keys import BrokerId, BrokerWord, Uuid, broker_key
from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.client.client import Client

app = typer.Typer(add_completion=False, no_args_is_help=True)

Host = Annotated[str | None, typer.Option(metavar="HOST", help="Where it listens.")]
Port = Annotated[int | None, typer.Option(metavar="PORT", help="1 to 65535.")]
SecurityProtocol = Annotated[str | None, typer.Option(metavar="WORD", help="PLAINTEXT unless another is named.")]
RackId = Annotated[str | None, typer.Option(metavar="TEXT", help="Where it stands.")]
Status = Annotated[str | None, typer.Option(metavar="WORD", help="ALIVE at first; FENCED, or whatever you call it.")]


@app.callback()
def _broker() -> None:
    """Register, show, change and delete brokers."""


@app.command()
def register(
    *,
    broker_id: Annotated[int, typer.Option(metavar="ID", help="Its number: 0 or more.")],
    host: Annotated[str, typer.Option(metavar="HOST", help="Where it listens.")],
    port: Annotated[int, typer.Option(metavar="PORT", help="1 to 65535.")],
    security_protocol: SecurityProtocol = None,
    rack_id: RackId = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Add a broker and print its uuid; one that has this number already stays as it is, and its uuid is printed."""
    with Client(find_config(config_file), timeout_s=timeout) as client:
        record = client.catalog.broker.register(broker_id, host, port, security_protocol or "PLAINTEXT", rack_id or "")
    given = {"host": host, "port": port, "security_protocol": security_protocol, "rack_id": rack_id}
    show.registered(record, given, as_json=as_json)


@app.command()
def get(
    *,
    broker: BrokerWord = None,
    broker_id: BrokerId = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print a broker; exit code 1 when there is none."""
    key = broker_key(broker, broker_id, uuid)
    asking.one(key, lambda catalog: catalog.broker.get(key.broker), config_file, timeout, as_json)


@app.command("list")
def list_brokers(config_file: ConfigFile = None, timeout: Timeout = 5.0, as_json: AsJson = False) -> None:
    """Print all brokers, in the order of their numbers."""
    asking.many(lambda catalog: catalog.broker.list(), None, config_file, timeout, as_json)


@app.command()
def change(
    *,
    broker: BrokerWord = None,
    broker_id: BrokerId = None,
    uuid: Uuid = None,
    host: Host = None,
    port: Port = None,
    security_protocol: SecurityProtocol = None,
    rack_id: RackId = None,
    status: Status = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Merge fields into a broker's registration, raise its epoch, and print it; exit code 1 when there is none.

    The change itself is kept too: zraft catalog fetch shows it.
    """
    key = broker_key(broker, broker_id, uuid)
    asking.one(
        key,
        lambda catalog: catalog.broker.change(
            key.broker, host=host, port=port, security_protocol=security_protocol, rack_id=rack_id, status=status
        ),
        config_file,
        timeout,
        as_json,
    )


@app.command()
def delete(
    *,
    broker: BrokerWord = None,
    broker_id: BrokerId = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Remove a broker and print it as it was; refused while partitions or producers refer to it."""
    key = broker_key(broker, broker_id, uuid)
    asking.one(key, lambda catalog: catalog.broker.delete(key.broker), config_file, timeout, as_json)
