"""What the committed entries have brought about: equal wherever it is looked at, and in every snapshot (I4, I16)."""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING

from zraft.machines.sessions import Machines
from zraft.raft.types import Entry, Index, Snapshot
from zraft.simulation.violation import Violation

if TYPE_CHECKING:
    from zraft.simulation.process import Process

RESTORED_EVERY = 4
"""Of so many states that are compared, one is restored from its own snapshot."""


class States:
    """Digests of states and snapshots, by the entry at which they were taken.

    Parameters
    ----------
    ledger
        What is committed; the witness adds to it.
    checked
        Counts what was checked, by invariant.
    digest_entries
        Whole states are compared each so many entries.
    """

    def __init__(self, ledger: list[Entry], checked: Counter[str], digest_entries: int) -> None:
        self._ledger = ledger
        self._checked = checked
        self._digest_entries = digest_entries
        self._states: dict[Index, bytes] = {}
        self._snapshots: dict[Index, bytes] = {}

    def applied(self, process: "Process", index: Index) -> None:
        """Compare the state that a node has reached, if it is time for it."""
        if index % self._digest_entries:
            return
        chunks = list(process.machines.snapshot())
        self._compare(process, index, chunks)
        if len(self._states) % RESTORED_EVERY == 1:
            self._checked["I16"] += 1
            again: Machines = process.blank_machines()
            again.restore(chunks)
            if b"".join(again.snapshot()) != b"".join(chunks):
                raise Violation("I16", f"the snapshot of {process.id} at {index} restores another state")

    def restored(self, process: "Process") -> None:
        """Compare the state that a snapshot has brought, of the leader's or of one's own."""
        self._checked["I4"] += 1
        self._compare(process, process.machines.index, process.machines.snapshot())

    def saved(self, process: "Process", snapshot: Snapshot) -> None:
        """Compare a snapshot with those that other nodes have taken at the same entry."""
        self._checked["I16"] += 1
        index = snapshot.last.index
        if index > len(self._ledger) or self._ledger[index - 1].id != snapshot.last:
            raise Violation("I16", f"{process.id} has a snapshot of all up to {snapshot.last}, which is not committed")
        if self._snapshots.setdefault(index, snapshot.sha256) != snapshot.sha256:
            raise Violation("I16", f"{process.id} has another snapshot of all up to {snapshot.last} than others")

    def _compare(self, process: "Process", index: Index, chunks: Iterable[bytes]) -> None:
        digest = blake2b(digest_size=16)
        for chunk in chunks:
            digest.update(chunk)
        if self._states.setdefault(index, digest.digest()) != digest.digest():
            raise Violation("I4", f"{process.id} has another state at {index} than others")
