"""The catalog against plain dicts; and a snapshot at any point is as good as the whole log."""

from typing import Any

from catalog_rig import Book, change_broker, change_partition, change_producer, change_topic, register_partition
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zraft.errors import InvalidRequest
from zraft.machines.catalog.commands import (
    BrokerKey,
    Delete,
    Key,
    PartitionKey,
    ProducerKey,
    RegisterBroker,
    RegisterProducer,
    RegisterTopic,
    TopicKey,
)
from zraft.machines.catalog.records import plain
from zraft.machines.catalog.rules import Bounds

BOUNDS = Bounds(registration_changes_max=2, deletions_max=3)
BROKERS = st.integers(0, 2)
TOPICS = st.sampled_from(["a", "b"])
NUMBERS = st.integers(0, 1)
LISTS = st.lists(BROKERS, max_size=3, unique=True).map(tuple)
MAYBE_LISTS = st.none() | LISTS
MAYBE_BROKERS = st.none() | BROKERS
BY_UUID = st.booleans()
PARTITION_KEYS = st.tuples(TOPICS, BY_UUID, NUMBERS)

Fields = dict[str, Any]


class AgainstDicts(RuleBasedStateMachine):
    """Lists of dicts, searched from the front; each rule of the catalog said in the plainest way."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(BOUNDS)
        self.brokers: list[Fields] = []
        self.topics: list[Fields] = []
        self.partitions: list[Fields] = []
        self.producers: list[Fields] = []
        self.changes: list[Fields] = []
        self.revision = 0
        self.uuids: set[str] = set()

    def one(self, records: list[Fields], **fields: Any) -> Fields | None:
        return next((each for each in records if all(each[name] == fields[name] for name in fields)), None)

    def broker_key(self, broker_id: int, by_uuid: bool) -> tuple[BrokerKey, Fields | None]:
        found = self.one(self.brokers, broker_id=broker_id)
        return BrokerKey(found["uuid"] if by_uuid and found else broker_id), found

    def topic_key(self, name: str, by_uuid: bool) -> tuple[TopicKey, Fields | None]:
        found = self.one(self.topics, name=name)
        return TopicKey(found["uuid"] if by_uuid and found else name), found

    def partition_key(self, topic: str, number: int, by_uuid: bool) -> tuple[PartitionKey, Fields | None]:
        owner = self.one(self.topics, name=topic)
        found = owner and self.one(self.partitions, topic_uuid=owner["uuid"], partition_id=number)
        return PartitionKey(found["uuid"] if by_uuid and found else (topic, number)), found

    def producer_key(self, broker: int, number: int, by_uuid: bool) -> tuple[ProducerKey, Fields | None]:
        owner = self.one(self.brokers, broker_id=broker)
        found = owner and self.one(self.producers, broker_uuid=owner["uuid"], producer_id=number)
        return ProducerKey(found["uuid"] if by_uuid and found else (broker, number)), found

    def told(self, command: Any) -> Fields | None | str:
        try:
            record = self.book.send(command)
        except InvalidRequest as error:
            return str(error)
        return None if record is None else plain(record)

    def registered(self, records: list[Fields], found: Fields | None, fields: Fields, answer: Any) -> None:
        """Check the answer to a registration that the rules allow."""
        if found is None:
            self.revision += 1
            assert answer["uuid"] not in self.uuids
            self.uuids.add(answer["uuid"])
            found = fields | {"uuid": answer["uuid"]}
            records.append(found)
        assert answer == found

    @rule(broker_id=BROKERS, port=st.integers(1, 3))
    def register_broker(self, broker_id: int, port: int) -> None:
        answer = self.told(RegisterBroker(broker_id, "h", port, "P", ""))
        fields = {"broker_id": broker_id, "host": "h", "port": port, "security_protocol": "P", "rack_id": ""}
        found = self.one(self.brokers, broker_id=broker_id)
        self.registered(self.brokers, found, fields | {"status": "ALIVE", "epoch": 0}, answer)

    @rule(broker_id=BROKERS, by_uuid=BY_UUID, port=st.none() | st.integers(1, 3), status=st.sampled_from(["A", "B"]))
    def change_broker(self, broker_id: int, by_uuid: bool, port: int | None, status: str) -> None:
        key, found = self.broker_key(broker_id, by_uuid)
        answer = self.told(change_broker(key.broker, port=port, status=status))
        if found is None:
            assert answer is None
            return
        self.revision += 1
        found |= {"status": status, "epoch": found["epoch"] + 1}
        if port is not None:
            found["port"] = port
        assert answer == found
        change = self.book.fetch().registration_changes[-1]
        assert change.uuid not in self.uuids
        self.uuids.add(change.uuid)
        noted = {"broker_uuid": found["uuid"], "revision": self.revision, "time_ms": 100 * len(self.book.log)}
        self.changes.append(found | noted | {"uuid": change.uuid})

    @rule(name=TOPICS)
    def register_topic(self, name: str) -> None:
        answer = self.told(RegisterTopic(name))
        self.registered(self.topics, self.one(self.topics, name=name), {"name": name}, answer)

    @rule(name=TOPICS, by_uuid=BY_UUID, new=TOPICS)
    def change_topic(self, name: str, by_uuid: bool, new: str) -> None:
        key, found = self.topic_key(name, by_uuid)
        answer = self.told(change_topic(key.topic, new))
        if found is not None and new != name:
            if self.one(self.topics, name=new):
                assert isinstance(answer, str) and "exists already" in answer
                return
            self.revision += 1
            found["name"] = new
        assert answer == found

    @rule(key=PARTITION_KEYS, replicas=LISTS, isr=MAYBE_LISTS, leader=MAYBE_BROKERS)
    def register_partition(self, key: tuple[str, bool, int], replicas: Any, isr: Any, leader: int | None) -> None:
        topic, by_uuid, number = key
        named, owner = self.topic_key(topic, by_uuid)
        answer = self.told(register_partition(named.topic, number, replicas, isr, leader))
        if owner is None:
            assert isinstance(answer, str) and "no such topic" in answer
            return
        found = self.one(self.partitions, topic_uuid=owner["uuid"], partition_id=number)
        isr = replicas if isr is None else isr
        leader = (isr[0] if isr else None) if leader is None else leader
        fields = {"partition_id": number, "topic_uuid": owner["uuid"], "replicas": replicas, "isr": isr}
        fields |= {"removing_replicas": (), "adding_replicas": (), "leader": leader, "partition_epoch": 0}
        if found is None and not sound(fields):
            assert isinstance(answer, str)
            return
        self.registered(self.partitions, found, fields, answer)

    @rule(key=PARTITION_KEYS, leader=MAYBE_BROKERS, lists=st.tuples(*[MAYBE_LISTS] * 4))
    def change_partition(self, key: tuple[str, bool, int], leader: int | None, lists: Any) -> None:
        topic, by_uuid, number = key
        named, found = self.partition_key(topic, number, by_uuid)
        names = ("replicas", "isr", "adding_replicas", "removing_replicas")
        given = {name: ids for name, ids in zip(names, lists, strict=True) if ids is not None}
        answer = self.told(change_partition(named.partition, leader=leader, **given))
        if not given and leader is None:
            assert isinstance(answer, str) and "names what changes" in answer
            return
        if found is None:
            assert answer is None
            return
        wish = found | given | {"partition_epoch": found["partition_epoch"] + 1}
        if leader is not None:
            wish["leader"] = leader
        elif not wish["isr"]:
            wish["leader"] = None
        elif wish["leader"] is None:
            wish["leader"] = wish["isr"][0]
        if not sound(wish):
            assert isinstance(answer, str)
            return
        self.revision += 1
        found |= wish
        assert answer == found

    @rule(broker=BROKERS, by_uuid=BY_UUID, number=NUMBERS)
    def register_producer(self, broker: int, by_uuid: bool, number: int) -> None:
        key, owner = self.broker_key(broker, by_uuid)
        answer = self.told(RegisterProducer(key, number))
        if owner is None:
            assert isinstance(answer, str) and "no such broker" in answer
            return
        found = self.one(self.producers, broker_uuid=owner["uuid"], producer_id=number)
        fields = {"producer_id": number, "broker_uuid": owner["uuid"], "broker_epoch": owner["epoch"]}
        self.registered(self.producers, found, fields, answer)

    @rule(broker=BROKERS, number=NUMBERS, by_uuid=BY_UUID)
    def change_producer(self, broker: int, number: int, by_uuid: bool) -> None:
        key, found = self.producer_key(broker, number, by_uuid)
        answer = self.told(change_producer(key.producer))
        owner = self.one(self.brokers, broker_id=broker)
        if found and owner and found["broker_epoch"] != owner["epoch"]:
            self.revision += 1
            found["broker_epoch"] = owner["epoch"]
        assert answer == found

    @rule(broker=BROKERS, by_uuid=BY_UUID)
    def delete_broker(self, broker: int, by_uuid: bool) -> None:
        key, found = self.broker_key(broker, by_uuid)
        lists = ("replicas", "isr", "adding_replicas", "removing_replicas")
        named = found and any(broker in each[name] for each in self.partitions for name in lists)
        used = found and self.one(self.producers, broker_uuid=found["uuid"])
        self.delete(key, self.brokers, found, refused=bool(named or used))

    @rule(topic=TOPICS, by_uuid=BY_UUID)
    def delete_topic(self, topic: str, by_uuid: bool) -> None:
        key, found = self.topic_key(topic, by_uuid)
        used = found and self.one(self.partitions, topic_uuid=found["uuid"])
        self.delete(key, self.topics, found, refused=bool(used))

    @rule(topic=TOPICS, number=NUMBERS, by_uuid=BY_UUID)
    def delete_partition(self, topic: str, number: int, by_uuid: bool) -> None:
        key, found = self.partition_key(topic, number, by_uuid)
        self.delete(key, self.partitions, found, refused=False)

    @rule(broker=BROKERS, number=NUMBERS, by_uuid=BY_UUID)
    def delete_producer(self, broker: int, number: int, by_uuid: bool) -> None:
        key, found = self.producer_key(broker, number, by_uuid)
        self.delete(key, self.producers, found, refused=False)

    def delete(self, key: Key, records: list[Fields], found: Fields | None, *, refused: bool) -> None:
        answer = self.told(Delete(key))
        if refused:
            assert isinstance(answer, str) and "to it; delete or change those first" in answer
            return
        if found is not None:
            self.revision += 1
            records.remove(found)
        assert answer == found

    @rule()
    def go_on_from_a_snapshot(self) -> None:
        self.book = self.book.restored()

    @invariant()
    def all_of_it_is_as_in_the_model(self) -> None:
        fetched = self.book.fetch()
        assert fetched.revision == self.revision
        assert fetched.deleted == []
        for shown, records in (
            (fetched.brokers, self.brokers),
            (fetched.topics, self.topics),
            (fetched.partitions, self.partitions),
            (fetched.producers, self.producers),
        ):
            assert sorted(map(plain, shown), key=by_uuid) == sorted(records, key=by_uuid)
        assert [plain(change) for change in fetched.registration_changes] == self.changes[-2:]

    @invariant()
    def a_snapshot_is_as_good_as_the_log(self) -> None:
        chunks = self.book.chunks()
        assert list(self.book.replayed().snapshot()) == chunks
        assert self.book.restored().chunks() == chunks


def sound(partition: Fields) -> bool:
    in_replicas = set(partition["isr"]) <= set(partition["replicas"])
    led = partition["leader"] is None or partition["leader"] in partition["isr"]
    return in_replicas and led and not set(partition["adding_replicas"]) & set(partition["removing_replicas"])


def by_uuid(fields: Fields) -> str:
    uuid: str = fields["uuid"]
    return uuid


AgainstDicts.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAgainstDicts = AgainstDicts.TestCase
