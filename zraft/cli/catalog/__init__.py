"""``zraft catalog``: brokers, topics, partitions and producers from the command line; a file for each noun."""

import json
from typing import Annotated

import typer

from zraft.cli.catalog import broker, partition, producer, show, topic
from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.cli.times import SINCE_HELP, since_ms
from zraft.client.client import Client

app = typer.Typer(add_completion=False, no_args_is_help=True)
for _noun, _module in (("broker", broker), ("topic", topic), ("partition", partition), ("producer", producer)):
    app.add_typer(_module.app, name=_noun)


@app.callback()
def _catalog() -> None:
    """Keep the catalog of a cluster: brokers, topics, partitions and producers."""


@app.command()
def fetch(
    since: Annotated[
        int, typer.Option(min=0, metavar="REVISION", help="Only what changed behind this revision, deletions too.")
    ] = 0,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print everything, or what changed since a revision; all of it as of the one revision that is printed first.

    What --since the revision of an earlier fetch prints with --json brings that one up to date: put each record in the
    place of the one with its uuid, and take away those whose uuids are in `deleted`.
    """
    with Client(find_config(config_file), timeout_s=timeout) as client:
        fetched = client.catalog.fetch(since)
    print(json.dumps(show.as_json(fetched)) if as_json else "\n".join(show.sections(fetched)))


@app.command()
def events(
    since: Annotated[str | None, typer.Option(metavar="TIME", help=SINCE_HELP)] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Only what happened to these: broker, topic, partition, producer."),
    ] = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print what happened to the catalog, oldest first: the newest 10,000 registrations, changes and deletions.

    Each time is by the clock of who led then, and the same wherever one asks.
    """
    oldest_ms = since_ms(since)
    with Client(find_config(config_file), timeout_s=timeout) as client:
        found = client.catalog.events(oldest_ms, kind=kind)
    show.happened(found, as_json=as_json)
