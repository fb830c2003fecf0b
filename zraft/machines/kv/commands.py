"""What client and machine of the key-value store say to each other, as msgpack.

===============  ==========================================================
put              the new revision, an int
delete           a `Deleted`
compare-and-set  the new revision, or nil when the key is not as expected
set-limits       nil; the cluster's own, refused to clients
get              a `KeyValue`, or nil
list             a `Page`
===============  ==========================================================

No command's result holds a value: what a batch answers is kept with the session, and must stay small. So whoever wants to
take a value out reads it, and removes it on the condition that it is still the same.

A field that is not known makes a command invalid instead of being passed over: two versions that understood one
command differently would drift apart.
"""

from typing import Annotated

import msgspec

MACHINE = "kv"
"""The name under which the store is mounted."""
KEY_BYTES_MAX = 4_096
VALUE_BYTES_MAX = 1 << 20
"""The limits of a store whose log has not set any."""
KEY_BYTES_MOST = 1 << 16
"""No configuration lets keys be longer, so one that is longer is in no store."""
PAGE_BYTES_MAX = 1 << 20
"""A page of a listing ends with the entry that reaches this size."""


class Put(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0, forbid_unknown_fields=True):
    """Sets a key to a value."""

    key: bytes
    value: bytes


class Delete(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Removes a key; removing one that does not exist changes nothing."""

    key: bytes


class CompareAndSet(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2, forbid_unknown_fields=True):
    """Sets a key, or removes it, if it is as expected; else changes nothing."""

    key: bytes
    expected: bytes | Annotated[int, msgspec.Meta(ge=1)] | None
    """Bytes: what its value must be. A number: what its `KeyValue.mod_revision` must be. None: it must not exist."""
    value: bytes | None
    """What it becomes; None removes it. Not None when `expected` is: that would be `ABOUT_NOTHING`."""


class SetLimits(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3, forbid_unknown_fields=True):
    """Sets how long keys and values may be from here on, of which what is there already takes no notice.

    A leader whose configuration says otherwise than the store proposes it: so it stands in the log which commands were refused.
    """

    key_bytes_max: Annotated[int, msgspec.Meta(ge=1)]
    value_bytes_max: Annotated[int, msgspec.Meta(ge=1)]


class Get(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0, forbid_unknown_fields=True):
    """Asks for one entry."""

    key: bytes


class List(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1, forbid_unknown_fields=True):
    """Asks for entries in the order of their keys."""

    prefix: bytes
    """Only keys that begin like this."""
    after: bytes = b""
    """Only keys behind this one: the last of the page before."""
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0
    """At most so many; 0 for as many as fit on a page."""


class KeyValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of the store."""

    key: bytes
    value: bytes
    create_revision: int
    """The store's revision when the key was made."""
    mod_revision: int
    """The store's revision when the value was last put."""
    version: int
    """How often it was put since it was made, the first time included."""


class Deleted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The result of `Delete`."""

    existed: bool
    revision: int
    """The store's revision afterwards."""


class Page(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The result of `List`."""

    entries: list[KeyValue]
    revision: int
    """The store's revision that the page shows."""
    more: bool
    """Whether entries follow; ask again with `after`."""


Command = Put | Delete | CompareAndSet | SetLimits
Query = Get | List

encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_query = msgspec.msgpack.Decoder(Query).decode
decode_revision = msgspec.msgpack.Decoder(int).decode
decode_swapped = msgspec.msgpack.Decoder(int | None).decode
decode_deleted = msgspec.msgpack.Decoder(Deleted).decode
decode_entry = msgspec.msgpack.Decoder(KeyValue | None).decode
decode_page = msgspec.msgpack.Decoder(Page).decode

ABOUT_NOTHING = "neither a value nor what is expected: that would change nothing; give one of them"
_KEY_SHOWN_MAX = 64


def why_invalid(key: bytes, value: bytes, key_bytes_max: int, value_bytes_max: int) -> str | None:
    """Say why the store would refuse this key or value, in words both sides use; None when it would not."""
    if not key:
        return "the key is empty; give it at least one byte"
    if len(key) > key_bytes_max:
        return f"the key has {len(key):,} bytes; the limit is {key_bytes_max:,} (limits.key_bytes_max)"
    if len(value) > value_bytes_max:
        return f"the value has {len(value):,} bytes; the limit is {value_bytes_max:,} (limits.value_bytes_max)"
    return None


def describe(command: bytes) -> str:
    """Return a command for people, ``put a=..(256 B)``; never raises, whatever the bytes."""
    try:
        decoded = decode_command(command)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return f"not a command of kv ({len(command)} B)"
    if isinstance(decoded, Put):
        return f"put {_shown(decoded.key)}=..({len(decoded.value)} B)"
    if isinstance(decoded, Delete):
        return f"delete {_shown(decoded.key)}"
    if isinstance(decoded, SetLimits):
        return f"limit keys to {decoded.key_bytes_max} B, values to {decoded.value_bytes_max} B"
    becomes = "nothing" if decoded.value is None else f"..({len(decoded.value)} B)"
    return f"set {_shown(decoded.key)}={becomes} if {_condition(decoded.expected)}"


def printable(key: bytes) -> str:
    """Return a key on one line that a terminal can show, whatever is in it."""
    text = key.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _condition(expected: bytes | int | None) -> str:
    if expected is None:
        return "missing"
    return f"of revision {expected}" if isinstance(expected, int) else f"..({len(expected)} B)"


def _shown(key: bytes) -> str:
    return printable(key[:_KEY_SHOWN_MAX]) + (".." if len(key) > _KEY_SHOWN_MAX else "")
