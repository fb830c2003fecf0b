"""Which batches of a log are carried out: what the thesis says of sessions (section 6.3), written down once more for the witness.

It is the dumb twin of `zraft.machines.table`: it looks at every session at every entry.
"""

import msgspec

from zraft.requests import SESSION_TTL_MS, SESSIONS_MAX, SessionChange


class Session(msgspec.Struct):
    """What is known of one client."""

    used_ms: int
    sequence: int = 0


class ExpectedSessions:
    """The sessions at one point of a log."""

    def __init__(self) -> None:
        self._ttl_ms, self._count_max = SESSION_TTL_MS, SESSIONS_MAX
        self._alive: dict[int, Session] = {}
        """By number; the one used last is the last."""

    def pass_time(self, now_ms: int) -> None:
        """Forget whom the time of the next entry finds idle for too long."""
        for number in [each for each, session in self._alive.items() if now_ms - session.used_ms > self._ttl_ms]:
            del self._alive[number]

    def change(self, index: int, change: SessionChange, now_ms: int) -> None:
        """Take over the limits that come with a change; then end a session, or begin the one that `index` is the number of."""
        self._ttl_ms, self._count_max = change.ttl_ms, change.count_max
        self.pass_time(now_ms)
        self._make_room(self._count_max)
        if change.closes:
            self._alive.pop(change.closes, None)
            return
        self._make_room(self._count_max - 1)
        self._alive[index] = Session(now_ms)

    def _make_room(self, count: int) -> None:
        for number in list(self._alive)[: max(0, len(self._alive) - count)]:
            del self._alive[number]

    def admits(self, number: int, sequence: int, now_ms: int) -> bool:
        """Whether this batch is carried out, which is noted: its session is there, and has had none of that number or above."""
        session = self._alive.pop(number, None)
        if session is None:
            return False
        session.used_ms = now_ms
        self._alive[number] = session
        if sequence <= session.sequence:
            return False
        session.sequence = sequence
        return True
