"""The brokers."""

from concurrent.futures import Future

from zraft.client.catalog.noun import BrokerName, Noun
from zraft.machines.catalog.commands import BrokerKey, ChangeBroker, RegisterBroker
from zraft.machines.catalog.records import Broker, Kind


class Brokers(Noun[BrokerName, Broker]):
    """The brokers, named by broker_id or uuid."""

    _kind = Kind.BROKER
    _key = BrokerKey

    def register(
        self, broker_id: int, host: str, port: int, security_protocol: str = "PLAINTEXT", rack_id: str = ""
    ) -> Broker:
        """Add a broker, ALIVE and with epoch 0, or return the one that has this broker_id, as it is."""
        return self._client.wait(self.submit_register(broker_id, host, port, security_protocol, rack_id))

    def submit_register(
        self, broker_id: int, host: str, port: int, security_protocol: str = "PLAINTEXT", rack_id: str = ""
    ) -> "Future[Broker]":
        """Do what `register` does, without waiting."""
        return self._send(RegisterBroker(broker_id, host, port, security_protocol, rack_id))

    def change(
        self,
        name: BrokerName,
        *,
        host: str | None = None,
        port: int | None = None,
        security_protocol: str | None = None,
        rack_id: str | None = None,
        status: str | None = None,
    ) -> Broker:
        """Merge what is given into a broker's registration, raise its epoch, and keep a record of the change.

        Raises
        ------
        NotFound
            There is no such broker.
        """
        return self._client.wait(
            self.submit_change(
                name, host=host, port=port, security_protocol=security_protocol, rack_id=rack_id, status=status
            )
        )

    def submit_change(
        self,
        name: BrokerName,
        *,
        host: str | None = None,
        port: int | None = None,
        security_protocol: str | None = None,
        rack_id: str | None = None,
        status: str | None = None,
    ) -> "Future[Broker]":
        """Do what `change` does, without waiting."""
        return self._send_change(ChangeBroker(BrokerKey(name), host, port, security_protocol, rack_id, status))
