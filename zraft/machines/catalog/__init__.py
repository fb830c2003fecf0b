"""The catalog machine: brokers, topics, partitions and producers, in the manner of KRaft and ZooKeeper.

Clients see `records` (what is kept) and `commands` (what can be asked), with `rules`, which says of both what is
never taken. The machine is `store`, on top of `ledger` (all records in the order in which they last changed, with
what was deleted) and `index` (where a record is by its key, and how many refer to it).

**Registering is idempotent.** The key of a broker is its broker_id, of a topic its name, of a partition (topic,
partition_id), of a producer (broker, producer_id). Registering a key that exists returns the record as it is,
whatever else the second one says: what was changed since is not undone by whoever starts again with old settings.

**Changing** is what `change` is for. A broker's change merges the fields that it names, raises the epoch, and is kept
as a record of its own, which outlives the broker. A partition's replaces them and raises partition_epoch. A topic has
but a name to change: it is renamed. A producer has nothing of its own: it takes over the epoch that its broker has by
now.

**References.** A partition's topic and a producer's broker must exist, and what others refer to cannot be deleted.
Replicas name brokers by broker_id. Those need not be registered yet, since a plan may come before the machines; but
once they are, they stay as long as a partition names them.

**Revisions.** Each command that changed something raises the revision by one. A fetch gives all records, or those
that changed since a revision, and what was deleted since. Of deletions and of registration changes the newest are
kept (`rules.Bounds`). A fetch since a revision behind which deletions have been forgotten is refused, as it would
leave records standing that are gone: fetch everything instead.

**Events.** Each revision is also an event: which verb did what to which record, in which term and when, also by the wall clock,
which is the same on every node since it is told from the ballots of leaders (`journal`). The newest are kept.

**Identity.** A uuid is drawn from the place in the log where its record was registered, so it is the same on every
node.

Departures: partitions and producers have a uuid too, so that `register` has one to print for every noun and deltas
have one key; `commands` shares with `records` and `rules` what clients see.
"""
