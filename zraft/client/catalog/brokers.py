"""The brokers."""

from concurrent.futures import Future
from typing import TypedDict, Unpack

from zraft.client.catalog.noun import BrokerName, Noun
from zraft.machines.catalog.commands import BrokerKey, ChangeBroker, RegisterBroker
from zraft.machines.catalog.records import Broker, Kind


class BrokerFields(TypedDict, total=False):
    """What a change of a broker may name."""

    host: str | None
    port: int | None
    security_protocol: str | None
    rack_id: str | None
    status: str | None


_UNCHANGED: BrokerFields = {"host": None, "port": None, "security_protocol": None, "rack_id": None, "status": None}


class Brokers(Noun[BrokerName, Broker]):
    """The brokers, named by broker_id or uuid."""

    _kind = Kind.BROKER
    _key = BrokerKey

    def register(
        self, broker_id: int, host: str, port: int, security_protocol: str = "PLAINTEXT", rack_id: str = ""
    ) -> Broker:
        """Add a broker, ALIVE and with epoch 0, or return the one that has this broker_id, as it is."""
        return self._carry_out(RegisterBroker(broker_id, host, port, security_protocol, rack_id))

    def submit_register(
        self, broker_id: int, host: str, port: int, security_protocol: str = "PLAINTEXT", rack_id: str = ""
    ) -> "Future[Broker]":
        """Do what `register` does, without waiting."""
        return self._send(RegisterBroker(broker_id, host, port, security_protocol, rack_id))

    def change(self, name: BrokerName, **fields: Unpack[BrokerFields]) -> Broker:
        """Merge what is given into a broker's registration, raise its epoch, and keep a record of the change.

        Parameters
        ----------
        name
            Its broker_id or uuid.
        fields
            Some of host, port, security_protocol, rack_id and status; what is None or not given stays.

        Raises
        ------
        NotFound
            There is no such broker.
        """
        return self._carry_out(_change(name, fields))

    def submit_change(self, name: BrokerName, **fields: Unpack[BrokerFields]) -> "Future[Broker]":
        """Do what `change` does, without waiting."""
        return self._send(_change(name, fields))


def _change(name: BrokerName, fields: BrokerFields) -> ChangeBroker:
    return ChangeBroker(BrokerKey(name), **(_UNCHANGED | fields))
