"""``zraft catalog topic``."""

from typing import Annotated

import typer

from zraft.cli.catalog import asking, show
from zraft.cli.catalog.keys import TopicName, TopicWord, Uuid, topic_key
from zraft.cli.find import find_config
from zraft.cli.options import AsJson, ConfigFile, Timeout
from zraft.client.client import Client

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def _topic() -> None:
    """Register, show, rename and delete topics."""


@app.command()
def register(
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="1 to 249 of A-Z a-z 0-9 . _ -")],
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Add a topic and print its uuid; of one that has this name already, its uuid is printed."""
    with Client(find_config(config_file), timeout_s=timeout) as client:
        record = client.catalog.topic.register(name)
    show.registered(record, {}, as_json=as_json)


@app.command()
def get(
    *,
    topic: TopicWord = None,
    name: TopicName = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Print a topic; exit code 1 when there is none."""
    key = topic_key(topic, name, uuid)
    asking.one(key, lambda catalog: catalog.topic.get(key.topic), config_file, timeout, as_json)


@app.command("list")
def list_topics(config_file: ConfigFile = None, timeout: Timeout = 5.0, as_json: AsJson = False) -> None:
    """Print all topics, in the order of their names."""
    asking.many(lambda catalog: catalog.topic.list(), None, config_file, timeout, as_json)


@app.command()
def change(
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="The new name.")],
    topic: TopicWord = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Give a topic another name and print it; its uuid and partitions stay. Exit code 1 when there is none."""
    key = topic_key(topic, None, uuid)
    asking.one(key, lambda catalog: catalog.topic.change(key.topic, name), config_file, timeout, as_json)


@app.command()
def delete(
    *,
    topic: TopicWord = None,
    name: TopicName = None,
    uuid: Uuid = None,
    config_file: ConfigFile = None,
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Remove a topic and print it as it was; refused while it has partitions."""
    key = topic_key(topic, name, uuid)
    asking.one(key, lambda catalog: catalog.topic.delete(key.topic), config_file, timeout, as_json)
