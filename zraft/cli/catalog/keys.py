"""Which record a command means: by its words, ``partition get orders 0``, or by flags with the names of the fields."""

import re
from typing import Annotated

import typer

from zraft.errors import ConfigError
from zraft.machines.catalog.commands import BrokerKey, PartitionKey, ProducerKey, TopicKey

_UUID = re.compile(r"[0-9a-fA-F-]{32,36}")
BrokerWord = Annotated[str | None, typer.Argument(metavar="[BROKER]", help="A broker_id or uuid.", show_default=False)]
BrokerId = Annotated[int | None, typer.Option("--broker-id", metavar="ID", help="Instead of BROKER.")]
TopicWord = Annotated[str | None, typer.Argument(metavar="[TOPIC]", help="A name or uuid.", show_default=False)]
TopicName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Instead of TOPIC.")]
Uuid = Annotated[str | None, typer.Option("--uuid", metavar="UUID", help="Instead of any other name.")]
PartitionWords = Annotated[
    list[str] | None,
    typer.Argument(metavar="TOPIC PARTITION_ID | UUID", help="Which one.", show_default=False),
]
ProducerWords = Annotated[
    list[str] | None,
    typer.Argument(metavar="BROKER PRODUCER_ID | UUID", help="Which one.", show_default=False),
]
Topic = Annotated[str | None, typer.Option("--topic", "--topic-uuid", metavar="TOPIC", help="A name or uuid.")]
PartitionId = Annotated[int | None, typer.Option("--partition-id", metavar="ID", help="Its number in the topic.")]
Broker = Annotated[
    str | None, typer.Option("--broker", "--broker-id", "--broker-uuid", metavar="BROKER", help="A broker_id or uuid.")
]
ProducerId = Annotated[int | None, typer.Option("--producer-id", metavar="ID", help="Its number at the broker.")]


def broker(word: str) -> int | str:
    """Return what a word names a broker by: its broker_id if it is a number, else its uuid."""
    return int(word) if word.isascii() and word.isdecimal() else word


def broker_key(word: str | None, broker_id: int | None, uuid: str | None) -> BrokerKey:
    """Return which broker is meant."""
    named = [each for each in (word, broker_id, uuid) if each is not None]
    if len(named) != 1:
        raise ConfigError("name one broker: by BROKER (a broker_id or uuid), --broker-id or --uuid")
    return BrokerKey(broker(str(named[0])) if uuid is None else uuid)


def topic_key(word: str | None, name: str | None, uuid: str | None) -> TopicKey:
    """Return which topic is meant."""
    named = [each for each in (word, name, uuid) if each is not None]
    if len(named) != 1:
        raise ConfigError("name one topic: by TOPIC (a name or uuid), --name or --uuid")
    return TopicKey(named[0])


def partition_key(words: list[str] | None, topic: str | None, number: int | None, uuid: str | None) -> PartitionKey:
    """Return which partition is meant."""
    key = _pair_or_uuid(words or [], (topic, number), uuid)
    if key is None:
        raise ConfigError("name one partition: by TOPIC PARTITION_ID, a uuid, --topic and --partition-id, or --uuid")
    return PartitionKey(key if isinstance(key, str) else (key[0], _number("PARTITION_ID", key[1])))


def producer_key(words: list[str] | None, owner: str | None, number: int | None, uuid: str | None) -> ProducerKey:
    """Return which producer is meant."""
    key = _pair_or_uuid(words or [], (owner, number), uuid)
    if key is None:
        raise ConfigError("name one producer: by BROKER PRODUCER_ID, a uuid, --broker and --producer-id, or --uuid")
    return ProducerKey(key if isinstance(key, str) else (broker(key[0]), _number("PRODUCER_ID", key[1])))


def _pair_or_uuid(
    words: list[str], flags: tuple[str | None, int | None], uuid: str | None
) -> tuple[str, str] | str | None:
    """Return the one key that is given, be it in words or flags; None unless there is exactly one."""
    owner, number = flags
    if len(words) == 1 and not _UUID.fullmatch(words[0]):
        return None  # The other half of a pair was forgotten.
    given = [*words, *(flag for flag in (owner, number, uuid) if flag is not None)]
    if uuid is not None or len(words) == 1:
        return str(given[0]) if len(given) == 1 else None
    return (str(given[0]), str(given[1])) if len(given) == 2 else None  # noqa: PLR2004 - a key is a pair


def _number(name: str, word: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise ConfigError(f"{name} is a number, not {word!r}") from error


def ids(flag: str, text: str | None) -> tuple[int, ...] | None:
    """Return the broker_ids of a list like ``1,2,3``; none for the empty text, None when there is no text."""
    if text is None:
        return None
    try:
        return tuple(int(each) for each in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise ConfigError(f"{flag} is a list of broker_ids like 1,2,3, not {text!r}") from error
