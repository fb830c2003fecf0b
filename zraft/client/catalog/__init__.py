"""The catalog as a client sees it: brokers, topics, partitions and producers, each with the same five verbs."""

from concurrent.futures import Future
from typing import TYPE_CHECKING

import msgspec

from zraft.client.calls import Again
from zraft.client.catalog.brokers import Brokers
from zraft.client.catalog.metadata import Metadata, Pages, apply_delta
from zraft.client.catalog.noun import Asked, encoded
from zraft.client.catalog.partitions import Partitions
from zraft.client.catalog.producers import Producers
from zraft.client.catalog.topics import Topics
from zraft.errors import InvalidRequest
from zraft.machines.catalog import commands
from zraft.machines.catalog.commands import Events, Fetch
from zraft.machines.catalog.records import Happened, Kind

if TYPE_CHECKING:
    from zraft.client.client import Client

NOUNS = ("broker", "topic", "partition", "producer")
__all__ = ["CatalogClient", "Metadata", "apply_delta"]


class CatalogClient:
    """The catalog; `Client.catalog` is the one to use.

    Each call has a twin that starts with ``submit_``, which returns a future at once. What is said of `KeyValueClient`
    holds here too: reads are linearizable, commands are applied in the order in which they were submitted, and every
    call raises `InvalidRequest`, `Unavailable`, and the commands alone `OutcomeUnknown` and `SessionExpired`.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        self.broker = Brokers(client)
        self.topic = Topics(client)
        self.partition = Partitions(client)
        self.producer = Producers(client)

    def fetch(self, since: int = 0) -> Metadata:
        """Return everything, or what changed since a revision; all as of one moment; `apply_delta` adds the two up.

        Raises
        ------
        InvalidRequest
            `since` is so old that deletions behind it are forgotten, or not a revision of this catalog.
        """
        metadata: Metadata = self._client.query(*_fetch(since))
        return metadata

    def submit_fetch(self, since: int = 0) -> "Future[Metadata]":
        """Do what `fetch` does, without waiting."""
        return self._client.submit_query(*_fetch(since))

    def events(self, since_ms: int = 0, *, kind: str | None = None) -> list[Happened]:
        """Return what happened to the catalog, oldest first: the newest 10,000 registrations, changes and deletions.

        Parameters
        ----------
        since_ms
            Only what is not older than this, in milliseconds since 1970 by the clocks of the leaders.
        kind
            Only what happened to brokers, topics, partitions or producers: ``broker``, ``topic``, ``partition`` or ``producer``.
        """
        events: list[Happened] = self._client.query(*_events(since_ms, kind))
        return events

    def submit_events(self, since_ms: int = 0, *, kind: str | None = None) -> "Future[list[Happened]]":
        """Do what `events` does, without waiting."""
        return self._client.submit_query(*_events(since_ms, kind))


def _fetch(since: int) -> Asked:
    fetch = Fetch(since)
    return commands.MACHINE, encoded(fetch), Pages(fetch).read


def _events(since_ms: int, kind: str | None) -> Asked:
    if kind is not None and kind not in NOUNS:
        raise InvalidRequest(f"nothing happens to records of the kind {kind!r}; there are {', '.join(NOUNS)}")
    query = Events(0, None if kind is None else Kind(kind), since_ms)
    found: list[Happened] = []

    def read(result: bytes) -> list[Happened] | Again:
        page = commands.decode_events(result)
        found.extend(page.events)
        following = msgspec.structs.replace(query, after=found[-1].revision) if page.more else None
        return found if following is None else Again(commands.encode(following))

    return commands.MACHINE, encoded(query), read
