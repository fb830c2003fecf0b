"""The table of client sessions: which batch of each client was applied last, and what it answered (thesis §6.3).

The table is part of the replicated state: it changes with log entries alone, and time is the log's. How long and how many
sessions live is part of it too. It is ordered by last use, so the first session is the next to expire.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from zraft.requests import SESSION_TTL_MS, SESSIONS_MAX

KEPT_BYTES_MAX = 256 << 20
"""What all answers that are kept may hold; part of the state's definition, so it is the same on every node."""


class Session(msgspec.Struct, array_like=True, gc=False):
    """One client's session."""

    number: int
    """The index of the entry that registered it."""
    used_ms: int
    """Cluster time of its last entry; it expires when the log's time passes this by more than the time to live."""
    sequence: int = 0
    """The newest batch applied; 0 before the first."""
    answers: bytes = b""
    """What that batch answered, a msgpack list of bytes: packed, since most are never asked for again."""


class Table:
    """All sessions.

    Parameters
    ----------
    answers_bytes_max
        What their answers may hold together; more evicts the ones used least recently, but never the one that answers.
    """

    def __init__(self, answers_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self.ttl_ms = SESSION_TTL_MS
        """How long a session lives without an entry of its own; set by `limit`."""
        self.count_max = SESSIONS_MAX
        """How many there may be; one more evicts the one used least recently. Set by `limit`."""
        self._answers_bytes_max = answers_bytes_max
        self._answers_bytes = 0
        self._sessions: OrderedDict[int, Session] = OrderedDict()
        """By number, ordered by last use."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def limit(self, ttl_ms: int, count_max: int, now_ms: int) -> None:
        """Take over how long and how many sessions live, and drop those that this leaves no time or room for."""
        assert ttl_ms > 0, f"sessions must live for some time: {ttl_ms} ms"
        assert count_max > 0, f"there must be room for a session: {count_max}"
        self.ttl_ms, self.count_max = ttl_ms, count_max
        self.expire(now_ms)
        while len(self._sessions) > count_max:
            self.end(next(iter(self._sessions)))

    def expire(self, now_ms: int) -> None:
        """Drop every session that was idle for longer than its time to live."""
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if oldest.used_ms + self.ttl_ms >= now_ms:
                return
            self.end(oldest.number)

    @property
    def next_expiry_ms(self) -> int | None:
        """The last cluster time at which the next session to expire still lives."""
        oldest = next(iter(self._sessions.values()), None)
        return None if oldest is None else oldest.used_ms + self.ttl_ms

    def register(self, number: int, now_ms: int) -> None:
        """Add a session, evicting the one used least recently when there is no room."""
        assert number not in self._sessions, f"session {number} is registered already"
        if len(self._sessions) >= self.count_max:
            self.end(next(iter(self._sessions)))
        self._sessions[number] = Session(number, now_ms)

    def end(self, number: int) -> bool:
        """Remove a session; False when there is none of that number."""
        session = self._sessions.pop(number, None)
        if session is None:
            return False
        self._answers_bytes -= len(session.answers)
        return True

    def use(self, number: int, now_ms: int) -> Session | None:
        """Return the session, now the one used last; None when there is none."""
        session = self._sessions.get(number)
        if session is not None:
            session.used_ms = now_ms
            self._sessions.move_to_end(number)
        return session

    def answered(self, session: Session, sequence: int, answers: bytes) -> None:
        """Keep what the newest batch of the session used last has answered."""
        self._answers_bytes += len(answers) - len(session.answers)
        session.sequence, session.answers = sequence, answers
        while self._answers_bytes > self._answers_bytes_max and len(self._sessions) > 1:
            self.end(next(iter(self._sessions)))

    def copy(self) -> list[Session]:
        """Return the sessions as they are now, in order."""
        return [Session(each.number, each.used_ms, each.sequence, each.answers) for each in self._sessions.values()]

    def restore(self, sessions: Iterable[Session], ttl_ms: int, count_max: int) -> None:
        """Replace all sessions by `sessions`, in the order that `copy` gave, and what limits them."""
        self.ttl_ms, self.count_max = ttl_ms, count_max
        self._sessions = OrderedDict((session.number, session) for session in sessions)
        self._answers_bytes = sum(len(session.answers) for session in self._sessions.values())
