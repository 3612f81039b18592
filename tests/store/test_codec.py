"""What goes into the store can be read back, or is refused with its place."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.store.codec import DEPTH_MAX, PATH_MAX, decode, encode
from perdure.store.errors import NotSerializable, PayloadTooLarge, StoreCorrupt
from perdure.store.records import PAYLOAD_BYTES_MAX

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


class Point(msgspec.Struct):
    """A struct."""

    x: Any


@dataclasses.dataclass
class Pair:
    """A dataclass."""

    left: Any
    right: Any


def nested(levels: int) -> list[Any]:
    """Lists in lists, that many levels."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@given(VALUES)
def test_every_json_value_comes_back_as_it_went_in(value: Any):
    """Down to the sign of a zero and the last bit of a float."""
    back = decode(encode(value))
    assert back == value
    assert repr(back) == repr(value)


@given(VALUES)
def test_what_is_kept_is_json_that_others_can_read(value: Any):
    """No dialect of our own."""
    assert json.loads(encode(value)) == value


@given(st.lists(VALUES), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_among_any_nulls_a_number_that_json_has_not_is_found(values: list[Any], number: float):
    """A None is written like a NaN; wherever they stand together, they are told apart."""
    assert decode(encode([None, *values])) == [None, *values]
    with pytest.raises(NotSerializable):
        encode([None, *values, {"deep": [number]}])


def test_nulls_of_a_struct_are_no_reason_to_walk_through_it(monkeypatch: pytest.MonkeyPatch):
    """The walk costs ten times as much; every command has fields that are None."""
    monkeypatch.setattr("perdure.store.codec._check_parts", lambda *_: pytest.fail("walked"))
    assert encode({"at": Point(None), "by": None}) == b'{"at":{"x":null},"by":null}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda number: number, "$"),
        (lambda number: {"a": [1, {"b": number}]}, "$.a[1].b"),
        (lambda number: (None, number), "$[1]"),
        (lambda number: Point(x=[number]), "$.x[0]"),
        (lambda number: Pair(left=None, right={"k": number}), "$.right.k"),
    ],
)
def test_a_number_that_json_has_not_is_refused_with_its_place(wrap, path: str, number: float):
    """It would silently become null."""
    with pytest.raises(NotSerializable) as refusal:
        encode(wrap(number), what="the output of step 'charge'")
    assert refusal.value.path == path
    assert str(refusal.value).startswith("the output of step 'charge' cannot be kept: " + path)


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        (object(), "$", "object"),
        ({"a": [1, object()]}, "$.a[1]", "object"),
        ({"a": {"b": {1, print}}}, None, "builtin_function_or_method"),
        ([10**5_000], "$[0]", "int"),
        ({"text": "\ud800"}, "$.text", "str"),
        (Point(x=lambda: 1), "$.x", "function"),
    ],
)
def test_what_cannot_be_kept_is_named_with_its_place_and_type(value: Any, path: str | None, kind: str):
    """The message leads to the part, not to the whole."""
    with pytest.raises(NotSerializable) as refusal:
        encode(value)
    assert refusal.value.type_name == kind
    assert path is None or refusal.value.path == path


def test_what_nobody_has_awaited_is_refused_with_what_to_do():
    """As of a plain decorator around an async function."""

    async def late() -> int:
        return 1

    coroutine = late()
    try:
        with pytest.raises(NotSerializable, match=r"\$\.a is a coroutine \(nobody has awaited it: await"):
            encode({"a": coroutine})
    finally:
        coroutine.close()


def test_a_value_that_contains_itself_is_refused():
    """And does not end the process."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotSerializable, match="contains itself"):
        encode(loop)


def test_nesting_is_kept_to_the_limit_and_refused_beyond():
    """At the limit it comes back; one more level does not go in; a great many do not crash."""
    assert decode(encode(nested(DEPTH_MAX))) == nested(DEPTH_MAX)
    for levels in (DEPTH_MAX + 1, 100_000):
        with pytest.raises(NotSerializable, match="levels deep") as refusal:
            encode(nested(levels))
        assert len(refusal.value.path) <= PATH_MAX


@given(st.lists(st.text('[]{}"\\', max_size=9), max_size=9), st.booleans())
def test_brackets_in_text_neither_hide_nor_feign_nesting(texts: list[str], is_deep: bool):  # noqa: FBT001
    """Whatever quotes and backslashes stand around them."""
    value = [*texts, *[["[" * DEPTH_MAX]] * DEPTH_MAX, *texts, nested(DEPTH_MAX - 1 + is_deep), *texts]
    if is_deep:
        with pytest.raises(NotSerializable, match="levels deep"):
            encode(value)
    else:
        assert decode(encode(value)) == value


def test_wide_is_not_deep():
    """Many small containers beside each other are no nesting."""
    value = [{"a": [None]}] * 1_000
    assert decode(encode(value)) == value


def test_a_payload_is_kept_to_the_limit_and_refused_beyond():
    """The refusal says both sizes."""
    fitting = "x" * (PAYLOAD_BYTES_MAX - 2)
    assert decode(encode(fitting)) == fitting
    with pytest.raises(PayloadTooLarge) as refusal:
        encode(fitting + "x", what="the context")
    assert (refusal.value.size, refusal.value.limit) == (PAYLOAD_BYTES_MAX + 1, PAYLOAD_BYTES_MAX)
    assert "the context is 1,048,577 bytes" in str(refusal.value)


def test_times_dataclasses_and_structs_are_kept_as_their_json():
    """They come back as plain values."""
    value = Pair(left=datetime(2026, 1, 2, tzinfo=UTC), right=Point(x=(1, 2)))
    assert decode(encode(value)) == {"left": "2026-01-02T00:00:00Z", "right": {"x": [1, 2]}}


@pytest.mark.parametrize("text", ["", "{", "nul", "\x00", "[1,]", "NaN", b"\xff", "[" * 100_000])
def test_what_is_no_json_is_corrupt(text: str | bytes):
    """The error names the thing and says what to do."""
    with pytest.raises(StoreCorrupt, match=r"the context in the store is not readable JSON .* run verify"):
        decode(text, what="the context")
