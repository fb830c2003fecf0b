"""Values for every field of every message, drawn from what its struct says; so a new message is tested as soon as it is."""

from functools import cache
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from zraft.codec import PEER_KINDS, REPLY_KINDS, REQUEST_KINDS, Codec
from zraft.requests import Commands

CLUSTER_ID = 0xC0FFEE
KINDS = PEER_KINDS | REQUEST_KINDS | REPLY_KINDS
CODEC = Codec(CLUSTER_ID, "n2", 7)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@cache
def of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for instances of a struct or a type."""
    return _of(inspect.type_info(kind))


def _of(info: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one line for each type that fields have
    match info:
        case inspect.IntType():
            return st.integers(
                info.ge if info.ge is not None else -(1 << 63), info.le if info.le is not None else (1 << 64) - 1
            )
        case inspect.StrType():
            return st.text(max_size=20)
        case inspect.BytesType():
            return st.binary(max_size=40)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return _ANY
        case inspect.ListType():
            return st.lists(_of(info.item_type), max_size=4)
        case inspect.DictType():
            return st.dictionaries(_of(info.key_type), _of(info.value_type), max_size=3)
        case inspect.VarTupleType():
            return st.lists(_of(info.item_type), max_size=4).map(tuple)
        case inspect.UnionType():
            return st.one_of(*map(_of, info.types))
        case inspect.NamedTupleType() | inspect.StructType():
            return st.builds(info.cls, *(_of(field.type) for field in info.fields))
    raise AssertionError(f"no strategy for {info}")


messages = st.sampled_from(sorted(KINDS)).flatmap(lambda code: of(KINDS[code]))
"""Any message of any kind."""


@st.composite
def frames(draw: st.DrawFn) -> list[bytes]:
    """Draw the frames of any message."""
    message = draw(messages)
    return CODEC.encode(message, draw(st.binary(max_size=40)) if isinstance(message, Commands) else None)
