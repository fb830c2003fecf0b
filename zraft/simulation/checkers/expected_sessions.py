"""Which batches of a log are carried out: what the thesis says of sessions (section 6.3), written down once more for the witness.

It is the dumb twin of `zraft.machines.table`: it looks at every session at every entry.
"""

import msgspec


class Session(msgspec.Struct):
    """What is known of one client."""

    used_ms: int
    sequence: int = 0


class ExpectedSessions:
    """The sessions at one point of a log.

    Parameters
    ----------
    ttl_ms
        One that has no entry for longer than this, in the time of the log, is gone.
    """

    def __init__(self, ttl_ms: int) -> None:
        self._ttl_ms = ttl_ms
        self._alive: dict[int, Session] = {}

    def pass_time(self, now_ms: int) -> None:
        """Forget whom the time of the next entry finds idle for too long."""
        for number in [each for each, session in self._alive.items() if now_ms - session.used_ms > self._ttl_ms]:
            del self._alive[number]

    def open(self, number: int, now_ms: int) -> None:
        """Begin the session that the entry at index `number` registers."""
        self._alive[number] = Session(now_ms)

    def close(self, number: int) -> None:
        """End a session, if it is there."""
        self._alive.pop(number, None)

    def admits(self, number: int, sequence: int, now_ms: int) -> bool:
        """Whether this batch is carried out, which is noted: its session is there, and has had none of that number or above."""
        session = self._alive.get(number)
        if session is None:
            return False
        session.used_ms = now_ms
        if sequence <= session.sequence:
            return False
        session.sequence = sequence
        return True
