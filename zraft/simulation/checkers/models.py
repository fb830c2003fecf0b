"""What a linearizability checker must know of a machine: what each operation on one key does to it, and may answer.

These models share nothing with the machines but the words of the wire: they are written from what the machines promise,
for one key alone, since a history is linearizable if it is so key by key (Herlihy and Wing 1990, theorem 1: locality).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from zraft.machines.kv import commands as kv
from zraft.requests import Answer
from zraft.simulation import scroll
from zraft.simulation.history import Ending, Kind, Operation

State = tuple[Any, ...]
"""What a key holds; the empty tuple before anything happened to it."""
Step = Callable[[State], State | None]
"""What one operation does: the state behind it, or None when it cannot have taken effect on this one with the answer that it got."""
ENDLESS: Final = 1 << 62
"""When an operation returned that never did."""


class Call(msgspec.Struct, frozen=True):
    """One operation on one key."""

    operation: Operation
    invoked: int
    returned: int
    step: Step
    hint: tuple[int, int] = (ENDLESS, 0)
    """Where it happened, as somebody believes: an index of the log and a place in that entry."""


def by_key(
    operations: Iterable[Operation], places: Mapping[int, tuple[int, int]] | None = None
) -> dict[tuple[str, bytes], list[Call]]:
    """Return the operations that a model understands, by machine and key, in the order of their invocation.

    Left out are those of other machines, stale reads, and what had no effect for certain and told nothing: reads without an
    answer, commands that were invalid, and whatever FAILED.

    Parameters
    ----------
    operations
        A history.
    places
        By number, hints on where operations happened; those that returned have one of their own.
    """
    found: defaultdict[tuple[str, bytes], list[Call]] = defaultdict(list)
    known = [each for each in operations if each.machine in _MODELS]
    revisions = _revisions(known)
    for each in filter(_matters, known):
        model = _MODELS[each.machine]
        try:
            step = model.step(each, revisions)
        except msgspec.MsgspecError:
            step = _never
        returned = each.returned if each.is_ok and each.returned is not None else ENDLESS
        hint = (places or {}).get(each.number) or (each.index if each.is_ok else ENDLESS, each.position)
        found[each.machine, model.key(each)].append(Call(each, each.invoked, returned, step, hint))
    return found


def _matters(operation: Operation) -> bool:
    if operation.is_ok:
        # A command that was refused for what it is did nothing, and told nothing of the state.
        return operation.kind in (Kind.READ, Kind.WRITE) and operation.answer[0] == Answer.DONE
    return operation.kind is Kind.WRITE and operation.ending is not Ending.FAILED


def _never(state: State) -> None:
    """Take no effect on any state: the answer cannot be one."""


def _answer(operation: Operation) -> bytes | None:
    """Return what the machine answered; None when nobody knows."""
    return operation.answer[1:] if operation.is_ok else None


# -- the key-value store: () is no such key, else its value and how often it was put --------------------------------------


def _revisions(operations: Iterable[Operation]) -> dict[int, bytes]:
    """Return which value each revision put, as far as anybody was told: values are unique."""
    told = [each for each in operations if each.machine == kv.MACHINE and each.is_ok and each.answer[0] == Answer.DONE]
    return {revision: value for each in told for revision, value in _put_by(each)}


def _put_by(operation: Operation) -> list[tuple[int, bytes]]:
    """Return the revision that an answer speaks of and the value that it put, if it speaks of one."""
    try:
        revision, value = _revision_in(operation)
    except msgspec.MsgspecError:
        return []  # It is no answer, and has no place in any order.
    return [] if revision is None or value is None else [(revision, value)]


def _revision_in(operation: Operation) -> tuple[int | None, bytes | None]:
    """Return a revision and the value that it put, as far as an answer has them."""
    if operation.kind is not Kind.WRITE:
        entry = kv.decode_entry(operation.answer[1:])
        return (None, None) if entry is None else (entry.mod_revision, entry.value)
    command = kv.decode_command(operation.request)
    if isinstance(command, kv.Put | kv.CompareAndSet):
        return kv.decode_swapped(operation.answer[1:]), command.value
    return None, None


def _kv_key(operation: Operation) -> bytes:
    if operation.kind is Kind.READ:
        query = kv.decode_query(operation.request)
        assert isinstance(query, kv.Get), "clients of a simulation list nothing"
        return query.key
    command: kv.Command = kv.decode_command(operation.request)
    assert not isinstance(command, kv.SetLimits), "limits are no client's to set"
    return command.key


def _kv_step(operation: Operation, revisions: dict[int, bytes]) -> Step:
    answer = _answer(operation)
    if operation.kind is Kind.READ:
        assert answer is not None, "a read without an answer tells nothing"
        return _get(_kv_key(operation), kv.decode_entry(answer), revisions)
    command = kv.decode_command(operation.request)
    if isinstance(command, kv.Put):
        if answer is not None:
            kv.decode_revision(answer)
        value = command.value
        return lambda state: _put(state, value)
    if isinstance(command, kv.Delete):
        return _delete(None if answer is None else kv.decode_deleted(answer).existed)
    assert isinstance(command, kv.CompareAndSet), "limits are no client's to set"
    swapped = None if answer is None else kv.decode_swapped(answer) is not None
    expected = command.expected
    if isinstance(expected, int):
        # Nobody was told that such a revision put anything: it has not, or its value is nowhere to be seen.
        expected = revisions.get(expected, b"no value that anybody has put")
    return _compare_and_set(expected, command.value, swapped)


def _get(key: bytes, entry: kv.KeyValue | None, revisions: dict[int, bytes]) -> Step:
    if entry is None:
        return lambda state: None if state else state
    if entry.key != key or revisions[entry.mod_revision] != entry.value:
        return _never
    seen = (entry.value, entry.version)
    return lambda state: state if state == seen else None


def _put(state: State, value: bytes | None) -> State:
    return (value, state[1] + 1) if state else (value, 1)


def _delete(existed: bool | None) -> Step:
    return lambda state: () if existed is None or existed == bool(state) else None


def _compare_and_set(expected: bytes | None, value: bytes | None, swapped: bool | None) -> Step:
    def step(state: State) -> State | None:
        is_so = (state[0] if state else None) == expected
        if swapped is not None and swapped != is_so:
            return None
        if not is_so:
            return state
        return () if value is None else _put(state, value)

    return step


# -- the scroll: () is the empty list, else its length and digest ---------------------------------------------------------


def _scroll_key(operation: Operation) -> bytes:
    if operation.kind is Kind.READ:
        return scroll.decode_measure(operation.request).key
    return scroll.decode_append(operation.request).key


def _scroll_step(operation: Operation, revisions: dict[int, bytes]) -> Step:
    answer = _answer(operation)
    end = None if answer is None else scroll.decode_end(answer)
    seen: State | None = None
    if end is not None:
        seen = (end.length, end.digest) if end.length else ()
    if operation.kind is Kind.READ:
        return lambda state: state if state == seen else None
    return _append(scroll.decode_append(operation.request).token, seen)


def _append(token: bytes, seen: State | None) -> Step:
    def step(state: State) -> State | None:
        length, digest = state or (0, scroll.BLANK)
        after = (length + 1, scroll.extended(digest, token))
        return after if seen is None or seen == after else None

    return step


class _Model(NamedTuple):
    """How the operations on one machine are read."""

    key: Callable[[Operation], bytes]
    step: Callable[[Operation, dict[int, bytes]], Step]
    """Raises MsgspecError when the answer cannot be one."""


_MODELS = {kv.MACHINE: _Model(_kv_key, _kv_step), scroll.MACHINE: _Model(_scroll_key, _scroll_step)}
