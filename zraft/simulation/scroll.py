"""A machine made for checking: lists that only grow, by tokens of which each is used once.

Every answer tells how long the list is and a digest of all of it, so that a token that was appended twice, lost or
displaced shows in each answer from then on.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec

from zraft.errors import InvalidRequest
from zraft.machines.machine import Applied

MACHINE = "scroll"
"""The name under which it is mounted."""
BLANK = bytes(8)
"""The digest of the empty list."""


class Append(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Adds a token at the end of a list; answered by an `End`."""

    key: bytes
    token: bytes


class Measure(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Asks for the `End` of a list."""

    key: bytes


class End(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Stands for the whole of a list."""

    length: int
    digest: bytes


encode = msgspec.msgpack.Encoder().encode
decode_append = msgspec.msgpack.Decoder(Append).decode
decode_measure = msgspec.msgpack.Decoder(Measure).decode
decode_end = msgspec.msgpack.Decoder(End).decode
_decode_list = msgspec.msgpack.Decoder(tuple[bytes, list[bytes]]).decode


def extended(digest: bytes, token: bytes) -> bytes:
    """Return the digest of a list to whose end `token` was added; `digest` is that of the list before."""
    return blake2b(digest + token, digest_size=8).digest()


class Scroll:
    """The machine; see `zraft.machines.machine.StateMachine`."""

    def __init__(self) -> None:
        self.lists: dict[bytes, list[bytes]] = {}
        """The tokens by key, in order."""
        self._ends: dict[bytes, End] = {}

    def apply(self, command: bytes, at: Applied) -> bytes:
        """Carry out an `Append`."""
        try:
            append = decode_append(command)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a command of scroll") from error
        return encode(self._append(append.key, append.token))

    def _append(self, key: bytes, token: bytes) -> End:
        before = self._ends.get(key, End(0, BLANK))
        end = self._ends[key] = End(before.length + 1, extended(before.digest, token))
        self.lists.setdefault(key, []).append(token)
        return end

    def query(self, query: bytes) -> bytes:
        """Answer a `Measure`."""
        try:
            measure = decode_measure(query)
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidRequest("not a query of scroll") from error
        return encode(self._ends.get(measure.key, End(0, BLANK)))

    def snapshot(self) -> Iterator[bytes]:
        """Return a chunk for each list, in the order in which they were begun."""
        return iter([encode((key, tokens)) for key, tokens in self.lists.items()])

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace all lists."""
        found = [_decode_list(chunk) for chunk in chunks]
        self.lists, self._ends = {}, {}
        for key, tokens in found:
            for token in tokens:
                self._append(key, token)
