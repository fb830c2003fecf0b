"""``zraft catalog producer``."""

from typing import Annotated

import typer

from zraft.cli.catalog import asking, keys, show
from zraft.cli.catalog.keys import Broker, ProducerId, ProducerWords, Uuid, producer_key
from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.client.catalog import CatalogClient
from zraft.client.client import Client

app = typer.Typer(add_completion=False, no_args_is_help=True)
_FLAGS = ("--broker", "--broker-id", "--broker-uuid")


@app.callback()
def _producer() -> None:
    """Register, show, change and delete producers."""


@app.command()
def register(
    *,
    broker: Annotated[str, typer.Option(*_FLAGS, metavar="BROKER", help="A broker_id or uuid.")],
    producer_id: Annotated[int, typer.Option(metavar="ID", help="Its number at the broker: 0 or more.")],
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Add a producer, with the epoch that its broker has, and print its uuid; one that is there stays as it is."""
    with Client(find_config(config_file), timeout_s=timeout) as client:
        record = client.catalog.producer.register(keys.broker(broker), producer_id)
    show.registered(record, {}, as_json=as_json)


@app.command()
def get(
    *,
    producer: ProducerWords = None,
    broker: Broker = None,
    producer_id: ProducerId = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print a producer; exit code 1 when there is none."""
    key = producer_key(producer, broker, producer_id, uuid)
    asking.one(key, lambda catalog: catalog.producer.get(key.producer), config_file, timeout, as_json)


@app.command("list")
def list_producers(
    *,
    broker: Annotated[str | None, typer.Option(*_FLAGS, metavar="BROKER", help="Only those of this one.")] = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print all producers, or those of a broker; exit code 1 when there is no such broker."""
    owner = None if broker is None else keys.broker(broker)

    def owners(catalog: CatalogClient) -> show.Names:
        return show.owners(catalog.broker.list(), [])

    asking.many(lambda catalog: catalog.producer.list(owner), owners, config_file, timeout, as_json)


@app.command()
def change(
    *,
    producer: ProducerWords = None,
    broker: Broker = None,
    producer_id: ProducerId = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Give a producer the epoch that its broker has by now, and print it; exit code 1 when there is none."""
    key = producer_key(producer, broker, producer_id, uuid)
    asking.one(key, lambda catalog: catalog.producer.change(key.producer), config_file, timeout, as_json)


@app.command()
def delete(
    *,
    producer: ProducerWords = None,
    broker: Broker = None,
    producer_id: ProducerId = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Remove a producer and print it as it was; exit code 1 when there is none."""
    key = producer_key(producer, broker, producer_id, uuid)
    asking.one(key, lambda catalog: catalog.producer.delete(key.producer), config_file, timeout, as_json)
