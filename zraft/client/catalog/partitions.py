"""The partitions."""

from collections.abc import Sequence
from concurrent.futures import Future

from zraft.client.catalog.noun import Noun
from zraft.machines.catalog.commands import ChangePartition, PartitionKey, RegisterPartition, TopicKey
from zraft.machines.catalog.records import Kind, Partition

Name = str | tuple[str, int]
"""(topic, partition_id), the topic by name or uuid; or the partition's uuid."""
Listing = list[Partition]


class Partitions(Noun[Name, Partition]):
    """The partitions, named by (topic, partition_id) or uuid."""

    _kind = Kind.PARTITION
    _key = PartitionKey

    def list(self, topic: str | None = None) -> Listing:
        """Return all partitions, or those of a topic."""
        return self._client.wait(self.submit_list(topic))

    def submit_list(self, topic: str | None = None) -> "Future[Listing]":
        """Do what `list` does, without waiting."""
        return self._send_fetch(None if topic is None else TopicKey(topic))

    def register(
        self,
        topic: str,
        partition_id: int,
        replicas: Sequence[int] = (),
        *,
        isr: Sequence[int] | None = None,
        removing_replicas: Sequence[int] = (),
        adding_replicas: Sequence[int] = (),
        leader: int | None = None,
    ) -> Partition:
        """Add a partition to a topic, or return the one that has this number, as it is.

        Parameters
        ----------
        replicas, isr, removing_replicas, adding_replicas
            broker_ids; all replicas are in sync unless `isr` says otherwise.
        leader
            One of isr; the first unless another is named.
        """
        return self._client.wait(
            self.submit_register(
                topic,
                partition_id,
                replicas,
                isr=isr,
                removing_replicas=removing_replicas,
                adding_replicas=adding_replicas,
                leader=leader,
            )
        )

    def submit_register(
        self,
        topic: str,
        partition_id: int,
        replicas: Sequence[int] = (),
        *,
        isr: Sequence[int] | None = None,
        removing_replicas: Sequence[int] = (),
        adding_replicas: Sequence[int] = (),
        leader: int | None = None,
    ) -> "Future[Partition]":
        """Do what `register` does, without waiting."""
        return self._send(
            RegisterPartition(
                TopicKey(topic),
                partition_id,
                tuple(replicas),
                _ids(isr),
                tuple(removing_replicas),
                tuple(adding_replicas),
                leader,
            )
        )

    def change(
        self,
        name: Name,
        *,
        replicas: Sequence[int] | None = None,
        isr: Sequence[int] | None = None,
        removing_replicas: Sequence[int] | None = None,
        adding_replicas: Sequence[int] | None = None,
        leader: int | None = None,
    ) -> Partition:
        """Replace what is given, each list as a whole, and raise the partition's epoch.

        Raises
        ------
        NotFound
            There is no such partition.
        """
        return self._client.wait(
            self.submit_change(
                name,
                replicas=replicas,
                isr=isr,
                removing_replicas=removing_replicas,
                adding_replicas=adding_replicas,
                leader=leader,
            )
        )

    def submit_change(
        self,
        name: Name,
        *,
        replicas: Sequence[int] | None = None,
        isr: Sequence[int] | None = None,
        removing_replicas: Sequence[int] | None = None,
        adding_replicas: Sequence[int] | None = None,
        leader: int | None = None,
    ) -> "Future[Partition]":
        """Do what `change` does, without waiting."""
        return self._send_change(
            ChangePartition(
                PartitionKey(name), _ids(replicas), _ids(isr), _ids(removing_replicas), _ids(adding_replicas), leader
            )
        )


def _ids(ids: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if ids is None else tuple(ids)
