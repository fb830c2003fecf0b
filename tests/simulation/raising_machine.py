"""A machine of a user's that raises whatever comes to its mind."""

from collections.abc import Iterable, Iterator

from zraft.machines.machine import Applied


class Raising:
    """Counts the commands that it does not choke on."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, command: bytes, at: Applied) -> bytes:
        command.decode()  # Random bytes are text now and then.
        self.count += 1
        return b"%d" % self.count

    def query(self, query: bytes) -> bytes:
        return b"%d" % self.count

    def snapshot(self) -> Iterator[bytes]:
        return iter([b"%d" % self.count])

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.count = int(b"".join(chunks) or b"0")
