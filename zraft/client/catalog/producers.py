"""The producers."""

from concurrent.futures import Future

from zraft.client.catalog.noun import BrokerName, Noun
from zraft.machines.catalog.commands import BrokerKey, ChangeProducer, ProducerKey, RegisterProducer
from zraft.machines.catalog.records import Kind, Producer

Name = str | tuple[BrokerName, int]
"""(broker, producer_id), the broker by broker_id or uuid; or the producer's uuid."""
Listing = list[Producer]


class Producers(Noun[Name, Producer]):
    """The producers, named by (broker, producer_id) or uuid."""

    _kind = Kind.PRODUCER
    _key = ProducerKey

    def list(self, broker: BrokerName | None = None) -> Listing:
        """Return all producers, or those of a broker."""
        return self._fetch(_owner(broker))

    def submit_list(self, broker: BrokerName | None = None) -> "Future[Listing]":
        """Do what `list` does, without waiting."""
        return self._send_fetch(_owner(broker))

    def register(self, broker: BrokerName, producer_id: int) -> Producer:
        """Add a producer, with the epoch that its broker has, or return the one that has this number, as it is."""
        return self._carry_out(RegisterProducer(BrokerKey(broker), producer_id))

    def submit_register(self, broker: BrokerName, producer_id: int) -> "Future[Producer]":
        """Do what `register` does, without waiting."""
        return self._send(RegisterProducer(BrokerKey(broker), producer_id))

    def change(self, name: Name) -> Producer:
        """Give a producer the epoch that its broker has by now.

        Raises
        ------
        NotFound
            There is no such producer.
        """
        return self._carry_out(ChangeProducer(ProducerKey(name)))

    def submit_change(self, name: Name) -> "Future[Producer]":
        """Do what `change` does, without waiting."""
        return self._send(ChangeProducer(ProducerKey(name)))


def _owner(broker: BrokerName | None) -> BrokerKey | None:
    return None if broker is None else BrokerKey(broker)
