"""The partitions."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, TypedDict, Unpack

from zraft.client.catalog.noun import Noun
from zraft.machines.catalog.commands import ChangePartition, PartitionKey, RegisterPartition, TopicKey
from zraft.machines.catalog.records import Kind, Partition

Name = str | tuple[str, int]
"""(topic, partition_id), the topic by name or uuid; or the partition's uuid."""
Listing = list[Partition]


class PartitionFields(TypedDict, total=False):
    """What may be said of a partition besides its replicas."""

    isr: Sequence[int] | None
    removing_replicas: Sequence[int] | None
    adding_replicas: Sequence[int] | None
    leader: int | None


_LISTS = ("isr", "removing_replicas", "adding_replicas")


class Partitions(Noun[Name, Partition]):
    """The partitions, named by (topic, partition_id) or uuid."""

    _kind = Kind.PARTITION
    _key = PartitionKey

    def list(self, topic: str | None = None) -> Listing:
        """Return all partitions, or those of a topic."""
        return self._fetch(_owner(topic))

    def submit_list(self, topic: str | None = None) -> "Future[Listing]":
        """Do what `list` does, without waiting."""
        return self._send_fetch(_owner(topic))

    def register(
        self, topic: str, partition_id: int, replicas: Sequence[int] = (), **fields: Unpack[PartitionFields]
    ) -> Partition:
        """Add a partition to a topic, or return the one that has this number, as it is.

        Parameters
        ----------
        topic
            Its name or uuid.
        partition_id
            A number that is the partition's own within the topic.
        replicas
            broker_ids.
        fields
            Some of isr, removing_replicas and adding_replicas, which are broker_ids, and leader. All replicas are in sync unless
            isr says otherwise; the leader is one of isr, the first unless another is named.
        """
        return self._carry_out(_register(topic, partition_id, replicas, fields))

    def submit_register(
        self, topic: str, partition_id: int, replicas: Sequence[int] = (), **fields: Unpack[PartitionFields]
    ) -> "Future[Partition]":
        """Do what `register` does, without waiting."""
        return self._send(_register(topic, partition_id, replicas, fields))

    def change(
        self, name: Name, *, replicas: Sequence[int] | None = None, **fields: Unpack[PartitionFields]
    ) -> Partition:
        """Replace what is given, each list as a whole, and raise the partition's epoch.

        Parameters
        ----------
        name
            (topic, partition_id), or its uuid.
        replicas, fields
            As for `register`; what is None or not given stays.

        Raises
        ------
        NotFound
            There is no such partition.
        """
        return self._carry_out(_change(name, replicas, fields))

    def submit_change(
        self, name: Name, *, replicas: Sequence[int] | None = None, **fields: Unpack[PartitionFields]
    ) -> "Future[Partition]":
        """Do what `change` does, without waiting."""
        return self._send(_change(name, replicas, fields))


def _owner(topic: str | None) -> TopicKey | None:
    return None if topic is None else TopicKey(topic)


def _register(topic: str, partition_id: int, replicas: Sequence[int], fields: PartitionFields) -> RegisterPartition:
    given = _given(fields)
    lists = {name: given[name] or () for name in ("removing_replicas", "adding_replicas")}
    return RegisterPartition(TopicKey(topic), partition_id, tuple(replicas), **(given | lists))


def _change(name: Name, replicas: Sequence[int] | None, fields: PartitionFields) -> ChangePartition:
    return ChangePartition(PartitionKey(name), _ids(replicas), **_given(fields))


def _given(fields: PartitionFields) -> dict[str, Any]:
    """Return all fields, those that were not given as None, lists of ids as the machine takes them."""
    lists = {name: _ids(fields.get(name)) for name in _LISTS}
    return {"leader": None, **fields, **lists}


def _ids(ids: Any) -> tuple[int, ...] | None:
    return None if ids is None else tuple(ids)
