"""What clients of a simulation ask for: commands and queries for a few keys, with a token of its own in each value.

A value that is used once is visible when it turns up where nobody put it. Conditions name what was last seen under the key,
by anybody, so that many of them hold.
"""

from contextlib import suppress
from random import Random

import msgspec

from zraft.machines.configured import made
from zraft.machines.kv import commands as kv
from zraft.requests import Answer
from zraft.simulation import scroll
from zraft.simulation.dice import chance
from zraft.simulation.history import Kind, Operation
from zraft.simulation.machines import OWN, asked_of
from zraft.simulation.plan import Plan

COMMANDS_MAX = 4
PADDING_MAX = 300
"""Bytes behind a token, in some values."""
Wish = tuple[str, list[bytes]]
"""A machine, and commands or queries for it."""


class Wishes:
    """What all clients wish for.

    Parameters
    ----------
    plan
        How many keys there are, and whether there is a machine under test.
    random
        Dice.
    """

    def __init__(self, plan: Plan, random: Random) -> None:
        self._random = random
        self._keys = [b"k%d" % number for number in range(1, plan.keys + 1)]
        self._reading = random.uniform(0.1, 0.8)
        """The share of wishes that are queries."""
        self._scrolling = random.uniform(0.1, 0.6)
        """The share that go to the scroll."""
        self._own = asked_of(made(plan.machine)) if plan.machine else None
        self._seen: dict[bytes, kv.KeyValue | None] = {}
        """What anybody saw last, by key."""
        self._tokens = 0

    def next(self) -> tuple[Kind, Wish]:
        """Return what a client wishes for next."""
        reads = chance(self._random, self._reading)
        if self._own is not None and chance(self._random, 0.5):
            commands, queries = self._own
            if reads and queries is not None:
                return Kind.READ, (OWN, queries(self._random))
            return Kind.WRITE, (OWN, commands(self._random))
        count = self._random.randint(1, COMMANDS_MAX) if chance(self._random, 0.3) else 1
        if chance(self._random, self._scrolling):
            each, machine = self._measure if reads else self._append, scroll.MACHINE
        else:
            each, machine = self._get if reads else self._change, kv.MACHINE
        return Kind.READ if reads else Kind.WRITE, (machine, [each() for _ in range(count)])

    def saw(self, operation: Operation) -> None:
        """Remember what an answer says is under a key now."""
        if operation.machine == kv.MACHINE and operation.answer[0] == Answer.DONE:
            with suppress(msgspec.MsgspecError):  # An answer that is none is for the checkers to find.
                self._saw(operation)

    def _saw(self, operation: Operation) -> None:
        answer = operation.answer[1:]
        if operation.kind is not Kind.WRITE:
            query = kv.decode_query(operation.request)
            if isinstance(query, kv.Get):
                self._seen[query.key] = kv.decode_entry(answer)
            return
        command = kv.decode_command(operation.request)
        if isinstance(command, kv.Put):
            revision = kv.decode_revision(answer)
            self._seen[command.key] = kv.KeyValue(command.key, command.value, revision, revision, 1)
        elif isinstance(command, kv.Delete):
            self._seen[command.key] = None

    def _token(self) -> bytes:
        self._tokens += 1
        return b"t%d" % self._tokens

    def _key(self) -> bytes:
        return self._random.choice(self._keys)

    def _value(self) -> bytes:
        padding = self._random.randrange(PADDING_MAX) if chance(self._random, 0.1) else 0
        return self._token() + bytes(padding)

    def _append(self) -> bytes:
        return scroll.encode(scroll.Append(self._key(), self._token()))

    def _measure(self) -> bytes:
        return scroll.encode(scroll.Measure(self._key()))

    def _get(self) -> bytes:
        return kv.encode(kv.Get(self._key()))

    def _change(self) -> bytes:
        key, kind = self._key(), self._random.random()
        if kind < 0.55:  # noqa: PLR2004 - shares
            return kv.encode(kv.Put(key, self._value()))
        if kind < 0.7:  # noqa: PLR2004
            return kv.encode(kv.Delete(key))
        seen = self._seen.get(key)
        if seen is None:
            return kv.encode(kv.CompareAndSet(key, None, self._value()))
        expected = seen.mod_revision if chance(self._random, 0.5) else seen.value
        return kv.encode(kv.CompareAndSet(key, expected, None if chance(self._random, 0.2) else self._value()))
