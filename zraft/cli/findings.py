"""How `zraft log verify` shows what it has found."""

from collections.abc import Iterator
from typing import Any

import msgspec

from zraft.raft.types import EntryId
from zraft.storage.findings import Findings, Problem


def as_keys(found: Findings) -> dict[str, Any]:
    """Return the keys of ``zraft log verify --json``."""
    told = found.acknowledged
    return {
        "directory": found.directory,
        "cluster_id": None if found.cluster_id is None else f"{found.cluster_id:016x}",
        "node": found.node,
        "disk_id": found.disk_id,
        "term": found.hard_state.term,
        "voted_for": found.hard_state.voted_for,
        "first_index": found.base.index + 1,
        "last_index": found.last.index,
        "last_term": found.last.term,
        "acknowledged": None
        if told is None
        else {
            "term": told.hard_state.term,
            "vote": told.hard_state.voted_for,
            "last_index": told.last.index,
            "last_term": told.last.term,
        },
        "segments": [msgspec.to_builtins(segment) for segment in found.segments],
        "snapshots": [
            {
                "file": each.file,
                "size": each.size,
                "index": None if each.last is None else each.last.index,
                "term": None if each.last is None else each.last.term,
                "intact": each.intact,
            }
            for each in found.snapshots
        ],
        "damage": [msgspec.to_builtins(problem) for problem in found.damage],
        "notes": [{"file": note.file, "offset": note.offset, "what": note.what} for note in found.notes],
    }


def lines(found: Findings) -> Iterator[str]:
    """Yield it as lines for people: whose it is, each file, what is worth knowing, and each thing that is wrong."""
    if found.cluster_id is not None:
        yield f"node {found.node} of cluster {found.cluster_id:016x}, disk_id {found.disk_id}"
    vote = f"vote for {found.hard_state.voted_for}" if found.hard_state.voted_for else "no vote"
    yield f"term {found.hard_state.term}, {vote}"
    if found.last.index > found.base.index:
        yield f"log of entries {found.base.index + 1} to {_shown(found.last)}"
    else:
        yield f"log without an entry behind {_shown(found.base)}"
    if found.acknowledged is not None:
        yield f"acknowledged at least up to {_shown(found.acknowledged.last)}, in term {found.acknowledged.hard_state.term}"
    for segment in found.segments:
        begins = "" if segment.first_index is None else f", from entry {segment.first_index}"
        holds = f": {segment.turns} writes, {segment.entries} entries{begins}" if segment.state == "in use" else ""
        yield f"  {segment.file}  {segment.state}{holds}"
    for each in found.snapshots:
        what = "unreadable" if each.last is None else f"all up to entry {_shown(each.last)}"
        yield f"  {each.file}  {what}, {each.size:,} bytes{', intact' if each.intact else ''}"
    for note in found.notes:
        yield f"note: {_placed(note)}"
    for problem in found.damage:
        yield f"damaged: {_placed(problem)}"
    for advice in dict.fromkeys(problem.advice for problem in found.damage if problem.advice):
        yield f"what to do: {advice}"
    if not found.damage:
        yield "all of it is intact"


def _placed(problem: Problem) -> str:
    where = problem.file if problem.offset is None else f"{problem.file}: at offset {problem.offset}"
    return f"{where}: {problem.what}"


def _shown(id: EntryId) -> str:
    return f"{id.index}@{id.term}"
