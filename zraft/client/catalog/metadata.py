"""What a fetch of the catalog returns: all of it at one revision, or what changed since one."""

from typing import TypeVar

import msgspec

from zraft.client.calls import Again
from zraft.client.catalog.absence import missing
from zraft.errors import InvalidRequest
from zraft.machines.catalog import commands
from zraft.machines.catalog.commands import Fetch
from zraft.machines.catalog.records import (
    Broker,
    Deleted,
    Partition,
    Producer,
    Record,
    RegistrationChange,
    Topic,
)

AnyRecord = TypeVar("AnyRecord", bound=Record)


class Metadata(msgspec.Struct, frozen=True):
    """The catalog, or a part of it, as of one revision."""

    revision: int
    brokers: list[Broker]
    """By broker_id."""
    topics: list[Topic]
    """By name."""
    partitions: list[Partition]
    """By topic_uuid and partition_id."""
    producers: list[Producer]
    """By broker_uuid and producer_id."""
    registration_changes: list[RegistrationChange]
    """Oldest first."""
    deleted: list[Deleted]
    """What was deleted since the revision that was asked for, oldest first; empty when everything was."""


def apply_delta(before: Metadata, delta: Metadata) -> Metadata:
    """Return what a fetch of everything gave at the revision of `delta`.

    Parameters
    ----------
    before
        A fetch of everything, or what this function made of one.
    delta
        A fetch of all that changed since the revision of `before`, or since an earlier one.

    Raises
    ------
    InvalidRequest
        `delta` is older than `before`.
    """
    if delta.revision < before.revision:
        raise InvalidRequest(f"a delta up to revision {delta.revision} changes nothing of revision {before.revision}")
    records = {record.uuid: record for record in _records(before)}
    records |= {record.uuid: record for record in _records(delta)}
    for deleted in delta.deleted:
        records.pop(deleted.uuid, None)
    return _metadata(delta.revision, records, [])


class Pages:
    """Collects the pages of one fetch.

    What changes while they come is in a later page, so all of them together are the state at the last one's revision.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._begun: int | None = None
        """The revision of the first page."""
        self._records: dict[str, Record] = {}
        self._deleted: list[Deleted] = []

    def read(self, result: bytes) -> Metadata | Again:
        """Take a page; return the whole, or the query for the next page."""
        page = commands.decode_page(result)
        if page is None:
            assert self._fetch.owner is not None, "only an owner can be missing"
            raise missing(self._fetch.owner)
        if self._begun is None:
            self._begun = page.revision
        if not self._fetch.since and page.forgotten > self._begun:
            # Something of the first pages may be gone, and the catalog has forgotten what.
            self._begun = None
            self._records.clear()
            return Again(commands.encode(self._fetch))
        self._records |= {record.uuid: record for record in page.records}
        for deleted in page.deleted:
            self._records.pop(deleted.uuid, None)
        if self._fetch.since:
            self._deleted += page.deleted
        if page.until < page.revision:
            return Again(commands.encode(msgspec.structs.replace(self._fetch, after=page.until)))
        return _metadata(page.revision, self._records, self._deleted)


def _records(metadata: Metadata) -> list[Record]:
    return [
        *metadata.brokers,
        *metadata.topics,
        *metadata.partitions,
        *metadata.producers,
        *metadata.registration_changes,
    ]


def _metadata(revision: int, records: dict[str, Record], deleted: list[Deleted]) -> Metadata:
    def of(kind: type[AnyRecord]) -> list[AnyRecord]:
        return [record for record in records.values() if isinstance(record, kind)]

    return Metadata(
        revision,
        sorted(of(Broker), key=lambda broker: broker.broker_id),
        sorted(of(Topic), key=lambda topic: topic.name),
        sorted(of(Partition), key=lambda partition: (partition.topic_uuid, partition.partition_id)),
        sorted(of(Producer), key=lambda producer: (producer.broker_uuid, producer.producer_id)),
        sorted(of(RegistrationChange), key=lambda change: change.revision),
        deleted,
    )
