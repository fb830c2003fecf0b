"""``zraft catalog partition``."""

from typing import Annotated

import typer

from zraft.cli.catalog import asking, show
from zraft.cli.catalog.keys import PartitionId, PartitionWords, Topic, Uuid, ids, partition_key
from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.client.catalog import CatalogClient
from zraft.client.client import Client
from zraft.machines.catalog.records import Partition

app = typer.Typer(add_completion=False, no_args_is_help=True)

Replicas = Annotated[str | None, typer.Option(metavar="IDS", help="broker_ids, like 1,2,3; known or not yet.")]
Isr = Annotated[str | None, typer.Option(metavar="IDS", help="The replicas in sync.")]
Removing = Annotated[str | None, typer.Option("--removing-replicas", metavar="IDS", help="Those on their way out.")]
Adding = Annotated[str | None, typer.Option("--adding-replicas", metavar="IDS", help="Those on their way in.")]
Leader = Annotated[int | None, typer.Option(metavar="ID", help="One of those in sync.")]


@app.callback()
def _partition() -> None:
    """Register, show, change and delete partitions."""


@app.command()
def register(
    *,
    topic: Annotated[str, typer.Option("--topic", "--topic-uuid", metavar="TOPIC", help="A name or uuid.")],
    partition_id: Annotated[int, typer.Option(metavar="ID", help="Its number in the topic: 0 or more.")],
    replicas: Replicas = None,
    isr: Isr = None,
    removing: Removing = None,
    adding: Adding = None,
    leader: Leader = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Add a partition to a topic and print its uuid; one that has this number already stays as it is.

    All replicas are in sync unless --isr says otherwise, and the first of those leads unless --leader names another.
    """
    given = {
        "replicas": ids("--replicas", replicas),
        "isr": ids("--isr", isr),
        "removing_replicas": ids("--removing-replicas", removing),
        "adding_replicas": ids("--adding-replicas", adding),
    }
    with Client(find_config(config_file), timeout_s=timeout) as client:
        record = client.catalog.partition.register(
            topic,
            partition_id,
            given["replicas"] or (),
            isr=given["isr"],
            removing_replicas=given["removing_replicas"] or (),
            adding_replicas=given["adding_replicas"] or (),
            leader=leader,
        )
    show.registered(record, given | {"leader": leader}, as_json=as_json)


@app.command()
def get(
    *,
    partition: PartitionWords = None,
    topic: Topic = None,
    partition_id: PartitionId = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print a partition; exit code 1 when there is none."""
    key = partition_key(partition, topic, partition_id, uuid)
    asking.one(key, lambda catalog: catalog.partition.get(key.partition), config_file, timeout, as_json)


@app.command("list")
def list_partitions(
    *,
    topic: Annotated[
        str | None, typer.Option("--topic", "--topic-uuid", metavar="TOPIC", help="Only those of this one.")
    ] = None,
    broker_id: Annotated[int | None, typer.Option(metavar="ID", help="Only those that name this broker.")] = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print all partitions, or some; exit code 1 when there is no such topic."""

    def wanted(each: Partition) -> bool:
        return broker_id is None or broker_id in (*each.replicas, *each.removing_replicas, *each.adding_replicas)

    def owners(catalog: CatalogClient) -> show.Names:
        return show.owners([], catalog.topic.list())

    asking.many(
        lambda catalog: list(filter(wanted, catalog.partition.list(topic))), owners, config_file, timeout, as_json
    )


@app.command()
def change(
    *,
    partition: PartitionWords = None,
    topic: Topic = None,
    partition_id: PartitionId = None,
    uuid: Uuid = None,
    replicas: Replicas = None,
    isr: Isr = None,
    removing: Removing = None,
    adding: Adding = None,
    leader: Leader = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Replace what is named, each list as a whole, raise the partition's epoch, and print it.

    A leader that is not named stays. An empty list is written as ''. Exit code 1 when there is no such partition.
    """
    key = partition_key(partition, topic, partition_id, uuid)
    asking.one(
        key,
        lambda catalog: catalog.partition.change(
            key.partition,
            replicas=ids("--replicas", replicas),
            isr=ids("--isr", isr),
            removing_replicas=ids("--removing-replicas", removing),
            adding_replicas=ids("--adding-replicas", adding),
            leader=leader,
        ),
        config_file,
        timeout,
        as_json,
    )


@app.command()
def delete(
    *,
    partition: PartitionWords = None,
    topic: Topic = None,
    partition_id: PartitionId = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Remove a partition and print it as it was; exit code 1 when there is none."""
    key = partition_key(partition, topic, partition_id, uuid)
    asking.one(key, lambda catalog: catalog.partition.delete(key.partition), config_file, timeout, as_json)
