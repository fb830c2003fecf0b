"""Histories of one key, made by hand or at random, and an oracle that judges them by trying every order there is.

What an operation is, and what it gave, is written in words of its own (`Act`): the oracle knows neither the wire nor any
model of the checker.
"""

from itertools import permutations
from random import Random
from typing import Any, NamedTuple

from zraft.machines.kv import commands as kv
from zraft.requests import Answer
from zraft.simulation import scroll
from zraft.simulation.history import Ending, Kind, Operation

KEY = b"k"
DONE = bytes([Answer.DONE])
NEVER = 1_000_000


class Act(NamedTuple):
    """One operation.

    ============================  =========================================
    ``("put", v)``                gives None
    ``("delete",)``               gives whether there was something
    ``("cas", expected, v)``      gives whether it was as expected
    ``("get",)``                  gives (value, how often put), or None
    ``("append", token)``         gives the list behind it
    ``("measure",)``              gives the list
    ============================  =========================================
    """

    invoked: int
    returned: int
    what: tuple[Any, ...]
    gave: Any = None
    ending: Ending = Ending.OK

    @property
    def reads(self) -> bool:
        return self.what[0] in ("get", "measure")


def ok(invoked: int, returned: int, *what: Any, gave: Any = None) -> Act:
    return Act(invoked, returned, what, gave)


def lost(invoked: int, *what: Any) -> Act:
    return Act(invoked, NEVER, what, None, Ending.UNKNOWN)


def failed(invoked: int, returned: int, *what: Any) -> Act:
    return Act(invoked, returned, what, None, Ending.FAILED)


# -- the oracle ----------------------------------------------------------------------------------------------------------


def after(state: Any, act: Act) -> tuple[Any, Any]:
    """Return state and answer behind an act; a state is (value, how often put) or None, or a tuple of tokens."""
    match act.what:
        case ("put", value):
            return (value, 1 if state is None else state[1] + 1), None
        case ("delete",):
            return None, state is not None
        case ("cas", expected, value):
            if (None if state is None else state[0]) != expected:
                return state, False
            return (None if value is None else (value, 1 if state is None else state[1] + 1)), True
        case ("append", token):
            return (*state, token), (*state, token)
    return state, state


def is_possible(acts: list[Act]) -> bool:
    """Try every order of every choice of what may have happened."""
    sure = [act for act in acts if act.ending is Ending.OK]
    open_ = [act for act in acts if act.ending in (Ending.UNKNOWN, Ending.PENDING) and not act.reads]
    empty: Any = () if any(act.what[0] in ("append", "measure") for act in acts) else None
    return any(
        explains(order, empty)
        for chosen in range(1 << len(open_))
        for order in permutations(sure + [act for bit, act in enumerate(open_) if chosen >> bit & 1])
    )


def explains(order: tuple[Act, ...], state: Any) -> bool:
    for place, act in enumerate(order):
        if any(later.returned < act.invoked for later in order[place + 1 :]):
            return False
        state, gives = after(state, act)
        if act.ending is Ending.OK and gives != act.gave:
            return False
    return True


# -- for the checker -----------------------------------------------------------------------------------------------------


def operations(acts: list[Act]) -> list[Operation]:
    """Return the acts as clients of a simulation would have noted them."""
    acts = sorted(acts)
    values = [act.what[-1] for act in acts if act.what[0] in ("put", "cas") and act.what[-1] is not None]
    values += [act.gave[0] for act in acts if act.what[0] == "get" and act.gave]
    revisions = {value: 10 + place for place, value in enumerate(dict.fromkeys(values))}
    return [operation(number, act, revisions) for number, act in enumerate(acts)]


def operation(number: int, act: Act, revisions: dict[bytes, int]) -> Operation:
    is_ok = act.ending is Ending.OK
    return Operation(
        number,
        b"c",
        Kind.READ if act.reads else Kind.WRITE,
        act.invoked,
        scroll.MACHINE if act.what[0] in ("append", "measure") else kv.MACHINE,
        request(act.what),
        sequence=number,
        ending=act.ending,
        returned=None if act.ending in (Ending.UNKNOWN, Ending.PENDING) else act.returned,
        answer=DONE + answer(act, revisions) if is_ok else b"",
    )


def request(what: tuple[Any, ...]) -> bytes:
    match what:
        case ("put", value):
            return kv.encode(kv.Put(KEY, value))
        case ("delete",):
            return kv.encode(kv.Delete(KEY))
        case ("cas", expected, value):
            return kv.encode(kv.CompareAndSet(KEY, expected, value))
        case ("get",):
            return kv.encode(kv.Get(KEY))
        case ("append", token):
            return scroll.encode(scroll.Append(KEY, token))
    return scroll.encode(scroll.Measure(KEY))


def answer(act: Act, revisions: dict[bytes, int]) -> bytes:
    gave = act.gave
    match act.what:
        case ("put", value):
            return kv.encode(revisions[value])
        case ("delete",):
            return kv.encode(kv.Deleted(gave, 5))
        case ("cas", _, value):
            return kv.encode((5 if value is None else revisions[value]) if gave else None)
        case ("get",):
            return kv.encode(gave and kv.KeyValue(KEY, gave[0], 1, revisions[gave[0]], gave[1]))
    digest = scroll.BLANK
    for token in gave:
        digest = scroll.extended(digest, token)
    return scroll.encode(scroll.End(len(gave), digest))


# -- at random -----------------------------------------------------------------------------------------------------------


def legal(random: Random, count: int, *, machine: str, width: int = 3, lost: int = 2) -> list[Act]:
    """Return what a right system gave, in the order in which it happened, each at some moment while its client waited.

    Of some nobody knows whether they happened: `lost` for each 8 that succeed. Those that did end as UNKNOWN, and those that did
    not are PENDING, which is the same to a checker.
    """
    begun = []
    for number in range(count):
        invoked = random.randrange(count * 10)
        moment = invoked + random.randrange(1, 10 * width)
        ending = random.choices((Ending.OK, Ending.UNKNOWN, Ending.FAILED), (8, lost, 1))[0]
        what = some_act(random, machine, b"v%d" % number, [b"v%d" % other for other in range(count)])
        begun.append((moment, Act(invoked, moment + random.randrange(1, 10 * width), what, None, ending)))
    state: Any = () if machine == scroll.MACHINE else None
    acts = []
    for _, act in sorted(begun, key=lambda each: each[0]):
        if act.ending is Ending.UNKNOWN:
            act = act._replace(returned=NEVER, ending=random.choice((Ending.UNKNOWN, Ending.PENDING)))  # noqa: PLW2901
        happens = act.ending in (Ending.OK, Ending.UNKNOWN)
        state, gives = after(state, act) if happens else (state, None)
        acts.append(act._replace(gave=gives if act.ending is Ending.OK else None))
    return distinct(acts)


def some_act(random: Random, machine: str, own: bytes, values: list[bytes]) -> tuple[Any, ...]:
    if machine == scroll.MACHINE:
        return random.choice((("append", own), ("append", own), ("measure",)))
    expected = random.choice([None, *values])
    removes = ("cas", expected, None) if expected is not None else ("delete",)
    return random.choice((("put", own), ("put", own), ("get",), ("get",), ("delete",), ("cas", expected, own), removes))


def distinct(acts: list[Act]) -> list[Act]:
    """Return the acts with stamps of which no two are equal, in the order that they have."""
    ends = sorted(
        {(act.invoked, place, 0) for place, act in enumerate(acts)}
        | {(act.returned, place, 1) for place, act in enumerate(acts) if act.returned != NEVER}
    )
    stamps = {(place, which): stamp for stamp, (_, place, which) in enumerate(ends, 1)}
    return [
        act._replace(invoked=stamps[place, 0], returned=stamps.get((place, 1), NEVER)) for place, act in enumerate(acts)
    ]


def mutated(random: Random, acts: list[Act]) -> list[Act]:
    """Return the acts with one thing changed, which may make them impossible."""
    acts = list(acts)
    place = random.randrange(len(acts))
    act = acts[place]
    match random.randrange(8):
        case 0 | 6 | 7:
            acts[place] = act._replace(gave=other_answer(random, acts, act)) if act.ending is Ending.OK else act
        case 1 if act.ending is Ending.OK and not act.reads:
            acts[place] = act._replace(ending=Ending.FAILED, gave=None)
        case 2:
            del acts[place]
        case 3:
            acts[place] = act._replace(invoked=random.randrange(2 * len(acts)), returned=NEVER)
            moved = acts[place]
            acts[place] = (
                moved._replace(returned=moved.invoked + 1 + random.randrange(4)) if act.returned != NEVER else moved
            )
        case 4:
            other = random.randrange(len(acts))
            times = (acts[other].invoked, acts[other].returned)
            if NEVER not in (times[1], act.returned):
                acts[other] = acts[other]._replace(invoked=act.invoked, returned=act.returned)
                acts[place] = acts[place]._replace(invoked=times[0], returned=times[1])
        case _:
            alike = [each for each in acts if each.what[0] == act.what[0] and each.ending is Ending.OK]
            if act.ending is Ending.OK:
                acts[place] = act._replace(gave=random.choice(alike).gave)
    return distinct(acts)


def other_answer(random: Random, acts: list[Act], act: Act) -> Any:
    match act.what[0]:
        case "put":
            return None
        case "delete" | "cas":
            return not act.gave
        case "get":
            values = [each.what[-1] for each in acts if each.what[0] in ("put", "cas") and each.what[-1]]
            return random.choice([None, *((value, random.randrange(1, 4)) for value in values)])
    tokens = [each.what[1] for each in acts if each.what[0] == "append"]
    return tuple(random.sample(tokens, random.randrange(len(tokens) + 1)))
