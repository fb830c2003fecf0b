"""The topics."""

from concurrent.futures import Future

from zraft.client.catalog.noun import Noun
from zraft.machines.catalog.commands import ChangeTopic, RegisterTopic, TopicKey
from zraft.machines.catalog.records import Kind, Topic


class Topics(Noun[str, Topic]):
    """The topics, named by name or uuid."""

    _kind = Kind.TOPIC
    _key = TopicKey

    def register(self, name: str) -> Topic:
        """Add a topic, or return the one of this name."""
        return self._carry_out(RegisterTopic(name))

    def submit_register(self, name: str) -> "Future[Topic]":
        """Do what `register` does, without waiting."""
        return self._send(RegisterTopic(name))

    def change(self, name: str, new_name: str) -> Topic:
        """Give a topic another name; its uuid and partitions stay.

        Raises
        ------
        NotFound
            There is no such topic.
        """
        return self._carry_out(ChangeTopic(TopicKey(name), new_name))

    def submit_change(self, name: str, new_name: str) -> "Future[Topic]":
        """Do what `change` does, without waiting."""
        return self._send(ChangeTopic(TopicKey(name), new_name))
