"""The catalog machine: what a cluster is made of, in the manner of KRaft and ZooKeeper: brokers, topics, partitions, producers.

Clients see `records` (what is kept) and `commands` (what can be asked), with `rules`, which says of both what is never
taken. The machine is `store`, on top of `ledger` (all records in the order in which they last changed, with what was
deleted) and `index` (where a record is by its key, and what refers to it).

**Registering is idempotent.** The key of a broker is its broker_id, of a topic its name, of a partition (topic,
partition_id), of a producer (broker, producer_id). Registering a key that exists returns the record as it is, whatever else the
second registration says: what has changed since is not undone by whoever starts again with old settings. `change` changes.

**References.** A partition's topic and a producer's broker must exist, and what others refer to cannot be deleted. Replicas name
brokers by broker_id; those need not be registered yet, since a plan may come before the machines, but once they are, they stay as
long as a partition names them.

**Changes.** Each command that changed something raises the revision by one. A fetch gives all records, or those that changed since
a revision, and what was deleted since. Of deletions and of registration changes the newest are kept (`rules.Bounds`). A fetch
since a revision behind which deletions have been forgotten is refused, as it would leave records standing that are gone: fetch
everything instead.

**Identity.** A uuid is drawn from the place in the log where its record was registered, so it is the same on every node.

Departures: partitions and producers have a uuid too, so that `register` has one to print for every noun and deltas have one key.
"""
