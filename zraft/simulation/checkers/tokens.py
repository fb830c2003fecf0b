"""Exactly once: each token that a client appended is in its list as often as it ought to be, and nothing else is.

It looks at the lists that nodes have in the end and at nothing else, neither at the log nor at any index.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from zraft.requests import Answer
from zraft.simulation import scroll
from zraft.simulation.history import Ending, Kind, Operation
from zraft.simulation.violation import Violation

NUMBER = "C3"


def check(operations: Iterable[Operation], lists: Mapping[bytes, Sequence[bytes]]) -> int:
    """Check the lists of one node, and return how many tokens were asked for.

    Parameters
    ----------
    operations
        The history.
    lists
        The tokens of each key, in order; see `scroll.Scroll.lists`.

    Raises
    ------
    Violation
        A token is there twice, is missing, or comes from nowhere; or one stands before another that had returned before it was invoked.
    """
    asked: defaultdict[bytes, dict[bytes, Operation]] = defaultdict(dict)
    for operation in operations:
        if operation.machine == scroll.MACHINE and operation.kind is Kind.WRITE:
            append = scroll.decode_append(operation.request)
            asked[append.key][append.token] = operation
    for key in [*asked, *(key for key in lists if key not in asked)]:
        _check_list(key, asked[key], lists.get(key, ()))
    return sum(map(len, asked.values()))


def _check_list(key: bytes, asked: Mapping[bytes, Operation], tokens: Sequence[bytes]) -> None:
    positions: dict[bytes, int] = {}
    for position, token in enumerate(tokens):
        if token in positions:
            raise Violation(NUMBER, f"{token!r} is in {key!r} twice, at {positions[token]} and {position}")
        positions[token] = position
        if token not in asked:
            raise Violation(NUMBER, f"{token!r} is in {key!r}, and nobody has asked for that")
    for token, operation in asked.items():
        if token in positions and operation.ending is Ending.FAILED:
            raise Violation(NUMBER, f"{token!r} is in {key!r}, though its client was told that it failed")
        if token not in positions and _succeeded(operation):
            raise Violation(NUMBER, f"{token!r} is not in {key!r}, though its client was told that it is")
    _check_order(key, [(operation, positions[token]) for token, operation in asked.items() if token in positions])


def _succeeded(operation: Operation) -> bool:
    return operation.is_ok and operation.answer[0] == Answer.DONE


def _check_order(key: bytes, placed: list[tuple[Operation, int]]) -> None:
    """Check that what had returned when a token was asked for stands before it."""
    events = [(operation.invoked, position, False) for operation, position in placed]
    events += [(each.returned, position, True) for each, position in placed if each.is_ok and each.returned is not None]
    last = -1
    for _, position, returns in sorted(events):
        if returns:
            last = max(last, position)
        elif position < last:
            raise Violation(NUMBER, f"place {position} of {key!r} was asked for after place {last} had been answered")
