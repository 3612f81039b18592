"""JSON in and out of the store: what goes in can be read back, or is refused with its place.

Encoding is msgspec's, guarded where that is too kind or too late: NaN and infinities would silently
become `null`, and nesting deeper than `DEPTH_MAX` could be written but not read back everywhere.
The guards look at the encoded bytes first, so ordinary values pay next to nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import accumulate
from types import CoroutineType
from typing import Any, Final

import msgspec

from perdure.store.errors import NotSerializable, PayloadTooLarge, StoreCorrupt
from perdure.store.records import PAYLOAD_BYTES_MAX

DEPTH_MAX: Final = 256  # levels of nesting; JSON readers give up from about 500 on
PATH_MAX: Final = 120  # characters of a path in a message: one line of it
UP_OR_DOWN: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: +1 and -1
NO_MARKS: Final = bytes(set(range(256)) - set(b'[]{}"'))

_encoder = msgspec.json.Encoder()
_strict = json.JSONEncoder(
    allow_nan=False, check_circular=False, default=lambda part: msgspec.to_builtins(part, str_keys=True)
)
_decoder = msgspec.json.Decoder()


def encode(value: Any, *, what: str = "the value", bytes_max: int = PAYLOAD_BYTES_MAX) -> bytes:
    """Return `value` as JSON. `what` names it in errors ("the output of step 'charge'").

    Raises NotSerializable with the path to the offending part, and PayloadTooLarge.
    """
    try:
        encoded = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _refusal(value, what, str(error)) from None
    if len(encoded) > bytes_max:
        raise PayloadTooLarge(what, size=len(encoded), limit=bytes_max)
    if _depth(encoded) > DEPTH_MAX or (b"null" in encoded and value is not None and not _is_finite(value)):
        _check_parts(value, what)
    return encoded


def decode(encoded: bytes | str, *, what: str = "the value") -> Any:
    """Read back what `encode` wrote. Raises StoreCorrupt when it is not JSON."""
    try:
        decoded = _decoder.decode(encoded)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise StoreCorrupt(
            f"{what} in the store is not readable JSON ({error}): run verify, then restore a backup"
        ) from error
    if decoded.__class__ is str and decoded.startswith("$sealed:"):
        raise StoreCorrupt(
            f"{what} was encrypted since this process opened the store: start it anew with keys"
        )
    return decoded


def _depth(encoded: bytes) -> int:
    """How deeply it is nested, at most: counted in C, for a walk would hold up everybody else."""
    opened = encoded.count(b"[") + encoded.count(b"{")
    if opened <= DEPTH_MAX:
        return opened
    if b"\\" in encoded:
        encoded = encoded.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(encoded.translate(None, delete=NO_MARKS).replace(b'""', b"").split(b'"')[::2])
    steps = outside_strings.translate(UP_OR_DOWN)
    return max(accumulate(memoryview(steps).cast("b")), default=0)


def _is_finite(value: Any) -> bool:
    """Whether each `null` is a None: found out in C, for the walk costs ten times as much."""
    try:
        _strict.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False  # or something that only the walk can judge
    return True


def _refusal(value: Any, what: str, why: str) -> NotSerializable:
    """Find the part that cannot be encoded, for the message."""
    try:
        _check_parts(value, what)
    except NotSerializable as found:
        return found
    return NotSerializable(what, path="$", type_name=type(value).__name__, why=why)


def _check_parts(value: Any, what: str) -> None:
    """Walk the value without recursion; raise for the first part JSON cannot hold."""
    open_ends: list[tuple[str, Any, int]] = [("$", value, 1)]
    while open_ends:
        path, part, depth = open_ends.pop()
        if depth > DEPTH_MAX:
            why = f"nested more than {DEPTH_MAX} levels deep, or contains itself"
            raise NotSerializable(what, path=_shorten(path), type_name=type(part).__name__, why=why)
        if why_not := _why_not(part):
            raise NotSerializable(what, path=_shorten(path), type_name=type(part).__name__, why=why_not)
        open_ends.extend((path + step, child, depth + 1) for step, child in _children(part))


def _why_not(part: Any) -> str:
    """Say why this part alone cannot be kept; empty when it can."""
    if isinstance(part, float) and not math.isfinite(part):
        return f"{part} has no JSON form"
    if isinstance(part, CoroutineType):
        return "nobody has awaited it: await it in an `async def`; so must a decorator around one"
    if isinstance(part, dict | list | tuple | set | frozenset):
        return ""
    try:
        _encoder.encode(part)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # A struct or dataclass may fail because of a part of it, which the walk reaches next.
        return "" if any(_children(part)) else str(error)
    return ""


def _children(part: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a container with the piece of path that leads to each."""
    if isinstance(part, dict):
        yield from ((f".{key}", child) for key, child in part.items())
    elif isinstance(part, list | tuple | set | frozenset):
        yield from ((f"[{index}]", child) for index, child in enumerate(part))
    elif isinstance(part, msgspec.Struct):
        yield from ((f".{name}", getattr(part, name)) for name in part.__struct_fields__)
    elif hasattr(part, "__dataclass_fields__") and not isinstance(part, type):
        yield from ((f".{name}", getattr(part, name)) for name in part.__dataclass_fields__)


def _shorten(path: str) -> str:
    """Keep both ends of a very long path."""
    return path if len(path) <= PATH_MAX else f"{path[:60]}…{path[-40:]}"
