"""What node and guard say to each other: one JSON object a line, over two pipes.

Lines, because a reader that meets rubbish can go on at the next one, and a person can read them with ``strace``. The
guard is a program of its own that must be ready at once, so this module is standard library alone. Every message has a
`kind`; the other fields are exactly those of the table, and a message that breaks it is refused as a whole.

Orders, from the node to the guard:

========  =================================================================================================
run       seq, event, argv, env, cwd, timeout_ms, grace_ms, deadline_ms: run `argv` as soon as nothing of an
          earlier script is left; `timeout_ms` and `deadline_ms` (CLOCK_BOOTTIME) may be null, for none
deadline  seq, deadline_ms: the run of that number may live until then
end       no field: end the ``leader`` script that runs, forget the one that waits
ping      n
stop      no field: end a ``leader`` script, let anything else finish, run what waits, then exit
========  =================================================================================================

Reports, from the guard to the node:

========  =================================================================================================
ready     pid: of the guard
pong      n: of the ping
started   seq, pid: of the script, which is also its group and its session
output    seq, stream, line, cut: a line of ``stdout`` or ``stderr``, and how many bytes were cut off it
dropped   seq, lines: that many lines were dropped, here in the order of output
exited    seq, exit_code, signal, duration_ms, left: the script itself ended, and these processes of it live on
stuck     seq, pids: processes of the script that SIGKILL has not ended yet; `ended` waits for them
ended     seq, exit_code, signal, duration_ms, reason: nothing of the script is left; one of the two is null.
          `reason` is exit, or why it was killed: end, replaced, timeout, deadline, stop, node_died
skipped   seq, reason: it was never started: newer, end, deadline
failed    seq, exit_code, reason: it could not be started; 127 not found, 126 not runnable, null for neither
rejected  reason: an order that could not be understood, and was ignored
========  =================================================================================================
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

Message = dict[str, Any]
"""One order or report: `kind` and its fields."""

MESSAGE_BYTES_MAX = 1 << 20
"""A line longer than this is refused; the environment of a script is well below it."""
_INTEGER_MAX = 1 << 63

Check = Callable[[object], bool]


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INTEGER_MAX


def _is_integer_or_null(value: object) -> bool:
    return value is None or _is_integer(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_argv(value: object) -> bool:
    return isinstance(value, list) and bool(value) and bool(value[0]) and all(_is_text(word) for word in value)


def _is_environment(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_text(name) and name and "=" not in name and _is_text(text) for name, text in value.items()
    )


def _is_line(value: object) -> bool:
    return isinstance(value, str)


def _is_pids(value: object) -> bool:
    return isinstance(value, list) and all(_is_integer(pid) for pid in value)


_RESULT: dict[str, Check] = {
    "seq": _is_integer,
    "exit_code": _is_integer_or_null,
    "signal": _is_integer_or_null,
    "duration_ms": _is_integer,
}

Kinds = Mapping[str, Mapping[str, Check]]

ORDERS: Kinds = {
    "run": {
        "seq": _is_integer,
        "event": _is_text,
        "argv": _is_argv,
        "env": _is_environment,
        "cwd": _is_text,
        "timeout_ms": _is_integer_or_null,
        "grace_ms": _is_integer,
        "deadline_ms": _is_integer_or_null,
    },
    "deadline": {"seq": _is_integer, "deadline_ms": _is_integer},
    "end": {},
    "ping": {"n": _is_integer},
    "stop": {},
}
"""The fields of each order, and what each must be."""

REPORTS: Kinds = {
    "ready": {"pid": _is_integer},
    "pong": {"n": _is_integer},
    "started": {"seq": _is_integer, "pid": _is_integer},
    "output": {"seq": _is_integer, "stream": _is_text, "line": _is_line, "cut": _is_integer},
    "dropped": {"seq": _is_integer, "lines": _is_integer},
    "exited": {**_RESULT, "left": _is_pids},
    "stuck": {"seq": _is_integer, "pids": _is_pids},
    "ended": {**_RESULT, "reason": _is_text},
    "skipped": {"seq": _is_integer, "reason": _is_text},
    "failed": {"seq": _is_integer, "exit_code": _is_integer_or_null, "reason": _is_line},
    "rejected": {"reason": _is_line},
}
"""The fields of each report, and what each must be."""


def flaw(message: object, kinds: Kinds) -> str | None:
    """Say in words why `message` is none of `kinds`, or None when it is one."""
    if not isinstance(message, dict):
        return "not an object"
    kind = message.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        return f"unknown kind {str(kind)[:40]!r}"
    fields = kinds[kind]
    if missing := fields.keys() - message.keys():
        return f"{kind} without {', '.join(sorted(missing))}"
    if unknown := message.keys() - fields.keys() - {"kind"}:
        return f"{kind} with {', '.join(sorted(unknown))[:80]}"
    wrong = [name for name, check in fields.items() if not check(message[name])]
    return f"{kind} with a wrong {', '.join(wrong)}" if wrong else None


def encode(message: Mapping[str, object]) -> bytes:
    """Return the line for `message`: ASCII, so that any environment, decoded as the OS does, comes back as it was."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


class Writer:
    """Messages into a non-blocking pipe; what does not fit waits here, in order.

    Parameters
    ----------
    fd
        The writing end of the pipe, non-blocking.
    backlog_bytes_max
        How much may wait before `offer` refuses. `put` never refuses: whoever calls it bounds what it puts.
    """

    def __init__(self, fd: int, backlog_bytes_max: int) -> None:
        self._fd = fd
        self._max = backlog_bytes_max
        self._backlog = bytearray()
        """Bytes that the pipe has not taken yet, beginning anywhere within a message."""
        self.broken = False
        """The other end is gone: nothing that is put will be read; set once, for ever."""

    @property
    def backlog_bytes(self) -> int:
        """How much waits to be written."""
        return len(self._backlog)

    def offer(self, message: Mapping[str, object]) -> bool:
        """Send `message` unless too much waits already; tell whether it was taken."""
        if len(self._backlog) >= self._max:
            return False
        self.put(message)
        return True

    def put(self, message: Mapping[str, object]) -> None:
        """Send `message`, however much waits."""
        self._backlog += encode(message)
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes now; never blocks."""
        try:
            while self._backlog and not self.broken:
                del self._backlog[: os.write(self._fd, self._backlog)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.broken = True
        if self.broken:
            self._backlog.clear()


class Decoder:
    """Bytes in, in pieces of any size; whole messages out, and a sentence for each that was none.

    Parameters
    ----------
    kinds
        What this end of the pipe accepts: `ORDERS` or `REPORTS`.
    """

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._pending = bytearray()
        """The beginning of a line whose end has not come yet; bounded."""
        self._skipping = False
        """The line under way was too long; what is left of it is thrown away."""

    def feed(self, data: bytes) -> tuple[list[Message], list[str]]:
        """Take `data`; return the messages that are now complete, and what was wrong with the lines that were none."""
        messages: list[Message] = []
        mistakes: list[str] = []
        *whole, rest = (bytes(self._pending) + data).split(b"\n")
        for line in whole:
            if self._skipping:
                self._skipping = False
            elif len(line) > MESSAGE_BYTES_MAX:
                mistakes.append(f"a line of more than {MESSAGE_BYTES_MAX} bytes")
            elif line:
                self._take(line, messages, mistakes)
        if len(rest) > MESSAGE_BYTES_MAX and not self._skipping:
            mistakes.append(f"a line of more than {MESSAGE_BYTES_MAX} bytes")
            self._skipping = True
        self._pending[:] = b"" if self._skipping else rest
        return messages, mistakes

    def _take(self, line: bytes, messages: list[Message], mistakes: list[str]) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            mistakes.append(f"not JSON: {str(error)[:80]}")
            return
        wrong = flaw(message, self._kinds)
        if wrong is None:
            messages.append(message)
        else:
            mistakes.append(wrong)
