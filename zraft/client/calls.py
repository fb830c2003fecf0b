"""A call of the user's: the future that he holds, and what it asks for."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec

from zraft.errors import InvalidRequest, ZraftError
from zraft.requests import Answer, From


class Again:
    """What `read` returns when the answer is a part and the next one must be asked for.

    Parameters
    ----------
    payload
        The query for the next part.
    """

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


class Call(Future[Any]):
    """One command or query, from the moment it is asked to the moment it is answered; the future itself.

    Parameters
    ----------
    machine
        The machine that it is for.
    payload
        The encoded command or query.
    deadline
        On the monotonic clock, in seconds: answered by then, or failed.
    read
        Makes the user's value of what the machine returned; for queries perhaps `Again`.
    source
        Of a query: who may answer it.
    """

    def __init__(
        self,
        machine: str,
        payload: bytes,
        deadline: float,
        read: Callable[[bytes], Any],
        source: From = From.LEADER,
    ) -> None:
        super().__init__()
        self.source = source
        self.machine = machine
        self.payload = payload
        self.deadline = deadline
        self.read = read
        self._left = False
        """Whether it was part of a batch, perhaps to wait for another one since."""

    def leaves(self) -> bool:
        """Note that it is about to be sent; False when the user has cancelled it. From here on he cannot."""
        if not self._left:
            self._left = self.set_running_or_notify_cancel()
        return self._left

    def answer(self, answer: bytes, unreadable: type[ZraftError]) -> bool:
        """Settle it by a `requests.Answer`, or by `unreadable` when that is none; False when it must be asked again."""
        try:
            kind = answer[0]
            value = self.read(answer[1:]) if kind == Answer.DONE else answer[1:].decode("utf-8", "replace")
        except (msgspec.MsgspecError, TypeError, IndexError, ValueError, AttributeError) as error:
            self.set_exception(unreadable(f"the node's answer cannot be read: {error}"))
            return True
        except Exception as error:  # noqa: BLE001 - `read` may be the user's own; what it raises is his to see
            self.set_exception(error)
            return True
        if kind == Answer.DONE:
            if type(value) is Again:
                self.payload = value.payload
                return False
            self.set_result(value)
        elif kind == Answer.DEFERRED:
            return False
        else:
            self.set_exception(InvalidRequest(value))
        return True

    def fail_waiting(self, error: ZraftError) -> None:
        """Fail it while it still waits to be sent."""
        if self.leaves():
            self.set_exception(error)
