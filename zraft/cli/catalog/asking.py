"""What the verbs of all nouns have in common: ask for one record, or for many, and print what comes."""

from collections.abc import Callable, Sequence
from pathlib import Path

from zraft.cli.catalog import show
from zraft.cli.find import find_config
from zraft.client.catalog import CatalogClient
from zraft.client.catalog.absence import missing
from zraft.client.client import Client
from zraft.machines.catalog.commands import Key
from zraft.machines.catalog.records import Record


def one(
    key: Key, ask: Callable[[CatalogClient], Record | None], config_file: Path | None, timeout: float, as_json: bool
) -> None:
    """Print the record that `ask` gives; raise NotFound when it gives none."""
    with Client(find_config(config_file), timeout_s=timeout) as client:
        record = ask(client.catalog)
    if record is None:
        raise missing(key)
    show.record(record, as_json=as_json)


def many(
    ask: Callable[[CatalogClient], Sequence[Record]],
    owners: Callable[[CatalogClient], show.Names] | None,
    config_file: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Print the records that `ask` gives; people are told what `owners` calls those to which they belong."""
    with Client(find_config(config_file), timeout_s=timeout) as client:
        records = ask(client.catalog)
        names = {} if as_json or owners is None else owners(client.catalog)
    show.records(records, as_json=as_json, names=names)
