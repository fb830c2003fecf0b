"""What the catalog never takes, whatever is in it; the client asks here too, so that most of it is never sent.

Texts depend on the command alone, and on no table of Unicode that another version of Python might have otherwise.
"""

import re
from collections.abc import Sequence

import msgspec

from zraft.errors import InvalidRequest
from zraft.machines.catalog import commands
from zraft.machines.catalog.commands import (
    ChangeBroker,
    ChangePartition,
    ChangeTopic,
    Command,
    RegisterBroker,
    RegisterPartition,
    RegisterProducer,
    RegisterTopic,
)
from zraft.machines.catalog.records import Partition

ID_MAX = (1 << 31) - 1
"""Of brokers and partitions."""
PRODUCER_ID_MAX = (1 << 63) - 1
PORT_MAX = (1 << 16) - 1
NAME_CHARS_MAX = 249
"""Of a topic; with the characters allowed in it, what Kafka takes."""
HOST_CHARS_MAX = 255
WORD_CHARS_MAX = 64
"""Of a security protocol or status."""
RACK_CHARS_MAX = 255
REPLICAS_MAX = 64
"""Of each of a partition's lists."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORD = re.compile(r"[!-~]+")
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Bounds(msgspec.Struct, frozen=True):
    """How much one catalog holds; part of the machine's definition, so the same on every node."""

    brokers_max: int = 10_000
    topics_max: int = 50_000
    partitions_max: int = 100_000
    producers_max: int = 100_000
    registration_changes_max: int = 10_000
    """The newest are kept; the oldest is deleted to make room."""
    deletions_max: int = 10_000
    """The newest are remembered; fetches since a revision before the rest are refused."""
    events_max: int = 10_000
    """The newest are kept."""


def check(command: Command) -> None:
    """Raise InvalidRequest when no catalog would carry out `command`."""
    match command:
        case RegisterBroker():
            _check_number("broker_id", command.broker_id, 0, ID_MAX)
            _check_registration(command)
        case ChangeBroker():
            _check_gives_something(command)
            _check_registration(command)
        case RegisterTopic() | ChangeTopic():
            _check_name(command.name)
        case RegisterPartition():
            _check_number("partition_id", command.partition_id, 0, ID_MAX)
            _check_lists(command)
        case ChangePartition():
            _check_gives_something(command)
            _check_lists(command)
        case RegisterProducer():
            _check_number("producer_id", command.producer_id, 0, PRODUCER_ID_MAX)


def check_partition(partition: Partition) -> None:
    """Raise InvalidRequest when the fields of a partition contradict each other."""
    strange = [each for each in partition.isr if each not in partition.replicas]
    if strange:
        raise InvalidRequest(
            f"isr names {_listed(strange)}, which replicas ({_listed(partition.replicas)}) do not: "
            "a replica in sync must be a replica"
        )
    if partition.leader is not None and partition.leader not in partition.isr:
        raise InvalidRequest(
            f"leader {partition.leader} is not in isr ({_listed(partition.isr)}); "
            "name one that is, or an isr that holds it"
        )
    both = [each for each in partition.adding_replicas if each in partition.removing_replicas]
    if both:
        raise InvalidRequest(f"{_listed(both)} cannot be both in adding_replicas and in removing_replicas")


def is_uuid(text: str) -> bool:
    """Whether text has the form of a uuid, in small letters or capitals."""
    return _UUID.fullmatch(text) is not None


def _check_registration(command: RegisterBroker | ChangeBroker) -> None:
    if command.host is not None:
        _check_word("host", command.host, HOST_CHARS_MAX)
    if command.port is not None:
        _check_number("port", command.port, 1, PORT_MAX)
    if command.security_protocol is not None:
        _check_word("security_protocol", command.security_protocol, WORD_CHARS_MAX)
    if command.rack_id is not None and (len(command.rack_id) > RACK_CHARS_MAX or _UNSHOWABLE.search(command.rack_id)):
        raise InvalidRequest(f"a rack_id has at most {RACK_CHARS_MAX} characters, none of them for control")
    if type(command) is ChangeBroker and command.status is not None:
        _check_word("status", command.status, WORD_CHARS_MAX)


def _check_gives_something(change: ChangeBroker | ChangePartition) -> None:
    names = change.__struct_fields__[1:]
    if all(getattr(change, name) is None for name in names):
        raise InvalidRequest(f"a change of {commands.named(change.key)} names what changes: {', '.join(names)}")


def _check_name(name: str) -> None:
    if not 0 < len(name) <= NAME_CHARS_MAX or not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidRequest(f"the name of a topic is 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 . _ -, and neither . nor ..")
    if is_uuid(name):
        raise InvalidRequest("the name of a topic must not look like a uuid: get and delete could not tell them apart")


def _check_lists(command: RegisterPartition | ChangePartition) -> None:
    for name in ("replicas", "isr", "removing_replicas", "adding_replicas"):
        ids: tuple[int, ...] | None = getattr(command, name)
        if ids is None:
            continue
        if len(ids) > REPLICAS_MAX:
            raise InvalidRequest(f"{name} names {len(ids):,} brokers; {REPLICAS_MAX} at most")
        for each in ids:
            _check_number(f"a broker_id in {name}", each, 0, ID_MAX)
        twice = sorted({each for each in ids if ids.count(each) > 1})
        if twice:
            raise InvalidRequest(f"{name} names {_listed(twice)} more than once")
    if command.leader is not None:
        _check_number("leader", command.leader, 0, ID_MAX)


def _check_number(name: str, number: int, lowest: int, highest: int) -> None:
    if not lowest <= number <= highest:
        raise InvalidRequest(f"{name} is {number}; it must be {lowest} to {highest}")


def _check_word(name: str, text: str, chars_max: int) -> None:
    if len(text) > chars_max or not _WORD.fullmatch(text):
        raise InvalidRequest(f"{name} must be 1 to {chars_max} visible ASCII characters, without blanks")


def _listed(ids: Sequence[int]) -> str:
    return ",".join(map(str, ids)) or "empty"
