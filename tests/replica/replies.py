"""What a reply says, and what happened before it."""

from virtual_cluster import VirtualNode

from zraft.machines.kv.commands import decode_entry
from zraft.requests import Answer


def value_in(answer: bytes) -> bytes | None:
    """Return the value that the answer to a `Get` gives."""
    assert answer[0] == Answer.DONE
    found = decode_entry(answer[1:])
    return None if found is None else found.value


def journal(node: VirtualNode, id: int) -> list[str]:
    """Return what happened at a node up to the reply with that id: ``apply 5``, ``reply``."""
    told: list[str] = []
    for effect in node.effects:
        if effect[0] == "apply":
            told.append(f"apply {effect[1].index}")
        if effect[0] == "reply" and effect[2].id == id:
            return [*told, "reply"]
    return told
