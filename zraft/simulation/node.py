"""One node: a machine with a clock and a disk, on which processes come and go."""

from typing import TYPE_CHECKING

from zraft.errors import StorageError
from zraft.raft.ready import Write
from zraft.raft.types import Membership, NodeId
from zraft.simulation.clocks import MachineClock
from zraft.simulation.dice import log_uniform
from zraft.simulation.disk import Disk, Ended
from zraft.simulation.durable import Durable, Image
from zraft.simulation.network import Name
from zraft.simulation.process import Process
from zraft.simulation.timeline import STALE
from zraft.simulation.violation import Violation
from zraft.storage.wal import Storage

if TYPE_CHECKING:
    from zraft.simulation.cluster import Simulation

NOTICED_MS = 20.0
"""When a guard finds that its node is gone."""


class SimulatedNode:
    """A node, whether its process runs or not.

    Attributes
    ----------
    process : Process or None
        The one that runs.
    durable : Durable or None
        What its data directory is known to hold; None before it has one, and once it was wiped.
    doomed : str
        What will go wrong when it recovers next: a fault's kind, or empty.
    held_down : bool
        It is not started by itself.
    """

    def __init__(self, cluster: "Simulation", id: NodeId) -> None:
        self.cluster, self.id = cluster, id
        self.random = cluster.dice.of(f"node/{id}")
        self.clock = MachineClock(cluster.timeline, self.random.uniform(0, 1e6))
        self.disk = Disk(id, cluster.hits)
        self.durable: Durable | None = None
        self.process: Process | None = None
        self.boots = 0
        self.doomed = ""
        self.held_down = False
        self.joins = False
        """It waits to be let in, even with an empty log: as `zraft cluster add` has all nodes do from then on."""
        self.rotten = ""
        """The file in which a bit has flipped, until a process has started over it, or none could."""
        self._writing: list[Write] = []
        """What the last process was writing when it ended."""
        self._starting = False
        """A start is planned."""
        cluster.network.attach(id, self._hear)
        cluster.network.absent.add(id)

    def _hear(self, source: Name, frames: list[bytes], bad: bool) -> None:
        if self.process is not None:
            self.process.hear(source, frames, bad)

    # -- beginnings ----------------------------------------------------------------------------------------------------

    def start_after(self, delay_ms: float) -> None:
        """Plan a start, unless one is planned."""
        if not self._starting:
            self._starting = True
            self.cluster.timeline.after(delay_ms, self._start)

    def start_now(self) -> None:
        """Start, whatever is planned; does nothing if it runs."""
        self._start()

    def _start(self) -> object:
        self._starting = False
        if self.process is not None or self.held_down:
            return STALE
        self.boots += 1
        try:
            process = self._begin()
        except Ended:
            self.disk = self.disk.after_kill()
            self._restart()
            return None
        except StorageError as error:
            if isinstance(error.__cause__, OSError):
                self._restart()
            elif self.rotten:
                self.cluster.hits["bit_rot_refused"] += 1
                self.wipe()
            else:
                raise Violation("I17", f"{self.id} can't start: {error}") from error
            return None
        self.process, self.rotten = process, ""
        self.cluster.network.absent.discard(self.id)
        process.replica.turn()
        self.cluster.witness.turned(process)
        process.wake()
        return None

    def _begin(self) -> Process:
        """Recover and start, unless what is in store for this start prevents it."""
        doom, self.doomed = self.doomed, ""
        if doom == "kill_in_recovery":
            self.disk.end_at = self.random.choice((0, 1, 2, 3, 5, 8, 13))
        elif doom == "read_error":
            self.disk.failing["pread"] = doom
        try:
            storage = self._recover()
            storage.snapshots.piece_bytes = self.cluster.plan.piece_bytes
            self._compare(storage)
            return Process(self, storage)
        except Ended:
            self.cluster.hits[doom] += 1
            raise
        finally:
            self.disk.end_at = -1
            self.disk.failing.clear()

    def _recover(self) -> Storage:
        plan, minted = self.cluster.plan, f"{self.random.getrandbits(128):032x}"
        return Storage.open(
            self.disk,
            cluster_id=self.cluster.cluster_id,
            node=self.id,
            segment_bytes=plan.segment_bytes,
            new_disk_id=lambda: minted,
        )

    def _compare(self, storage: Storage) -> None:
        """Let the witness compare what was found with what must be there."""
        found = storage.recovered
        witness = self.cluster.witness
        if self.durable is None or self.durable.disk_id != storage.disk_id:
            if self.durable is not None:
                raise Violation("I17", f"{self.id} finds the disk {storage.disk_id}, and had {self.durable.disk_id}")
            self.durable = witness.durables[self.id, storage.disk_id] = Durable(storage.disk_id)
        image = Image(found.hard_state, found.base, found.entries)
        if self.rotten and found.damage:
            self.cluster.hits["bit_rot_lost"] += 1
            witness.recovered_less(self.id, self.durable, image, found.acknowledged)
            self.durable.found_less(image)
        else:
            witness.recovered(self.id, self.durable, image, self._writing)
            self.durable.found(image)
        self._writing = []

    # -- ends ----------------------------------------------------------------------------------------------------------

    def failed(self, error: StorageError) -> None:
        """End as a process does whose disk has failed."""
        self.cluster.note(f"{self.id} stops: {error}")
        self._end()
        self.disk = self.disk.after_kill()
        self._restart()

    def stopped(self) -> None:
        """End as a process does that was stopped, and has finished."""
        self._end()
        self.disk = self.disk.after_kill()
        self._restart()

    def kill(self) -> bool:
        """End as by SIGKILL: what the kernel has been given lasts. False when nothing runs."""
        if self.process is None:
            return False
        self._end()
        self.disk = self.disk.after_kill()
        self._restart()
        return True

    def lose_power(self, kind: str) -> bool:
        """End with the machine; `kind` says what becomes of what was not synced. False when nothing runs."""
        if self.process is None:
            return False
        self.process.guard.kill()
        self._end()
        self.disk = self.disk.after_power_loss(kind, self.random)
        self._restart()
        return True

    def wipe(self) -> None:
        """End, and lose the data directory."""
        if self.process is not None:
            self._end()
        self.disk, self.durable, self._writing = Disk(self.id, self.cluster.hits), None, []
        self.rotten = ""
        # A founder that was alone would found another cluster, since it needs nobody's vote for that.
        self.joins = self.joins or len(self.cluster.voters) == 1
        self._restart()

    def rot(self) -> bool:
        """End as by SIGKILL, and have a bit flip on the disk. False when nothing runs, or not all is told of by slots.

        What happens to a write in its first 50 ms looks as if it had been torn: nobody promises to notice that.
        """
        if self.process is None or not self.process.disk_thread.is_settled:
            return False
        end = self.process.storage.end
        self.kill()
        self.rotten = self.disk.rot(self.random, end)
        self.cluster.note(f"{self.id} rots: {self.rotten}")
        return True

    @property
    def has_all(self) -> bool:
        """Whether it runs, and lacks nothing that it has acknowledged."""
        return self.process is not None and not self.process.raft.lacks_entries

    def is_registered_in(self, membership: Membership) -> bool:
        """Whether a membership knows the data directory that it has."""
        return self.durable is not None and membership.disk_ids.get(self.id) == self.durable.disk_id

    def _end(self) -> None:
        process, self.process = self.process, None
        assert process is not None, "only what runs can end"
        process.ended = True
        self._writing = process.disk_thread.interrupt()
        self.cluster.network.absent.add(self.id)
        self.cluster.timeline.after(NOTICED_MS, process.guard.orphaned)

    def _restart(self) -> None:
        if not self.held_down:
            self.start_after(log_uniform(self.random, 0.02, 5) * self.cluster.plan.election_upper_ms)
