"""Fake nodes with an escort, whose errands are carried out when the test says so."""

from random import Random

import msgspec
from fake_cluster import FakeCluster

from zraft.machines.escort import commands
from zraft.machines.escort.store import Escort
from zraft.machines.sessions import Machines
from zraft.raft.types import Ballot, EntryKind, Membership
from zraft.requests import Batch

NODES = ("n1", "n2", "n3")
encode = msgspec.msgpack.encode


class Fakes:
    """Fake nodes, of which n1 leads an escort."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.random = Random(3)
        cluster.machines = Machines({"kv": cluster.store, "escort": Escort()})
        cluster.commit(EntryKind.MEMBERSHIP, encode(Membership(NODES)))
        cluster.commit(EntryKind.NOOP, encode(Ballot("n1", NODES, (), NODES, "timeout", 5, 0)))
        cluster.start()

    def attend(self, errands: int = 1) -> None:
        """Do as the leader does."""
        for _ in range(errands):
            with self.cluster.changed:
                errand = self.cluster.machines.errand("escort", self.random)
                assert errand is not None
                self.commit(errand.command)

    def commit(self, *given: commands.Command | bytes) -> None:
        """Apply commands that none of the test's clients has sent."""
        raw = [each if isinstance(each, bytes) else commands.encode(each) for each in given]
        with self.cluster.changed:
            self.cluster.commit(EntryKind.COMMAND, encode(Batch(0, 0, "escort", raw)))
