"""A node's whole data directory, log and snapshots together, and beside it the list that says what it must hold.

The state machine of this node is the list of everything that it has applied, so a snapshot and the log behind it come to all
entries since the first, and nothing that is lost, doubled or changed can hide.
"""

import hashlib
import itertools
from collections.abc import Iterable, Sequence

import msgspec
from crashfs import CrashFS
from logmodel import open_log

from zraft.raft.messages import InstallSnapshot
from zraft.raft.ready import Write
from zraft.raft.types import Entry, EntryId, EntryKind, HardState, Membership, Recovered, Snapshot
from zraft.seams import Draft, Saved, Stored
from zraft.storage import Storage
from zraft.storage.starting import start_from

FOUNDERS = Membership(("n1", "n2", "n3"))
PIECE_BYTES = 900
_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.Decoder(list[Entry]).decode
_ids = itertools.count(1)


class Held(msgspec.Struct, frozen=True):
    """What a data directory comes to."""

    entries: tuple[Entry, ...] = ()
    """All since the first, whether they lie in the log or in a snapshot."""
    hard_state: HardState = HardState()

    @property
    def last(self) -> EntryId:
        """The newest entry."""
        return self.entries[-1].id if self.entries else EntryId(0, 0)


class NodeLife:
    """A node's storage in use, what it has promised, and what it is about to.

    Every method that writes may end in `PowerLoss`; `allowed` says what may be there afterwards.
    """

    def __init__(self, fs: CrashFS) -> None:
        self.fs = fs
        self.held = Held()
        """What is durable for certain."""
        self._under_way: Held | None = None
        """What the write under way leads to."""
        self.saved: list[Snapshot] = []
        """Snapshots told to be durable, oldest first, of those that are of use still."""
        self.storage = open_log(fs)

    @property
    def allowed(self) -> list[Held]:
        """What recovery may give: all that was promised, and what is under way whole or not at all."""
        return [self.held, *([self._under_way] if self._under_way else [])]

    # -- the log -------------------------------------------------------------------------------------------------------

    def append(self, *data: bytes, term: int, kind: EntryKind = EntryKind.COMMAND, keeps: int | None = None) -> None:
        """Write entries, in place of all behind the first `keeps`, if that is given."""
        before = self.held.entries if keeps is None else self.held.entries[:keeps]
        added = [Entry(term, index, kind, index * 10, text) for index, text in enumerate(data, start=len(before) + 1)]
        hard_state = HardState(term) if term > self.held.hard_state.term else None
        held = Held((*before, *added), hard_state or self.held.hard_state)
        truncate_from = None if keeps is None else keeps + 1
        self._write(held, Write(next(_ids), term, hard_state, truncate_from, added))

    def change(self, members: Sequence[str], term: int) -> None:
        """Write an entry that changes the membership."""
        self.append(_encode(members), term=term, kind=EntryKind.MEMBERSHIP)

    def vote(self, term: int, candidate: str) -> None:
        """Write a vote."""
        hard_state = HardState(term, candidate)
        self._write(Held(self.held.entries, hard_state), Write(next(_ids), term, hard_state))

    def _write(self, held: Held, *writes: Write) -> None:
        self._under_way = held
        self.storage.write(writes)
        self.held, self._under_way = held, None

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def begin_snapshot(self, index: int) -> None:
        """Begin to write one of the node's own; `step` goes on with it."""
        draft, data = drafted(self.held.entries, index)
        self.storage.save(draft, _cut(data))

    def snapshot_by_process(self, index: int, *, between: Iterable[None] = ()) -> None:
        """Write one as a process of its own does, with whatever `between` does before it is taken over."""
        draft, data = drafted(self.held.entries, index)
        self.storage.snapshots.write(draft, _cut(data))
        for _ in between:
            pass
        self.storage.keep(draft, None)
        self._hear()

    def step(self) -> bool:
        """Do a bit of what is done between writes; True while there is more."""
        more = self.storage.prepare()
        self._hear()
        return more

    def compact(self) -> None:
        """Have the log begin behind the last snapshot but one, as it does while two are kept."""
        if len(self.saved) > 1:
            self._begin_after(self.saved[-2])

    def install(self, entries: Sequence[Entry], term: int, *, pieces: int | None = None) -> None:
        """Take the leader's snapshot, which holds `entries`, and begin behind it; or only its first `pieces`."""
        draft, data = drafted(entries, len(entries))
        snapshot = Snapshot(draft.last, draft.time_ms, draft.membership, len(data), hashlib.sha256(data).digest())
        if term > self.held.hard_state.term:
            hard_state = HardState(term)
            self._write(Held(self.held.entries, hard_state), Write(next(_ids), term, hard_state))
        mine = self.held.entries
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(mine, entries, strict=False)))
        agrees = same == len(entries)
        held = Held(mine if agrees else tuple(entries), self.held.hard_state)
        self._under_way = (
            held  # As soon as the snapshot has its name, a log that contradicts it counts no more (paper §7).
        )
        for number, piece in enumerate(_cut(data)[:pieces]):
            self.storage.receive(InstallSnapshot(term, snapshot, number * PIECE_BYTES, piece))
        self._under_way = None
        self._hear()
        if snapshot in self.saved:
            self.held = held
            self._begin_after(snapshot, truncate_from=None if agrees or same == len(mine) else same + 1)

    def _begin_after(self, snapshot: Snapshot, truncate_from: int | None = None) -> None:
        term = self.held.hard_state.term
        self._write(self.held, Write(next(_ids), term, None, truncate_from, begins_after=snapshot))
        self.saved = [each for each in self.saved if each.last.index >= snapshot.last.index]

    def _hear(self) -> None:
        for news in self.storage.take_news():
            snapshot = news.snapshot if isinstance(news, Saved | Stored) else None
            whole = isinstance(news, Saved) or (isinstance(news, Stored) and news.offset == news.snapshot.size)
            if snapshot is not None and whole and snapshot not in self.saved:
                self.saved = sorted([*self.saved, snapshot], key=lambda each: each.last.index)

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Close, open again, and check that all is there."""
        self.storage.close()
        self.recover(self.fs)

    def recover(self, fs: CrashFS) -> None:
        """Go on with what `fs` holds, a life that a crash has cut off, once that is found to be as it must."""
        self.fs = fs
        self.storage = open_log(fs)
        held, recovered = found(self.storage)
        assert held in self.allowed
        there = [each for each in recovered.snapshots if each.last.index >= recovered.base.index]
        assert all(each in there for each in self.saved if each.last.index >= recovered.base.index)
        self.held, self._under_way = held, None
        self.saved = there  # Older ones are about to be removed.
        if self.saved and self.saved[-1].last not in ids_in_the_log(recovered):
            self._begin_after(self.saved[-1], recovered.base.index + 1 if recovered.entries else None)


def drafted(entries: Sequence[Entry], index: int) -> tuple[Draft, bytes]:
    """Return what is known of a snapshot of the first `index` entries, and its bytes."""
    held = entries[:index]
    draft = Draft(held[-1].id, held[-1].time_ms, membership_in(held))
    return draft, _encode(held)


def membership_in(entries: Sequence[Entry]) -> Membership:
    """Return the newest membership among `entries`."""
    changes = [each for each in entries if each.kind == EntryKind.MEMBERSHIP]
    return Membership(tuple(msgspec.msgpack.decode(changes[-1].data))) if changes else FOUNDERS


def found(storage: Storage) -> tuple[Held, Recovered]:
    """Return what `storage` comes to, as a node that starts puts it together; fails where its parts contradict each other.

    A log without the last entry of the newest snapshot counts for nothing: the leader's snapshot came, and the node went
    before the log began behind it.
    """
    restored: list[Entry] = []
    recovered = start_from(storage, lambda pieces: restored.extend(_decode(b"".join(pieces))), _no_damage)
    assert [each.index for each in restored] == list(range(1, len(restored) + 1))
    entries = tuple(restored)
    if not restored or restored[-1].id in ids_in_the_log(recovered):
        entries = (*entries[: recovered.base.index], *recovered.entries)
        assert entries[: len(restored)] == tuple(restored), "the snapshot and the log differ"
        assert [each.index for each in entries] == list(range(1, len(entries) + 1))
        behind = entries[: recovered.base.index]
        assert recovered.base == (behind[-1].id if behind else EntryId(0, 0))
        assert recovered.membership in ((None, FOUNDERS) if not behind else (membership_in(behind),))
    for snapshot in recovered.snapshots:
        assert snapshot.membership == membership_in(entries[: snapshot.last.index])
    return Held(entries, recovered.hard_state), recovered


def ids_in_the_log(recovered: Recovered) -> list[EntryId]:
    """Return the ids of what the log has, and of the entry right before it."""
    return [recovered.base, *(each.id for each in recovered.entries)]


def _cut(data: bytes) -> list[bytes]:
    return [data[offset : offset + PIECE_BYTES] for offset in range(0, len(data), PIECE_BYTES)]


def _no_damage(line: str) -> None:
    raise AssertionError(f"a crash is no damage: {line}")
