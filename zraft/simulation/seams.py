"""The seams of a simulated process that are not rooms of their own: its links, and the replicated state under the witness's eye."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zraft.machines.sessions import OWN_SESSION, Machines, Result
from zraft.raft.messages import Message
from zraft.raft.ready import Write
from zraft.raft.types import Entry, NodeId
from zraft.requests import Batch, Reply
from zraft.seams import DiskNews, Saved
from zraft.simulation.diskthread import DiskThread

if TYPE_CHECKING:
    from zraft.simulation.process import Process


class Links:
    """The `Network` seam: encodes once what goes to several, as the transport does."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._network = process.cluster.network
        self._encoded: tuple[Message | None, list[bytes]] = (None, [])
        """The last message, and its frames."""

    def send(self, target: NodeId, message: Message) -> bool:
        """Send, once the witness has seen that nothing is promised too early."""
        process = self._process
        process.witness.sent(process, target, message)
        if self._encoded[0] is not message:
            self._encoded = message, process.codec.encode(message)
        return self._network.send(process.id, target, self._encoded[1])

    def reply(self, client: bytes, reply: Reply) -> None:
        """Answer a client."""
        process = self._process
        process.witness.replied(process, client, reply)
        frames = process.codec.encode(reply)
        process.cluster.places[client, frames[1]] = process.machines.term, process.machines.index
        self._network.send(process.id, client, frames)


class WitnessedWrites:
    """The `WriteQueue` seam: shows the witness what is written, on its way to the thread."""

    def __init__(self, process: "Process", thread: DiskThread) -> None:
        self._process = process
        self._thread = thread
        self.completed = thread.completed
        self.save, self.receive, self.fetch, self.pieces = thread.save, thread.receive, thread.fetch, thread.pieces

    def submit(self, write: Write) -> None:
        """Submit."""
        self._process.witness.submitted(self._process, write)
        self._thread.submit(write)

    def news(self) -> list[DiskNews]:
        """Return what has become of snapshots."""
        news = self._thread.news()
        for each in news:
            if isinstance(each, Saved):
                self._process.witness.states.saved(self._process, each.snapshot)
        return news


class WitnessedMachines(Machines):
    """The replicated state, which shows the witness what each entry brings about."""

    process: "Process"
    """Whose it is; set once both are there."""
    _carried_out: tuple[int, int] | None = None
    """Session and sequence of the batch that the entry at hand has carried out, if any."""

    def apply(self, entry: Entry, *, batch: Batch | None = None) -> Result:
        """Apply."""
        self._carried_out = None
        result = super().apply(entry, batch=batch)
        self.process.witness.applied(self.process, entry, result, self._carried_out)
        return result

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Restore."""
        super().restore(chunks)
        self.process.witness.states.restored(self.process)

    def _carry_out(self, batch: Batch, entry: Entry) -> Result:
        if batch.session != OWN_SESSION:
            self._carried_out = (batch.session, batch.sequence)
        return super()._carry_out(batch, entry)
